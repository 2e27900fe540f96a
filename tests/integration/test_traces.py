"""Messages, requests and spans know their job's trace, whether or not anybody records it."""

import asyncio
import socket
import threading
from pathlib import Path

import collector as collector_module
import pytest
import yaml
from api_client import api_settings, opened

from reelgate_common import metrics, outbox, topology, tracing
from reelgate_common.ids import new_id
from reelgate_common.kie.client import KieClient
from reelgate_common.messages import JobFailed
from reelgate_common.outbox import Relay
from reelgate_common.settings import KieSettings, TraceSettings

HERE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BESIDE = "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01"
ELSEWHERE = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01"
DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))


def failed(job_id):
    return JobFailed(job_id=job_id, job_version=3, code="refused", message="no")


def own(message):
    """Its headers but for those that the broker adds."""
    return {name: value for name, value in message.headers.items() if not name.startswith("x-")}


@pytest.fixture
async def api(database_url, broker):
    async with opened(api_settings(database_url, broker)) as client:
        yield client


@pytest.fixture
def traced_job(make_job):
    """A pending job that was made by a request at HERE."""

    async def make():
        return (await make_job(traceparent=HERE)).id

    return make


@pytest.mark.parametrize(
    ("written_at", "told"), [(None, HERE), (BESIDE, BESIDE), (ELSEWHERE, HERE), ("no traceparent", HERE)]
)
async def test_a_message_belongs_to_the_trace_of_its_job(db, bus, cast, take, traced_job, written_at, told):
    job_id = await traced_job()

    with tracing.continuing(written_at):
        await cast(outbox.add, failed(job_id))
    await Relay(db, bus.publisher).run_once()

    taken = await take(topology.JOB_FAILED.name)
    assert own(taken) == {"traceparent": told, "correlation_id": str(job_id)}
    assert set(own(taken)) == set(DOCUMENT["components"]["schemas"]["Headers"]["properties"])


async def test_a_message_of_a_job_from_before_traces_has_what_is_required(db, bus, cast, take):
    job_id = new_id()

    await cast(outbox.add, failed(job_id))
    await Relay(db, bus.publisher).run_once()

    taken = await take(topology.JOB_FAILED.name)
    assert set(own(taken)) == set(DOCUMENT["components"]["schemas"]["Headers"]["required"])


@pytest.mark.parametrize("asked", ["order-7/retry.2", "a" * 128])
async def test_a_callers_request_id_is_kept(api, asked):
    answer = await api.get("/api/status", headers={"X-Request-Id": asked})

    assert answer.headers["x-request-id"] == asked


@pytest.mark.parametrize("asked", ["", "a" * 129, "two words", '{"a":1}', "ä".encode()])
async def test_an_odd_request_id_is_replaced(api, asked):
    answer = await api.get("/api/status", headers={"X-Request-Id": asked})

    assert len(answer.headers["x-request-id"]) == 32
    assert int(answer.headers["x-request-id"], 16)


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/api/video/jobs/x", 400), ("/nowhere", 404), ("/v1/videos/x", 404)]
)
async def test_every_answer_has_a_request_id(api, path, status):
    answer = await api.get(path)

    assert (answer.status_code, len(answer.headers["x-request-id"])) == (status, 32)


@pytest.mark.parametrize("odd", [None, "", 7, "00-" + "0" * 32 + "-00f067aa0ba902b7-01", HERE + "-x", HERE.upper()])
def test_what_is_no_traceparent_is_no_place(odd):
    assert tracing.sane(odd) is None


async def test_nothing_of_a_trace_is_sent_to_kie_ai():
    heads = []

    async def serve(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\nConnection: close\r\n\r\n{"code":200,"data":7}')
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with tracing.continuing(HERE), collector_module.collecting() as collector:
            async with (
                tracing.recording("tests", TraceSettings(otel_exporter_otlp_endpoint=collector.url)),
                KieClient.open(KieSettings(kie_ai_api_key="key", kie_ai_api_endpoint=url)) as kie,
            ):
                assert (await kie.balance()).credits == 7

    [span] = collector.spans
    assert (span.name, span.attributes["server.address"]) == ("GET /api/v1/chat/credit", "127.0.0.1")
    [head] = heads
    assert [line for line in head.split("\r\n") if "trace" in line or "request-id" in line] == []


async def test_a_span_says_that_it_failed_and_not_how():
    with collector_module.collecting() as collector:
        async with tracing.recording("tests", TraceSettings(otel_exporter_otlp_endpoint=collector.url)):
            with tracing.continuing(HERE), pytest.raises(ValueError, match="s3cret"), tracing.span("work"):
                raise ValueError("s3cret")

    [span] = collector.spans
    assert (span.failed, span.attributes, span.parent) == (True, {"error.type": "ValueError"}, HERE[36:52])
    assert b"s3cret" not in collector.raw


async def test_a_span_outside_of_every_trace_is_not_told():
    with collector_module.collecting() as collector:
        async with tracing.recording("tests", TraceSettings(otel_exporter_otlp_endpoint=collector.url)):
            with tracing.span("work"):
                assert tracing.current() is None

    assert collector.spans == []


@pytest.mark.parametrize(("ratio", "count"), [(0, 0), (1, 2)])
async def test_a_trace_is_recorded_whole_or_not_at_all(ratio, count):
    settings = {"otel_traces_sampler_arg": ratio}
    with collector_module.collecting() as collector:
        settings["otel_exporter_otlp_endpoint"] = collector.url
        async with tracing.recording("tests", TraceSettings(**settings)):
            with tracing.request("HTTP", caller=None, join=False), tracing.span("work"):
                assert tracing.current()

    assert len(collector.spans) == count


async def test_a_caller_who_may_join_is_gone_on_with():
    with collector_module.collecting() as collector:
        async with tracing.recording("tests", TraceSettings(otel_exporter_otlp_endpoint=collector.url)):
            with tracing.request("HTTP", caller=HERE, join=True):
                pass

    [span] = collector.spans
    assert (span.trace, span.parent, span.links) == (HERE[3:35], HERE[36:52], ())


async def test_a_collector_that_never_answers_delays_no_stop_for_long():
    """It takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = TraceSettings(otel_exporter_otlp_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with asyncio.timeout(20):  # an export alone would be tried for longer
            async with tracing.recording("tests", settings):
                with tracing.request("HTTP", caller=None, join=False):
                    pass
    assert not [thread for thread in threading.enumerate() if not thread.daemon and "Otel" in thread.name]


async def test_spans_that_nobody_takes_are_counted(eventually):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    before = metrics.spans_lost._value.get()

    async with tracing.recording("tests", TraceSettings(otel_exporter_otlp_endpoint=f"http://127.0.0.1:{port}")):
        for _ in range(5):
            with tracing.request("HTTP", caller=None, join=False):
                pass

    async def are_counted():
        return metrics.spans_lost._value.get() >= before + 5

    await eventually(are_counted)
