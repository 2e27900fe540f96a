"""The scenarios: one table of words a prompt may hold, and what each changes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

from reelgate_simulator.envelope import SENTENCES

Answer = Literal["normal", "hang", "drop", "reset", "html-502", "garbage", "no-task-id"]
UrlForm = Literal["array", "json", "bracket"]
IdKey = Literal["taskId", "task_id"]
PromptForm = Literal["object", "string", "absent"]
CallbackShape = Literal["info", "record"]
Signature = Literal["valid", "wrong", "none"]
RecordShape = Literal["now", "old", "dates"]
Callback4k = Literal["info", "null-data", "snake"]

WORD = re.compile(r"\bsim:[a-z0-9_]+(?:-[a-z0-9_]+)*")
ALWAYS: Final = 1_000_000_000  # more reads than any client makes
FAULTY_READS: Final = 3  # enough to meet a retry, few enough to end within a test


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ends, in the words of record-info and of the callback."""

    flag: int
    error_code: int | None
    error_message: str
    callback_code: int
    callback_message: str


def _failure(flag: int, code: int, message: str, callback_message: str | None = None) -> Outcome:
    return Outcome(flag, code, message, code, callback_message or message)


SUCCESS: Final = Outcome(1, None, "", 200, "Veo3.1 video generated successfully.")
FALLBACK: Final = replace(SUCCESS, callback_message="Veo3.1 video generated successfully (using fallback model).")
POLICY: Final = _failure(3, 400, SENTENCES[400])
GENERATION_FAILED: Final = _failure(3, 501, SENTENCES[501])
NO_IMAGE: Final = _failure(3, 400, SENTENCES[451])
NO_IMAGE_451: Final = _failure(3, 451, SENTENCES[451])
_REJECTED_BY_FLOW: Final = (
    "Your request was rejected by Flow(public error prominent people upload). You may consider using our"
    " other fallback channels, which are likely to succeed. Please refer to the documentation."
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a request does from the first byte to the last callback; the defaults are a good day."""

    refuse_code: int | None = None
    refuse_message: str | None = None
    refuse_http_status: int = 200
    throttle_first: int | None = None
    answer: Answer = "normal"

    outcome: Outcome = SUCCESS
    duration_factor: float = 1.0
    is_late: bool = False
    is_stuck: bool = False
    is_early: bool = False
    lag_factor: float = 0.0

    invisible_seconds: float = 0.0
    record_500_reads: int = 0
    record_html_reads: int = 0
    record_422_reads: int = 0
    record_null_reads: int = 0
    record_failure_on_top: bool = False
    record_shape: RecordShape = "now"
    empty_reads: int = 0
    has_bad_url: bool = False
    has_origin: bool = False
    is_fallback: bool = False

    callback_copies: int = 1
    callback_delay_factor: float = 0.0
    is_forged_first: bool = False
    signature: Signature = "valid"
    url_form: UrlForm = "array"
    id_key: IdKey = "taskId"
    prompt_form: PromptForm = "object"
    callback_shape: CallbackShape = "info"

    upgrade_500_reads: int = 0
    has_no_4k: bool = False
    is_4k_new_task: bool = False
    callback_4k: Callback4k = "info"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One word, what it is for, and the behaviour it changes."""

    word: str
    description: str
    flags: Mapping[str, Any]


def _refusal(code: int, description: str) -> Scenario:
    return Scenario(f"sim:refuse-{code}", description, {"refuse_code": code})


_TABLE: Final = (
    Scenario("sim:ok", "Succeeds after the normal time; the same as no word.", {"outcome": SUCCESS}),
    # How a task ends.
    Scenario("sim:policy", "Accepted, then fails with flag 3 and the content policy text.", {"outcome": POLICY}),
    Scenario(
        "sim:image-fetch",
        "Accepted, then fails because an image could not be fetched.",
        {"outcome": NO_IMAGE},
    ),
    Scenario(
        "sim:flag2",
        "Ends with flag 2 (failed before completion).",
        {"outcome": _failure(2, 500, SENTENCES[500])},
    ),
    Scenario(
        "sim:flag3",
        "Ends with flag 3 and the bare message `failed`, as met for prompts with famous names.",
        {"outcome": _failure(3, 422, "failed")},
    ),
    Scenario(
        "sim:fail-500",
        "Ends with flag 3 and error 500.",
        {"outcome": _failure(3, 500, "internal error, please try again later.", SENTENCES[500])},
    ),
    Scenario("sim:fail-501", "Ends with flag 3 and error 501.", {"outcome": GENERATION_FAILED}),
    Scenario(
        "sim:fail-402",
        "Accepted, then fails with flag 3 and error 402: credits found missing after the answer.",
        {"outcome": _failure(3, 402, SENTENCES[402])},
    ),
    Scenario(
        "sim:fail-timeout",
        "Ends with flag 3 and error 500, `Internal Error - Timeout`.",
        {"outcome": _failure(3, 500, "Internal Error - Timeout")},
    ),
    Scenario(
        "sim:fail-language",
        "Ends with flag 3 and error 400: only English prompts.",
        {"outcome": _failure(3, 400, "Only English prompts are supported at this time.")},
    ),
    Scenario(
        "sim:fail-image",
        "Ends with flag 3 and error 400: unsafe image.",
        {"outcome": _failure(3, 400, "public error unsafe image upload")},
    ),
    Scenario(
        "sim:fail-audio",
        "Ends with flag 3 and error 400: no audio could be made.",
        {"outcome": _failure(3, 400, "The Google model was unable to generate audio for this request.")},
    ),
    Scenario(
        "sim:fail-422",
        "Ends with flag 3 and error 422, rejected by Flow.",
        {"outcome": _failure(3, 422, _REJECTED_BY_FLOW)},
    ),
    Scenario("sim:empty", "Ends with flag 1 and never shows a result URL.", {"empty_reads": ALWAYS}),
    Scenario(
        "sim:empty-first",
        "Ends with flag 1; the callback and the first three reads after the end show no URL, later ones do.",
        {"empty_reads": FAULTY_READS},
    ),
    Scenario(
        "sim:bad-url",
        "Succeeds, but `resultUrls` holds an ftp address and a link-local one.",
        {"has_bad_url": True},
    ),
    Scenario(
        "sim:fallback",
        "Succeeds by the old fallback model: `fallbackFlag` true, and no upgrade or extension of it.",
        {"outcome": FALLBACK, "is_fallback": True},
    ),
    Scenario("sim:origin", "Succeeds with `originUrls` beside `resultUrls`.", {"has_origin": True}),
    # When it ends.
    Scenario("sim:slow", "Takes five times the normal time.", {"duration_factor": 5.0}),
    Scenario(
        "sim:late-success",
        "Stays at flag 0 for `late_seconds` (unset: 20 times the normal time), then succeeds.",
        {"is_late": True},
    ),
    Scenario("sim:stuck", "Stays at flag 0 for ever and calls nobody back.", {"is_stuck": True}),
    Scenario(
        "sim:lag",
        "At the end `completeTime` is set and the callback sent, but the flag stays 0 for another video time.",
        {"lag_factor": 1.0},
    ),
    # What happens to the create request.
    Scenario(
        "sim:early-callback",
        "Final at once: the callback goes out before the create answer.",
        {"is_early": True},
    ),
    Scenario(
        "sim:submit-timeout",
        "Task created and billed; the answer hangs for `submit_timeout_seconds`, then the connection drops.",
        {"answer": "hang"},
    ),
    Scenario(
        "sim:submit-drop",
        "Request read, connection closed without an answer, no task created.",
        {"answer": "drop"},
    ),
    Scenario("sim:submit-reset", "Task created, then the connection is reset.", {"answer": "reset"}),
    Scenario("sim:submit-500", "Real HTTP 500, no task created.", {"refuse_code": 500, "refuse_http_status": 500}),
    Scenario("sim:submit-502-html", "Task created, answered by an HTML 502 page.", {"answer": "html-502"}),
    Scenario("sim:submit-garbage", "Task created, answered by HTTP 200 and broken JSON.", {"answer": "garbage"}),
    Scenario("sim:no-task-id", "Task created, answered by a success without `taskId`.", {"answer": "no-task-id"}),
    # Refusals at create: HTTP 200 with a body code, no task.
    _refusal(400, "Refused with body code 400 (content policy)."),
    _refusal(401, "Refused with body code 401 (bad key)."),
    _refusal(402, "Refused with body code 402 (credits insufficient)."),
    Scenario(
        "sim:refuse-402-as-500",
        "Refused with body code 500 carrying the sentence of 402.",
        {"refuse_code": 500, "refuse_message": SENTENCES[402]},
    ),
    _refusal(404, "Refused with body code 404."),
    _refusal(422, "Refused with body code 422 (validation)."),
    _refusal(433, "Refused with body code 433 (the key's own cap)."),
    _refusal(451, "Refused with body code 451 (image fetch)."),
    _refusal(455, "Refused with body code 455 (maintenance)."),
    _refusal(500, "Refused with body code 500."),
    _refusal(501, "Refused with body code 501."),
    _refusal(505, "Refused with body code 505 (feature disabled)."),
    Scenario(
        "sim:http-403-1010",
        "Bare HTTP 403 with the text `error code: 1010`, as the edge does; no task.",
        {"refuse_code": 403, "refuse_message": "error code: 1010", "refuse_http_status": 403},
    ),
    Scenario(
        "sim:http-408",
        "Bare HTTP 408; no task.",
        {"refuse_code": 408, "refuse_http_status": 408},
    ),
    Scenario(
        "sim:throttle",
        "The first send of this prompt is refused as a full window is (`throttle_form`), the next accepted.",
        {"throttle_first": 429},
    ),
    Scenario(
        "sim:throttle-430",
        "The first send of this prompt is refused with body code 430, the next accepted.",
        {"throttle_first": 430},
    ),
    # What record-info says.
    Scenario(
        "sim:invisible",
        "record-info does not know the task for its first second.",
        {"invisible_seconds": 1.0},
    ),
    Scenario(
        "sim:record-500",
        "The first three record-info reads answer body code 500.",
        {"record_500_reads": FAULTY_READS},
    ),
    Scenario(
        "sim:record-html",
        "The first three record-info reads answer an HTML 502 page.",
        {"record_html_reads": FAULTY_READS},
    ),
    Scenario(
        "sim:record-400",
        "Fails by policy, and record-info says so by a top-level code 400 without data.",
        {"outcome": POLICY, "record_failure_on_top": True},
    ),
    Scenario(
        "sim:record-451",
        "Fails for an image, and record-info says so by a top-level code 451 without data.",
        {"outcome": NO_IMAGE_451, "record_failure_on_top": True},
    ),
    Scenario(
        "sim:record-501",
        "Fails, and record-info says so by a top-level code 501 without data.",
        {"outcome": GENERATION_FAILED, "record_failure_on_top": True},
    ),
    Scenario(
        "sim:record-422",
        "The first three record-info reads answer 422 `record result data is blank`.",
        {"record_422_reads": FAULTY_READS},
    ),
    Scenario(
        "sim:record-null",
        "The first three record-info reads answer 200 with `data` null.",
        {"record_null_reads": FAULTY_READS},
    ),
    Scenario(
        "sim:record-old",
        "record-info has the shape of the old API: `resultUrls` beside the flag, as a JSON string.",
        {"record_shape": "old"},
    ),
    Scenario(
        "sim:record-dates",
        "record-info gives its times as date strings, as the documentation does.",
        {"record_shape": "dates"},
    ),
    # What an upgrade of the video does.
    Scenario(
        "sim:upgrade-500",
        "The first three reads of a started upgrade answer body code 500.",
        {"upgrade_500_reads": FAULTY_READS},
    ),
    Scenario(
        "sim:4k-unavailable",
        "The 4K upgrade fails: code 500 and its sentence, in the callback too; its credits come back.",
        {"has_no_4k": True},
    ),
    Scenario(
        "sim:4k-new-task",
        "The 4K upgrade is a task of its own, with its own `taskId`.",
        {"is_4k_new_task": True},
    ),
    Scenario(
        "sim:4k-null-data",
        "The 4K upgrade fails, and `data` of its callback is null.",
        {"has_no_4k": True, "callback_4k": "null-data"},
    ),
    Scenario(
        "sim:4k-snake",
        "The 4K callback has snake_case names, as one page shows it.",
        {"callback_4k": "snake"},
    ),
    # What the callback looks like, and how often it comes.
    Scenario("sim:lost-callback", "No callback is sent.", {"callback_copies": 0}),
    Scenario("sim:dup-callback", "The callback is sent three times.", {"callback_copies": 3}),
    Scenario(
        "sim:delayed-callback",
        "The callback leaves five video times after the end.",
        {"callback_delay_factor": 5.0},
    ),
    Scenario(
        "sim:forged-callback",
        "Half way, a validly signed callback claims the opposite of the truth; the real one comes at the end.",
        {"is_forged_first": True},
    ),
    Scenario("sim:bad-signature", "Callbacks carry a signature by a wrong key.", {"signature": "wrong"}),
    Scenario("sim:unsigned", "Callbacks carry no signature.", {"signature": "none"}),
    Scenario("sim:url-array", "`resultUrls` in the callback is an array (the default).", {"url_form": "array"}),
    Scenario("sim:url-json", "`resultUrls` in the callback is a JSON string.", {"url_form": "json"}),
    Scenario(
        "sim:url-bracket",
        "`resultUrls` in the callback is a bracketed string without quotes.",
        {"url_form": "bracket"},
    ),
    Scenario("sim:task_id", "The callback spells the id `task_id`.", {"id_key": "task_id"}),
    Scenario("sim:prompt-json-string", "`promptJson` in the callback is a string.", {"prompt_form": "string"}),
    Scenario("sim:prompt-json-absent", "`promptJson` is left out of the callback.", {"prompt_form": "absent"}),
    Scenario(
        "sim:record-shape",
        "The callback has the shape of record-info: `successFlag` and `response`.",
        {"callback_shape": "record"},
    ),
)
SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType({row.word: row for row in _TABLE})


class UnknownScenarioError(ValueError):
    """A word begins with `sim:` but is not in the table: a typo must not pass for a success."""

    def __init__(self, word: str) -> None:
        super().__init__(f"Unknown simulator scenario {word}; GET /sim/scenarios lists them.")


def words_in(text: str) -> tuple[str, ...]:
    """Return the scenario words of a prompt, in order."""
    return tuple(WORD.findall(text)) if "sim:" in text else ()


def words_of_header(value: str) -> tuple[str, ...]:
    """Return the scenario words of a header: `sim:` may be left out, commas and blanks separate."""
    return tuple(word if word.startswith("sim:") else f"sim:{word}" for word in re.split(r"[\s,]+", value) if word)


@lru_cache(maxsize=1024)
def behaviour_of(words: tuple[str, ...]) -> Behaviour:
    """Combine the words into one behaviour; where two change the same thing the later wins."""
    return apply(Behaviour(), words)


def apply(behaviour: Behaviour, words: Iterable[str]) -> Behaviour:
    """Change a behaviour by the words given."""
    for word in words:
        scenario = SCENARIOS.get(word)
        if scenario is None:
            raise UnknownScenarioError(word)
        behaviour = replace(behaviour, **scenario.flags)
    return behaviour
