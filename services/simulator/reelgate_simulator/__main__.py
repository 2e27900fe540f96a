"""Runs the simulator: `python -m reelgate_simulator`."""

import signal
import sys

from pydantic import ValidationError

from reelgate_simulator.server import server_for
from reelgate_simulator.settings import Settings


def main() -> None:
    """Serve until told to stop, then exit with 0."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit("\n".join(f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()))
    # The server raises the signal again once it has stopped: a stop that was asked for is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server_for(settings.config(), host=settings.http_host, port=settings.http_port).run()


if __name__ == "__main__":
    main()
