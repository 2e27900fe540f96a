"""Routes asked so often that FastAPI's handling of the request would be most of what they cost."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send

from reelgate_api.dependencies import Parts

_BEARER = b"Bearer "
_JSON = b"application/json"


class Asked(NamedTuple):
    """A request in the form that nearly all have: a bearer credential, no query, JSON if there is a body."""

    parts: Parts
    token: str
    path_params: Mapping[str, str]
    body: bytes
    headers: Mapping[bytes, bytes]

    def header(self, name: bytes) -> str | None:
        """A header of the request, by its name in lower case."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value is not None else None


class Answer(NamedTuple):
    """A good answer; an error is raised. Without a body there is none, and no word of its length."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


Directly = Callable[[Asked], Awaitable[Answer | None]]

_directly: dict[Callable[..., Any], Directly] = {}


def directly(act: Directly) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have `act` answer ordinary requests in place of the endpoint; those it gives None for are the endpoint's.

    It answers as the endpoint does: tests/integration/test_direct.py asks both.
    """

    def note(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        _directly[endpoint] = act
        return endpoint

    return note


class DirectRoute(APIRoute):
    """A route that answers ordinary requests directly, and leaves all others to FastAPI.

    What FastAPI does for a request (resolve dependencies, open exit stacks, validate the answer) costs several times
    what accepting a job does. It still has the route: for the OpenAPI document, and for whatever is out of the
    ordinary, so that what is wrong with a request is found and worded in one place.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._act = _directly[endpoint]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on what was read."""
        asked = None
        if scope["method"] in (self.methods or ()):
            message = await receive() if self.body_field else None  # BodyLimit gives a body as a whole
            asked = _read(scope, message)
            if message is not None:
                receive = _first(message, receive)
        answer = await self._act(asked) if asked else None
        if answer is None:
            await super().handle(scope, receive, send)
        else:
            await _send(answer, send)


def _read(scope: Scope, message: Message | None) -> Asked | None:
    """The request; None when anything about it is out of the ordinary."""
    headers = dict(scope["headers"])
    credential = headers.get(b"authorization", b"")
    token = credential[len(_BEARER) :].decode("latin-1").strip()
    if scope["query_string"] or len(headers) < len(scope["headers"]) or not (credential.startswith(_BEARER) and token):
        return None
    body = b""
    if message is not None:
        if headers.get(b"content-type") != _JSON or message.get("more_body") or not message.get("body"):
            return None
        body = message["body"]
    return Asked(scope["state"]["parts"], token, scope["path_params"], body, headers)


def _first(message: Message, receive: Receive) -> Receive:
    """Receive a message that was read already, then what follows it."""
    messages = [message]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.body is not None:
        headers += [(b"content-length", str(len(answer.body)).encode()), (b"content-type", _JSON)]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body or b""})
