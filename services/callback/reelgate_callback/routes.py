"""HTTP in: Kie.ai's webhook. Bodies of answers are constant: they tell a stranger nothing.

Plain Starlette, as nothing here is validated or documented by FastAPI, whose handling cost twice this service's own.
"""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reelgate_callback.handlers import Webhook

PATH = "/api/video/kie-ai-callback"


async def receive_callback(request: Request) -> Response:
    """Store a webhook and answer at once; the verdict comes from record-info later."""
    webhook = Webhook(
        body=await request.body(),
        attempt=request.query_params.get("attempt"),
        token=request.query_params.get("token"),
        timestamp=request.headers.get("x-webhook-timestamp"),
        signature=request.headers.get("x-webhook-signature"),
    )
    job_id = await request.state.receiver.receive(webhook)
    return JSONResponse({"success": True, "jobId": str(job_id)})


async def show_reachable(_: Request) -> Response:
    """Tell whoever looks that the callback URL is reachable."""
    return JSONResponse(
        {"message": "Kie AI callback endpoint is accessible", "timestamp": datetime.now(UTC).isoformat()}
    )


ROUTES = (Route(PATH, receive_callback, methods=["POST"]), Route(PATH, show_reachable))
