"""Real scrapes laid out in time: what Prometheus' rules would say of them, without waiting until they do."""

import asyncio
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from rig import Rig

from reelgate_common import topology

RULES = sorted((Path(__file__).parents[2] / "deploy" / "observability" / "prometheus" / "rules").glob("*.yml"))
# Only what a rule reads, of which a process shows a tenth.
_READ = {"up", *re.findall(r"\breelgate_\w+", "\n".join(path.read_text(encoding="utf-8") for path in RULES))}

_PASS = "reelgate_last_pass_timestamp_seconds"
_WAITING = "reelgate_pool_waiting"
_DATABASE = "reelgate_database_up"
_STOPS = ("reelgate_breaker_open", "reelgate_sends_paused", "reelgate_vendor_spend_capped")
_MINUTES_BEFORE = 20
_MINUTES_AFTER = 45  # longer than any alert waits, but those of the slowest burn
_EVER_FIRED = 'group by (alertname, severity) (last_over_time(ALERTS{alertstate="firing"}[2h]))'


@dataclass(frozen=True)
class Frame:
    """What one look at /metrics of every process showed: series to value."""

    at: float
    series: dict[str, float]

    def value(self, name: str, labels: dict[str, str]) -> float:
        """The greatest value of a metric with these labels, over all processes; -1 when none shows it."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [
            value
            for series, value in self.series.items()
            if series.startswith(f"{name}{{") and all(pair in series for pair in wanted)
        ]
        return max(found, default=-1.0)

    def least(self, name: str) -> float:
        """The least value of a metric, over all processes that show it."""
        return min(value for series, value in self.series.items() if series.startswith(f"{name}{{"))

    def is_calm(self) -> bool:
        """Whether every queue is read (what was restarted is there again), and nobody waits just at this moment."""
        readers = (self.value("reelgate_queue_consumers", {"queue": queue.name}) for queue in topology.QUEUES)
        return min(readers) >= 1 and self.value(_WAITING, {}) <= 0 and self.least(_DATABASE) == 1


class Film:
    """Begins with a gateway in health; each further frame comes a minute later, and the last stays as it is."""

    def __init__(self, rig: Rig, http: httpx.AsyncClient) -> None:
        self._rig = rig
        self._http = http
        self._frames: list[Frame] = []

    async def look(self) -> Frame:
        """Scrape every process as Prometheus does; one that does not answer is down."""
        scraped = await asyncio.gather(*(self._scrape(name) for name in self._rig.processes))
        return Frame(time.time(), {series: value for one in scraped for series, value in one.items()})

    async def begin(self) -> None:
        """Keep a look at which nothing is left of earlier faults: every pass began since, and came to its end."""
        ends: dict[str, set[float]] = {task: set() for task in ("measure", "audit", "balance")}
        begun = time.time()

        def healthy(frame: Frame) -> bool:
            for task, seen in ends.items():
                seen.add(max(begun, frame.value(_PASS, {"task": task})))
            stops = (frame.value(name, {"job": "reelgate-api"}) for name in _STOPS)
            return min(map(len, ends.values())) > 2 and max(stops) <= 0 and frame.is_calm()

        self._frames = []
        await self._keep(healthy)

    async def shoot(self) -> Frame:
        """Look, and keep what was seen as the next minute."""
        self._frames.append(await self.look())
        return self._frames[-1]

    async def shows(self, name: str, at_least: float = 1, **labels: str) -> None:
        """Look until a metric is so great and all else calm, and keep that look."""

        def so_great(frame: Frame) -> bool:
            return frame.value(name, labels) >= at_least and (name == _WAITING or frame.is_calm())

        await self._keep(so_great)

    async def stands(self, task: str, seconds: float) -> None:
        """Look until a task has not come to its end for so long, and keep that look."""

        def so_old(frame: Frame) -> bool:
            return frame.at - frame.value(_PASS, {"task": task}) > seconds

        await self._keep(so_old)

    async def _keep(self, condition: Callable[[Frame], bool]) -> None:
        seen: list[Frame] = []

        async def met() -> bool:
            seen[:] = [await self.look()]
            return condition(seen[0])

        await self._rig.until(met, seconds=30)
        self._frames += seen

    async def _scrape(self, name: str) -> dict[str, float]:
        where = f'job="reelgate-{name.partition("-")[0]}", instance="{name}"'
        try:
            answer = await self._http.get(f"{self._rig.url(name)}/metrics")
        except httpx.HTTPError:
            return {f"up{{{where}}}": 0.0}
        seen = {f"up{{{where}}}": 1.0}
        for line in answer.text.splitlines():
            if line.startswith("reelgate_"):
                series, _, value = line.rpartition(" ")
                name, _, labels = series.partition("{")
                seen[f"{name}{{{where}{', ' if labels else ''}{labels or '}'}"] = float(value)
        return seen

    async def fires(self, *alerts: str, stopped: str | None = None) -> None:
        """Check that nothing fires before, and exactly these alerts (`name severity`) afterwards.

        What runs again and again goes on doing so after the last look, but for a task that has `stopped`.
        """
        before, after = _MINUTES_BEFORE - 1, _MINUTES_BEFORE + len(self._frames) + _MINUTES_AFTER - 2
        named = [alert.split() for alert in alerts]
        expected = [
            {"labels": f'{{alertname="{name}", severity="{severity}"}}', "value": 1} for name, severity in named
        ]
        test = {
            "interval": "1m",
            "input_series": [
                {"series": series, "values": self._over_time(series, stopped=stopped)}
                for series in sorted({series for frame in self._frames for series in frame.series})
                if series.partition("{")[0] in _READ
            ],
            "promql_expr_test": [
                {"expr": _EVER_FIRED, "eval_time": f"{before}m", "exp_samples": []},
                {"expr": _EVER_FIRED, "eval_time": f"{after}m", "exp_samples": expected},
            ],
        }
        await asyncio.to_thread(_promtool, test)

    def _over_time(self, series: str, *, stopped: str | None) -> str:
        """A series in promtool's words, such as `0+0x19 stale _x90`."""
        words, minute = [], 0
        for n, frame in enumerate(self._frames):
            length = {0: _MINUTES_BEFORE, len(self._frames) - 1: _MINUTES_AFTER}.get(n, 1)
            value = frame.series.get(series)
            if value is None:
                was_there = n > 0 and series in self._frames[n - 1].series
                words += ["stale", f"_x{length - 1}"] if was_there and length > 1 else [f"_x{length}"]
            elif "_timestamp_seconds{" in series:
                goes_on = f'task="{stopped}"' not in series or n < len(self._frames) - 1
                words.append(f"{60 * minute + value - frame.at}+{60 if goes_on else 0}x{length - 1}")
            else:
                words.append(f"{value}+0x{length - 1}")
            minute += length
        return " ".join(words)


def _promtool(test: dict) -> None:
    """Have promtool evaluate the rules minute by minute."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump({"rule_files": [str(path) for path in RULES], "evaluation_interval": "1m", "tests": [test]}, file)
        file.flush()
        done = subprocess.run(["promtool", "test", "rules", file.name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
