"""A host of videos that misbehaves as told, a bucket that is a folder, and what copies from one to the other."""

import asyncio
import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from serving import serving

from reelgate_common.custody.store import Store, key_of
from reelgate_common.domain.job import JobStatus
from reelgate_common.strangers import open_resolver
from reelgate_common.video_files import VideoFiles
from reelgate_reconciler.custody import download
from reelgate_reconciler.custody.copier import Copier
from reelgate_reconciler.custody.keeper import Keeper
from reelgate_reconciler.settings import Settings

MOVIE = b"\x00\x00\x00\x18ftypmp42" + random.Random(1).randbytes(300_000)


@dataclass
class Host:
    """Where Kie.ai keeps videos: one movie, under every path."""

    url: str = ""
    movie: bytes = MOVIE
    kind: str | None = "video/mp4"
    etag: str | None = '"one"'
    tells_length: bool = True
    tells_too_much: int = 0  # bytes that never come
    status: int = 200
    breaks: list = field(default_factory=list)  # bytes after which the next answers break off
    takes_up: bool = True  # understands Range
    hold: asyncio.Event | None = None  # the next answer stops half way until it is set
    held: asyncio.Event = field(default_factory=asyncio.Event)
    holds: list = field(default_factory=list)
    asked: list = field(default_factory=list)  # headers of each request
    repeat: int = 1  # the movie is so many times as long
    piece: int = 10_000
    etags: list = field(default_factory=list)  # given in turn, then `etag`

    async def __call__(self, scope, receive, send):
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(headers)
        self.etag = self.etags.pop(0) if self.etags else self.etag
        if self.status != 200:
            await send({"type": "http.response.start", "status": self.status, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        total = len(self.movie) * self.repeat
        first = int(headers["range"].removeprefix("bytes=").rstrip("-")) if self._is_part(headers) else 0
        told = {"content-type": self.kind, "etag": self.etag}
        if self.tells_length:
            told["content-length"] = str(total - first + self.tells_too_much)
        if first:
            told["content-range"] = f"bytes {first}-{total - 1}/{total}"
        lines = [(name.encode(), value.encode()) for name, value in told.items() if value is not None]
        await send({"type": "http.response.start", "status": 206 if first else 200, "headers": lines})
        await self._give(send, first, total)

    def _is_part(self, headers):
        return self.takes_up and "range" in headers and headers.get("if-range", self.etag) == self.etag

    async def _give(self, send, first, total):
        end = first + self.breaks.pop(0) if self.breaks else total
        hold, self.hold = self.hold, None
        self.holds.append(hold or asyncio.Event())
        for at in range(first, end, self.piece):
            if hold and at >= total / 2 and not hold.is_set():
                self.held.set()
                await hold.wait()
            body = self._bytes(at, min(at + self.piece, end))
            await send(
                {"type": "http.response.body", "body": body, "more_body": at + self.piece < total or end < total}
            )
        # A response that ends early is one whose connection is closed: uvicorn sees to that.

    def _bytes(self, first, last):
        size = len(self.movie)
        return bytes(self.movie[first % size : first % size + last - first]).ljust(last - first, b"\0")


@pytest.fixture
async def host():
    made = Host()
    async with serving(made, lifespan="off") as made.url:
        yield made
        for hold in made.holds:  # nothing is served any more, and the server waits for its answers
            hold.set()


@pytest.fixture
def movie():
    return MOVIE


@pytest.fixture
def bucket(tmp_path):
    """The folder that is the bucket."""
    return tmp_path / "bucket"


@pytest.fixture
def store(bucket):
    return Store.open(f"file://{bucket}")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(download, "_PAUSE_SECONDS", 0)


@pytest.fixture
def settings(database_url, bucket):
    def make(**overrides):
        values = {
            "database_url": database_url,
            "amqp_url": "amqp://nobody",
            "kie_ai_api_key": "kie-key",
            "public_base_url": "https://videos.example",
            "custody_url": f"file://{bucket}",
        }
        return Settings(**values | overrides)

    return make


@pytest.fixture
async def files(host):
    async with open_resolver() as resolver, VideoFiles.open(resolver, trusted=host.url) as opened:
        yield opened


@pytest.fixture
def make_copier(db, store, files, settings):
    def make(*, store=store, **overrides):
        return Copier(db, store, files, settings(**overrides))

    return make


@pytest.fixture
def copier(make_copier):
    return make_copier()


@pytest.fixture
def keeper(db, store):
    return Keeper(db, store)


@pytest.fixture
def make_video(make_job, stored, host):
    """A job that is completed, whose video is on the host."""

    async def make(url=None, **overrides):
        job = await make_job(JobStatus.COMPLETED, **overrides)
        await stored.run(
            "UPDATE video_jobs SET video_url = $2 WHERE id = $1", job.id, url or f"{host.url}/{job.id}.mp4"
        )
        return await stored.job(job.id)

    return make


@pytest.fixture
async def video(make_video):
    return await make_video()


@pytest.fixture
def row(stored):
    """What is known of a video's custody."""

    async def look(job):
        [found] = await stored.rows("SELECT * FROM videos WHERE job_id = $1", job.id)
        return found

    return look


@pytest.fixture
def pass_time(stored):
    """Let what was put off be due, and make the video older."""

    async def do(job, *, days=0):
        await stored.run(
            """
            UPDATE videos SET due_at = now(), completed_at = completed_at - $2 * interval '1 day'
             WHERE job_id = $1 AND due_at IS NOT NULL
            """,
            job.id,
            days,
        )

    return do


@pytest.fixture
def in_bucket(bucket):
    """The file of a job's video in the bucket; None: there is none."""

    def look(job) -> bytes | None:
        file = Path(bucket, key_of(job.id))
        return file.read_bytes() if file.exists() else None

    return look


@pytest.fixture
def everything(bucket):
    """Every file in the bucket, also what is half written."""
    return lambda: sorted(path.name for path in bucket.rglob("*") if path.is_file())


@pytest.fixture
def sha256():
    return lambda data: hashlib.sha256(data).digest()
