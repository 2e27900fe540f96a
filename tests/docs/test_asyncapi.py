"""docs/asyncapi.yaml says what the code publishes, declares and consumes."""

from pathlib import Path

import pytest
import yaml
from delivered import Acks, delivered

from reelgate_common import topology
from reelgate_common.consumer import subscription
from reelgate_common.messages import EVENTS, CallbackReceived

DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))
CHANNELS = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}
MESSAGES = DOCUMENT["components"]["messages"]

each_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
each_queue = pytest.mark.parametrize("queue", topology.QUEUES, ids=lambda queue: queue.name)


def resolve(node):
    """Follow a reference within the document."""
    while "$ref" in node:
        found = DOCUMENT
        for key in node["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        node = found
    return node


def shape(schema):
    """Required names and properties of a schema, with allOf merged and prose left out."""
    required, properties = set(), {}
    for part in schema.get("allOf", [schema]):
        resolved = resolve(part)
        required |= set(resolved.get("required", []))
        properties |= resolved["properties"]
    return required, {
        name: {key: value for key, value in kind.items() if key not in {"title", "description"}}
        for name, kind in properties.items()
    }


def addressed(operation):
    return resolve(operation["channel"])["address"]


def test_every_channel_is_a_routing_key_or_a_queue_and_none_is_missing():
    keys = {event.routing_key for event in EVENTS}
    queues = {name for queue in topology.QUEUES for name in (queue.name, queue.retry_name)}

    assert set(CHANNELS) == keys | queues | {topology.PARKED}


@each_event
def test_a_message_has_the_fields_of_its_model(event):
    required, properties = shape(resolve(MESSAGES[event.__name__]["payload"]))

    assert properties == shape(event.model_json_schema(mode="serialization"))[1]
    # What is sent has every field, also those a reader could fill in.
    assert required == set(event.model_fields)


@each_event
def test_a_message_is_described_in_the_models_own_words(event):
    assert MESSAGES[event.__name__]["summary"] == event.__doc__
    assert MESSAGES[event.__name__]["name"] == event.routing_key


@each_event
def test_a_message_has_the_headers_described(event):
    assert MESSAGES[event.__name__]["headers"] == {"$ref": "#/components/schemas/Headers"}


@each_event
def test_every_example_is_what_the_model_would_send(event):
    for example in MESSAGES[event.__name__]["examples"]:
        assert event.model_validate(example["payload"]).model_dump(mode="json") == example["payload"]


@each_event
def test_an_event_is_published_to_the_topic_exchange(event):
    channel = CHANNELS[event.routing_key]

    exchange = channel["bindings"]["amqp"]["exchange"]
    assert (exchange["name"], exchange["type"]) == (topology.EXCHANGE, "topic")
    assert list(channel["messages"]) == [event.__name__]


@each_queue
def test_a_queue_is_declared_as_described(queue):
    for name, arguments in (
        (queue.name, topology.work_arguments(queue)),
        (queue.retry_name, topology.retry_arguments(queue)),
    ):
        assert CHANNELS[name]["bindings"]["amqp"]["queue"]["name"] == name
        assert CHANNELS[name]["x-arguments"] == arguments
        assert list(CHANNELS[name]["messages"]) == [queue.event.__name__]


def test_the_parked_queue_is_declared_as_described():
    assert CHANNELS[topology.PARKED]["x-arguments"] == topology.parked_arguments()


@pytest.mark.parametrize(
    ("own", "kept_in"),
    [
        (None, set()),
        ({"traceparent": "00-4bf9"}, {"x-parked-headers"}),
        ({"long": "x" * 16 * 1024}, {"x-parked-headers-left-out"}),
    ],
)
async def test_a_parked_message_carries_the_headers_described(parked_headers, own, kept_in):
    described = MESSAGES["Parked"]["headers"]

    headers = await parked_headers(b"not a message", own)

    assert set(headers) == set(described["required"]) | kept_in
    words = {"string": str, "integer": int}
    assert all(isinstance(value, words[described["properties"][name]["type"]]) for name, value in headers.items())


def test_each_queue_has_one_consumer_and_each_event_a_sender():
    receives = [operation for operation in DOCUMENT["operations"].values() if operation["action"] == "receive"]
    sends = [operation for operation in DOCUMENT["operations"].values() if operation["action"] == "send"]

    consumed = sorted((addressed(operation), operation["tags"][0]["name"]) for operation in receives)
    assert consumed == sorted((queue.name, queue.service) for queue in topology.QUEUES)
    assert sorted(map(addressed, sends)) == sorted(event.routing_key for event in EVENTS)


class FakePublisher:
    """Keeps what is parked."""

    def __init__(self):
        self.parked = []

    async def park(self, *, message_id, body, headers):
        self.parked.append((message_id, body, headers))


@pytest.fixture
def parked_headers():
    async def park(body, own):
        async def never(_):
            raise AssertionError("an unreadable message has no handler")

        channel, publisher = Acks(), FakePublisher()
        wired = subscription(topology.CALLBACK_RECEIVED, CallbackReceived, never, publisher=publisher, prefetch=1)
        await wired.handle(delivered(body, own, channel=channel))
        assert channel.acked == [1]
        [(_, kept, headers)] = publisher.parked
        assert kept == body
        return headers

    return park
