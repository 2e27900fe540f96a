"""PostgreSQL: the pool, and the only way to a transaction."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from reelgate_common import metrics
from reelgate_common.domain.errors import Busy, Unavailable
from reelgate_common.settings import PostgresSettings

log = structlog.get_logger(__name__)

Connection = PoolConnectionProxy

# The first of a statement's CTEs, read by one of the others: the commit does not wait for the disk. For what does no
# harm when a server that dies forgets it; the transaction must hold nothing else.
LAZILY = "lazily AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))"

# For a service whose statements find what they want by index, whatever the values: each is planned once and for some
# minutes, not at every call, which takes as long as running it, and goes by index also where its tables were small
# at that moment. A LIMIT that is an argument is planned for a tenth of all rows: write it out where that matters.
_FIXED_PLANS = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}

# The database is away, overloaded or asks for another try: nothing of the transaction was kept.
# (Whether a COMMIT that lost its answer was kept nobody knows; every caller may be run again.)
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # the server's goodbye crossed our statement
    asyncpg.OperatorInterventionError,  # shutdown, crash recovery, statement timeout
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.ReadOnlySQLTransactionError,  # a standby after a failover
    asyncpg.InvalidCachedStatementError,  # an upgrade changed a table; the next try reads it anew
)
# Another transaction has what we need, or needs what we have: a lock that was not free in time, a deadlock.
_HELD = (asyncpg.LockNotAvailableError, asyncpg.TransactionRollbackError)

_FIRST_RETRY_SECONDS = 0.2
_LAST_RETRY_SECONDS = 5.0
_WATCH_SECONDS = 5.0


def _is_away(error: BaseException) -> bool:
    if isinstance(error, asyncpg.DataError):  # our own wrong argument, though an InterfaceError too
        return False
    return isinstance(error, _AWAY) or (isinstance(error, asyncpg.InterfaceError) and "closed" in str(error))


def _as_known(error: Exception) -> Unavailable | None:
    """What another try may mend; None for a mistake of ours."""
    if isinstance(error, _HELD):
        return Busy("the database is busy: others held what we need")
    return Unavailable(f"the database is away: {type(error).__name__}") if _is_away(error) else None


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


class Database:
    """A pool of connections with limits on every wait."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, acquire_seconds: float) -> None:
        self._pool = pool
        self._acquire_seconds = acquire_seconds

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: PostgresSettings, *, fixed_plans: bool = False) -> AsyncIterator[Self]:
        """Connect, waiting for a database that is not there yet; close at the end."""
        pool = await _connect(settings, _FIXED_PLANS if fixed_plans else {})
        metrics.pool_size.inc(settings.database_pool_size)
        metrics.database_up.set(1)
        try:
            yield cls(pool, acquire_seconds=settings.database_acquire_seconds)
        finally:
            metrics.pool_size.dec(settings.database_pool_size)
            try:
                await asyncio.wait_for(pool.close(), timeout=5)
            except TimeoutError:
                pool.terminate()

    @property
    def size(self) -> int:
        """The most connections there are."""
        return self._pool.get_max_size()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Commit on a clean exit, roll back on any exception; Unavailable when the database is away."""
        try:
            async with self._acquired() as connection, connection.transaction():
                yield connection
        except Exception as error:
            if known := _as_known(error):
                raise known from error
            raise

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One statement that is its own transaction: saves the round trips of BEGIN and COMMIT."""
        try:
            async with self._acquired() as connection:
                yield connection
        except Exception as error:
            if known := _as_known(error):
                raise known from error
            raise

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        with metrics.pool_waiting.track_inprogress():
            connection = await self._pool.acquire(timeout=self._acquire_seconds)
        try:
            with metrics.pool_used.track_inprogress():
                yield connection
        finally:
            await self._pool.release(connection)

    async def ping(self) -> None:
        """Raise Unavailable when the database does not answer."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def watch(self) -> None:
        """Show whether it answers, until cancelled: also while nobody asks for anything, and nothing fails."""
        while True:
            try:
                await self.ping()
            except Unavailable:
                metrics.database_up.set(0)
            else:
                metrics.database_up.set(1)
            await asyncio.sleep(_WATCH_SECONDS)


async def _keep(_: Any) -> None:
    """Give a connection back as it is: nothing here sets session state, and resetting is a round trip."""


async def _connect(settings: PostgresSettings, planning: dict[str, str]) -> "asyncpg.Pool[asyncpg.Record]":
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            return await asyncpg.create_pool(
                settings.database_url.get_secret_value(),
                min_size=1,
                max_size=settings.database_pool_size,
                timeout=5,
                command_timeout=settings.database_command_seconds,
                init=_prepare,
                reset=_keep,
                server_settings={
                    "application_name": "reelgate",
                    "statement_timeout": str(int(settings.database_command_seconds * 1000)),
                    "lock_timeout": "5000",
                    "idle_in_transaction_session_timeout": "30000",
                    "timezone": "UTC",
                    **planning,
                },
            )
        except Exception as error:
            if not _is_away(error):
                raise
            log.warning("database_unreachable", error=type(error).__name__, retry_seconds=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_RETRY_SECONDS)
