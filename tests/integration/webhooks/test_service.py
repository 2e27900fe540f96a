"""The callback service sends what is due, as a process does."""

import gc

import pytest

from reelgate_callback.app import create_app
from reelgate_callback.settings import Settings
from reelgate_callback.webhooks import repository
from reelgate_common import metrics
from reelgate_common.domain.job import JobStatus

# A connect to the broker that is cancelled half-way leaves its socket to the garbage collector (aiormq).
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def settings(database_url, broker, unused_tcp_port):
    yield Settings(
        database_url=database_url,
        amqp_url=broker.amqp_url,
        kie_ai_api_key="kie-key",
        kie_ai_api_endpoint=f"http://127.0.0.1:{unused_tcp_port}",
        webhook_allow_private=True,
    )
    gc.collect()


async def test_the_callback_service_sends_what_is_due(settings, endpoint, make_job, eventually):
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await make_job(JobStatus.COMPLETED)
        await eventually(lambda: endpoint.listener.requests)

    assert endpoint.verify()["type"] == "job.completed"


async def test_private_addresses_are_closed_unless_the_operator_opens_them(
    settings, endpoint, make_job, stored, eventually
):
    app = create_app(settings.model_copy(update={"webhook_allow_private": False}))
    await make_job(JobStatus.COMPLETED)
    async with app.router.lifespan_context(app):
        await eventually(lambda: stored.value("SELECT last_error FROM webhook_deliveries"))

    assert endpoint.listener.requests == []
    assert await stored.value("SELECT last_error FROM webhook_deliveries") == "only https is allowed"


async def test_the_queues_age_is_that_of_the_delivery_that_waits_longest(cast, api, endpoint, make_job, stored):
    await make_job(JobStatus.COMPLETED)
    nothing_is_late = await cast(repository.queue_age)
    await make_job(JobStatus.COMPLETED)
    await stored.run("UPDATE webhook_deliveries SET next_attempt_at = now() - interval '1 hour' WHERE attempts = 0")

    late = await cast(repository.queue_age)
    await api.patch(f"/api/webhooks/{endpoint.id}", json={"disabled": True})

    assert nothing_is_late < 60
    assert 3600 <= late < 3660
    assert await cast(repository.queue_age) == 0


async def test_the_metrics_say_what_came_of_each(settings, endpoint, sender, make_job):
    def count(outcome):
        return metrics.webhook_attempts.labels(outcome)._value.get()

    before = count("delivered"), count("refused")
    endpoint.listener.say(500)
    await make_job(JobStatus.COMPLETED)
    await make_job(JobStatus.COMPLETED)

    await sender.run_once()

    assert (count("delivered") - before[0], count("refused") - before[1]) == (1, 1)
