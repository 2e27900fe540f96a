"""Results on a host the operator does not take: asked for again, then the money back, and an operator sees it."""

import pytest
from scripted_wire import ScriptedWire, reply

from reelgate_common import metrics, settlement
from reelgate_common.domain.job import JobStatus
from reelgate_common.kie.client import KieClient
from reelgate_common.settings import JobSettings, KieSettings
from reelgate_common.verification import Verifier


@pytest.fixture
def verify(db):
    """Ask record-info about a job's task, which has one video at this URL."""

    async def ask(job, url, *, hosts, grace=120):
        def handle(_):
            data = {"taskId": job.task_id, "successFlag": 1, "response": {"resultUrls": [url]}}
            return reply({"code": 200, "msg": "success", "data": data})

        kie = KieSettings(kie_ai_api_key="x", result_url_hosts=hosts)
        policy = JobSettings(empty_result_grace_seconds=grace)
        await Verifier(db, KieClient(ScriptedWire(handle), kie), policy, "tests").verify(job.attempt_id, job.task_id)

    return ask


def refused():
    return metrics.result_hosts_refused._value.get()


async def test_it_counts_as_no_video_until_the_grace_is_over_and_is_refunded_then(make_job, verify, stored, cast):
    job = await make_job(JobStatus.PROCESSING)
    before = refused()

    await verify(job, "https://elsewhere.example/v.mp4", hosts="cdn.example")
    first = await stored.status(job.id)
    await verify(job, "https://elsewhere.example/v.mp4", hosts="cdn.example", grace=0)
    await cast(settlement.refund, job.id, by="tests")

    ended = await stored.job(job.id)
    assert first == "processing"
    assert (ended.status, ended.failure_code, ended.video_url) == ("failed", "empty_result", None)
    assert await stored.ledger(job.id) == {"charge": -4, "refund": 4}
    assert refused() == before + 2


@pytest.mark.parametrize("hosts", ["", "cdn.example", ".media.example, CDN.example"])
async def test_a_video_on_a_host_that_is_taken_is_given(make_job, verify, stored, hosts):
    job = await make_job(JobStatus.PROCESSING)
    before = refused()

    await verify(job, "https://cdn.example/v.mp4", hosts=hosts)

    assert (await stored.job(job.id)).video_url == "https://cdn.example/v.mp4"
    assert refused() == before
