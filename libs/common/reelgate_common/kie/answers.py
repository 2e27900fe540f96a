"""What Kie.ai's answers mean. Pure functions over status and body; nothing here talks to anyone.

Kie.ai reports errors as HTTP 200 with another body code, so the HTTP status alone says little. Whatever
is not understood stays unknown: it is never read as failure or success.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from reelgate_common.domain.job import SendOutcome
from reelgate_common.kie.urls import is_usable, urls_of

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

_YEAR_3000 = 32_503_680_000_000  # in milliseconds: what is later is no time
_MAX_MESSAGE = 500


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is known of one call; ACCEPTED: it brought what was asked for. Each kind of call adds what that is."""

    outcome: SendOutcome
    code: int | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Send(Answer):
    """What is known of one generate or extend call; the task id when it was accepted."""

    task_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Succeeded:
    """The task is done and this is its video."""

    video_url: str
    prompt: str | None
    callback_url: str | None
    ended_at: datetime | None = None  # by the vendor's clock, to the second


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
    ended_at: datetime | None = None


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
    return _send(*read(status, body))


def read_extend(status: int, body: bytes) -> Send:
    """Classify an answer to extend."""
    said, parsed = read(status, body)
    return _send(about_a_clip(said) if parsed else said, parsed)


def _send(said: Answer, parsed: dict[str, Any]) -> Send:
    outcome, message, task_id = said.outcome, said.message, task_id_of(parsed)
    if outcome is SendOutcome.ACCEPTED and task_id:
        return Send(outcome=outcome, code=said.code, message=message, task_id=task_id)
    if outcome is SendOutcome.ACCEPTED:
        outcome, message = SendOutcome.UNKNOWN, "accepted without a task id"
    elif task_id:  # a task id beside an error: it may well be running
        outcome = SendOutcome.UNKNOWN
    return Send(outcome=outcome, code=said.code, message=message)


def read(status: int, body: bytes) -> tuple[Answer, dict[str, Any]]:
    """What status, body code and sentence say of any call, and the body: empty when it is not to be read."""
    parsed = envelope(body)
    if status in _THROTTLED:
        said = Answer(outcome=SendOutcome.THROTTLED, code=status, message=_message(parsed) or f"HTTP {status}")
    elif status >= 500 or status == 408 or status < 200 or 300 <= status < 400:
        said = Answer(outcome=SendOutcome.UNKNOWN, code=status, message=f"HTTP {status}")
    elif status >= 400:  # an edge in front of the vendor, such as its 403 "error code: 1010"
        said = Answer(outcome=SendOutcome.BLOCKED, code=status, message=_message(parsed) or _text(status, body))
    elif parsed is None:
        said = Answer(outcome=SendOutcome.UNKNOWN, code=status, message="the answer was no JSON object")
    else:
        return _judge(parsed), parsed
    return said, {}


def _judge(parsed: dict[str, Any]) -> Answer:
    code = _int(parsed.get("code"))
    message = _message(parsed)
    lowered = (message or "").lower()
    if code == 200:
        outcome = SendOutcome.ACCEPTED
    elif code in _THROTTLED or _THROTTLE_TEXT in lowered:
        outcome = SendOutcome.THROTTLED
    elif code in _BLOCKED or (code == 500 and _CREDIT_TEXT in lowered):
        outcome = SendOutcome.BLOCKED
    elif code in _REFUSED:
        outcome = SendOutcome.REFUSED
    else:
        outcome = SendOutcome.UNKNOWN
    return Answer(outcome=outcome, code=code, message=message or f"code {code}")


def about_a_clip(said: Answer) -> Answer:
    """What a body code says when the call named a clip: 404 is about that clip, not about our account."""
    return replace(said, outcome=SendOutcome.REFUSED) if said.code == 404 else said


def read_task(status: int, body: bytes, *, wanted: Callable[[str], bool] | None = None) -> TaskInfo:
    """Classify an answer to record-info; a usable result URL that is not `wanted` counts as none."""
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
    return _read_flag(data, wanted or _any)


def _any(_: str) -> bool:
    return True


def _read_flag(data: dict[str, Any], wanted: Callable[[str], bool]) -> TaskInfo:
    echo = _echo(data)
    flag = _int(data.get("successFlag"))
    if flag == 0:
        return Generating(**echo)
    if flag == 1:
        url = result_url(data, wanted)
        return Succeeded(video_url=url, ended_at=_ended_at(data), **echo) if url else Empty(**echo)
    if flag in (2, 3):
        message = _clip(data.get("errorMessage")) or "Video generation failed"
        return Failed(code=_int(data.get("errorCode")), message=message, ended_at=_ended_at(data), **echo)
    return NotYet(why=f"successFlag {data.get('successFlag')!r}"[:80])


def result_url(data: dict[str, Any], wanted: Callable[[str], bool] = _any) -> str | None:
    """The first usable and wanted video URL of a task, wherever the vendor put it this time."""
    for holder in (data.get("response"), data.get("info"), data):
        if isinstance(holder, dict):
            # An extension has the new part in resultUrls, and the whole clip in fullResultUrls.
            for url in urls_of(holder.get("fullResultUrls")) + urls_of(holder.get("resultUrls")):
                if is_usable(url) and wanted(url):
                    return url
    return None


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


def _echo(data: Any) -> dict[str, Any]:
    """The prompt and callback URL the vendor says it was given, from the JSON string paramJson."""
    raw = data.get("paramJson") if isinstance(data, dict) else None
    params = envelope(raw.encode("utf-8", "replace")) if isinstance(raw, str) else raw
    if not isinstance(params, dict):
        params = {}
    return {"prompt": _str(params.get("prompt")), "callback_url": _str(params.get("callBackUrl"))}


def _ended_at(data: dict[str, Any]) -> datetime | None:
    """completeTime: milliseconds since 1970. The documents have it as text without a time zone, which tells nothing."""
    value = data.get("completeTime")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _YEAR_3000:
        return None
    return datetime.fromtimestamp(value / 1000, UTC)


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
