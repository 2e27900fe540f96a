"""One trace tells what became of a request, through every service, to its webhook."""

import contextlib
import json
import uuid

import collector as collector_module
import gateway
import listener as listener_module
import pytest


@pytest.fixture(scope="module")
def collector():
    with collector_module.collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def stack(run_stack, collector):
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=video, x-key=collectors-key",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "LOG_FORMAT": "json",
        "SIM_VIDEO_SECONDS": "1",
    }
    with run_stack("traces", **settings) as stack:
        yield stack


@pytest.fixture
async def hook(stack):
    """A receiver that hears of every job."""
    async with contextlib.AsyncExitStack() as cleanup:
        receiver = await cleanup.enter_async_context(listener_module.listening())
        client = await cleanup.enter_async_context(stack.client())
        made = await client.post("/api/webhooks", json={"url": f"{receiver.url}?key=receivers-key"})
        assert made.status_code == 201, made.text
        yield receiver
        await client.delete(f"/api/webhooks/{made.json()['id']}")


@pytest.fixture
def trace_of(stack, collector, hook):
    """Make a job and return its spans, as a tree of (service, name), once its last webhook has been told."""

    async def trace(prompt, last, **headers):
        body = {"wallet_address": uuid.uuid4().hex, "prompt": prompt, "image_urls": [gateway.IMAGE]}
        async with stack.client() as client:
            answer = await client.post("/api/video/generate", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        job = await stack.job(answer.json()["job_id"])
        trace_id = job["traceparent"].split("-")[1]

        async def is_told():
            sent = [span for span in collector.of(trace_id) if span.name == "send webhook"]
            spans = {span.name for span in collector.of(trace_id)}
            return len(sent) >= len(last) and {f"publish {event}" for event in last} <= spans

        await stack.until(is_told)
        return answer, job, collector.of(trace_id)

    return trace


def tree(spans):
    """(service, name) of each span with those of its parent; polls that came before the callback are left out."""
    by_id = {span.id: (span.service, span.name) for span in spans}
    return {((span.service, span.name), by_id.get(span.parent)) for span in spans}


ACCEPT = ("api", "POST /api/video/generate")
SEND = ("submitter", "send")
PROCESS = ("callback", "process callback.received")
VERIFY = ("callback", "verify")
BOTH = {
    (ACCEPT, None),
    (("api", "publish job.requested"), ACCEPT),
    (SEND, ("api", "publish job.requested")),
    (("submitter", "POST /api/v1/veo/generate"), SEND),
    (("submitter", "publish job.submitted"), SEND),
    (("callback", "receive callback"), ACCEPT),
    (("callback", "publish callback.received"), ("callback", "receive callback")),
    (PROCESS, ("callback", "publish callback.received")),
    (VERIFY, PROCESS),
    (("callback", "GET /api/v1/veo/record-info"), VERIFY),
    (("callback", "send webhook"), ACCEPT),
}


def shape(spans):
    """The tree without who published: any process's relay may be first."""

    def plain(node):
        return node and (("any" if node[1].startswith("publish") else node[0]), node[1])

    return {(plain(node), plain(parent)) for node, parent in spans}


async def test_a_video_is_one_trace_from_the_request_to_its_webhook(trace_of, hook):
    _, job, spans = await trace_of("A calm sea", ["job.completed"])

    assert shape(tree(spans)) >= shape(BOTH | {(("callback", "publish job.completed"), VERIFY)})
    assert {span.service for span in spans} == {"api", "submitter", "callback"}
    assert all(span.seconds < job["duration"] for span in spans)
    [(headers, _)] = hook.requests
    [told] = [span for span in spans if span.name == "send webhook"]
    assert headers["traceparent"].startswith(f"00-{told.trace}-{told.id}-")


async def test_a_refund_is_in_the_trace_of_its_job(trace_of):
    _, job, spans = await trace_of("Something sim:policy", ["job.failed", "job.refunded"])

    process = ("reconciler", "process job.failed")
    assert shape(tree(spans)) >= shape(
        BOTH
        | {
            (("callback", "publish job.failed"), VERIFY),
            (process, ("callback", "publish job.failed")),
            (("reconciler", "refund"), process),
            (("reconciler", "publish job.refunded"), ("reconciler", "refund")),
        }
    )
    assert {span.service for span in spans} == {"api", "submitter", "callback", "reconciler"}
    [refund] = [span for span in spans if span.name == "refund"]
    assert refund.attributes == {"reelgate.job_id": str(job["id"]), "reelgate.credits": job["cost"]}


async def test_a_strangers_trace_is_linked_and_not_gone_on_with(trace_of):
    theirs = uuid.uuid4().hex

    _, _, spans = await trace_of("A calm sea", ["job.completed"], traceparent=f"00-{theirs}-00f067aa0ba902b7-01")

    [first] = [span for span in spans if (span.service, span.name) == ACCEPT]
    assert (first.links, first.parent) == ((theirs,), "")
    assert first.trace != theirs


async def test_logs_of_every_service_name_the_trace_and_the_request(stack, trace_of):
    answer, job, spans = await trace_of("A calm sea", ["job.completed"])

    said = {
        path.stem: [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
        for path in stack.home.rglob("*.log")
        if path.stem in {"api", "submitter", "callback"}
    }
    trace = spans[0].trace
    events = {line["event"] for lines in said.values() for line in lines if line.get("trace_id") == trace}
    assert events >= {"job_accepted", "send_ended", "callback_received", "job_completed", "webhook_sent"}
    [accepted] = [line for line in said["api"] if line.get("job_id") == str(job["id"])]
    assert accepted["request_id"] == answer.headers["x-request-id"] == trace


async def test_no_span_tells_a_secret_a_prompt_or_a_callers_picture(stack, collector, trace_of):
    await trace_of("A calm sea", ["job.completed"])

    tokens = ["calm sea", gateway.IMAGE, "receivers-key", "collectors-key", "token=", "whsec_"]
    secret = [*tokens, stack.env["API_KEY"], stack.env["ADMIN_KEY"], stack.env["CRON_SECRET"]]
    assert collector.spans
    assert [word for word in secret if word.encode() in collector.raw] == []
    assert (collector.headers["x-tenant"], collector.headers["x-key"]) == ("video", "collectors-key")
