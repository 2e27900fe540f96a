"""The client against a whole local stack."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import local_stack
import pytest
from fault_proxy import FaultProxy
from yarl import URL

from reelgate_client import AsyncClient, Client


@pytest.fixture(scope="session")
def stack():
    """Signup gives a new wallet 1000 credits."""
    settings = {"KIE_SENDS_PER_WINDOW": "1000", "RATE_LIMIT_PER_WALLET": "60"}
    with local_stack.running("client", **settings) as stack:
        yield stack


@pytest.fixture
def url(stack):
    return stack.env["API_URL"]


@pytest.fixture
def key(stack):
    return stack.env["API_KEY"]


@pytest.fixture
def make_key(stack):
    """A key for these wallets only."""

    def make(*wallets):
        named = [word for wallet in wallets for word in ("--wallet", wallet)]
        return json.loads(stack.command("keys", "create", "client", *named, "--json"))["key"]

    return make


@pytest.fixture
def wallet():
    return uuid.uuid4().hex


@pytest.fixture
def client(url, key):
    with Client(url, key) as opened:
        yield opened


@pytest.fixture
async def reelgate(url, key):
    async with AsyncClient(url, key) as opened:
        yield opened


@pytest.fixture
def through_proxy(url, key):
    """A client behind a line that can be broken."""

    @asynccontextmanager
    async def open_one(**options) -> AsyncIterator[tuple[AsyncClient, FaultProxy]]:
        async with (
            FaultProxy.open("127.0.0.1", URL(url).port) as proxy,
            AsyncClient(f"http://127.0.0.1:{proxy.port}", key, **options) as opened,
        ):
            yield opened, proxy

    return open_one


@pytest.fixture
def paused(stack):
    """Jobs are accepted and wait, for the length of a block."""

    @asynccontextmanager
    async def block():
        await asyncio.to_thread(stack.command, "pause", "--reason", "tests")
        try:
            yield
        finally:
            await asyncio.to_thread(stack.command, "resume")

    return block


class Told(list):
    """A listener, and what it was told."""

    def __call__(self, progress):
        self.append(progress)

    @property
    def numbers(self):
        return [progress.seq for progress in self]

    @property
    def names(self):
        return [progress.event for progress in self]


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def moved(stack):
    """Every movement of a wallet's credits, but the first gift."""

    async def ask(wallet):
        rows = await stack.sql(
            "SELECT amount FROM credit_transactions WHERE wallet_address = $1 AND transaction_type NOT IN "
            "('signup', 'grant') ORDER BY created_at, id",
            wallet,
        )
        return [row["amount"] for row in rows]

    return ask
