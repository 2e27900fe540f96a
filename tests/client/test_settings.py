"""Where the key may go, and where it may not be seen."""

import traceback

import pytest

from reelgate_client import AsyncClient, AuthenticationError, Client, ConfigurationError

KEY = "rg_live_" + "5ec4e7" * 8


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("REELGATE_URL", "REELGATE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_the_environment_says_what_the_code_does_not(monkeypatch, url, key):
    monkeypatch.setenv("REELGATE_URL", f"{url}/")
    monkeypatch.setenv("REELGATE_API_KEY", f"{key}\n")  # as `cat key` gives it

    with Client() as client:
        assert client.prices()
    with Client(api_key="rg_live_another") as other, pytest.raises(AuthenticationError):
        other.prices()


def test_the_key_is_in_no_text_and_no_error(url):
    with Client(url, KEY) as client:
        with pytest.raises(AuthenticationError) as refused:
            client.prices()
        assert KEY not in repr(client) + str(client)
        assert KEY not in "".join(traceback.format_exception(refused.value)) + repr(refused.value.__dict__)
    with Client("http://127.0.0.1:1", KEY, max_retries=0) as lost, pytest.raises(Exception, match="no answer") as away:
        lost.prices()
    assert KEY not in "".join(traceback.format_exception(away.value)) + repr(away.value.__cause__.__dict__)
    assert KEY not in repr(AsyncClient(url, KEY))


def test_the_key_goes_over_plain_http_only_when_told_so():
    for safe in ("https://video.example", "http://localhost:3000", "http://127.0.0.1:3000", "http://[::1]:3000"):
        Client(safe, KEY).close()
    Client("http://video.example", KEY, allow_plain_http=True).close()
    Client("http://video.example").close()  # there is none to be read

    for way in (
        "http://video.example",
        "http://10.0.0.7",
        "http://localhost.video.example",
        "http://127.0.0.1.example",
    ):
        with pytest.raises(ConfigurationError, match="plain http"):
            Client(way, KEY)


def test_no_proxy_stands_between_us_and_this_machine(monkeypatch, url, key):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    with Client(url, key) as client:
        assert client.prices()


@pytest.mark.parametrize("wrong", ["", "video.example", "ftp://video.example", "https://", "https://a:b@video.example"])
def test_an_address_that_is_none_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="base_url"):
        Client(wrong, KEY)


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown():
    with pytest.raises(ConfigurationError, match="api_key must be") as caught:
        Client("https://video.example", f"{KEY}\r\nX-Other: 1")

    assert KEY not in str(caught.value)


@pytest.mark.parametrize("wrong", ["", "x" * 256, "two\nlines", "ümlaut"])
def test_an_idempotency_key_that_no_header_can_carry_is_refused(url, wrong):
    with Client(url, KEY) as client, pytest.raises(ValueError, match="idempotency_key"):
        client.create("wallet", "Once", idempotency_key=wrong)
