"""What browsers are told with every answer, unless the answer says otherwise."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_A_YEAR = 31_536_000
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    # Answers are data: as a page they may load and do nothing, and nobody may frame them.
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"cache-control": b"no-store",  # what a key may see is not for caches on the way
}


class SecureHeaders:
    """Adds what is missing. `is_public_tls`: the public origin has TLS, and browsers shall remember it."""

    def __init__(self, app: ASGIApp, *, is_public_tls: bool = False) -> None:
        self._app = app
        transport = {b"strict-transport-security": f"max-age={_A_YEAR}".encode()} if is_public_tls else {}
        self._headers = list((_HEADERS | transport).items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, with what is missing."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *[header for header in self._headers if header[0] not in given],
                ]
            await send(message)

        await self._app(scope, receive, complete)
