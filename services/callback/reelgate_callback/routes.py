"""HTTP in: Kie.ai's webhook. Bodies of answers are constant: they tell a stranger nothing."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from reelgate_callback.handlers import Webhook

router = APIRouter()

PATH = "/api/video/kie-ai-callback"


@router.post(PATH, operation_id="receive_callback", tags=["callback"])
async def receive_callback(request: Request) -> dict[str, Any]:
    """Store a webhook and answer at once; the verdict comes from record-info later."""
    webhook = Webhook(
        body=await request.body(),
        attempt=request.query_params.get("attempt"),
        token=request.query_params.get("token"),
        timestamp=request.headers.get("x-webhook-timestamp"),
        signature=request.headers.get("x-webhook-signature"),
    )
    job_id = await request.state.receiver.receive(webhook)
    return {"success": True, "jobId": str(job_id)}


@router.get(PATH, operation_id="test_callback", tags=["callback"])
async def test_callback() -> dict[str, str]:
    """Tell whoever looks that the callback URL is reachable."""
    return {"message": "Kie AI callback endpoint is accessible", "timestamp": datetime.now(UTC).isoformat()}
