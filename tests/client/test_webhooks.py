"""Webhooks are believed when the library of Standard Webhooks, or the gateway, signed them just now."""

import base64
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from listener import listening
from standardwebhooks import Webhook

from reelgate_client import ConfigurationError, InvalidWebhook, webhooks

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes......").decode()
BODY = json.dumps({"type": "job.completed", "timestamp": "2026-01-01T00:00:00+00:00", "data": {}})


def signed(*, body=BODY, secret=SECRET, at=None):
    at = at or datetime.now(UTC)
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(secret).sign(msg_id="msg_1", timestamp=at, data=body),
    }


@pytest.mark.parametrize("body", [BODY, BODY.encode()])
def test_what_is_signed_just_now_is_believed(body):
    event = webhooks.verify(body, signed(), SECRET)

    assert (event.id, event.type, event.job) == ("msg_1", "job.completed", None)


def test_one_of_several_signatures_is_enough():
    headers = signed()
    headers["Webhook-Signature"] = f"v2,x {signed(secret=OTHER)['Webhook-Signature']} {headers['Webhook-Signature']}"

    assert webhooks.verify(BODY, headers, SECRET).id == "msg_1"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"Webhook-Signature": "v1,bm90IGl0"}, "not by this secret"),
        ({"Webhook-Signature": ""}, "not by this secret"),
        ({"Webhook-Signature": "v1,ümlaut"}, "not by this secret"),
        ({"Webhook-Id": "msg_2"}, "not by this secret"),
        ({"Webhook-Timestamp": "soon"}, "five minutes"),
        ({"Webhook-Timestamp": "9" * 5000}, "five minutes"),
    ],
)
def test_what_was_changed_on_the_way_is_refused(changed, why):
    with pytest.raises(InvalidWebhook, match=why):
        webhooks.verify(BODY, signed() | changed, SECRET)


def test_another_body_or_secret_is_refused():
    with pytest.raises(InvalidWebhook, match="not by this secret"):
        webhooks.verify(BODY.replace("completed", "failed"), signed(), SECRET)
    with pytest.raises(InvalidWebhook, match="not by this secret"):
        webhooks.verify(BODY, signed(), OTHER)


@pytest.mark.parametrize("off", [timedelta(minutes=-6), timedelta(minutes=6)])
def test_an_old_one_and_one_from_the_future_are_refused(off):
    with pytest.raises(InvalidWebhook, match="five minutes"):
        webhooks.verify(BODY, signed(at=datetime.now(UTC) + off), SECRET)


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_missing_header_is_named(name):
    headers = signed()
    del headers[name]

    with pytest.raises(InvalidWebhook, match=name.lower()):
        webhooks.verify(BODY, headers, SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64"])
def test_a_secret_that_is_none_is_refused(secret):
    with pytest.raises(ConfigurationError, match="secret must be"):
        webhooks.verify(BODY, signed(), secret)


def test_what_is_signed_but_not_readable_is_refused():
    with pytest.raises(InvalidWebhook, match="not readable"):
        webhooks.verify("[]", signed(body="[]"), SECRET)


async def test_what_the_gateway_sends_is_believed_and_has_the_job(url, key, reelgate, wallet, stack):
    async with listening() as listener, httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as http:
        secret = (await http.get(f"{url}/api/webhooks/secret")).json()["secret"]
        made = await reelgate.create_and_wait(
            wallet, "Told of", generation_type="TEXT_2_VIDEO", webhook_url=listener.url
        )

        async def told():
            return listener.requests

        await stack.until(told)
        [(headers, body)] = listener.requests

    event = webhooks.verify(body, headers, secret)
    assert (event.type, event.job) == ("job.completed", made)
