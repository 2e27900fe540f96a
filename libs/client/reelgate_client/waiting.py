"""Waiting for a job: by its stream; where no stream comes through, by long polls; where those are cut, by plain ones.

Whatever the way, each thing that happened is told once, in order.
"""

import math
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx

from reelgate_client import calls
from reelgate_client.errors import JobFailed, ServerError, Timeout, Unreachable
from reelgate_client.events import Decoder, ServerEvent
from reelgate_client.models import Job, Progress
from reelgate_client.retries import answered
from reelgate_client.settings import Settings
from reelgate_client.steps import Flow, Listener, Open, Pause, Read, Stream, Tell

_SILENCE_SECONDS = 30.0  # twice the gateway's keep-alive: what is silent for longer does not come through
_STREAMS = 3  # that end with nothing told, before we poll
_RETRY_SECONDS = (0.2, 2.0)
_LONG_POLL_SECONDS = 25
_AT_ONCE_SECONDS = 1.0  # a long poll answered sooner did not wait
_PACE_SECONDS = 2.0


class _Watch:
    """What is known of a job, and how long it is waited for."""

    def __init__(self, job_id: str, listener: Listener | None, seconds: float | None) -> None:
        self.job_id = job_id
        self.job: Job | None = None
        self.last_id: str | None = None
        self._seq = 0
        self._listener = listener
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the wait is over."""
        return max(self._end - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Nothing more will happen, or the time is over."""
        return (self.job is not None and self.job.is_settled) or not self.left

    def hear(self, progress: Progress) -> Flow[None]:
        """Note what happened, and tell it if it is new."""
        if progress.seq <= self._seq:
            return
        self._seq, self.job = progress.seq, progress.job
        if self._listener is not None:
            yield Tell(self._listener, progress)


def wait(job_id: str, settings: Settings, *, listener: Listener | None, seconds: float | None) -> Flow[Job]:
    """The job with its video; JobFailed without one, Timeout when it is not over in time."""
    watch = _Watch(job_id, listener, seconds)
    yield from _follow(watch)
    yield from _poll(watch, settings)
    if watch.job:  # what the stream told last may be behind the job that it told
        yield from watch.hear(_snapshot(watch.job))
    if watch.job is None or watch.job.status not in {"completed", "failed"}:
        raise Timeout(job_id, watch.job)
    if watch.job.status == "failed":
        raise JobFailed(watch.job)
    return watch.job


def create_and_wait(
    wallet_address: str, prompt: str | None, fields: Mapping[str, Any], settings: Settings
) -> Flow[Job]:
    """The same for a video that is asked for first."""
    asked = dict(fields)
    listener, seconds = asked.pop("on_progress", None), asked.pop("timeout", None)
    accepted = yield from answered(calls.create(wallet_address, prompt, asked), settings)
    return (yield from wait(accepted.job_id, settings, listener=listener, seconds=seconds))


def _follow(watch: _Watch) -> Flow[None]:
    """Listen to the job's stream, coming back where it was left, until it ends or does not work."""
    empty = 0
    while empty < _STREAMS and watch.left:
        told_before = watch.last_id
        try:
            stream: Stream = yield Open(calls.events(watch.job_id, after=watch.last_id), _patience(watch))
            if not _is_stream(stream.response) or (yield from _listen(stream, watch)):
                return
        except (httpx.ReadTimeout, ValueError):  # collected on the way, or garbled
            return
        except httpx.TransportError:
            pass
        empty = empty + 1 if watch.last_id == told_before else 0
        yield Pause(min(random.uniform(*_RETRY_SECONDS), watch.left))  # noqa: S311 -- keeps no secret


def _patience(watch: _Watch) -> float:
    return max(min(_SILENCE_SECONDS, watch.left), 0.1)


def _is_stream(response: httpx.Response) -> bool:
    """Anything else, an error too, is for the poll to find out."""
    return response.status_code == 200 and response.headers.get("content-type", "").startswith("text/event-stream")


def _listen(stream: Stream, watch: _Watch) -> Flow[bool]:
    """Hear what a stream tells; True when it said that this was all, or there is no more time for it."""
    decoder = Decoder()
    while (chunk := (yield Read(stream))) is not None:
        for event in decoder.feed(chunk):
            if event.name == "end":
                return True
            yield from watch.hear(_progress(event))
            watch.last_id = event.id or watch.last_id
        if not watch.left:
            return True
    return False


def _progress(event: ServerEvent) -> Progress:
    return Progress.model_validate_json(event.data)


def _poll(watch: _Watch, settings: Settings) -> Flow[None]:
    """Ask again and again until the job is over."""
    long = True
    while not watch.is_over or watch.job is None:
        wait_for = math.ceil(min(_LONG_POLL_SECONDS, watch.left)) if long and watch.job else 0
        asked_at = time.monotonic()
        # A long poll is tried once: where it is cut, a plain one may come through.
        patience = replace(settings, max_retries=0) if wait_for else settings
        version = watch.job.version if watch.job else None
        try:
            answer = yield from answered(calls.poll(watch.job_id, version=version, wait=wait_for), patience)
        except (Unreachable, ServerError):
            if not wait_for:
                raise
            long = False
            continue
        if answer.job:
            yield from watch.hear(_snapshot(answer.job))
        if not watch.is_over and (not wait_for or time.monotonic() - asked_at < _AT_ONCE_SECONDS):
            yield Pause(min(answer.retry_after or _PACE_SECONDS, watch.left))


def _snapshot(job: Job) -> Progress:
    return Progress(seq=job.version, event="job", status=job.state, job=job)
