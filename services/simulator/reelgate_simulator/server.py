"""The HTTP server around the application."""

import uvicorn

from reelgate_simulator.app import create_app
from reelgate_simulator.config import Config
from reelgate_simulator.connection import Protocol

# Longer than clients keep idle connections, so that it is they who close them.
KEEP_ALIVE_SECONDS = 75
# A hanging answer (`sim:submit-timeout`) must not hold up a stop.
STOP_SECONDS = 2


def server_for(config: Config, *, host: str, port: int) -> uvicorn.Server:
    """Return a server ready to run."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(config),
            host=host,
            port=port,
            http=Protocol,
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="warning",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )
