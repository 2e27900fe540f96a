"""The vendor itself: tasks, their lives by the clock, the account's credits, the send limit."""

import asyncio
import hmac
import re
import secrets
import time
from dataclasses import replace
from typing import Any

from reelgate_simulator import tasks
from reelgate_simulator.callbacks import Courier, Letter
from reelgate_simulator.config import Config
from reelgate_simulator.envelope import HTML_502, Refusal
from reelgate_simulator.files import FileStore
from reelgate_simulator.scenarios import GENERATION_FAILED, SUCCESS, Behaviour, Outcome
from reelgate_simulator.stats import Stats
from reelgate_simulator.tasks import Task
from reelgate_simulator.window import SendWindow

# A forger has no access to the vendor's storage, so a forged success points elsewhere.
FORGED_BASE = "https://forged.example.invalid"
VIDEO_NAME = re.compile(r"([0-9a-f]{32})(?:-([0-9a-z]+))?\.mp4")


class Simulator:
    """Everything the vendor knows; lives in memory, in one event loop, and begins anew on reset."""

    def __init__(self, config: Config, courier: Courier) -> None:
        self._first_config = config
        self.courier = courier
        self._errands: set[asyncio.Task[Any]] = set()
        self.tasks: dict[str, Task] = {}
        self._begin()

    def _begin(self) -> None:
        self.config = self._first_config
        self.credit = self.config.credits
        self.stats = Stats()
        self.tasks = {}
        self.window = SendWindow()
        self.queries = SendWindow()
        self.files = FileStore()
        self.throttled: set[str] = set()

    def reset(self) -> None:
        """Forget everything, also what is under way, and turn every knob back to its start."""
        for task in self.tasks.values():
            task.stop_timers()
        for errand in self._errands:
            errand.cancel()
        self._begin()

    async def close(self) -> None:
        """Stop what is under way and wait until it has stopped."""
        errands = list(self._errands)
        self.reset()
        await asyncio.gather(*errands, return_exceptions=True)

    def configure(self, changes: dict[str, Any]) -> None:
        """Turn some knobs; `credits` sets the balance now."""
        self.config = Config.model_validate(self.config.model_dump() | changes)
        if "credits" in changes:
            self.credit = self.config.credits

    def check_door(self, authorization: str) -> None:
        """Refuse during an outage, and a caller without the right bearer."""
        if status := self.config.outage_http_status:
            raise Refusal(status, HTML_502, http_status=status, plain=True)
        scheme, _, token = authorization.partition(" ")
        expected = self.config.api_key.get_secret_value()
        if scheme.lower() != "bearer" or not token.strip():
            raise Refusal(401)
        if expected and not hmac.compare_digest(token.strip().encode(), expected.encode()):
            raise Refusal(401)

    def take_place(self, now: float) -> None:
        """Count one send against the window, or refuse it."""
        limit, seconds = self.config.sends_per_window, self.config.send_window_seconds
        if not self.window.admit(now, limit=limit, seconds=seconds):
            raise self.throttle()

    def take_query(self, now: float) -> None:
        """Count one record-info against its own limit, or refuse it."""
        if not self.queries.admit(now, limit=self.config.queries_per_second, seconds=1.0):
            self.stats.queries_refused += 1
            raise self.throttle()

    def throttle(self) -> Refusal:
        """Return the refusal of a call that came too soon, in the form asked for."""
        if self.config.throttle_form == "http-429":
            return Refusal(429, http_status=429)
        return Refusal(430 if self.config.throttle_form == "body-430" else 429)

    def charge(self, price: float) -> None:
        """Take credits, or refuse."""
        if price > self.credit:
            raise Refusal(402)
        self.credit -= price

    def create(self, params: dict[str, Any], behaviour: Behaviour, price: float) -> tuple[Task, Letter | None]:
        """Bill and start a task; the letter is the callback that must leave before the create answer."""
        self.charge(price)
        loop = asyncio.get_running_loop()
        task = Task(
            id=secrets.token_hex(16),
            params=params,
            behaviour=behaviour,
            price=price,
            create_time=_now(),
            visible_from=loop.time() + behaviour.invisible_seconds,
        )
        self.tasks[task.id] = task
        self.stats.accepted += 1
        self.stats.accepted_by_prompt[task.prompt] += 1
        return task, self._start(task, loop)

    def _start(self, task: Task, loop: asyncio.AbstractEventLoop) -> Letter | None:
        behaviour = task.behaviour
        if behaviour.is_early:
            return self.end(task)
        seconds = self.config.late if behaviour.is_late else self.config.video_seconds * behaviour.duration_factor
        if behaviour.is_forged_first:
            task.timers.append(loop.call_later(seconds / 2, self._forge, task))
        if not behaviour.is_stuck:
            task.timers.append(loop.call_later(seconds, self.end, task))
        return None

    def end(self, task: Task, *, calls_back: bool = True) -> Letter | None:
        """Finish a task as its behaviour says; returns the first callback, now under way."""
        loop = asyncio.get_running_loop()
        behaviour = task.behaviour
        task.complete_time = _now()
        if behaviour.lag_factor:
            lag = self.config.video_seconds * behaviour.lag_factor
            task.timers.append(loop.call_later(lag, self._show, task))
        else:
            self._show(task)
        if not calls_back:
            return None
        if behaviour.callback_delay_factor:
            delay = self.config.video_seconds * behaviour.callback_delay_factor
            task.timers.append(loop.call_later(delay, self.call_back, task))
            return None
        return self.call_back(task)

    def finish(self, task: Task, behaviour: Behaviour, *, calls_back: bool) -> None:
        """End a task now, whatever the clock planned for it."""
        task.stop_timers()
        task.behaviour = replace(behaviour, lag_factor=0.0)
        self.end(task, calls_back=calls_back)

    def has_video(self, name: str) -> bool:
        """Whether a video of this name lies on the host; of tasks of an earlier life it believes so."""
        match = VIDEO_NAME.fullmatch(name)
        if match is None:
            return False
        task = self.tasks.get(match[1])
        if task is None:
            return True
        upgrade = task.upgrades.get(match[2])
        is_made = upgrade is not None and upgrade.is_ready if match[2] in {"1080p", "4k"} else task.flag == SUCCESS.flag
        return is_made and not task.is_older_than(self.config.retention_seconds)

    def _show(self, task: Task) -> None:
        """Let the flag tell how the task ended; a failure gives the credits back."""
        task.flag = task.behaviour.outcome.flag
        if task.flag != SUCCESS.flag:
            self.credit += task.price

    def _forge(self, task: Task) -> None:
        self.call_back(task, opposite(task.behaviour.outcome))

    def call_back(self, task: Task, claim: Outcome | None = None) -> Letter | None:
        """Send the callbacks of a task, or one that makes another claim; returns the first, under way."""
        copies = 1 if claim else task.behaviour.callback_copies
        if not task.callback_url or not copies:
            return None
        letters = [self.letter(task, claim) for _ in range(copies)]
        for letter in letters:
            self.send(letter)
        return letters[0]

    def letter(self, task: Task, claim: Outcome | None = None) -> Letter:
        """Write the callback of a task: the truth, or the claim."""
        outcome = claim or task.behaviour.outcome
        base = self.config.public_url if claim is None else FORGED_BASE
        body = tasks.callback(task, outcome, base)
        return Letter(task.callback_url, task.id, body, task.behaviour.signature)

    def send(self, letter: Letter) -> None:
        """Have a letter delivered while other work goes on."""
        errand = asyncio.create_task(self.courier.deliver(letter, self.config, self.stats))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)


def opposite(outcome: Outcome) -> Outcome:
    """Return the claim a liar would make."""
    return GENERATION_FAILED if outcome.flag == SUCCESS.flag else SUCCESS


def _now() -> int:
    return int(time.time()) * 1000
