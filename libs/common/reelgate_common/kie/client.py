"""The one client of Kie.ai: one method per remote call, every outcome as a value."""

import base64
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import structlog
from yarl import URL

from reelgate_common import metrics, tracing, wire
from reelgate_common.domain.job import Job, SendOutcome
from reelgate_common.kie import account, answers, requests, upgrades, uploads, urls
from reelgate_common.kie.account import Balance, Link
from reelgate_common.kie.answers import Answer, NotYet, Send, TaskInfo
from reelgate_common.kie.requests import Body, Extension
from reelgate_common.kie.upgrades import Upgrade
from reelgate_common.kie.uploads import Upload
from reelgate_common.logs import redact
from reelgate_common.settings import KieSettings

log = structlog.get_logger(__name__)

# The vendor's edge refuses unknown clients with a bare 403.
_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "User-Agent": "Mozilla/5.0 (compatible; Reelgate/0.1)",
}

A = TypeVar("A", bound=Answer)


class TooLate(Exception):
    """The time to send was over before the request was written; nothing was sent."""


# As metrics name them; whatever else an answer may say is one more.
_CODES = frozenset({200, 400, 401, 402, 403, 404, 408, 422, 429, 430, 433, 451, 455, 500, 501, 502, 503, 504, 505})


def _code_label(code: int | None) -> str:
    if code is None:
        return "none"
    return str(code) if code in _CODES else "other"


class KieClient:
    """Kie.ai's Veo API over one pool of connections. Never retries: that is its callers' decision."""

    def __init__(self, out: wire.Wire, settings: KieSettings) -> None:
        self._wire = out
        self._settings = settings
        self._key = settings.kie_ai_api_key.get_secret_value()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KieSettings) -> AsyncIterator[Self]:
        """A client for the length of the block."""
        key = settings.kie_ai_api_key.get_secret_value()
        async with wire.Wire.open(_HEADERS | {"Authorization": f"Bearer {key}"}) as out:
            yield cls(out, settings)

    async def generate(self, job: Job, *, callback_url: str, send_before: float) -> Send:
        """Send a job; every way it can end is an outcome, none an exception.

        `send_before` is a time.monotonic() value: just before the request is written it is checked, and
        past it nothing is sent.
        """
        return await self._ask(
            Send,
            answers.read_send,
            "POST",
            "/api/v1/veo/generate",
            body=requests.as_json(requests.generate_body(job, callback_url=callback_url)),
            seconds=self._settings.kie_send_timeout_seconds,
            send_before=send_before,
        )

    async def extend(self, extension: Extension, *, callback_url: str, send_before: float) -> Send:
        """Send an extension, which is a new task; as generate in everything else."""
        return await self._ask(
            Send,
            answers.read_extend,
            "POST",
            "/api/v1/veo/extend",
            body=requests.as_json(requests.extend_body(extension, callback_url=callback_url)),
            seconds=self._settings.kie_send_timeout_seconds,
            send_before=send_before,
        )

    async def upgrade_1080p(self, task_id: str, *, send_before: float = math.inf) -> Upgrade:
        """Start or collect the 1080p copy of a finished video; it is billed once, at the first call."""
        return await self._ask(
            Upgrade,
            partial(upgrades.read_upgrade, wanted=self._is_wanted),
            "GET",
            "/api/v1/veo/get-1080p-video",
            params={"taskId": task_id, "index": 0},
            seconds=self._settings.kie_send_timeout_seconds,
            send_before=send_before,
        )

    async def upgrade_4k(
        self, task_id: str, *, callback_url: str | None = None, send_before: float = math.inf
    ) -> Upgrade:
        """Start or collect the 4K copy of a finished video; it is billed once, at the first call."""
        return await self._ask(
            Upgrade,
            partial(upgrades.read_upgrade, wanted=self._is_wanted),
            "POST",
            "/api/v1/veo/get-4k-video",
            body=requests.as_json(requests.upgrade_4k_body(task_id, callback_url=callback_url)),
            seconds=self._settings.kie_send_timeout_seconds,
            send_before=send_before,
        )

    async def record_info(self, task_id: str) -> TaskInfo:
        """Ask how a task stands; NotYet when the vendor is away or speaks in riddles."""
        try:
            status, body = await self._call(
                "GET",
                "/api/v1/veo/record-info",
                seconds=self._settings.kie_query_timeout_seconds,
                params={"taskId": task_id},
            )
            info = answers.read_task(status, body, wanted=self._is_wanted)
        except wire.BROKEN as error:
            info = NotYet(why=type(error).__name__)
        if isinstance(info, NotYet):
            log.info("task_not_readable", task_id=task_id, why=info.why)
        metrics.vendor_answers.labels("record-info", type(info).__name__).inc()
        return info

    def _is_wanted(self, url: str) -> bool:
        """Whether the operator takes results from this URL's host; unset, from every host."""
        hosts = self._settings.result_url_hosts
        if not hosts or urls.is_on(url, hosts):
            return True
        metrics.result_hosts_refused.inc()
        log.error("result_host_refused", host=urlsplit(url).hostname)
        return False

    async def balance(self) -> Balance:
        """What is left on the account."""
        seconds = self._settings.kie_query_timeout_seconds
        return await self._ask(Balance, account.read_balance, "GET", "/api/v1/chat/credit", seconds=seconds)

    async def download_link(self, url: str) -> Link:
        """A link good for 20 minutes to a file that Kie.ai made; others are refused."""
        return await self._ask(
            Link,
            account.read_link,
            "POST",
            "/api/v1/common/download-url",
            body=requests.as_json({"url": url}),
            seconds=self._settings.kie_query_timeout_seconds,
        )

    async def upload(self, content: bytes, *, path: str, name: str, media_type: str) -> Upload:
        """Give the file host a file as a multipart stream. Free; the same path and name replace a file."""
        fields = {"uploadPath": path, "fileName": name}
        return await self._upload("stream", requests.as_form(fields, file=content, name=name, media_type=media_type))

    async def upload_base64(self, content: bytes, *, path: str, name: str, media_type: str) -> Upload:
        """As upload, as JSON: a third more bytes."""
        encoded = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
        return await self._upload(
            "base64", requests.as_json({"base64Data": encoded, "uploadPath": path, "fileName": name})
        )

    async def upload_from(self, url: str, *, path: str, name: str) -> Upload:
        """Have the file host fetch a public URL: within 30 s, about 100 MB at most."""
        return await self._upload("url", requests.as_json({"fileUrl": url, "uploadPath": path, "fileName": name}))

    async def _upload(self, form: str, body: Body) -> Upload:
        return await self._ask(
            Upload,
            uploads.read_upload,
            "POST",
            f"/api/file-{form}-upload",
            base=self._settings.file_endpoint,
            body=body,
            seconds=self._settings.kie_upload_timeout_seconds,
        )

    async def _ask(
        self,
        kind: type[A],
        read: Callable[[int, bytes], A],
        method: str,
        path: str,
        *,
        send_before: float = math.inf,
        **request: Any,
    ) -> A:
        """Make one call; an answer is read, and a break becomes NOT_SENT or UNKNOWN by what was written."""
        written = False

        def last_look() -> None:
            nonlocal written
            if time.monotonic() > send_before:
                raise TooLate
            written = True

        try:
            answer = read(*await self._call(method, path, before=last_look, **request))
        except TooLate:
            answer = kind(outcome=SendOutcome.NOT_SENT, message="its time was over before the request was written")
        except wire.BROKEN as error:
            name = type(error).__name__
            if written:
                answer = kind(outcome=SendOutcome.UNKNOWN, message=f"{name} after the request was written")
            else:
                answer = kind(outcome=SendOutcome.NOT_SENT, message=f"{name}: {error}".rstrip(": ")[:200])
        call = path.rpartition("/")[2]
        metrics.vendor_answers.labels(call, answer.outcome).inc()
        metrics.vendor_codes.labels(call, _code_label(answer.code)).inc()
        message = self._blank(answer.message)
        return answer if message == answer.message else replace(answer, message=message)

    def _blank(self, message: str | None) -> str | None:
        """A message without our secrets, should the vendor quote them: it goes to the database and to people."""
        return message and redact(message.replace(self._key, "***"))

    async def _call(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        base: str | None = None,
        params: Mapping[str, str | int] | None = None,
        body: Body = requests.NONE,
        **more: Any,
    ) -> tuple[int, bytes]:
        """One request. Our trace stays ours: nothing of it is sent along."""
        target = URL(f"{base or self._settings.kie_ai_api_endpoint}{path}")  # yarl remembers those it made
        about = {"http.request.method": method, "server.address": target.host, "url.path": target.path}
        url = f"{target}?{urlencode(params, quote_via=quote)}" if params else str(target)
        with tracing.span(f"{method} {target.path}", "client", attributes=about) as span:
            reply = await self._wire.ask(method, url, seconds=seconds, headers=body.headers, body=body.content, **more)
            span.set({"http.response.status_code": reply.status})
            return reply.status, reply.body
