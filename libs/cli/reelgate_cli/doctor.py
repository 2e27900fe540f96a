"""`reelgate doctor`: whether everything a gateway needs is there, and why jobs wait when they do."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import asdict
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated

import aio_pika
import aiormq.exceptions
import asyncpg
import httpx
import typer

from reelgate_cli import bucket
from reelgate_cli.findings import Found, Look, bad, doubtful, good
from reelgate_common import audit, breaker, bus, migrations, topology
from reelgate_common.connection import TROUBLE, connect
from reelgate_common.db import Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.kie.client import KieClient
from reelgate_common.settings import (
    BadSettings,
    CallbackUrlSettings,
    KieSettings,
    PostgresSettings,
    RabbitSettings,
    load,
)

_SKEW_SECONDS = 30  # deadlines are minutes; the vendor's timestamps are believed for five
_OLD_SECONDS = 60  # a message that is due leaves the outbox within a second or two
_SECONDS = 10  # for each look


async def _database() -> AsyncIterator[Found]:
    settings = load(PostgresSettings)
    try:
        probe = await asyncpg.connect(settings.database_url.get_secret_value(), timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        yield bad("database", f"not reachable: {error or type(error).__name__}", "check DATABASE_URL and the server")
        return
    await probe.close()
    async with Database.open(settings) as db:
        try:
            await migrations.check(db)
        except migrations.SchemaMismatch as error:
            yield bad("schema", str(error), "run `reelgate migrate` of the newest release that is running")
            return
        yield good("schema", "as this release needs it")
        async for found in _in_database(db):
            yield found
        findings = await audit.verify(db)
        if findings:
            yield bad("ledger", f"{len(findings)} rules are broken", "see `reelgate ledger verify`")
        else:
            yield good("ledger", "every rule holds")


async def _in_database(db: Database) -> AsyncIterator[Found]:
    async with db.connection() as connection:
        skew = abs((await connection.fetchval("SELECT clock_timestamp()") - datetime.now(UTC)).total_seconds())
        trouble = await breaker.trouble(connection)
        [row] = await connection.fetch(
            """
            SELECT (SELECT count(*) FROM outbox WHERE available_at < now() - $1 * interval '1 s') AS late,
                   (SELECT count(*) FROM (SELECT FROM video_jobs WHERE status = 'pending' LIMIT 10000) AS p) AS pending,
                   (SELECT count(*) FROM (SELECT FROM video_jobs WHERE status = 'unknown' LIMIT 10000) AS u) AS unknown
            """,
            _OLD_SECONDS,
        )
        signed = await connection.fetch(
            # Only those that carry a call's own token: anybody can send others.
            """
            SELECT signature, count(*) AS count FROM callbacks
             WHERE received_at > now() - interval '1 day' AND token_ok AND signature IS NOT NULL
             GROUP BY signature
            """
        )
    yield _clock("clock of the database", skew)
    yield _signatures({row["signature"]: row["count"] for row in signed})
    if row["late"]:
        yield bad("outbox", f"{row['late']} messages should have left", "are the broker and the services up?")
    else:
        yield good("outbox", "nothing is late")
    if trouble:
        since = f"since {trouble.since:%Y-%m-%d %H:%M} UTC"
        yield bad(
            "sends", f"stopped {since}: {trouble.reason}", f"{row['pending']} jobs wait; they go on by themselves"
        )
    else:
        yield good("sends", f"go; {row['pending']} jobs wait for theirs")
    if row["unknown"]:
        yield doubtful(
            "unknown sends",
            f"of {row['unknown']} jobs nobody can say whether Kie.ai took them",
            "the callback tells, or SUBMIT_UNKNOWN_DEADLINE ends it; see the timeline of one",
        )


def _signatures(seen: dict[str, int]) -> Found:
    """What the day's webhooks say about KIE_WEBHOOK_HMAC_KEY."""
    total, right = sum(seen.values()), seen.get("good", 0)
    if not total:
        return good("webhook signatures", "none were checked today")
    if right == total:
        return good("webhook signatures", f"all {total} of today are good")
    others = ", ".join(f"{count} {name}" for name, count in sorted(seen.items()) if name != "good")
    fix = "missing: Kie.ai signs nothing yet; old: a clock is wrong" if right or "bad" not in seen else ""
    fix = fix or "KIE_WEBHOOK_HMAC_KEY is not the key of Kie.ai's settings page"
    return doubtful("webhook signatures", f"of {total} today {others}", fix)


def _clock(what: str, skew: float) -> Found:
    if skew > _SKEW_SECONDS:
        return bad(what, f"differs from this machine's by {skew:.0f} s", "run NTP on both")
    return good(what, "agrees with this machine's")


async def _broker() -> AsyncIterator[Found]:
    settings = load(RabbitSettings)
    try:
        async with connect(settings, "reelgate-doctor") as connection:
            missing = [name for name in _queues() if not await _stands(connection, name)]
            if missing:
                yield bad("topology", f"missing: {', '.join(missing)}", "run `reelgate topology repair`")
            else:
                yield await _same_arguments(connection)
            if topology.PARKED not in missing:
                yield await _parked(connection)
    except TROUBLE as error:
        yield bad("broker", f"not reachable: {error or type(error).__name__}", "check AMQP_URL and the server")


def _queues() -> list[str]:
    work = [name for queue in topology.QUEUES for name in (queue.name, queue.retry_name)]
    return [*work, topology.PARKED]


async def _stands(connection: aio_pika.abc.AbstractConnection, name: str) -> bool:
    async with connection.channel() as channel:
        try:
            await channel.declare_queue(name, passive=True)
        except aiormq.exceptions.ChannelNotFoundEntity:
            return False
    return True


async def _same_arguments(connection: aio_pika.abc.AbstractConnection) -> Found:
    try:
        await bus.declare(connection)  # changes nothing where everything stands
    except aiormq.exceptions.ChannelPreconditionFailed as error:
        return bad("topology", f"differs: {error}", "delete that queue when it is empty; the reconciler makes it anew")
    return good("topology", "as this release declares it")


async def _parked(connection: aio_pika.abc.AbstractConnection) -> Found:
    async with connection.channel() as channel:
        count = (await channel.declare_queue(topology.PARKED, passive=True)).declaration_result.message_count
    if count:
        return doubtful("dead letters", f"{count} messages failed every round", "see `reelgate dead-letters list`")
    return good("dead letters", "none")


async def _vendor() -> AsyncIterator[Found]:
    settings = load(KieSettings)
    async with KieClient.open(settings) as kie:
        balance = await kie.balance()
    if balance.credits is not None:
        yield good("Kie.ai", f"takes our key; {balance.credits:g} credits are left")
    else:
        said = f"{balance.code}: {balance.message}" if balance.code else "no usable answer"
        yield bad("Kie.ai", said, "check KIE_AI_API_KEY and KIE_AI_API_ENDPOINT")


async def _callback_url() -> AsyncIterator[Found]:
    """As Kie.ai would come; it is asked from here, so a firewall in between may still differ."""
    url = load(CallbackUrlSettings).callback_url
    try:
        async with httpx.AsyncClient(timeout=_SECONDS) as http:
            answer = await http.get(url)
    except httpx.HTTPError as error:
        yield bad("callback URL", f"{url} is not reachable: {error}", "check PUBLIC_BASE_URL, DNS, TLS, the gateway")
        return
    if answer.status_code != 200:
        yield bad("callback URL", f"{url} answers {answer.status_code}", "the path must reach the callback service")
        return
    yield good("callback URL", f"{url} reaches the callback service")
    if date := answer.headers.get("date"):
        yield _clock("clock of the gateway", abs(parsedate_to_datetime(date).timestamp() - time.time()))


_LOOKS: dict[str, Look] = {
    "database": _database,
    "broker": _broker,
    "Kie.ai": _vendor,
    "callback URL": _callback_url,
    "bucket": bucket.look,
}


async def _look(what: str, look: Look) -> list[Found]:
    found: list[Found] = []
    try:
        async with asyncio.timeout(_SECONDS * 3):
            found = [one async for one in look()]
    except BadSettings as problems:
        found.append(bad(what, f"bad settings: {str(problems).strip()}", "see .env.example"))
    except (Unavailable, TimeoutError) as error:
        found.append(bad(what, str(error) or "no answer in time", "is it up, and reachable from here?"))
    return found


async def _look_at_all() -> list[Found]:
    looks: list[Awaitable[list[Found]]] = [_look(what, look) for what, look in _LOOKS.items()]
    return [one for found in await asyncio.gather(*looks) for one in found]


_SIGNS = {"good": ("ok", typer.colors.GREEN), "doubtful": ("??", typer.colors.YELLOW), "bad": ("!!", typer.colors.RED)}


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Look at everything a gateway needs, with the settings of its services; exit code 1 when something is bad."""
    found = asyncio.run(_look_at_all())
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found]))
    for one in [] if as_json else found:
        sign, color = _SIGNS[one.state]
        typer.echo(f"{typer.style(sign, fg=color)}  {one.what}: {one.says}")
        if one.fix:
            typer.echo(f"      {one.fix}")
    if any(one.state == "bad" for one in found):
        raise typer.Exit(1)
