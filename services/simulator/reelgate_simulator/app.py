"""The application: the vendor's routes, the file host and the control endpoints over one simulator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.requests import ClientDisconnect, Request

from reelgate_simulator import control_routes, media_routes, upgrade_routes, upload_routes, vendor_routes
from reelgate_simulator.callbacks import open_courier
from reelgate_simulator.config import Config
from reelgate_simulator.envelope import Refusal
from reelgate_simulator.simulator import Simulator


def create_app(config: Config) -> FastAPI:
    """Build the application; the simulator lives as long as the server runs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_courier() as courier:
            app.state.simulator = simulator = Simulator(config, courier)
            try:
                yield
            finally:
                await simulator.close()

    app = FastAPI(title="Kie.ai simulator", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(ClientDisconnect, _nobody_there)
    for module in (vendor_routes, upgrade_routes, upload_routes, media_routes, control_routes):
        app.include_router(module.router)
    return app


async def _refuse(_: Request, refusal: Exception) -> Response:
    if not isinstance(refusal, Refusal):
        raise refusal
    return refusal.response()


async def _nobody_there(_: Request, __: Exception) -> Response:
    # A client killed in the middle of a request is what tests do; nobody reads this answer.
    return Response(status_code=400)
