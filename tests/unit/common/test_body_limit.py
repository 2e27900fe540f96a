"""How much of a body is read, and for whom."""

import json

import pytest

from reelgate_common.body_limit import BodyLimit

SMALL, LARGE = 10, 100


class Exchange:
    """One request to an app behind the limit, a message at a time."""

    def __init__(self, path, chunks, *, headers=(), leaves=False):
        self.scope = {"type": "http", "path": path, "headers": list(headers)}
        self.messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        if self.messages and not leaves:
            self.messages[-1]["more_body"] = False
        self.taken, self.sent, self.seen = 0, [], None

    async def receive(self):
        self.taken += 1
        return self.messages[self.taken - 1] if self.taken <= len(self.messages) else {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    async def app(self, scope, receive, send):
        """Reads to the end, unless the path says it is nobody's business."""
        self.seen, more = b"", "unread" not in scope["path"]
        while more:
            message = await receive()
            self.seen += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def run(self):
        limit = BodyLimit(self.app, max_bytes=SMALL, streamed={"/large": LARGE, "/large/unread": LARGE})
        await limit(self.scope, self.receive, self.send)
        return self

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else None

    @property
    def closes(self):
        return (b"connection", b"close") in self.sent[0]["headers"]


def announced(length):
    return [(b"content-length", length.encode())]


@pytest.mark.parametrize(("path", "limit"), [("/", SMALL), ("/large", LARGE)])
@pytest.mark.parametrize("piece", [1, 3, 1000])
async def test_a_body_up_to_the_limit_of_its_path_arrives_whole(path, limit, piece):
    body = bytes(range(limit))

    done = await Exchange(path, [body[at : at + piece] for at in range(0, limit, piece)]).run()

    assert (done.status, done.seen, done.closes) == (200, body, False)


@pytest.mark.parametrize("path", ["/", "/large", "/other", "/large/", "/large/more", "/LARGE", "//large", "/larg"])
async def test_only_the_named_path_may_be_large(path):
    done = await Exchange(path, [b"x" * 11]).run()

    assert done.status == (200 if path == "/large" else 413)


@pytest.mark.parametrize(("path", "limit"), [("/", SMALL), ("/large", LARGE)])
@pytest.mark.parametrize("headers", [(), announced("0"), announced("10")])
async def test_one_byte_more_is_413_whatever_was_announced_and_no_more_is_read(path, limit, headers):
    chunks = [b"x"] * (limit + 1) + [b"y"] * 1000

    done = await Exchange(path, chunks, headers=headers).run()

    assert (done.status, done.closes, done.taken) == (413, True, limit + 1)
    assert json.loads(done.sent[1]["body"])["detail"] == f"The body is larger than {limit} bytes"


@pytest.mark.parametrize(("path", "limit"), [("/", SMALL), ("/large", LARGE)])
@pytest.mark.parametrize("length", ["{over}", "-1", "x", "", "1e3", "0x5", " 5", "1_0"])
async def test_an_announced_length_that_is_too_large_or_none_is_413_unread(path, limit, length):
    done = await Exchange(path, [b"x"], headers=announced(length.format(over=limit + 1))).run()

    assert (done.status, done.closes, done.taken, done.seen) == (413, True, 0, None)


@pytest.mark.parametrize("path", ["/", "/large"])
async def test_half_a_body_is_no_request(path):
    done = await Exchange(path, [b"x", b"y"], leaves=True).run()

    assert done.sent == []


async def test_a_small_body_is_whole_before_the_app_hears_of_it():
    assert (await Exchange("/", [b"x"], leaves=True).run()).seen is None


async def test_a_large_body_is_read_only_when_the_app_wants_it_and_else_the_connection_ends():
    done = await Exchange("/large/unread", [b"x"] * 50).run()

    assert (done.status, done.taken, done.closes) == (200, 0, True)


async def test_after_the_body_the_app_may_learn_that_the_client_left():
    learnt = []

    async def app(scope, receive, send):
        learnt.extend([await receive(), await receive()])

    exchange = Exchange("/large", [b"x"])
    await BodyLimit(app, max_bytes=SMALL, streamed={"/large": LARGE})(exchange.scope, exchange.receive, exchange.send)

    assert [message["type"] for message in learnt] == ["http.request", "http.disconnect"]


async def test_what_is_not_http_passes():
    exchange = Exchange("/", [])
    exchange.scope = {"type": "lifespan", "path": ""}

    assert (await exchange.run()).status == 200
