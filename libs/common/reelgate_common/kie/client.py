"""The one client of Kie.ai: one method per remote call, every outcome as a value."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
import structlog

from reelgate_common import metrics
from reelgate_common.domain.job import Job, SendOutcome
from reelgate_common.kie import answers
from reelgate_common.kie.answers import NotYet, Send, TaskInfo
from reelgate_common.settings import KieSettings

log = structlog.get_logger(__name__)

# The vendor's edge refuses unknown clients with a bare 403.
_USER_AGENT = "Mozilla/5.0 (compatible; Reelgate/0.1)"
_MAX_ANSWER_BYTES = 1024 * 1024
# A kept connection that the server closes just now may or may not have read our request: keep few, briefly.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2)
# These prove that the request was never written.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class TooLate(Exception):
    """The lease was over before the request was written; nothing was sent."""


class AnswerTooLong(Exception):
    """The vendor sent more than any answer of its API can be."""


class KieClient:
    """Kie.ai's Veo API over one pool of connections. Never retries: that is its callers' decision."""

    def __init__(self, http: httpx.AsyncClient, settings: KieSettings) -> None:
        self._http = http
        self._settings = settings

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KieSettings) -> AsyncIterator[Self]:
        """A client for the length of the block."""
        async with httpx.AsyncClient(
            base_url=settings.kie_ai_api_endpoint,
            headers={
                "Authorization": f"Bearer {settings.kie_ai_api_key.get_secret_value()}",
                "User-Agent": _USER_AGENT,
            },
            timeout=httpx.Timeout(settings.kie_send_timeout_seconds, connect=5, pool=5),
            limits=_LIMITS,
            follow_redirects=False,
            trust_env=False,
        ) as http:
            yield cls(http, settings)

    async def generate(self, job: Job, *, callback_url: str, send_before: float) -> Send:
        """Send a job; every way it can end is an outcome, none an exception.

        `send_before` is a time.monotonic() value: just before the request is written it is checked, and
        past it nothing is sent.
        """
        written = False

        async def trace(event: str, _: Any) -> None:
            nonlocal written
            if event.endswith("send_request_headers.started"):
                if time.monotonic() > send_before:
                    raise TooLate
                written = True

        try:
            status, body = await self._call(
                "POST",
                "/api/v1/veo/generate",
                seconds=self._settings.kie_send_timeout_seconds,
                json=_generate_body(job, callback_url),
                extensions={"trace": trace},
            )
            send = answers.read_send(status, body)
        except TooLate:
            send = Send(outcome=SendOutcome.NOT_SENT, message="the lease was over before the request was written")
        except _NOT_SENT as error:
            send = Send(outcome=SendOutcome.NOT_SENT, message=f"{type(error).__name__}: {error}"[:200])
        except (httpx.HTTPError, httpx.InvalidURL, AnswerTooLong, TimeoutError, OSError) as error:
            outcome = SendOutcome.UNKNOWN if written else SendOutcome.NOT_SENT
            send = Send(
                outcome=outcome,
                message=f"{type(error).__name__} after the request was {'' if written else 'not '}written",
            )
        metrics.vendor_answers.labels("generate", send.outcome).inc()
        return send

    async def record_info(self, task_id: str) -> TaskInfo:
        """Ask how a task stands; NotYet when the vendor is away or speaks in riddles."""
        try:
            status, body = await self._call(
                "GET",
                "/api/v1/veo/record-info",
                seconds=self._settings.kie_query_timeout_seconds,
                params={"taskId": task_id},
            )
            info = answers.read_task(status, body)
        except (httpx.HTTPError, AnswerTooLong, TimeoutError, OSError) as error:
            info = NotYet(why=type(error).__name__)
        if isinstance(info, NotYet):
            log.info("task_not_readable", task_id=task_id, why=info.why)
        metrics.vendor_answers.labels("record-info", type(info).__name__).inc()
        return info

    async def _call(self, method: str, path: str, *, seconds: float, **request: Any) -> tuple[int, bytes]:
        async with asyncio.timeout(seconds), self._http.stream(method, path, **request) as response:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MAX_ANSWER_BYTES:
                    raise AnswerTooLong
            return response.status_code, body


def _generate_body(job: Job, callback_url: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt": job.prompt,
        "model": job.model,
        "generationType": job.generation_type,
        "aspect_ratio": job.aspect_ratio,
        "resolution": job.resolution,
        "duration": job.duration,
        "callBackUrl": callback_url,
        "enableTranslation": True,  # the guide's choice
    }
    if job.image_urls:
        body["imageUrls"] = job.image_urls
    if job.watermark:
        body["watermark"] = job.watermark
    return body
