"""Signing in with a wallet: a nonce, a signed EIP-4361 message, a session, its end."""

import asyncio
import json
import re
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import pytest
from api_client import api_settings, opened
from eth_keys.constants import SECPK1_N
from wallet import ORIGIN, Wallet, encode, message, stamp

from reelgate_common import auth, keys

NONCE, SIGN_IN, SESSION = "/api/auth/nonce", "/api/auth/sign-in", "/api/auth/session"
GENERATE = "/api/video/generate"
ME, OTHER = Wallet(1), Wallet(2)


def dated(says):
    """With moments for what is said as a distance from now."""
    return {
        name: stamp(datetime.now(UTC) + value) if isinstance(value, timedelta) else value
        for name, value in says.items()
    }


@pytest.fixture
def open_api(database_url, broker):
    return lambda **overrides: opened(api_settings(database_url, broker, **{"auth_mode": "required"} | overrides))


@pytest.fixture
async def api(open_api):
    async with open_api() as client:
        yield client


async def fresh(api):
    return (await api.post(NONCE)).json()["nonce"]


async def send(api, text, signature=None):
    return await api.post(SIGN_IN, json={"message": text, "signature": signature or ME.sign(text)})


def job_of(wallet):
    return {"wallet_address": wallet, "image_urls": ["https://images.example/cat.png"]}


# What is let in -------------------------------------------------------------------------------------


async def test_a_signed_message_opens_a_session_of_its_wallet(api, fund):
    await fund(ME.address)

    answer = await send(api, message(ME.address, await fresh(api)))

    session = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert re.fullmatch("rgs_[0-9a-f]{64}", session["token"])
    assert session["wallet_address"] == ME.address
    left = datetime.fromisoformat(session["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=3500) < left <= timedelta(seconds=3600)
    made = await api.post(GENERATE, json=job_of(ME.address), headers={"Authorization": f"Bearer {session['token']}"})
    assert made.status_code == 202


@pytest.mark.parametrize(
    "says",
    [
        {},
        {"statement": None},
        {"statement": "I accept: https://example.com/terms"},
        {"origin": "http://"},
        {"URI": f"{ORIGIN}/login?next=/"},
        {"Chain_ID": "137"},
        {"Issued_At": timedelta(minutes=-4)},
        {
            "Expiration_Time": timedelta(minutes=5),
            "Not_Before": timedelta(minutes=-1),
            "Request_ID": "a-1",
            "Resources": "\n- https://a\n- ipfs://b",
        },
        {"Request_ID": ""},
    ],
    ids=str,
)
async def test_every_form_of_the_message_is_understood(api, says):
    text = message(ME.address, await fresh(api), **dated(says)).replace("Resources: \n", "Resources:\n")

    answer = await send(api, text)

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("v_from", [0, 27])
async def test_both_ways_to_write_the_recovery_bit_are_understood(api, v_from):
    text = message(ME.address, await fresh(api))

    assert (await send(api, text, ME.sign(text, v_from=v_from))).status_code == 200


@pytest.mark.parametrize("hours", [-7, 0, 9])
async def test_times_may_be_of_any_zone(api, hours):
    there = datetime.now(timezone(timedelta(hours=hours))).isoformat(timespec="seconds")

    assert (await send(api, message(ME.address, await fresh(api), Issued_At=there))).status_code == 200


async def test_a_session_is_no_longer_than_its_message(api):
    ends = datetime.now(UTC) + timedelta(minutes=2)

    answer = await send(api, message(ME.address, await fresh(api), Expiration_Time=stamp(ends)))

    assert abs(datetime.fromisoformat(answer.json()["expires_at"]) - ends) < timedelta(seconds=1)


# What is not ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ({"domain": "evil.example"}, "domain"),
        ({"domain": "localhost"}, "domain"),
        ({"domain": "localhost:3000.evil.example"}, "domain"),
        ({"domain": "user@localhost:3000"}, "EIP-4361"),
        ({"origin": "https://"}, "domain"),
        ({"URI": "http://evil.example"}, "URI"),
        ({"URI": "http://localhost:3000@evil.example"}, "URI"),
        ({"URI": "https://localhost:3000"}, "URI"),
        ({"Version": "2"}, "Version"),
        ({"Chain_ID": "x"}, "EIP-4361"),
        ({"Nonce": "short"}, "EIP-4361"),
        ({"Nonce": None}, "EIP-4361"),
        ({"Issued_At": None}, "EIP-4361"),
        ({"Issued_At": "2026-02-30T00:00:00Z"}, "does not exist"),
        ({"Issued_At": "0001-01-01T00:00:00+14:00"}, "does not exist"),
        ({"Issued_At": "yesterday"}, "EIP-4361"),
        ({"Issued_At": timedelta(minutes=-30)}, "just now"),
        ({"Issued_At": timedelta(minutes=30)}, "just now"),
        ({"Expiration_Time": timedelta(seconds=-1)}, "expired"),
        ({"Not_Before": timedelta(minutes=2)}, "not valid yet"),
        ({"Extra": "line"}, "EIP-4361"),
        ({"Request_ID": "a\nExtra: line"}, "EIP-4361"),
        ({"statement": "two\nlines"}, "EIP-4361"),
        ({"statement": ""}, "EIP-4361"),
        ({"statement": "caf\u00e9"}, "EIP-4361"),
    ],
    ids=str,
)
async def test_a_message_for_elsewhere_or_another_time_is_400_that_tells_why(api, stored, says, why):
    answer = await send(api, message(ME.address, await fresh(api), **dated(says)))

    assert (answer.status_code, answer.json()["field"]) == (400, "message"), answer.text
    assert why in answer.json()["error"]
    assert await stored.count("sessions") == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text + "\n",
        lambda text: "\n" + text,
        lambda text: text.replace("Version: 1\n", "Version: 1\nVersion: 1\n"),
        lambda text: text.replace("URI: ", "URI:  "),
        lambda text: text.replace("wants you to", "Wants you to"),
        lambda text: text + " ",
        lambda text: text.replace(ME.address, ME.address[2:]),
        lambda text: "",
    ],
)
async def test_what_is_not_exactly_such_a_message_is_400(api, change):
    answer = await send(api, change(message(ME.address, await fresh(api))))

    assert (answer.status_code, answer.json()["field"]) == (400, "message")


@pytest.mark.parametrize("spell", [str.lower, lambda address: "0x" + address[2:].upper(), str.swapcase])
async def test_an_address_without_its_checksum_is_400(api, spell):
    answer = await send(api, message(spell(ME.address).replace("0X", "0x"), await fresh(api)))

    assert answer.status_code == 400
    assert "checksum" in answer.json()["error"]


@pytest.mark.parametrize(
    "signature", [None, "", "0x", "0x" + "0" * 128, "0x" + "0" * 132, "0x" + "g" * 130, "0" * 130, 5]
)
async def test_what_is_no_signature_is_400_naming_it(api, signature):
    answer = await api.post(SIGN_IN, json={"message": message(ME.address, "0" * 32), "signature": signature})

    assert (answer.status_code, answer.json()["field"]) == (400, "signature")


async def test_whatever_proves_nothing_is_answered_alike(api, stored):
    """Whether it was the nonce or the signature, and what about it, helps nobody honest."""
    text = message(ME.address, await fresh(api))
    good = ME.sign(text)
    r, s, v = int(good[2:66], 16), int(good[66:130], 16), int(good[130:], 16)
    assert (await send(api, text, good)).status_code == 200
    bad = [
        (message(ME.address, "0" * 32), None),  # a nonce nobody gave
        (text, good),  # and one that is used
        (message(ME.address, await fresh(api)), good),  # signed another text
        *[
            (again := message(ME.address, await fresh(api)), made(again))
            for made in (
                OTHER.sign,
                lambda again: ME.sign(again + " "),
                lambda again: flipped(ME.sign(again)),
                lambda _: encode(r, s, 29),
                lambda _: encode(0, s, v),
                lambda _: encode(r, 0, v),
                lambda _: encode(SECPK1_N, s, v),
                lambda _: encode(5, 1, v),  # no point of the curve has this x
                lambda _: "0x" + "0" * 130,
            )
        ],
    ]

    answers = [await send(api, text, signature) for text, signature in bad]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert await stored.count("sessions") == 1


def flipped(signature):
    """The other form of a signature, as valid for the curve and refused by the chain."""
    r, s, v = int(signature[2:66], 16), int(signature[66:130], 16), int(signature[130:], 16)
    return encode(r, SECPK1_N - s, 55 - v)


async def test_a_nonce_that_is_too_old_is_refused(api, stored):
    text = message(ME.address, await fresh(api))
    await stored.run("UPDATE sign_in_nonces SET expires_at = now()")

    assert (await send(api, text)).status_code == 401


async def test_who_knows_a_nonce_cannot_use_it_up_without_the_key(api):
    text = message(ME.address, await fresh(api))

    assert (await send(api, text, OTHER.sign(text))).status_code == 401
    assert (await send(api, text)).status_code == 200


async def test_of_many_at_once_with_one_nonce_one_is_let_in(api, open_api):
    text = message(ME.address, await fresh(api))
    async with open_api() as another:
        answers = await asyncio.gather(*(send(one, text) for one in (api, another) * 10))

    assert Counter(answer.status_code for answer in answers) == {200: 1, 401: 19}


# What a session may ---------------------------------------------------------------------------------


async def test_a_session_acts_for_both_spellings_of_its_address(api, make_job):
    jobs = [await make_job(wallet_address=wallet) for wallet in (ME.address, ME.address.lower(), OTHER.address)]
    session = await ME.sign_in(api)

    statuses = [(await api.get(f"/api/video/jobs/{job.id}", headers=session)).status_code for job in jobs]

    assert statuses == [200, 200, 404]


async def test_a_session_brings_no_welcome_credits(open_api, cast, stored):
    """Addresses cost nothing, and each would get them."""
    _, key = await cast(keys.create_key, "tests", scopes=[auth.JOBS], wallets=[OTHER.address])
    async with open_api(signup_credits=100) as api:
        mine = await api.post(GENERATE, json=job_of(ME.address), headers=await ME.sign_in(api))
        theirs = await api.post(GENERATE, json=job_of(OTHER.address), headers={"Authorization": f"Bearer {key}"})

    assert (mine.status_code, theirs.status_code) == (402, 202)
    assert await stored.rows("SELECT wallet_address FROM credits") == [{"wallet_address": OTHER.address}]


async def test_a_session_cannot_have_a_jobs_webhook_signed(api, fund):
    await fund(ME.address)
    body = job_of(ME.address) | {"webhook_url": "https://hooks.example/x"}

    answer = await api.post(GENERATE, json=body, headers=await ME.sign_in(api))

    assert (answer.status_code, answer.json()["field"]) == (400, "webhook_url")


async def test_the_token_is_in_no_row_and_no_log(api, stored, capsys):
    session = await ME.sign_in(api)

    token = session["Authorization"].removeprefix("Bearer ")
    assert token not in str(await stored.rows("SELECT * FROM sessions"))
    assert token not in "".join(capsys.readouterr())


# How it ends ----------------------------------------------------------------------------------------


async def test_signing_out_ends_the_session_at_once_in_every_process(api, open_api):
    session, staying = await ME.sign_in(api), await ME.sign_in(api)
    async with open_api() as another:
        assert (await another.get("/api/prices", headers=session)).status_code == 200

        assert (await api.delete(SESSION, headers=session)).status_code == 204

        assert (await another.get("/api/prices", headers=session)).status_code == 401
        assert (await api.delete(SESSION, headers=session)).status_code == 401
        assert (await another.get("/api/prices", headers=staying)).status_code == 200


async def test_where_nobody_is_asked_there_is_no_session_to_end(open_api):
    async with open_api(auth_mode="open") as api:
        assert (await api.delete(SESSION)).status_code == 403


async def test_a_session_ends_by_itself(api, stored):
    session = await ME.sign_in(api)

    await stored.run("UPDATE sessions SET expires_at = now()")

    assert (await api.get("/api/prices", headers=session)).status_code == 401


# As the operator set it -----------------------------------------------------------------------------


async def test_turned_off_nobody_signs_in_and_open_sessions_count_no_more(api, open_api):
    session = await ME.sign_in(api)
    async with open_api(session_seconds=0) as off:
        text = message(ME.address, await fresh(api))

        assert (await off.post(NONCE)).status_code == 404
        assert (await send(off, text)).status_code == 404
        assert (await off.get("/api/prices", headers=session)).status_code == 401


async def test_one_chain_can_be_asked_for(open_api):
    async with open_api(sign_in_chain_id=137) as api:
        wrong, right = [
            await send(api, message(ME.address, await fresh(api), Chain_ID=chain)) for chain in ("1", "137")
        ]

    assert (wrong.status_code, right.status_code) == (400, 200)
    assert "137" in wrong.json()["error"]


@pytest.mark.parametrize(
    ("base", "domain"),
    [
        ("https://Video.example.com", "video.example.com"),
        ("https://video.example.com:443", "video.example.com"),
        ("https://video.example.com", "video.example.com:443"),
        ("https://video.example.com:8443/gateway", "video.example.com:8443"),
        ("http://[::1]:3000", "[::1]:3000"),
    ],
)
async def test_the_domain_is_that_of_the_public_base_url(open_api, base, domain):
    async with open_api(public_base_url=base) as api:
        text = message(ME.address, await fresh(api), domain=domain, URI=f"{base.partition(':')[0]}://{domain}/")

        answer = await send(api, text)

    assert answer.status_code == 200, answer.text


# Against abuse --------------------------------------------------------------------------------------


async def test_nonces_take_each_others_place_when_too_many_are_asked_for(api, stored):
    """Anybody may ask for one, so what they take on disk has an end."""
    first, second = await fresh(api), await fresh(api)
    await stored.run(
        "SELECT setval('sign_in_nonce_slots', (SELECT slot FROM sign_in_nonces WHERE nonce = $1), false)", first
    )

    third = await fresh(api)

    assert (
        await stored.value(
            "SELECT seqmax - seqmin + 1 FROM pg_sequence WHERE seqrelid = 'sign_in_nonce_slots'::regclass"
        )
        == 100_000
    )
    assert await stored.count("sign_in_nonces") == 2
    statuses = [(await send(api, message(ME.address, nonce))).status_code for nonce in (first, second, third)]
    assert statuses == [401, 200, 200]


async def test_attempts_have_a_limit_that_replicas_share_and_a_later_try_passes(api, open_api, stored):
    """A refused attempt leaves its nonce: nobody has to sign again."""
    text = message(ME.address, await fresh(api))
    await stored.run("INSERT INTO rate_limits VALUES ('gateway:sign-in', now() + interval '1 hour')")
    async with open_api() as another:
        refused = await send(another, text)

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    await stored.run("DELETE FROM rate_limits")
    assert (await send(api, text)).status_code == 200


async def test_deep_json_is_still_refused_and_crashes_nothing(api):
    """Some libraries for signatures raise Python's limit of recursion, and the process dies of the next deep body."""
    depth = 100_000
    deep = '{"message":' + "[" * depth + "]" * depth + "}"

    answer = await api.post(SIGN_IN, content=deep, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert sys.getrecursionlimit() < 10_000
    with pytest.raises(RecursionError):
        json.loads("[" * depth + "]" * depth)
