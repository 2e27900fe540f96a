"""The client for async code."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from os import PathLike
from pathlib import Path
from typing import Self, TypeVar, Unpack

import httpx

from reelgate_client import calls
from reelgate_client.calls import Page
from reelgate_client.downloads import download
from reelgate_client.fields import ExtendFields, ListFields, OwnFields, VideoFields, WaitedFields
from reelgate_client.models import Accepted, Image, Job, LedgerEntry, Price, Receipt, TimelineEntry
from reelgate_client.retries import Call, answered
from reelgate_client.settings import Options, Settings
from reelgate_client.steps import Course, Flow, Listener, Open, Pause, Read, Send, Step, Stream, Tell
from reelgate_client.waiting import create_and_wait, wait

T = TypeVar("T")


class AsyncClient:
    """A gateway, asked from asyncio code. Use it in an `async with` block, or close it."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        http: httpx.AsyncClient | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._settings = Settings.of(base_url, api_key, **options)
        self._is_ours = http is None
        self._http = http or httpx.AsyncClient(trust_env=self._settings.trust_env)

    def __repr__(self) -> str:
        return f"AsyncClient({self._settings})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections; an `http` that was given stays open."""
        if self._is_ours:
            await self._http.aclose()

    async def create(self, wallet_address: str, prompt: str | None = None, **fields: Unpack[VideoFields]) -> Accepted:
        """Ask for a video: it is stored, charged and queued once, however often the line breaks."""
        return await self._ask(calls.create(wallet_address, prompt, fields))

    async def wait(
        self,
        job_id: str,
        on_progress: Listener | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 -- it keeps the connections, and says what it saw last
    ) -> Job:
        """The job with its video, as soon as it is there. JobFailed without one, Timeout after so many seconds."""
        return await self._run(wait(job_id, self._settings, listener=on_progress, seconds=timeout))

    async def create_and_wait(
        self, wallet_address: str, prompt: str | None = None, **fields: Unpack[WaitedFields]
    ) -> Job:
        """Both."""
        return await self._run(create_and_wait(wallet_address, prompt, fields, self._settings))

    async def extend(self, job_id: str, prompt: str, **fields: Unpack[ExtendFields]) -> Accepted:
        """Continue a finished video: a job of its own, whose video is the whole longer clip."""
        return await self._ask(calls.extend(job_id, prompt, fields))

    async def upgrade(self, job_id: str, resolution: str, **fields: Unpack[OwnFields]) -> Accepted:
        """Have a finished video in 1080p or 4k: a job of its own."""
        return await self._ask(calls.upgrade(job_id, resolution, fields))

    async def retrieve(self, job_id: str) -> Job:
        """A job as it stands."""
        return await self._ask(calls.retrieve(job_id))

    def list(self, *, page_size: int = 100, **filters: Unpack[ListFields]) -> AsyncIterator[Job]:
        """The jobs this key may see, newest first, fetched page by page."""
        return self._pages(lambda cursor: calls.jobs(filters, limit=page_size, cursor=cursor))

    async def cancel(self, job_id: str) -> Job:
        """Take a job back before it is sent; Conflict when it is too late."""
        return await self._ask(calls.cancel(job_id))

    async def timeline(self, job_id: str) -> tuple[TimelineEntry, ...]:
        """Everything that happened to a job."""
        return await self._ask(calls.timeline(job_id))

    async def receipt(self, job_id: str) -> Receipt:
        """What a job cost: every movement of credits for it, and the sums."""
        return await self._ask(calls.receipt(job_id))

    async def download(self, job_id: str, path: str | PathLike[str]) -> Path:
        """Save the video of a finished job. The path then has the whole file; after an error, what it had before."""
        return await self._run(download(job_id, Path(path), self._settings))

    async def upload_image(self, image: str | PathLike[str] | bytes) -> Image:
        """Hand over a JPEG, PNG or WebP; its url is good for image_urls."""
        return await self._ask(calls.upload(image))

    async def balance(self, wallet_address: str) -> int:
        """The credits of a wallet."""
        return await self._ask(calls.balance(wallet_address))

    def ledger(self, wallet_address: str, *, page_size: int = 100) -> AsyncIterator[LedgerEntry]:
        """The movements of a wallet's credits, newest first, fetched page by page."""
        return self._pages(lambda cursor: calls.ledger(wallet_address, limit=page_size, cursor=cursor))

    async def prices(self) -> tuple[Price, ...]:
        """What each kind of job costs."""
        return await self._ask(calls.prices())

    async def _ask(self, call: Call[T]) -> T:
        return await self._run(answered(call, self._settings))

    async def _pages(self, page_after: Callable[[str | None], Call[Page[T]]]) -> AsyncIterator[T]:
        page = await self._ask(page_after(None))
        for item in page.items:
            yield item
        while page.next_cursor:
            page = await self._ask(page_after(page.next_cursor))
            for item in page.items:
                yield item

    async def _run(self, flow: Flow[T]) -> T:
        course = Course(flow)
        with closing(course):
            async with AsyncExitStack() as opened:
                while (step := course.step) is not None:
                    try:
                        outcome = await self._do(step, opened)
                    except httpx.TransportError as error:
                        course.broke(error)
                    else:
                        course.went(outcome)
        return course.result

    async def _do(self, step: Step, opened: AsyncExitStack) -> object:
        match step:
            case Send():
                return await self._http.send(self._build(step), follow_redirects=False)
            case Open():
                await opened.aclose()
                response = await self._http.send(self._build(step), stream=True, follow_redirects=False)
                opened.push_async_callback(response.aclose)
                if not response.is_success:
                    await response.aread()
                return Stream(response, response.aiter_bytes())
            case Read():
                return await anext(step.stream.chunks, None)
            case Pause():
                await asyncio.sleep(step.seconds)
            case Tell():
                if inspect.isawaitable(told := step.listener(step.progress)):
                    await told
        return None

    def _build(self, step: Send | Open) -> httpx.Request:
        return self._http.build_request(**step.request.options(self._settings, seconds=step.seconds))
