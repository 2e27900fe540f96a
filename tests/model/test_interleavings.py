"""Every crash of one handler, and every interleaving of two: the promises hold after each step and at rest.

The default bounds fit into `make test`. MODEL_PREEMPTIONS and MODEL_FAULTS widen what pairs are put through.
"""

import os
from functools import partial
from itertools import combinations_with_replacement

import pytest
from explorer import Budget, explore

BUDGET = Budget(switches=int(os.environ.get("MODEL_PREEMPTIONS", "1")), faults=int(os.environ.get("MODEL_FAULTS", "0")))

# What a job has lived through, by what happened to it.
SENT = ("accept", "claim")
HISTORIES = {
    "new": (),
    "pending": ("accept",),
    "permit lost": ("accept", "drop"),
    "submitting": SENT,
    "submitting, hinted": (*SENT, "hint"),
    "submitting, cancel wished": (*SENT, "cancel"),
    "unknown": (*SENT, "record unknown"),
    "unknown by lease": (*SENT, "deadline"),
    "unknown, hinted": (*SENT, "record unknown", "hint"),
    "processing": (*SENT, "record accepted"),
    "timed out": (*SENT, "record accepted", "deadline"),
    "timed out, refunded": (*SENT, "record accepted", "deadline", "refund"),
    "never known": (*SENT, "record unknown", "deadline"),
    "refused": (*SENT, "record refused"),
    "canceled": ("accept", "cancel"),
    "given up": (*SENT, "record unknown", "deadline resubmit"),
    "sent again": (*SENT, "record unknown", "deadline resubmit", "claim"),
}

ALONE = {
    "new": ["accept", "accept key"],
    "pending": [
        *(f"send {outcome}" for outcome in ("accepted", "refused", "throttled", "blocked", "not_sent", "unknown")),
        "cancel",
        "deadline",
    ],
    "permit lost": ["republish"],
    "submitting": [
        *(f"record {outcome}" for outcome in ("accepted", "refused", "throttled", "not_sent", "unknown")),
        "callback",
        "cancel",
        "deadline",
    ],
    "submitting, cancel wished": ["record not_sent", "deadline"],
    "unknown": ["callback", "deadline", "deadline resubmit", "record accepted"],
    "unknown, hinted": ["poll", "deadline", "ask"],
    "processing": ["callback", "poll", "ask", "deadline"],
    "timed out": ["poll", "refund", "sweep"],
    "timed out, refunded": ["poll"],
    "never known": ["callback", "record accepted"],
    "refused": ["refund"],
    "canceled": ["refund"],
    "given up": ["send", "callback first"],
    "sent again": ["record accepted", "callback first", "deadline resubmit"],
}


def pairs(*kinds):
    return list(combinations_with_replacement(kinds, 2))


TOGETHER = {
    "new": [("accept", "accept"), ("accept key", "accept key")],
    "pending": [*pairs("send", "cancel", "deadline"), ("callback", "send")],
    "permit lost": pairs("republish", "send"),
    "submitting": [
        *((f"record {outcome}", other) for outcome in ("accepted", "unknown") for other in ("callback", "cancel")),
        *((f"record {outcome}", "deadline") for outcome in ("accepted", "refused", "not_sent", "unknown")),
        ("record not_sent", "cancel"),
        *pairs("callback", "deadline", "cancel"),
    ],
    "submitting, hinted": [("record accepted", "deadline"), ("record unknown", "callback")],
    "submitting, cancel wished": [("record not_sent", "deadline")],
    "unknown": [
        *pairs("callback", "deadline resubmit"),
        *(("record accepted", other) for other in ("callback", "deadline", "deadline resubmit")),
        ("record not_sent", "deadline resubmit"),
        ("callback", "deadline"),
    ],
    "unknown, hinted": [("deadline", "poll"), ("deadline resubmit", "poll"), ("poll", "record accepted")],
    "processing": pairs("callback", "poll", "deadline"),
    "timed out": [*pairs("poll", "refund", "sweep"), ("callback", "poll"), ("callback", "refund")],
    "timed out, refunded": [*pairs("callback", "poll"), ("accept", "poll")],
    "never known": [("callback", "refund"), ("record accepted", "refund"), ("callback", "record accepted")],
    "refused": pairs("refund", "sweep"),
    "canceled": pairs("refund", "sweep"),
    "given up": pairs("send", "callback first", "cancel"),
    "sent again": [
        ("record accepted", "callback first"),
        ("record accepted", "deadline resubmit"),
        ("callback first", "callback"),
        ("callback first", "deadline"),
    ],
}


def cases(table, choices, matters):
    """One for each: small tests, and a failing one can be run again alone. A choice is made where it matters."""
    return [
        pytest.param(
            state, kinds, choice, id=", ".join([state, *([kinds] if isinstance(kinds, str) else kinds), choice])
        )
        for state, found in table.items()
        for kinds in found
        for choice in (choices if matters(state, kinds) else choices[:1])
    ]


def _asks(_, kind):
    return kind.partition(" ")[0] in {"callback", "poll", "ask"}


def _may_be_late(state, _):
    return state in {"timed out", "timed out, refunded", "never known"}


@pytest.mark.parametrize(("state", "kind", "truth"), cases(ALONE, ["video", "failure"], _asks))
async def test_a_handler_may_crash_or_lose_its_connection_anywhere(begin, state, kind, truth):
    start = partial(begin, HISTORIES[state], truth=truth)

    assert await explore((kind,), start, Budget(faults=1)) > 1


@pytest.mark.parametrize(("state", "kinds", "late"), cases(TOGETHER, ["give", "recharge"], _may_be_late))
async def test_two_handlers_may_meet_anywhere(begin, state, kinds, late):
    start = partial(begin, HISTORIES[state], late=late)

    assert await explore(kinds, start, BUDGET) > 1
