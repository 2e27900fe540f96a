"""`reelgate keys`: API keys, made, listed and revoked."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from reelgate_common import auth, grants, keys
from reelgate_common.db import Connection, Database
from reelgate_common.keys import Key
from reelgate_common.settings import PostgresSettings, load

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="API keys.")

AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]

_PAGE = 500


class Scope(StrEnum):
    """What a key may do; each includes the one before."""

    READ = auth.READ
    JOBS = auth.JOBS
    ADMIN = auth.ADMIN


def _in_transaction(act: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with Database.open(load(PostgresSettings)) as db, db.transaction() as tx:
            return await act(tx)

    return asyncio.run(run())


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for the list of keys.")],
    *,
    wallet: Annotated[list[str] | None, typer.Option(help="A wallet it may act for; repeat. Without: all.")] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="read: see. jobs: also create and change. admin: all. Without: jobs.")
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="The same as --scope jobs --scope admin.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Begin with rg_test_. A label, no more.")] = False,
    expires_days: Annotated[float | None, typer.Option(help="When it ends by itself. Without: never.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and show it, once."""
    if not (0 < len(name) <= 100 and name.isprintable()):
        raise typer.BadParameter("NAME must be 1-100 printable characters")
    for given in wallet or ():
        if not re.fullmatch(grants.WALLET, given):
            raise typer.BadParameter("--wallet must be 1-128 visible ASCII characters")
    scopes = list(dict.fromkeys([*(scope or ()), *((Scope.JOBS, Scope.ADMIN) if admin else ())])) or [Scope.JOBS]
    made, key = _in_transaction(
        lambda tx: keys.create_key(
            tx, name, scopes=scopes, wallets=wallet or None, expires_at=_after(expires_days), test=test
        )
    )
    if as_json:
        typer.echo(json.dumps({**asdict(made), "key": key}, default=str))
    else:
        typer.echo(f"{key}\nIt is shown only now: store it where secrets live.")


def _after(days: float | None) -> datetime | None:
    if days is None:
        return None
    try:
        if days > 0:
            return datetime.now(UTC) + timedelta(days=days)
    except (OverflowError, ValueError):  # beyond the calendar
        pass
    raise typer.BadParameter("--expires-days must be a number of days above 0")


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """Every key there is or was, the newest first."""
    found = _in_transaction(_all)
    if as_json:
        typer.echo(json.dumps([asdict(key) for key in found], default=str))
        return
    for key in found:
        typer.echo(_line(key))


async def _all(tx: Connection) -> list[Key]:
    found: list[Key] = []
    while page := await keys.list_keys(tx, before=found[-1].id if found else None, limit=_PAGE):
        found += page
    return found


def _line(key: Key) -> str:
    wallets = "every wallet" if key.wallets is None else f"{len(key.wallets)} wallets: {', '.join(key.wallets)}"
    parts = [f"{key.prefix or 'rg_'}…", str(key.id), key.name, ",".join(key.scopes), wallets]
    if key.revoked_at:
        parts.append(f"revoked {key.revoked_at:%Y-%m-%d %H:%M} UTC")
    elif key.expires_at:
        parts.append(f"expires {key.expires_at:%Y-%m-%d %H:%M} UTC")
    parts.append(f"used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never used")
    return "  ".join(parts)


@app.command()
def revoke(
    id: Annotated[UUID, typer.Argument(help="The key's id, as `reelgate keys list` shows it.")],  # noqa: A002
    *,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: the next request with it is refused."""
    if not _in_transaction(lambda tx: keys.revoke_key(tx, id)):
        typer.echo(f"there is no key {id}", err=True)
        raise typer.Exit(1)
    typer.echo(json.dumps({"id": str(id), "revoked": True}) if as_json else "revoked")
