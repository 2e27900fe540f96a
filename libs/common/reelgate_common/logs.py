"""Structured logs: one static event name a line, ids as fields, never a secret."""

import logging
import re
import sys
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Literal

import structlog

from reelgate_common import tracing

# Values of these keys never reach a log, whatever they hold.
_SECRET_KEY = re.compile(r"token|secret|password|authorization|api_key|hmac|signature|dsn", re.IGNORECASE)
# And no text carries a key, a session, a callback token, a signed link's signature, a webhook secret, a URL's password.
_NAME = r"(?i:[\w.-]*(?:token|signature|secret|password|api[_-]?key)|sig)"
_BEFORE = r"(?:^|[?&\s]|&amp;|\\u0026|%(?:25)*(?:3F|26))"  # a query's, also quoted in a page, in JSON or in another URL
_SECRET_TEXT = re.compile(
    r"((?i:Bearer|Basic)\s+)\S+"
    rf"|({_BEFORE}{_NAME}(?:=|%(?:25)*3D))[^&\s\"'\\]+"
    rf"|(\"{_NAME}\\*\"\s*:\s*\\*\")[^\"\\]+"
    r"|((?i:\bx-api-key)\s*:\s*)\S+"
    r"|(://[^:/@\s]*:)[^/\s]+(?=@)"
    r"|(rg_(?:live|test)_)\w+|(rgs_)\w+|(whsec_)[\w+/=]+"
)
_PLAIN = (int, float)


def redact(text: str) -> str:
    """The text with everything that looks like a credential blanked."""
    return _SECRET_TEXT.sub(lambda m: next(g for g in m.groups() if g) + "***", text)


def _clean(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("color_message", None)  # uvicorn's own copy of its text
    for key, value in event.items():
        if not key.startswith("_"):  # the formatter's own
            event[key] = _blank(key, value)
    return event


def _blank(key: str, value: Any) -> Any:
    """The value as it may be logged, however deep it hides a credential."""
    if isinstance(value, bool | None):
        return value  # whether a token was good is no secret
    if _SECRET_KEY.search(key):
        return "***"
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _blank(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_blank(key, inner) for inner in value]
    return value if isinstance(value, _PLAIN) else redact(str(value))  # such as an exception


def _place(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.update(tracing.ids())
    return event


def _name_service(service: str) -> Any:
    def name(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return name


def configure(service: str, *, level: str = "INFO", form: Literal["auto", "json", "console"] = "json") -> None:
    """Send structlog and the standard library through one formatter to stdout, the end by an exception too."""
    as_json = form == "json" or (form == "auto" and not sys.stdout.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _name_service(service),
        _place,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _clean,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "aio_pika", "aiormq", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _crash


def _crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        structlog.get_logger(__name__).critical("process_crashed", exc_info=(kind, error, traceback))
