"""The vendor's answer form: HTTP 200 with `{"code", "msg", "data"}`, whatever happened."""

from typing import Any, Final

from fastapi.responses import JSONResponse, PlainTextResponse, Response

# The sentences seen on the wire or in the vendor's documentation, by body code.
SENTENCES: Final[dict[int, str]] = {
    400: "Your prompt was flagged by Website as violating content policies.",
    401: (
        "Unauthorized \u2013 Authentication failed. Please check that your Authorization"
        " and Content-Type headers are correctly set."
    ),
    402: ("Credits insufficient : Your current balance isn't enough to run this request. Please top up to continue."),
    404: "Not Found - The requested resource or endpoint does not exist",
    408: "Request Timeout",
    422: "Validation Error - The request parameters failed validation checks",
    429: "Your call frequency is too high. Please try again later.",
    430: "Your call frequency is too high. Please try again later.",
    433: "The current number of points used by apiKey has exceeded the daily limit",
    451: "Failed to fetch the image. Kindly verify any access limits set by you or your service provider.",
    455: "Service Unavailable - System is currently undergoing maintenance",
    500: "Internal Error, Please try again later.",
    501: "Failed - Video generation task failed",
    505: "Feature Disabled - The requested feature is currently disabled",
}
HTML_502: Final = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)


class Envelope(JSONResponse):
    """One answer in the vendor's form and content type."""

    media_type = "application/json;charset=UTF-8"


def success(data: Any) -> Response:
    """Answer that all went well."""
    return Envelope({"code": 200, "msg": "success", "data": data})


class Refusal(Exception):
    """The vendor says no: a body code, or a real HTTP status when `http_status` says so.

    Its file host says `success` beside the code.
    """

    def __init__(
        self,
        code: int,
        message: str | None = None,
        *,
        http_status: int = 200,
        plain: bool = False,
        data: Any = None,
        has_success: bool = False,
    ) -> None:
        self.code = code
        self.message = SENTENCES.get(code, "error") if message is None else message
        self.http_status = http_status
        self.plain = plain
        self.data = data
        self.has_success = has_success
        super().__init__(self.message)

    @property
    def label(self) -> str:
        """Name of this refusal in the statistics."""
        return str(self.code) if self.http_status == 200 else f"http-{self.http_status}"

    def response(self) -> Response:
        """Answer in the vendor's form; a 401 has no `data` key, as on the wire."""
        if self.plain:
            return PlainTextResponse(self.message, self.http_status)
        content: dict[str, Any] = {"success": False} if self.has_success else {}
        content |= {"code": self.code, "msg": self.message}
        if self.code != 401:
            content["data"] = self.data
        return Envelope(content, self.http_status)
