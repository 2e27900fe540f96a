"""Forward-only SQL migrations, applied under a lock, and the check that services start with."""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from importlib import resources

import asyncpg

from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import Busy

# Any constant will do, so long as every migrate step uses the same one.
_LOCK = 0x5EE16A7E

_PATIENCE_SECONDS = 3600  # a migration of a large table, or another's that is waited for

# A change of a table waits for whoever reads or writes it, and all who come later wait behind it. It gives way before
# a request gives up (`lock_timeout` in db.py), lets them pass, and tries again.
_LOCK_SECONDS = 2
_PAUSE_SECONDS = 1.0
_TRIES = 200

_NAME = re.compile(r"(\d{4})_\w+\.sql")


class SchemaMismatch(Exception):
    """The database's schema is not one this code knows; the message says what to run."""


@dataclass(frozen=True)
class Migration:
    """One numbered file. `expands`: code from before it keeps working (the rolling-upgrade rule)."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Tells an edited migration from the one that was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def expands(self) -> bool:
        """Whether the file says, in a line of its own, `-- Old code keeps working.`."""
        return "\n-- Old code keeps working.\n" in self.sql


def known() -> list[Migration]:
    """Every migration this code was written with, in order."""
    files = resources.files("reelgate_common").joinpath("sql").iterdir()
    found = [(match, file) for file in files if (match := _NAME.fullmatch(file.name))]
    return sorted(
        (Migration(int(match[1]), file.name, file.read_text("utf-8")) for match, file in found),
        key=lambda migration: migration.version,
    )


async def migrate(db: Database) -> list[str]:
    """Apply what is missing, each in its own transaction; return the names applied.

    Busy when a table was in use all the time: what was applied before stays.
    """
    return [migration.name for migration in known() if await _apply_patiently(db, migration)]


async def _apply_patiently(db: Database, migration: Migration) -> bool:
    for _ in range(_TRIES - 1):
        try:
            return await _apply(db, migration)
        except Busy:
            await asyncio.sleep(_PAUSE_SECONDS)
    return await _apply(db, migration)


async def _apply(db: Database, migration: Migration) -> bool:
    """Apply one; False when it was applied before."""
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        await tx.execute("SELECT pg_advisory_xact_lock($1)", _LOCK, timeout=_PATIENCE_SECONDS)
        await tx.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                version    integer PRIMARY KEY,
                name       text NOT NULL,
                checksum   text NOT NULL,
                expands    boolean NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )
        checksum = await tx.fetchval("SELECT checksum FROM schema_migrations WHERE version = $1", migration.version)
        if checksum is not None:
            _same(migration, checksum)
            return False
        await _run(tx, migration)
        return True


async def _run(tx: Connection, migration: Migration) -> None:
    await tx.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
    await tx.execute(migration.sql, timeout=_PATIENCE_SECONDS)
    await tx.execute(
        "INSERT INTO schema_migrations (version, name, checksum, expands) VALUES ($1, $2, $3, $4)",
        migration.version,
        migration.name,
        migration.checksum,
        migration.expands,
    )


def _same(migration: Migration, checksum: str) -> None:
    if checksum != migration.checksum:
        raise SchemaMismatch(f"{migration.name} was edited after it had been applied: write a new migration")


async def check(db: Database) -> None:
    """Raise SchemaMismatch unless the schema is the one this code knows, or a compatible newer one."""
    ours = known()[-1].version
    try:
        async with db.connection() as connection:
            rows = await connection.fetch("SELECT version, expands FROM schema_migrations ORDER BY version")
    except asyncpg.UndefinedTableError:
        rows = []
    newest = rows[-1]["version"] if rows else 0
    if newest < ours:
        raise SchemaMismatch(f"the database has schema {newest}, this code needs {ours}: run `reelgate migrate`")
    breaking = [row["version"] for row in rows if row["version"] > ours and not row["expands"]]
    if breaking:
        raise SchemaMismatch(f"the database has schema {newest}, this code knows {ours}: run a newer release")
