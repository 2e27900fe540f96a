"""The outbox: messages written in the transaction that makes them true, published afterwards.

A row exists as long as its message is not confirmed by the broker, and a moment longer. Publishing and then
crashing before the delete publishes twice; consumers are idempotent, so that is harmless.

Two publish: a relay, which looks for rows, and on the way that jobs take the writer itself (`Relay.express`), which
has the message in its hands and need not look. Its rows are held back for a moment: should it die, a relay finds them.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import structlog

from reelgate_common import metrics, tracing
from reelgate_common.db import LAZILY, Connection, Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.messages import Event

log = structlog.get_logger(__name__)

BATCH = 100  # published in one go: more is no faster, and keeps the process from its requests meanwhile
_PASSES = 3  # at most, and a third of the connections: each has one as long as the broker takes to confirm
_PAUSE_SECONDS = 0.002  # between two looks: under load, what is committed meanwhile goes together
_IDLE_SECONDS = 0.5  # how soon another process's message is picked up when ours died
_AWAY_SECONDS = 1.0
# For its writer, which needs some milliseconds; longer than the 5 s after which a publish is given up, so that no two
# of one message are under way in a process: a channel tells them apart by their id.
HOLD = timedelta(seconds=6)
_MOST_IN_HAND = 1_000  # of messages whose writer waits for the broker; more are left to passes, which keep them on disk
_GATHER_SECONDS = 0.05  # rows of published messages go together: nobody waits for that
_LAST_SECONDS = 0.5  # at the end, for messages in hand


class Publisher(Protocol):
    """What the relay needs of the bus."""

    ready: asyncio.Event

    async def publish(self, *, routing_key: str, message_id: str, body: bytes, headers: dict[str, Any]) -> None:
        """Return when the broker has the message; NotTaken when it surely has not, else PublishFailed."""
        ...


class PublishFailed(Exception):
    """The broker is away or did not confirm; the message may or may not be there."""


class NotTaken(PublishFailed):
    """The broker is there and surely did not take the message: no queue for it, or a full one."""


@dataclass(frozen=True)
class Letter:
    """A message to store, the place in a trace where it was written, and how long it is held back."""

    message: Event
    place: str | None
    after: timedelta = timedelta(0)


@dataclass
class Express:
    """The messages of one transaction, for whoever writes them to publish after its commit.

    Their rows are held back so long; not at all when a relay is to publish them.
    """

    hold: timedelta
    letters: list["Letter"] = field(default_factory=list)

    def add(self, message: Event, place: str | None) -> None:
        """Have a message published that is written to the outbox with `hold`."""
        self.letters.append(Letter(message, place))


async def add(tx: Connection, message: Event, *, after: timedelta = timedelta(0)) -> None:
    """Store a message to be published once the transaction is committed, not before `after`.

    It belongs to its job's trace, whoever writes it: it names where we are only if that is in the same.
    """
    await add_all(tx, [Letter(message, tracing.current(), after)])


async def add_all(tx: Connection, letters: Sequence[Letter], *, express: Express | None = None) -> None:
    """As `add` for many at once. With `express` each is in its job's trace already, and none is held back by itself."""
    if express:
        express.letters += letters
        letters = [replace(letter, after=express.hold) for letter in letters]
    await tx.execute(
        """
        INSERT INTO outbox (event_id, routing_key, job_id, payload, available_at, headers)
        SELECT new.event_id, new.routing_key, new.job_id, new.payload, now() + new.after, jsonb_strip_nulls(
               jsonb_build_object('traceparent', CASE WHEN substr(job.traceparent, 4, 32) <> substr(new.place, 4, 32)
                                                      THEN job.traceparent
                                                      ELSE coalesce(new.place, job.traceparent) END))
          FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::jsonb[], $5::text[], $6::interval[])
               AS new(event_id, routing_key, job_id, payload, place, after)
          LEFT JOIN video_jobs job ON job.id = new.job_id
        """,
        [letter.message.event_id for letter in letters],
        [letter.message.routing_key for letter in letters],
        [letter.message.job_id for letter in letters],
        [letter.message.model_dump(mode="json") for letter in letters],
        [letter.place for letter in letters],
        [letter.after for letter in letters],
    )


class _NotAll(Exception):
    """Not everything that was taken out was published: the transaction is not to be committed."""


class _Batch:
    """Rows that were taken out of the outbox, and what became of them."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows
        self.confirmed: Sequence[int] = ()
        self.refused: Sequence[int] = ()  # surely not published
        self.unknown: BaseException | None = None  # why nobody knows of some

    def note(self, results: Sequence[BaseException | None]) -> None:
        """What became of each row: None when it was confirmed, else why not."""
        ended = list(zip((row["id"] for row in self.rows), results, strict=True))
        self.confirmed = [row_id for row_id, error in ended if error is None]
        self.refused = [row_id for row_id, error in ended if isinstance(error, NotTaken)]
        self.unknown = next((error for error in results if error and not isinstance(error, NotTaken)), None)

    def check(self) -> None:
        """Raise _NotAll unless each was published."""
        if len(self.confirmed) < len(self.rows):
            raise _NotAll


class Relay:
    """Publishes what waits in the outbox. Every service process runs one; they share the work.

    It works in passes. Some may be publishing while one looks: what was just committed does not wait for the broker
    to confirm what went before.
    """

    def __init__(self, db: Database, publisher: Publisher) -> None:
        self._db = db
        self._publisher = publisher
        self._woken = asyncio.Event()
        self._looking = asyncio.Lock()
        self._is_running = False
        self._in_hand: set[asyncio.Task[None]] = set()
        self._published: list[UUID] = []  # whose rows are still there
        self._some_published = asyncio.Event()

    @contextmanager
    def express(self) -> Iterator[Express]:
        """Around a transaction: what is added to this is published once the block has ended well.

        Where that is not possible just now, `hold` is zero and a relay does it.
        """
        may = self._is_running and self._publisher.ready.is_set() and len(self._in_hand) < _MOST_IN_HAND
        express = Express(HOLD if may else timedelta(0))
        yield express
        if not express.hold:
            self.wake()
            return
        for letter in express.letters:
            # In the context of none: an entry in the log shall not name the request of another.
            task = asyncio.get_running_loop().create_task(self._forward(letter), context=Context())
            self._in_hand.add(task)
            task.add_done_callback(self._in_hand.discard)

    async def _forward(self, letter: Letter) -> None:
        message = letter.message
        try:
            await self._publish(
                message.event_id,
                message.routing_key,
                message.job_id,
                message.model_dump_json().encode(),
                {"traceparent": letter.place} if letter.place else {},
            )
        except PublishFailed:
            return  # told; its row waits for a pass
        self._published.append(message.event_id)
        self._some_published.set()

    async def _remove_published(self) -> None:
        while True:
            await self._some_published.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._some_published.clear()
            try:
                await self._remove_now()
            except Unavailable as error:
                log.warning("published_rows_left", messages=len(self._published), error=str(error))

    async def _remove_now(self) -> None:
        published, self._published = self._published, []
        try:
            async with self._db.connection() as connection:
                await _remove_lazily(connection, published)
        except BaseException:
            self._published += published  # for the next time, which is no later than the next message
            raise

    def wake(self) -> None:
        """Say that a row was just committed, so it need not wait for the next sweep."""
        self._woken.set()

    async def run(self) -> None:
        """Sweep until cancelled; then messages in hand are given a moment to be published."""
        self._is_running = True
        try:
            async with asyncio.TaskGroup() as passes:
                for _ in range(max(1, min(_PASSES, self._db.size // 3))):
                    passes.create_task(self._sweep())
                passes.create_task(self._remove_published())
        finally:
            self._is_running = False
            if self._in_hand:
                await asyncio.wait(self._in_hand, timeout=_LAST_SECONDS)
            if self._published:
                with suppress(Unavailable):
                    await self._remove_now()

    async def _sweep(self) -> None:
        while True:
            try:
                await self._pass()
            except (Unavailable, PublishFailed) as error:
                log.warning("relay_paused", error=str(error))
                await asyncio.sleep(_AWAY_SECONDS)

    async def _pass(self) -> None:
        async with AsyncExitStack() as stack:
            async with self._looking:
                await asyncio.sleep(_PAUSE_SECONDS)  # here: what the last look found is being published meanwhile
                await self._until_there_may_be_some()
                await self._publisher.ready.wait()  # rows are left alone while the broker is away
                batch = await stack.enter_async_context(self._batch())
                if len(batch.rows) == BATCH:
                    self._woken.set()  # there may be more
            await self._publish_all(batch)

    async def _until_there_may_be_some(self) -> None:
        while not self._woken.is_set():
            seconds = _IDLE_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 -- spreads replicas, keeps no secret
            try:
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            except TimeoutError:
                async with self._db.connection() as connection:
                    if await connection.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE available_at <= now())"):
                        return
        self._woken.clear()

    async def run_once(self) -> int:
        """Publish one batch; return how many rows the broker confirmed.

        PublishFailed when the broker is away; rows it refused for sure are only put off.
        """
        async with self._batch() as batch:
            await self._publish_all(batch)
        return len(batch.confirmed)

    @asynccontextmanager
    async def _batch(self) -> AsyncIterator["_Batch"]:
        """Rows that are gone at the end of the block, but for those that are found not to be published.

        The transaction stays open while publishing: it is the lock on the rows. Publishing has its own 5 s limit.
        """
        try:
            async with self._db.transaction() as tx:
                batch = _Batch(await _take(tx))
                yield batch
                batch.check()
        except _NotAll:
            async with self._db.transaction() as tx:
                await _remove(tx, batch.confirmed)
                await _put_off(tx, batch.refused)
            if batch.unknown:
                raise batch.unknown from None

    async def _publish_all(self, batch: "_Batch") -> None:
        results = await asyncio.gather(
            *(
                self._publish(row["event_id"], row["routing_key"], row["job_id"], row["body"].encode(), row["headers"])
                for row in batch.rows
            ),
            return_exceptions=True,
        )
        batch.note(results)

    async def _publish(
        self, event_id: UUID, routing_key: str, job_id: UUID, body: bytes, headers: dict[str, str]
    ) -> None:
        headers = headers | {"correlation_id": str(job_id)}
        about = {
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "send",
            "messaging.destination.name": routing_key,
            "messaging.message.id": str(event_id),
            "reelgate.job_id": str(job_id),
        }
        name = f"publish {routing_key}"
        try:
            with tracing.span(name, "producer", of=tracing.sane(headers.get("traceparent")), attributes=about):
                if place := tracing.current():
                    headers["traceparent"] = place
                await self._publisher.publish(
                    routing_key=routing_key, message_id=str(event_id), body=body, headers=headers
                )
        except PublishFailed as error:
            metrics.publish_failures.labels(routing_key).inc()
            log.warning("publish_failed", event_id=str(event_id), error=str(error))
            raise
        metrics.published.labels(routing_key).inc()


async def _take(tx: Connection) -> Sequence[Any]:
    """Take up to a batch of what is due out of the outbox, so that it is gone when the transaction ends well.

    What a commit that did not reach the disk loses is published twice.
    """
    rows: Sequence[Any] = await tx.fetch(
        f"""
        WITH {LAZILY}, due AS (
            SELECT id FROM outbox, lazily
             WHERE available_at <= now()
             ORDER BY available_at, id
             LIMIT {BATCH} -- a planner that does not know it reads the whole table
               FOR UPDATE OF outbox SKIP LOCKED
        )
        DELETE FROM outbox USING due WHERE outbox.id = due.id
        RETURNING outbox.id, event_id, routing_key, job_id, payload::text AS body, headers
        """  # noqa: S608
    )
    return rows


async def _remove(tx: Connection, ids: Sequence[int]) -> None:
    await tx.execute("DELETE FROM outbox WHERE id = ANY($1)", ids)


async def _remove_lazily(db: Connection, event_ids: Sequence[UUID]) -> None:
    """Remove rows whose messages the broker has, but for those that a relay holds: it publishes them once more.

    What a commit that did not reach the disk loses is published twice, too.
    """
    await db.execute(
        f"""
        WITH {LAZILY}, gone AS (
            SELECT outbox.id
              FROM unnest($1::uuid[]) AS published(event_id) JOIN outbox USING (event_id), lazily
               FOR UPDATE OF outbox SKIP LOCKED
        )
        DELETE FROM outbox USING gone WHERE outbox.id = gone.id
        """,  # noqa: S608
        event_ids,
    )


async def _put_off(tx: Connection, ids: Sequence[int]) -> None:
    """Back off, so that one unroutable message is not first in every batch."""
    await tx.execute(
        """
        UPDATE outbox
           SET attempts = attempts + 1, available_at = now() + least(power(2, attempts), 60) * interval '1 s'
         WHERE id = ANY($1)
        """,
        ids,
    )
