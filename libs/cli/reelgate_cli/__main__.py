"""The `reelgate` command: what callers and operators do by hand."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

import asyncpg
import typer

from reelgate_cli import credits as credit_commands
from reelgate_cli import data, dead_letters, doctor, keys, videos
from reelgate_common import audit, breaker, bus, logs, migrations, restored
from reelgate_common.connection import TROUBLE, connect
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.service import stop_on_sigterm
from reelgate_common.settings import BadSettings, JobSettings, LogSettings, PostgresSettings, RabbitSettings, load

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True, add_completion=True, help="Make videos with a Reelgate gateway, and operate one."
)
topology_app = typer.Typer(no_args_is_help=True, help="The broker's exchanges and queues.")
app.add_typer(topology_app, name="topology")
ledger_app = typer.Typer(no_args_is_help=True, help="The books.")
app.add_typer(keys.app, name="keys")
app.add_typer(ledger_app, name="ledger")
app.add_typer(dead_letters.app, name="dead-letters")
app.command()(credit_commands.grant)
app.command()(doctor.doctor)
app.command()(data.archive)
app.command()(data.prune)
app.command()(data.erase)
videos.register(app)


@app.callback()
def configure() -> None:
    """Speak like the services do."""
    settings = load(LogSettings)
    logs.configure("cli", level="CRITICAL", form=settings.log_format)
    logging.disable()  # what goes wrong is said by the command; its output may be read by a script


@app.command()
def migrate() -> None:
    """Bring the database's schema and the broker's topology up to this release."""
    names = asyncio.run(_migrate())
    for name in names:
        typer.echo(f"applied {name}")
    typer.echo("schema is up to date")
    _declare()


async def _migrate() -> list[str]:
    async with Database.open(load(PostgresSettings)) as db:
        return await migrations.migrate(db)


@app.command()
def pause(
    *,
    reason: Annotated[str | None, typer.Option(help="Shown in /readyz for as long as it lasts.")] = None,
    of_restore: Annotated[
        bool,
        typer.Option("--restored", help="Instead: the database was restored, and `reelgate restored` is to come."),
    ] = False,
) -> None:
    """Stop all sends to Kie.ai. Jobs are still accepted and wait; what was sent before is finished."""
    if (reason is not None) == of_restore:
        raise typer.BadParameter("give either --reason or --restored")
    if reason is not None:
        asyncio.run(_in_transaction(lambda tx: breaker.pause(tx, reason)))
    else:
        asyncio.run(_in_transaction(breaker.pause_for_restore))
    typer.echo(f"paused: nothing is sent until `reelgate {'restored' if of_restore else 'resume'}`")


@app.command()
def resume() -> None:
    """Let sends go on after `reelgate pause`."""
    was_paused, left = asyncio.run(_in_transaction(_resume))
    if left:
        typer.echo(f"sends stay stopped: {left.reason}", err=True)
        raise typer.Exit(1)
    typer.echo("sends go on" if was_paused else "nothing was paused")


async def _resume(tx: Connection) -> tuple[bool, breaker.Trouble | None]:
    was_paused = await breaker.resume(tx)
    is_restored = await breaker.lock_restore(tx) is not None
    return was_paused, await breaker.trouble(tx) if is_restored else None


@app.command("restored")
def take_up_again(
    *,
    nothing_sent: Annotated[
        bool, typer.Option("--nothing-sent", help="All was stopped before the backup: pending jobs were never sent.")
    ] = False,
) -> None:
    """After a backup was restored: doubt the jobs that may have been sent since it was taken, then let sends go on."""
    try:
        count, paused = asyncio.run(_take_up_again(nothing_sent=nothing_sent))
    except restored.NotRestored as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{count} pending jobs may have been sent: refunded at the deadline" if count else "no job is in doubt")
    typer.echo(f"sends stay paused until `reelgate resume`: {paused}" if paused else "sends go on")


async def _take_up_again(*, nothing_sent: bool) -> tuple[int, str | None]:
    async with Database.open(load(PostgresSettings)) as db:
        count = 0 if nothing_sent else await restored.doubt_pending(db, load(JobSettings))
        return count, await restored.resume(db)


@app.command()
def simulator() -> None:
    """Run the stand-in for Kie.ai, by its own settings (docs/simulator.md)."""
    os.execv(sys.executable, [sys.executable, "-m", "reelgate_simulator"])  # noqa: S606 -- so that signals reach it


async def _in_transaction(act: Callable[[Connection], Awaitable[T]]) -> T:
    async with Database.open(load(PostgresSettings)) as db, db.transaction() as tx:
        return await act(tx)


@topology_app.command("repair")
def repair() -> None:
    """Declare every exchange, queue and binding that is missing."""
    _declare()


def _declare() -> None:
    asyncio.run(_declare_all())
    typer.echo("topology is up to date")


async def _declare_all() -> None:
    async with connect(load(RabbitSettings), "reelgate-cli") as connection:
        await bus.declare(connection)


@ledger_app.command("verify")
def verify(*, as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Check every balance and every job against the ledger; exit code 1 when a rule is broken."""
    findings = asyncio.run(_verify())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    for finding in [] if as_json else findings:
        typer.echo(f"{finding.rule}: {finding.subject}: {finding.detail}")
    if findings:
        raise typer.Exit(1)
    if not as_json:
        typer.echo("every rule holds")


async def _verify() -> list[audit.Finding]:
    async with Database.open(load(PostgresSettings)) as db:
        return await audit.verify(db)


def main() -> None:
    """Run the command; bad settings end with a line each, not a stack trace."""
    stop_on_sigterm()
    try:
        app()
    except BadSettings as problems:
        raise SystemExit(f"Bad settings:\n{problems}") from None
    except TROUBLE as error:
        raise SystemExit(f"The broker is not reachable: {error}") from None
    except (migrations.SchemaMismatch, Unavailable, asyncpg.PostgresError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
