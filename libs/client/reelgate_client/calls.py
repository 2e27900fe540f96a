"""Every request of the gateway's that this client makes, and how its answer is read."""

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from reelgate_client.errors import retry_after
from reelgate_client.models import Accepted, Image, Job, LedgerEntry, Price, Receipt, TimelineEntry
from reelgate_client.retries import Call
from reelgate_client.steps import Request

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_UPLOAD_SECONDS = 120.0  # the gateway hands the file on before it answers
_SLACK_SECONDS = 10.0  # for the answer of a long poll to arrive


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Poll:
    """The job if it changed, and when the gateway wants to be asked again."""

    job: Job | None
    retry_after: float | None


def _create(path: str, fields: Mapping[str, Any]) -> Call[Accepted]:
    """A POST that makes a job: once, however often it is sent, since each time it carries the same key."""
    body = {name: value for name, value in fields.items() if value is not None}
    key = body.pop("idempotency_key", uuid.uuid4().hex)
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise ValueError("idempotency_key must be 1-255 visible ASCII characters")
    return Call(Request(method="POST", path=path, json=body, headers={"Idempotency-Key": key}), _accepted)


def _accepted(response: httpx.Response) -> Accepted:
    return Accepted.model_validate(response.json() | {"replayed": "idempotent-replayed" in response.headers})


def create(wallet_address: str, prompt: str | None, fields: Mapping[str, Any]) -> Call[Accepted]:
    """A new video."""
    return _create("/api/video/generate", {"wallet_address": wallet_address, "prompt": prompt, **fields})


def extend(job_id: str, prompt: str, fields: Mapping[str, Any]) -> Call[Accepted]:
    """A longer video."""
    return _create(f"{_job(job_id)}/extend", {"prompt": prompt, **fields})


def upgrade(job_id: str, resolution: str, fields: Mapping[str, Any]) -> Call[Accepted]:
    """A better copy."""
    return _create(f"{_job(job_id)}/upgrade", {"resolution": resolution, **fields})


def retrieve(job_id: str) -> Call[Job]:
    """A job."""
    return Call(Request(method="GET", path=_job(job_id)), _the_job)


def poll(job_id: str, *, version: int | None, wait: int) -> Call[Poll]:
    """A job, once it is another than this version or after so many seconds."""
    tag = {} if version is None else {"If-None-Match": f'"{version}"'}
    request = Request(
        method="GET",
        path=_job(job_id),
        params={"wait": wait} if wait else {},
        headers=tag,
        patience=max(wait + _SLACK_SECONDS, Request.patience),
    )
    return Call(request, _poll, also=frozenset({304}))


def _poll(response: httpx.Response) -> Poll:
    return Poll(None if response.status_code == 304 else _the_job(response), retry_after(response))


def events(job_id: str, *, after: str | None) -> Request:
    """The stream of what happens to a job."""
    resumed = {} if after is None else {"Last-Event-ID": after}
    return Request(method="GET", path=f"{_job(job_id)}/events", headers={"Accept": "text/event-stream"} | resumed)


def cancel(job_id: str) -> Call[Job]:
    """Take a job back; harmless to repeat."""
    return Call(Request(method="POST", path=f"{_job(job_id)}/cancel"), _the_job)


def timeline(job_id: str) -> Call[tuple[TimelineEntry, ...]]:
    """What happened to a job."""
    return Call(Request(method="GET", path=f"{_job(job_id)}/timeline"), _many(TimelineEntry, "events"))


def receipt(job_id: str) -> Call[Receipt]:
    """What a job cost."""
    return Call(Request(method="GET", path=f"{_job(job_id)}/receipt"), _one(Receipt))


def content(job_id: str, headers: Mapping[str, str]) -> Request:
    """A finished video's file, or a part of it, from the gateway: the key goes nowhere else."""
    plain = {"Accept-Encoding": "identity"}
    return Request(method="GET", path=f"/v1/videos/{quote(job_id, safe='')}/content", headers={**plain, **headers})


def jobs(filters: Mapping[str, Any], *, limit: int, cursor: str | None) -> Call[Page[Job]]:
    """A page of jobs."""
    said = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in filters.items()}
    return Call(Request(method="GET", path="/api/video/jobs", params=_page(said, limit, cursor)), _paged(Job, "jobs"))


def upload(image: str | os.PathLike[str] | bytes) -> Call[Image]:
    """Hand over an image, by its path or its bytes; harmless to repeat."""
    file = image if isinstance(image, bytes) else Path(image).read_bytes()
    return Call(Request(method="POST", path="/api/video/images", file=file, patience=_UPLOAD_SECONDS), _one(Image))


def balance(wallet: str) -> Call[int]:
    """Credits of a wallet."""
    return Call(Request(method="GET", path=_wallet(wallet)), lambda response: int(response.json()["credits"]))


def ledger(wallet: str, *, limit: int, cursor: str | None) -> Call[Page[LedgerEntry]]:
    """A page of a wallet's movements."""
    request = Request(method="GET", path=f"{_wallet(wallet)}/ledger", params=_page({}, limit, cursor))
    return Call(request, _paged(LedgerEntry, "entries"))


def prices() -> Call[tuple[Price, ...]]:
    """What everything costs."""
    return Call(Request(method="GET", path="/api/prices"), _many(Price, "prices"))


def _job(job_id: str) -> str:
    return f"/api/video/jobs/{quote(job_id, safe='')}"


def _wallet(address: str) -> str:
    return f"/api/wallets/{quote(address, safe='')}"


def _page(said: Mapping[str, Any], limit: int, cursor: str | None) -> dict[str, Any]:
    return {**said, "limit": limit} | ({} if cursor is None else {"cursor": cursor})


def _the_job(response: httpx.Response) -> Job:
    return Job.model_validate(response.json()["job"])


def _one(model: type[M]) -> Callable[[httpx.Response], M]:
    return lambda response: model.model_validate(response.json())


def _many(model: type[M], name: str) -> Callable[[httpx.Response], tuple[M, ...]]:
    return lambda response: tuple(model.model_validate(item) for item in response.json()[name])


def _paged(model: type[M], name: str) -> Callable[[httpx.Response], Page[M]]:
    return lambda response: Page(_many(model, name)(response), response.json()["next_cursor"])
