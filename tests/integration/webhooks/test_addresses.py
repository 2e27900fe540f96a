"""No webhook reaches into our own network, however its URL is written and whatever its name resolves to."""

import ipaddress
import ssl

import httpx
import pytest
import trustme
from listener import listening

from reelgate_callback.webhooks.receiver import Outcome, Receiver
from reelgate_common.strangers import open_resolver

NAME = "hooks.example"


def resolving(*answers):
    """A name server that gives these answers in turn, then the last for ever."""
    waiting = [[ipaddress.ip_address(address) for address in answer] for answer in answers]

    async def resolve(host, port):
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return resolve


@pytest.fixture
async def strict():
    """The receiver's door as in production, with the machine's own resolver."""
    async with open_resolver() as resolver, Receiver.open(resolver, allow_private=False) as opened:
        yield opened


async def post(door, url):
    return await door.post(url, "{}", {})


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
    ],
)
async def test_a_private_address_is_not_connected_to_in_any_spelling(strict, listener, host):
    answer = await post(strict, f"https://{host}:{listener.port}/")

    # Some spellings are no host for some resolvers; none may get through.
    assert (answer.outcome, answer.status) in {(Outcome.BLOCKED, None), (Outcome.NO_ANSWER, None)}
    assert answer.error in {
        "the host's address is not public",
        "the host's name cannot be resolved",
    } or answer.error.startswith("Invalid")
    assert listener.requests == []


async def test_a_name_with_a_private_address_is_not_connected_to(listener):
    async with Receiver.open(resolving(["127.0.0.1"]), allow_private=False) as door:
        answer = await post(door, f"https://{NAME}:{listener.port}/")

    assert (answer.outcome, answer.error) == (Outcome.BLOCKED, "the host's address is not public")


async def test_of_several_addresses_only_public_ones_are_tried(monkeypatch):
    tried = []

    async def note(_, request):
        tried.append(request.url.host)
        raise httpx.ConnectError("nobody there")

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", note)
    resolver = resolving(["127.0.0.1", "93.184.215.14", "10.0.0.1", "2606:4700::1"])
    async with Receiver.open(resolver, allow_private=False) as door:
        answer = await post(door, f"https://{NAME}/")

    assert tried == ["93.184.215.14", "2606:4700::1"]
    assert (answer.outcome, answer.error) == (Outcome.NO_ANSWER, "nobody there")


async def test_a_name_that_is_rebound_is_resolved_once_and_that_address_connected_to(monkeypatch):
    connected = []

    async def note(_, request):
        connected.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
        return httpx.Response(204, stream=httpx.ByteStream(b""))

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", note)
    async with Receiver.open(resolving(["93.184.215.14"], ["127.0.0.1"]), allow_private=False) as door:
        first = await post(door, f"https://{NAME}:8443/")
        second = await post(door, f"https://{NAME}:8443/")

    assert connected == [("93.184.215.14", f"{NAME}:8443", NAME)]
    assert (first.outcome, second.outcome) == (Outcome.DELIVERED, Outcome.BLOCKED)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver, listener, status):
    async with listening() as private:
        listener.say(status, Location=private.url)
        answer = await post(receiver, listener.url)

        assert (answer.outcome, answer.status) == (Outcome.REFUSED, status)
        assert answer.error == f"HTTP {status}: redirects are not followed"
        assert private.requests == []


async def test_plain_http_is_not_spoken_to_the_world():
    async with Receiver.open(resolving(["93.184.215.14"]), allow_private=False) as door:
        answer = await post(door, f"http://{NAME}/")

    assert (answer.outcome, answer.error) == (Outcome.BLOCKED, "only https is allowed")


async def test_a_proxy_named_in_the_environment_is_not_used(monkeypatch, listener):
    async with listening() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with open_resolver() as resolver, Receiver.open(resolver, allow_private=True) as door:
            answer = await post(door, listener.url)

        assert (answer.outcome, len(listener.requests), proxy.requests) == (Outcome.DELIVERED, 1, [])


async def test_a_cookie_of_a_receiver_is_not_given_back(receiver, listener):
    listener.say(200, Set_Cookie="a=b")

    await post(receiver, listener.url)
    await post(receiver, listener.url)

    assert [headers.get("cookie") for headers, _ in listener.requests] == [None, None]


# TLS ------------------------------------------------------------------------------------------------


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
async def open_tls(authority):
    """A receiver with a certificate for a name, and a door that trusts its authority."""
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    async def ask(name, *, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(certificate).configure_cert(context)
        asked_for = []
        context.sni_callback = lambda _, sni, __: asked_for.append(sni)
        async with (
            listening(trust=context) as listener,
            Receiver.open(resolving(["127.0.0.1"]), allow_private=True, trust=trust) as door,
        ):
            answer = await post(door, f"https://{name}:{listener.port}/hook")
            return answer, listener, asked_for

    return ask


async def test_name_and_certificate_stay_those_of_the_url(open_tls):
    answer, listener, asked_for = await open_tls(NAME, certificate=NAME)

    assert (answer.outcome, asked_for) == (Outcome.DELIVERED, [NAME])
    assert listener.requests[0][0]["host"] == f"{NAME}:{listener.port}"


async def test_a_certificate_for_the_address_alone_is_not_enough(open_tls):
    answer, listener, _ = await open_tls(NAME, certificate="127.0.0.1")

    assert (answer.outcome, listener.requests) == (Outcome.NO_ANSWER, [])
    assert "CERTIFICATE_VERIFY_FAILED" in answer.error


async def test_an_address_in_the_url_is_checked_against_the_certificate_too(open_tls):
    good, _, __ = await open_tls("127.0.0.1", certificate="127.0.0.1")
    bad, _, __ = await open_tls("127.0.0.1", certificate=NAME)

    assert (good.outcome, bad.outcome) == (Outcome.DELIVERED, Outcome.NO_ANSWER)


async def test_two_names_at_one_address_share_no_connection(authority):
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("one.example").configure_cert(context)
    async with (
        listening(trust=context) as listener,
        Receiver.open(resolving(["127.0.0.1"]), allow_private=True, trust=trust) as door,
    ):
        one = await post(door, f"https://one.example:{listener.port}/")
        other = await post(door, f"https://other.example:{listener.port}/")

    assert (one.outcome, other.outcome) == (Outcome.DELIVERED, Outcome.NO_ANSWER)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_kinds_of_addresses_can_be_connected_to(host):
    async with listening(host=host) as listener, Receiver.open(resolving([host]), allow_private=True) as door:
        answer = await post(door, f"http://{NAME}:{listener.port}/")

    assert answer.outcome is Outcome.DELIVERED


@pytest.mark.parametrize("url", ["", "https://", "https:///x", "https://[", "https://a b/", f"https://{'a' * 300}/"])
async def test_a_url_that_is_none_is_an_answer_and_no_crash(strict, url):
    answer = await post(strict, url)

    assert answer.outcome in {Outcome.BLOCKED, Outcome.NO_ANSWER}
    assert answer.error
