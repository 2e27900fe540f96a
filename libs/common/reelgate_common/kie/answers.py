"""What Kie.ai's answers mean. Pure functions over status and body; nothing here talks to anyone.

Kie.ai reports errors as HTTP 200 with another body code, so the HTTP status alone says little. Whatever
is not understood stays unknown: it is never read as failure or success.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from reelgate_common.domain.job import SendOutcome

# Body codes that surely refuse the request itself.
_REFUSED = frozenset({400, 422, 451, 501, 505})
# Body codes that say something is wrong with our account or with the vendor, whatever the request.
_BLOCKED = frozenset({401, 402, 404, 433, 455})
_THROTTLED = frozenset({429, 430})
# "Credits insufficient" was met as body code 500, and the throttle as a sentence under other codes.
_CREDIT_TEXT = "credits insufficient"
_THROTTLE_TEXT = "call frequency is too high"
# record-info: top-level codes that carry a task's failure instead of a flag.
_TASK_FAILED = frozenset({400, 451, 501})

_MAX_MESSAGE = 500


@dataclass(frozen=True, kw_only=True)
class Send:
    """What is known of one generate call."""

    outcome: SendOutcome
    code: int | None = None
    message: str | None = None
    task_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Succeeded:
    """The task is done and this is its video."""

    video_url: str
    prompt: str | None
    callback_url: str | None


@dataclass(frozen=True, kw_only=True)
class Empty:
    """The task says success, but no usable URL came with it."""

    prompt: str | None
    callback_url: str | None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The task is over without a video."""

    code: int | None
    message: str
    prompt: str | None
    callback_url: str | None


@dataclass(frozen=True, kw_only=True)
class Generating:
    """The task is known and not over."""

    prompt: str | None
    callback_url: str | None


@dataclass(frozen=True, kw_only=True)
class NotYet:
    """Nothing can be said: the task is not known (yet), or the answer was not understood."""

    why: str


TaskInfo = Succeeded | Empty | Failed | Generating | NotYet


def envelope(body: bytes) -> dict[str, Any] | None:
    """The body as a JSON object, or None when it is none."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def read_send(status: int, body: bytes) -> Send:
    """Classify an answer to generate."""
    parsed = envelope(body)
    if status in _THROTTLED:
        return Send(outcome=SendOutcome.THROTTLED, code=status, message=_message(parsed) or "HTTP 429")
    if status >= 500 or status == 408 or status < 200 or 300 <= status < 400:
        return Send(outcome=SendOutcome.UNKNOWN, code=status, message=f"HTTP {status}")
    if status >= 400:  # an edge in front of the vendor, such as its 403 "error code: 1010"
        return Send(outcome=SendOutcome.BLOCKED, code=status, message=_message(parsed) or _text(status, body))
    if parsed is None:
        return Send(outcome=SendOutcome.UNKNOWN, code=status, message="the answer was no JSON object")
    return _read_body(parsed)


def _read_body(parsed: dict[str, Any]) -> Send:
    code = _int(parsed.get("code"))
    message = _message(parsed)
    task_id = task_id_of(parsed)
    lowered = (message or "").lower()
    if code == 200 and task_id:
        return Send(outcome=SendOutcome.ACCEPTED, code=code, message=message, task_id=task_id)
    if task_id:  # a task id beside an error: it may well be running
        outcome = SendOutcome.UNKNOWN
    elif code == 200:
        outcome, message = SendOutcome.UNKNOWN, "accepted without a task id"
    elif code in _THROTTLED or _THROTTLE_TEXT in lowered:
        outcome = SendOutcome.THROTTLED
    elif code in _BLOCKED or (code == 500 and _CREDIT_TEXT in lowered):
        outcome = SendOutcome.BLOCKED
    elif code in _REFUSED:
        outcome = SendOutcome.REFUSED
    else:
        outcome = SendOutcome.UNKNOWN
    return Send(outcome=outcome, code=code, message=message or f"code {code}")


def read_task(status: int, body: bytes) -> TaskInfo:
    """Classify an answer to record-info."""
    parsed = envelope(body)
    if status != 200 or parsed is None:
        return NotYet(why=f"HTTP {status}" if status != 200 else "the answer was no JSON object")
    code = _int(parsed.get("code"))
    data = parsed.get("data")
    if code in _TASK_FAILED:
        return Failed(code=code, message=_message(parsed) or f"code {code}", **_echo(data))
    if code != 200:
        return NotYet(why=f"code {code}: {_message(parsed)}")
    if not isinstance(data, dict):
        return NotYet(why="no data")
    return _read_flag(data)


def _read_flag(data: dict[str, Any]) -> TaskInfo:
    echo = _echo(data)
    flag = _int(data.get("successFlag"))
    if flag == 0:
        return Generating(**echo)
    if flag == 1:
        url = result_url(data)
        return Succeeded(video_url=url, **echo) if url else Empty(**echo)
    if flag in (2, 3):
        message = _clip(data.get("errorMessage")) or "Video generation failed"
        return Failed(code=_int(data.get("errorCode")), message=message, **echo)
    return NotYet(why=f"successFlag {data.get('successFlag')!r}"[:80])


def result_url(data: dict[str, Any]) -> str | None:
    """The first usable video URL of a task, wherever the vendor put it this time."""
    for holder in (data.get("response"), data.get("info"), data):
        if isinstance(holder, dict):
            for url in _urls(holder.get("resultUrls")):
                if is_usable(url):
                    return url
    return None


def _urls(value: Any) -> list[str]:
    """A list, a JSON string of one, or the documented `[http://…]` without quotes."""
    if isinstance(value, str):
        text = value.strip()
        try:
            return _urls(json.loads(text))
        except (ValueError, RecursionError):
            return [part.strip(" \"'") for part in text.strip("[]").split(",")]
    if isinstance(value, list):
        return [item.strip() for item in value if isinstance(item, str)]
    return []


def is_usable(url: str) -> bool:
    """An http(s) URL with a host, short enough to store."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and len(url) <= 2048 and url.isprintable()
    except ValueError:
        return False


def task_id_of(parsed: dict[str, Any]) -> str | None:
    """The task id of an answer or a callback, in every spelling met."""
    data = parsed.get("data")
    holders = [data, parsed] if isinstance(data, dict) else [parsed]
    for holder in holders:
        for name in ("taskId", "task_id"):
            value = holder.get(name)
            if isinstance(value, str) and 0 < len(value.strip()) <= 128 and value.isprintable():
                return value.strip()
    return None


def _echo(data: Any) -> dict[str, str | None]:
    """The prompt and callback URL the vendor says it was given, from the JSON string paramJson."""
    raw = data.get("paramJson") if isinstance(data, dict) else None
    params = envelope(raw.encode("utf-8", "replace")) if isinstance(raw, str) else raw
    if not isinstance(params, dict):
        params = {}
    return {"prompt": _str(params.get("prompt")), "callback_url": _str(params.get("callBackUrl"))}


def _message(parsed: dict[str, Any] | None) -> str | None:
    return _clip(parsed.get("msg") or parsed.get("message")) if parsed else None


def _text(status: int, body: bytes) -> str:
    return f"HTTP {status}: {body[:80].decode('utf-8', 'replace')}".replace("\x00", "")


def _clip(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    # What PostgreSQL can store: no NUL, no half of a surrogate pair.
    return value[:_MAX_MESSAGE].replace("\x00", "").encode("utf-8", "replace").decode()


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**31 else None  # fits the database's integer
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 9 else None
