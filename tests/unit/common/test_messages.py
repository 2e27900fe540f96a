"""The contracts on the wire."""

import json
from uuid import uuid4

import pytest
from pydantic import ValidationError

from reelgate_common.messages import EVENTS, JobFailed, JobRequested, UnreadableMessage

VALUES = {
    "job_id": str(uuid4()),
    "job_version": 3,
    "task_id": "task",
    "video_url": "https://x/y",
    "code": "refused",
    "message": "no",
    "amount": 4,
    "recharged": False,
    "callback_id": str(uuid4()),
}


def make(event):
    return event(**{name: value for name, value in VALUES.items() if name in event.model_fields})


@pytest.mark.parametrize("event", EVENTS)
def test_a_message_read_back_is_the_message(event):
    message = make(event)

    assert event.read(message.model_dump_json().encode()) == message


@pytest.mark.parametrize("event", EVENTS)
def test_a_field_of_a_newer_release_is_ignored(event):
    message = make(event)
    newer = json.loads(message.model_dump_json()) | {"schema_version": 2, "added_later": {"x": 1}}

    assert event.read(json.dumps(newer).encode()).job_id == message.job_id


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"not json", b"\xff", b'{"job_id":"x","job_version":1}'])
def test_what_is_no_such_message_is_unreadable(event, body):
    with pytest.raises(UnreadableMessage, match=event.__name__):
        event.read(body)


@pytest.mark.parametrize("name", ["job_id", "job_version", "code", "message"])
def test_a_missing_field_is_unreadable(name):
    values = json.loads(make(JobFailed).model_dump_json())
    del values[name]

    with pytest.raises(UnreadableMessage):
        JobFailed.read(json.dumps(values).encode())


def test_a_message_cannot_be_changed():
    message = make(JobRequested)

    with pytest.raises(ValidationError):
        message.job_version = 4


def test_every_message_has_an_id_of_its_own():
    assert len({make(JobRequested).event_id for _ in range(100)}) == 100


def test_routing_keys_are_unique():
    assert len({event.routing_key for event in EVENTS}) == len(EVENTS)
