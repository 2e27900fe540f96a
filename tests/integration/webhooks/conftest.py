"""An API that makes webhooks, a sender that sends them, a receiver on loopback that checks them."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from api_client import api_settings, opened
from listener import listening
from standardwebhooks import Webhook

from reelgate_callback.webhooks.receiver import Receiver
from reelgate_callback.webhooks.sender import Sender
from reelgate_common import auth, keys
from reelgate_common.strangers import open_resolver


@pytest.fixture
def open_api(database_url, broker):
    """The app with its lifespan open, as a client."""
    usual = {"auth_mode": "required", "webhook_allow_private": True}
    return lambda **overrides: opened(api_settings(database_url, broker, **usual | overrides))


@pytest.fixture
async def api(open_api, make_key):
    """A client with a key for every wallet."""
    async with open_api() as client:
        client.headers.update(await make_key())
        yield client


@pytest.fixture
def make_key(cast):
    """A header that authorizes."""

    async def make(*, wallets=None):
        _, key = await cast(keys.create_key, "tests", scopes=(auth.JOBS,), wallets=wallets)
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
async def listener():
    async with listening() as opened:
        yield opened


@pytest.fixture
async def receiver():
    async with open_resolver() as resolver, Receiver.open(resolver, allow_private=True) as opened:
        yield opened


@pytest.fixture
def sender(db, receiver):
    return Sender(db, receiver, in_flight=32, disable_after=timedelta(days=5))


@dataclass
class Endpoint:
    """An endpoint that was made, and the receiver at its URL."""

    id: str
    secret: str
    listener: object

    def verify(self, n=-1, *, secret=None):
        """The payload of a request, if its signature is good."""
        headers, body = self.listener.requests[n]
        return Webhook(secret or self.secret).verify(body, headers)


@pytest.fixture
def make_endpoint(api, listener):
    async def make(*, headers=None, to=listener, **body):
        answer = await api.post("/api/webhooks", json={"url": to.url} | body, headers=headers)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        return Endpoint(made["id"], made["secret"], to)

    return make


@pytest.fixture
async def endpoint(make_endpoint):
    return await make_endpoint()


@pytest.fixture
def deliveries(stored):
    """Every delivery, oldest first."""

    async def read():
        return await stored.rows("SELECT * FROM webhook_deliveries ORDER BY id")

    return read


@pytest.fixture
def later(stored):
    """Let the time come at which what waits is due."""

    async def move():
        await stored.run(
            "UPDATE webhook_deliveries SET next_attempt_at = now() - interval '1 s' WHERE state = 'pending'"
        )

    return move
