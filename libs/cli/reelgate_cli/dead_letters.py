"""`reelgate dead-letters`: what failed every round, seen and dealt with by hand."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from reelgate_common import parked
from reelgate_common.parked import Parked
from reelgate_common.settings import RabbitSettings, load

app = typer.Typer(no_args_is_help=True, help="Messages that failed every round and were parked.")

_Limit = Annotated[int, typer.Option(min=1, help="Look at this many at most.")]
_Id = Annotated[str | None, typer.Argument(help="The message's id.")]
_All = Annotated[bool, typer.Option("--all", help="Every message.")]
_Json = Annotated[bool, typer.Option("--json", help="For scripts.")]


@app.command("list")
def list_(*, limit: _Limit = 100, as_json: _Json = False) -> None:
    """Show parked messages, oldest first; they stay parked."""
    found = asyncio.run(parked.listed(load(RabbitSettings), limit=limit))
    if as_json:
        typer.echo(json.dumps([asdict(message) for message in found]))
        return
    table = Table("message", "from", "why", "body")
    for message in found:
        table.add_row(message.message_id, message.queue, message.reason, message.body[:200])
    Console().print(table if found else "nothing is parked")


@app.command()
def show(
    message_id: Annotated[str, typer.Argument(help="The message's id.")],
    *,
    limit: _Limit = 10_000,
    as_json: _Json = False,
) -> None:
    """Show one message whole: where it came from, why it was parked, and all it says; with --json its headers too."""
    for message in asyncio.run(parked.listed(load(RabbitSettings), limit=limit)):
        if message.message_id == message_id:
            as_text = f"from {message.queue}\nwhy  {message.reason}\n\n{message.body}"
            typer.echo(json.dumps(asdict(message)) if as_json else as_text)
            return
    raise _no_such_message()


@app.command()
def replay(message_id: _Id = None, *, everything: _All = False, limit: _Limit = 10_000) -> None:
    """Send a message back to the queue it came from, with its headers."""
    done = asyncio.run(parked.replay(load(RabbitSettings), wanted=_wanted(message_id, everything), limit=limit))
    if not everything and not done.count and not done.refused:
        raise _no_such_message()
    typer.echo(f"replayed {done.count}")
    for message in done.refused:
        typer.echo(f"refused {message.message_id}: {message.queue or 'no queue'} does not take it", err=True)
    if done.refused:
        raise typer.Exit(1)


@app.command()
def drop(message_id: _Id = None, *, everything: _All = False, limit: _Limit = 10_000) -> None:
    """Delete a message. Its job is healed from the database."""
    count = asyncio.run(parked.drop(load(RabbitSettings), wanted=_wanted(message_id, everything), limit=limit))
    if not everything and not count:
        raise _no_such_message()
    typer.echo(f"dropped {count}")


def _wanted(message_id: str | None, everything: bool) -> Callable[[Parked], bool]:
    if (message_id is None) != everything:
        raise typer.BadParameter("name one message, or say --all")
    return lambda message: everything or message.message_id == message_id


def _no_such_message() -> typer.Exit:
    typer.echo("no such message", err=True)
    return typer.Exit(1)
