"""The client without async."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
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


class Client:
    """A gateway, asked from plain code. Threads may share it. Use it in a `with` block, or close it."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        http: httpx.Client | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._settings = Settings.of(base_url, api_key, **options)
        self._is_ours = http is None
        self._http = http or httpx.Client(trust_env=self._settings.trust_env)

    def __repr__(self) -> str:
        return f"Client({self._settings})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections; an `http` that was given stays open."""
        if self._is_ours:
            self._http.close()

    def create(self, wallet_address: str, prompt: str | None = None, **fields: Unpack[VideoFields]) -> Accepted:
        """Ask for a video: it is stored, charged and queued once, however often the line breaks."""
        return self._ask(calls.create(wallet_address, prompt, fields))

    def wait(self, job_id: str, on_progress: Listener | None = None, *, timeout: float | None = None) -> Job:
        """The job with its video, as soon as it is there. JobFailed without one, Timeout after so many seconds."""
        return self._run(wait(job_id, self._settings, listener=on_progress, seconds=timeout))

    def create_and_wait(self, wallet_address: str, prompt: str | None = None, **fields: Unpack[WaitedFields]) -> Job:
        """Both."""
        return self._run(create_and_wait(wallet_address, prompt, fields, self._settings))

    def extend(self, job_id: str, prompt: str, **fields: Unpack[ExtendFields]) -> Accepted:
        """Continue a finished video: a job of its own, whose video is the whole longer clip."""
        return self._ask(calls.extend(job_id, prompt, fields))

    def upgrade(self, job_id: str, resolution: str, **fields: Unpack[OwnFields]) -> Accepted:
        """Have a finished video in 1080p or 4k: a job of its own."""
        return self._ask(calls.upgrade(job_id, resolution, fields))

    def retrieve(self, job_id: str) -> Job:
        """A job as it stands."""
        return self._ask(calls.retrieve(job_id))

    def list(self, *, page_size: int = 100, **filters: Unpack[ListFields]) -> Iterator[Job]:
        """The jobs this key may see, newest first, fetched page by page."""
        return self._pages(lambda cursor: calls.jobs(filters, limit=page_size, cursor=cursor))

    def cancel(self, job_id: str) -> Job:
        """Take a job back before it is sent; Conflict when it is too late."""
        return self._ask(calls.cancel(job_id))

    def timeline(self, job_id: str) -> tuple[TimelineEntry, ...]:
        """Everything that happened to a job."""
        return self._ask(calls.timeline(job_id))

    def receipt(self, job_id: str) -> Receipt:
        """What a job cost: every movement of credits for it, and the sums."""
        return self._ask(calls.receipt(job_id))

    def download(self, job_id: str, path: str | PathLike[str]) -> Path:
        """Save the video of a finished job. The path then has the whole file; after an error, what it had before."""
        return self._run(download(job_id, Path(path), self._settings))

    def upload_image(self, image: str | PathLike[str] | bytes) -> Image:
        """Hand over a JPEG, PNG or WebP; its url is good for image_urls."""
        return self._ask(calls.upload(image))

    def balance(self, wallet_address: str) -> int:
        """The credits of a wallet."""
        return self._ask(calls.balance(wallet_address))

    def ledger(self, wallet_address: str, *, page_size: int = 100) -> Iterator[LedgerEntry]:
        """The movements of a wallet's credits, newest first, fetched page by page."""
        return self._pages(lambda cursor: calls.ledger(wallet_address, limit=page_size, cursor=cursor))

    def prices(self) -> tuple[Price, ...]:
        """What each kind of job costs."""
        return self._ask(calls.prices())

    def _ask(self, call: Call[T]) -> T:
        return self._run(answered(call, self._settings))

    def _pages(self, page_after: Callable[[str | None], Call[Page[T]]]) -> Iterator[T]:
        page = self._ask(page_after(None))
        yield from page.items
        while page.next_cursor:
            page = self._ask(page_after(page.next_cursor))
            yield from page.items

    def _run(self, flow: Flow[T]) -> T:
        course = Course(flow)
        with closing(course), ExitStack() as opened:
            while (step := course.step) is not None:
                try:
                    outcome = self._do(step, opened)
                except httpx.TransportError as error:
                    course.broke(error)
                else:
                    course.went(outcome)
        return course.result

    def _do(self, step: Step, opened: ExitStack) -> object:
        match step:
            case Send():
                return self._http.send(self._build(step), follow_redirects=False)
            case Open():
                opened.close()
                response = self._http.send(self._build(step), stream=True, follow_redirects=False)
                opened.callback(response.close)
                if not response.is_success:
                    response.read()
                return Stream(response, response.iter_bytes())
            case Read():
                return next(step.stream.chunks, None)
            case Pause():
                time.sleep(step.seconds)
            case Tell():
                step.listener(step.progress)
        return None

    def _build(self, step: Send | Open) -> httpx.Request:
        return self._http.build_request(**step.request.options(self._settings, seconds=step.seconds))
