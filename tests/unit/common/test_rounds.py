"""How often a message came round, by the broker's own count."""

import pytest
from delivered import delivered

from reelgate_common import topology
from reelgate_common.consumer import rounds

QUEUE = topology.JOB_REQUESTED


def death(reason, count, queue=QUEUE.name):
    return {"queue": queue, "reason": reason, "count": count}


@pytest.mark.parametrize(
    ("deaths", "expected"),
    [
        ([], 0),
        ([death("rejected", 1)], 1),
        ([death("rejected", 8)], 8),
        ([death("delivery_limit", 2)], 2),
        ([death("rejected", 3), death("delivery_limit", 2)], 5),
        ([death("expired", 4, QUEUE.retry_name)], 0),
        ([death("expired", 4, QUEUE.retry_name), death("rejected", 4)], 4),
        ([death("expired", 9)], 0),
        ([death("maxlen", 9)], 0),
        ([death("rejected", 9, "another.queue")], 0),
        ([{"queue": QUEUE.name, "reason": "rejected"}], 0),
    ],
)
def test_rejections_of_this_queue_are_counted(deaths, expected):
    assert rounds(delivered(headers={"x-death": deaths}), QUEUE) == expected


@pytest.mark.parametrize("headers", [None, {}, {"x-death": None}])
def test_a_fresh_message_has_no_rounds(headers):
    assert rounds(delivered(headers=headers), QUEUE) == 0
