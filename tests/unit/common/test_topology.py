"""The broker's queues, as data."""

import pytest

from reelgate_common import topology
from reelgate_common.messages import EVENTS


@pytest.mark.parametrize("queue", topology.QUEUES, ids=lambda queue: queue.name)
def test_a_queue_is_named_for_its_service_and_event(queue):
    assert queue.name == f"{queue.service}.{queue.event.routing_key}.v1"
    assert queue.retry_name == f"{queue.name}.retry"


@pytest.mark.parametrize("queue", topology.QUEUES, ids=lambda queue: queue.name)
def test_nothing_is_dropped_on_the_way_round(queue):
    for arguments in (topology.work_arguments(queue), topology.retry_arguments(queue)):
        assert arguments["x-queue-type"] == "quorum"
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-overflow"] == "reject-publish"
        assert arguments["x-dead-letter-routing-key"] == queue.name


def test_what_is_parked_stays():
    assert not {"x-message-ttl", "x-dead-letter-exchange"} & topology.parked_arguments().keys()


def test_only_our_own_events_are_listened_to():
    assert {event.routing_key for event in EVENTS} >= topology.LISTENED_TO


def test_no_two_queues_share_a_name():
    assert len({queue.name for queue in topology.QUEUES}) == len(topology.QUEUES)
