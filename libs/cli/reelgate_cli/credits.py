"""`reelgate grant`: credits for a wallet, by hand."""

import asyncio
import json
import re
from dataclasses import asdict
from typing import Annotated

import typer

from reelgate_common import grants
from reelgate_common.db import Database
from reelgate_common.domain.errors import IdempotencyMismatch, InvalidInput
from reelgate_common.grants import Movement, Recorded
from reelgate_common.ids import new_id
from reelgate_common.settings import PostgresSettings, load


def grant(
    wallet: Annotated[str, typer.Argument(help="The wallet; opened if it was never seen.")],
    amount: Annotated[int, typer.Argument(min=1, max=grants.MAX_AMOUNT, help="Credits.")],
    *,
    reference: Annotated[
        str | None, typer.Option(help="The same one again grants nothing. Without: a new one.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="Shown in the wallet's ledger.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Give credits to a wallet."""
    if not re.fullmatch(grants.WALLET, wallet):
        raise typer.BadParameter("WALLET must be 1-128 visible ASCII characters")
    movement = Movement(
        wallet=wallet,
        amount=amount,
        reference=_text(reference, "--reference") or f"cli:{new_id()}",
        description=_text(description, "--description"),
    )
    try:
        recorded = asyncio.run(_grant(movement))
    except (IdempotencyMismatch, InvalidInput) as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(asdict(recorded), default=str))
        return
    said = "was granted before" if recorded.replayed else "granted"
    typer.echo(f"{said}: {amount} to {wallet}, reference {recorded.reference}")


async def _grant(movement: Movement) -> Recorded:
    async with Database.open(load(PostgresSettings)) as db, db.transaction() as tx:
        return await grants.grant(tx, movement)


def _text(value: str | None, name: str) -> str | None:
    if value is not None and not (0 < len(value) <= grants.MAX_TEXT and value.isprintable()):
        raise typer.BadParameter(f"{name} must be 1-{grants.MAX_TEXT} printable characters")
    return value
