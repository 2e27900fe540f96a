"""A task and what the vendor says about it: in record-info and in callbacks."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from reelgate_simulator.scenarios import SUCCESS, Behaviour, Outcome, RecordShape, UrlForm
from reelgate_simulator.validation import SEEDS

# Never to be fetched: a scheme and an address that a careful client refuses.
BAD_URLS = ("ftp://files.example.invalid/clip.mp4", "http://169.254.169.254/latest/meta-data/clip.mp4")


@dataclass(slots=True)
class Upgrade:
    """A better copy of a video, being made or ready."""

    task_id: str  # the video's own, or a new one
    ready_at: float  # event loop time
    reads: int = 0  # after the first

    @property
    def is_ready(self) -> bool:
        """Whether it has been made."""
        return asyncio.get_running_loop().time() >= self.ready_at


@dataclass(slots=True)
class Task:
    """One paid generation, from the create call to its end."""

    id: str
    params: dict[str, Any]
    behaviour: Behaviour
    price: float
    create_time: int  # epoch milliseconds, on the second, as on the wire
    visible_from: float  # event loop time
    flag: int = 0
    complete_time: int | None = None
    reads: int = 0
    final_reads: int = 0
    upgrades: dict[str, Upgrade] = field(default_factory=dict)  # by kind: 1080p, 4k
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    @property
    def prompt(self) -> str:
        """The prompt as sent."""
        return str(self.params["prompt"])

    @property
    def callback_url(self) -> str:
        """Where callbacks go; empty when the client asked for none."""
        return str(self.params.get("callBackUrl", ""))

    @property
    def has_ended(self) -> bool:
        """Whether the vendor is done with it, though the flag may still lag behind."""
        return self.complete_time is not None

    def is_older_than(self, seconds: float) -> bool:
        """Whether it was created that long ago, or longer."""
        return time.time() * 1000 - self.create_time >= seconds * 1000

    def stop_timers(self) -> None:
        """Let nothing more happen by the clock."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


def param_json(task: Task) -> str:
    """Return the normalised request as the JSON string that record-info echoes."""
    return json.dumps(task.params, ensure_ascii=False, separators=(",", ":"))


def record(task: Task, base: str) -> dict[str, Any]:
    """Return the `data` of record-info as the task stands now."""
    outcome = task.behaviour.outcome if task.flag else None
    shows_urls = task.final_reads > task.behaviour.empty_reads
    return _record(task, outcome, base, shows_urls=shows_urls)


def callback(task: Task, outcome: Outcome, base: str) -> dict[str, Any]:
    """Return a callback body that claims this outcome, in the shape the task's scenarios ask for."""
    behaviour = task.behaviour
    body: dict[str, Any] = {"code": outcome.callback_code, "msg": outcome.callback_message}
    if behaviour.callback_shape == "record":
        data = _record(task, outcome, base, shows_urls=behaviour.empty_reads == 0)
        data[behaviour.id_key] = data.pop("taskId")
        return body | {"data": data}
    data = {behaviour.id_key: task.id}
    if outcome.flag == SUCCESS.flag:
        data["info"] = _info(task, base)
        if behaviour.prompt_form != "absent":
            data["promptJson"] = param_json(task) if behaviour.prompt_form == "string" else task.params
    return body | {"data": data | {"fallbackFlag": task.behaviour.is_fallback}}


def result_urls(task: Task, base: str) -> list[str]:
    """Return where the video lies."""
    return list(BAD_URLS) if task.behaviour.has_bad_url else [f"{base}/media/{task.id}.mp4"]


def origin_urls(task: Task, base: str) -> list[str] | None:
    """Return where the uncropped video lies: only for ratios other than 16:9."""
    if task.behaviour.has_origin or task.params["aspectRatio"] != "16:9":
        return [f"{base}/media/{task.id}-origin.mp4"]
    return None


def _record(task: Task, outcome: Outcome | None, base: str, *, shows_urls: bool) -> dict[str, Any]:
    response = None
    if outcome and outcome.flag == SUCCESS.flag:
        response = {
            "taskId": task.id,
            "resultUrls": result_urls(task, base) if shows_urls else [],
            "originUrls": origin_urls(task, base) if shows_urls else None,
            "resolution": task.params["resolution"],
            "hasAudioList": [True],
            "seeds": [task.params.get("seeds", SEEDS[int(task.id[:8], 16) % len(SEEDS)])],
        }
        if task.params.get("taskId"):  # an extended clip also comes as one whole
            response["fullResultUrls"] = [f"{base}/media/{task.id}-full.mp4"]
    data = {
        "taskId": task.id,
        "paramJson": param_json(task),
        "response": response,
        "successFlag": outcome.flag if outcome else 0,
        "fallbackFlag": task.behaviour.is_fallback,
        "completeTime": task.complete_time,
        "createTime": task.create_time,
        "errorCode": outcome.error_code if outcome else None,
        "errorMessage": outcome.error_message if outcome else "",
    }
    return _in_shape(data, task.behaviour.record_shape)


def _in_shape(data: dict[str, Any], shape: RecordShape) -> dict[str, Any]:
    """Return the record as now, as the old API gave it, or with times as the documentation writes them."""
    if shape == "old":
        response = data.pop("response")
        data["resultUrls"] = json.dumps(response["resultUrls"]) if response else None
    if shape == "dates":
        for name in ("createTime", "completeTime"):
            data[name] = data[name] and time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(data[name] / 1000))
    return data


def _info(task: Task, base: str) -> dict[str, Any]:
    urls = [] if task.behaviour.empty_reads else result_urls(task, base)
    info: dict[str, Any] = {"resultUrls": _in_form(urls, task.behaviour.url_form)}
    origins = origin_urls(task, base)
    if origins and urls:
        info["originUrls"] = _in_form(origins, task.behaviour.url_form)
    return info | {"resolution": task.params["resolution"]}


def _in_form(urls: list[str], form: UrlForm) -> list[str] | str:
    """Return the URLs in one of the three forms the vendor's own pages show."""
    if form == "json":
        return json.dumps(urls, separators=(",", ":"))
    return f"[{','.join(urls)}]" if form == "bracket" else urls
