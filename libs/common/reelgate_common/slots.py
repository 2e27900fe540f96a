"""A sliding window that every process shares: so many calls in so many seconds, of a table with a row for each.

A call takes the row used longest ago, if that was a window before. A row that another transaction is taking is
passed over, and everything is told by the database's clock.
"""

from dataclasses import dataclass

from reelgate_common.db import LAZILY, Connection

_LEAST_WAIT_SECONDS = 0.005  # a row locked by another frees itself within milliseconds


@dataclass(frozen=True)
class Window:
    """One limit of the vendor's, kept in one table."""

    take_sql: str
    wait_sql: str
    grow_sql: str
    used_sql: str

    @classmethod
    def of(cls, table: str, *, durable: bool) -> "Window":
        """The window that a table of (n, used_at) keeps. The name is one of ours, below.

        Where it is not durable, a server that dies may forget the calls of its last moment.
        """
        lazily, source = ("", table) if durable else (f"{LAZILY}, ", f"{table}, lazily")
        return cls(
            take_sql=f"""
                WITH {lazily}free AS (
                    SELECT n FROM {source}
                     WHERE n <= $1 AND used_at <= clock_timestamp() - $2 * interval '1 s'
                     ORDER BY used_at
                     LIMIT $3
                       FOR UPDATE OF {table} SKIP LOCKED
                ), taken AS (
                    UPDATE {table} SET used_at = clock_timestamp() FROM free WHERE {table}.n = free.n
                    RETURNING true
                )
                SELECT count(*) FROM taken
            """,  # noqa: S608
            wait_sql=f"""
                SELECT count(*) AS rows,
                       extract(epoch FROM min(used_at) - clock_timestamp())::float8 + $2 AS seconds
                  FROM {table}
                 WHERE n <= $1
            """,  # noqa: S608
            grow_sql=f"INSERT INTO {table} (n) SELECT generate_series(1, $1) ON CONFLICT DO NOTHING",
            used_sql=f"SELECT count(*) FROM {table} WHERE used_at > clock_timestamp() - $1 * interval '1 s'",  # noqa: S608
        )

    async def take(self, tx: Connection, *, count: int, seconds: float) -> float:
        """Take one of the window's calls: 0 when taken, else the seconds until one is free."""
        taken, wait = await self.take_up_to(tx, 1, count=count, seconds=seconds)
        return 0 if taken else wait

    async def take_up_to(self, tx: Connection, wanted: int, *, count: int, seconds: float) -> tuple[int, float]:
        """Take up to so many of the window's calls: how many, and the seconds until the next is free if too few."""
        taken: int = await tx.fetchval(self.take_sql, count, seconds, wanted)
        if taken == wanted:
            return taken, 0
        [free_in] = await tx.fetch(self.wait_sql, count, seconds)
        if free_in["rows"] < count:  # a new table, or a limit that was raised
            await tx.execute(self.grow_sql, count)
            taken += await tx.fetchval(self.take_sql, count, seconds, wanted - taken)
            return taken, _LEAST_WAIT_SECONDS
        return taken, max(float(free_in["seconds"]), _LEAST_WAIT_SECONDS)

    async def used(self, db: Connection, *, seconds: float) -> int:
        """How many of the window's calls were taken in it."""
        count: int = await db.fetchval(self.used_sql, seconds)
        return count


SENDS = Window.of("send_slots", durable=True)
QUERIES = Window.of("query_slots", durable=False)
