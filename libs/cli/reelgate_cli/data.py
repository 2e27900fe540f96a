"""`reelgate archive`, `prune` and `erase`: what is kept leaves, into a file or for good (docs/data.md)."""

import asyncio
import gzip
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from reelgate_common import archive as archives
from reelgate_common import erasure, grants, parked
from reelgate_common.archive import BadArchive
from reelgate_common.connection import TROUBLE
from reelgate_common.db import Connection, Database
from reelgate_common.erasure import NotErasable
from reelgate_common.settings import PostgresSettings, RabbitSettings, load

AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]

_PARKED = 10_000  # messages looked at; so many are never parked without an alert


def archive(
    *,
    to: Annotated[str, typer.Option(help="The file to write, which must not be there yet; -: standard output.")],
    before: Annotated[datetime | None, typer.Option(help="Finished jobs that ended before then (UTC).")] = None,
    wallet: Annotated[str | None, typer.Option(help="Instead: every job of this wallet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write jobs into a gzip file, one a line, as JSON. Nothing is deleted: that is `reelgate prune`."""
    if (before is None) == (wallet is None):
        raise typer.BadParameter("give either --before or --wallet")
    count = asyncio.run(_archive(to, before=before, wallet=_wallet(wallet) if wallet is not None else None))
    shown = json.dumps({"file": to, "jobs": count}) if as_json else f"wrote {count} jobs to {to}"
    typer.echo(shown, err=to == "-")


async def _archive(to: str, *, before: datetime | None, wallet: str | None) -> int:
    async with Database.open(load(PostgresSettings)) as db:
        if wallet is not None:
            lines = archives.jobs_of_wallet(db, wallet)
        else:
            lines = archives.old_jobs(db, before=(before or datetime.now(UTC)).replace(tzinfo=UTC))
        if to == "-":
            with gzip.open(sys.stdout.buffer, "wt", encoding="utf-8") as out:
                return await _write(lines, out)
        with _whole(Path(to)) as out:
            return await _write(lines, out)


async def _write(lines: AsyncIterator[str], out: IO[str]) -> int:
    count = 0
    async for line in lines:
        out.write(line + "\n")
        count += 1
    return count


@contextmanager
def _whole(path: Path) -> Iterator[Any]:
    """A new gzip file that is on disk when it has its name, and readable by its owner only; else it is not there."""
    if path.exists():
        raise typer.BadParameter(f"{path} is there already")
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    with draft.open("wb") as file:
        with gzip.open(file, "wt", encoding="utf-8") as out:
            yield out
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def prune(
    file: Annotated[Path, typer.Argument(help="What `reelgate archive` wrote.", exists=True, dir_okay=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """Delete exactly the finished jobs that an archive holds; the ledger stays. Can be run again."""
    try:
        gone, named = asyncio.run(_with_database(lambda db: archives.prune(db, file)))
    except BadArchive as bad:
        raise _refused(bad) from None
    if as_json:
        typer.echo(json.dumps({"deleted": gone, "named": named}))
    else:
        typer.echo(
            f"deleted {gone} of the {named} jobs in {file}; the others are needed still, changed, or gone before"
        )


def erase(
    wallet: Annotated[str, typer.Argument(help="The wallet, as its jobs name it.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is kept of it.")] = False,
    forfeit_credits: Annotated[
        bool, typer.Option("--forfeit-credits", help="Its balance is lost, and booked as an adjustment.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Forget a wallet for good: jobs, keys, sessions. Its ledger stays under a name that leads to nobody."""
    _wallet(wallet)
    if dry_run:
        _show(asyncio.run(_with_database(lambda db: _look(db, wallet))), as_json=as_json)
        return
    try:
        erased = asyncio.run(_with_database(lambda db: _erase(db, wallet, forfeit_credits=forfeit_credits)))
    except NotErasable as refused:
        raise _refused(refused) from None
    _show(erased, as_json=as_json)
    if erased["parked_messages"] is None:
        typer.echo("the broker is away: run this again for what is parked there", err=True)
        raise typer.Exit(1)


async def _look(db: Database, wallet: str) -> dict[str, Any]:
    async with db.connection() as connection:
        return asdict(await erasure.look(connection, wallet))


async def _erase(db: Database, wallet: str, *, forfeit_credits: bool) -> dict[str, Any]:
    broker = load(RabbitSettings)
    try:
        erased = await erasure.erase(db, wallet, forfeit_credits=forfeit_credits)
    except NotErasable:
        await _try_to_drop_parked(db, broker)  # an earlier call may have come so far and no further
        raise
    return asdict(erased) | {"parked_messages": await _try_to_drop_parked(db, broker)}


async def _try_to_drop_parked(db: Database, broker: RabbitSettings) -> int | None:
    """As below; None when the broker is away, which must not hide what was done to the database."""
    try:
        return await _drop_parked(db, broker)
    except TROUBLE:
        return None


async def _drop_parked(db: Database, broker: RabbitSettings) -> int:
    """Delete parked messages about jobs that are no more; return how many."""
    named = {message.job_id for message in await parked.listed(broker, limit=_PARKED)} - {None}
    async with db.connection() as connection:
        gone = named - await _there(connection, list(named))
    return await parked.drop(broker, wanted=lambda message: message.job_id in gone, limit=_PARKED) if gone else 0


async def _there(db: Connection, job_ids: list[Any]) -> set[Any]:
    return {row["id"] for row in await db.fetch("SELECT id FROM video_jobs WHERE id = ANY($1)", job_ids)}


async def _with_database(act: Callable[[Database], Any]) -> Any:
    async with Database.open(load(PostgresSettings)) as db:
        return await act(db)


def _wallet(name: str) -> str:
    if not re.fullmatch(grants.WALLET, name):
        raise typer.BadParameter("a wallet is 1-128 visible ASCII characters")
    return name


def _show(what: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(what, default=str))
        return
    for name, value in what.items():
        shown = ", ".join(map(str, value)) or "none" if isinstance(value, list) else value
        typer.echo(f"{name.replace('_', ' ')}: {shown}")


def _refused(reason: Exception) -> typer.Exit:
    typer.echo(str(reason), err=True)
    return typer.Exit(1)
