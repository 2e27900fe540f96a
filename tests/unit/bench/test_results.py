"""What the benchmarks compute and write, without measuring anything."""

import os
import re
from xml.etree import ElementTree as ET

import bench
import chart
import load
import machine
import page
import peers
import pytest
import relay
import results
import window
from results import Goal, Outcome, Table

_TABLE = Table("jobs <at once>", ("stage", "jobs/s", "p99 ms"), [("ours", 50, None), ("theirs", 25.0, 3.21)], "jobs/s")
_FOUND_ON = {"cores": 2, "processor": "one", "servers": "some", "python": "3.11", "system": "Linux", "busy": 0.1}


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (None, "-"),
        ("words", "words"),
        (12_345.6, "12,346"),
        (12.34, "12.3"),
        (1.234, "1.23"),
        (0.0123, "0.0123"),
        (3, "3"),
    ],
)
def test_figures_are_told_with_the_digits_that_count(cell, told):
    assert results.told(cell) == told


@pytest.mark.parametrize(("value", "is_met"), [(1.4, False), (1.5, True), (1.6, True)])
def test_a_goal_is_met_from_its_bound_on(value, is_met):
    assert Goal("more", value, at_least=1.5).is_met is is_met
    assert Goal("less", -value, at_most=-1.5).is_met is is_met


def test_quantiles_are_told_in_milliseconds():
    p50, p99 = load.quantiles_ms([n / 1000 for n in range(1, 102)])

    assert p50 == pytest.approx(51)
    assert p99 == pytest.approx(101, abs=1)


def test_a_window_is_used_whole_when_the_next_begins_as_soon_as_it_may():
    whole = [float(n // window.SENDS) * window.SECONDS for n in range(5 * window.SENDS)]

    assert window.Use(1, whole, 0).share == pytest.approx(1)
    assert window.Use(1, [2 * at for at in whole], 0).share == pytest.approx(0.5)


async def test_a_rate_counts_from_a_tenth_on():
    left = iter([100, 95, 80, 40, 0])

    async def look():
        return next(left)

    per_second, spent = await relay.rate(look, lambda: machine.Meter({"us": [os.getpid()]}))

    assert 80 / per_second == pytest.approx(0.02, abs=0.5)
    assert spent["us"] >= 0


def test_processes_count_with_all_below_them():
    parent = os.getppid()

    assert os.getpid() in machine.tree([parent])
    assert 0 < machine.cpu_seconds([os.getpid()]) <= machine.cpu_seconds([parent])
    assert machine.resident_mb([os.getpid()]) > 10


def test_bars_are_as_long_as_their_values():
    drawn = ET.fromstring(chart.draw([_TABLE, Table("not drawn", ("one",), [])]))

    bars = [bar for bar in drawn.iter() if bar.tag.endswith("rect")]
    assert [bar.get("class") for bar in bars] == ["ours", None]
    assert float(bars[0].get("width")) == pytest.approx(2 * float(bars[1].get("width")))


def test_parts_gather_in_one_file_and_reach_the_page(tmp_path, monkeypatch):
    """What is measured again replaces itself, and nothing else."""
    monkeypatch.setattr(results, "FILE", tmp_path / "bench.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(page, "CHARTS", tmp_path / "performance")
    page.PAGE.write_text(
        "before\n<!-- bench a -->\nold\n<!-- /bench -->\nbetween\n<!-- bench b -->\nkept\n<!-- /bench -->\n"
    )
    for value in (1.0, 2.0):
        outcome = Outcome([_TABLE], [Goal("ratio", value, 1.5)])
        results.keep("a", outcome, command="make bench PART=a", found_on=_FOUND_ON)

    page.write(results.read())

    text = page.PAGE.read_text()
    assert "| theirs | 25 | 3.21 |" in text
    assert "| ratio | 2 | ≥ 1.50 | yes |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert "kept" in text
    assert (tmp_path / "performance" / "a.svg").exists()


def test_the_page_has_a_place_for_each_part():
    places = re.findall(r"<!-- bench (\w+) -->", page.PAGE.read_text(encoding="utf-8"))

    assert sorted(places) == sorted(bench.PARTS)


def test_peers_are_compared_by_what_all_processors_spent():
    """One round more or less does not move the middle one, and the spread is told."""
    paces = {
        name: [peers.Pace(10, 1, 1)] * 3 for name in ("celery", "dramatiq", "faststream", "taskiq", "procrastinate")
    }
    ours = [peers.Pace(10, 0.5, 0.5), peers.Pace(10, 9, 9), peers.Pace(10, 0.25, 0.25)]

    outcome = peers._outcome({"ours": ours, **paces, "guide": [peers.Pace(5, 2, 2)]})

    assert outcome.tables[0].rows[0][4:] == (1000, "55.6 to 2,000", 1)
    assert [goal.value for goal in outcome.goals] == [2] * 5
