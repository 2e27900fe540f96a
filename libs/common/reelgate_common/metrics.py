"""Every metric of the gateway, in one place, so that names stay consistent.

Labels have few values, known beforehand: never an id, a wallet, a URL. What is true of the whole gateway is a gauge
that every process tells alike (`max` over them); what is true of a process is to be added up.
"""

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

_WORKERS = "PROMETHEUS_MULTIPROC_DIR"  # where worker processes of one service keep their numbers

_REQUEST_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 45)
_WAIT_SECONDS = (0.015, 0.06, 0.25, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)
_DELAY_SECONDS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 7200)


def _fact(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
    """Something about the whole gateway: of several workers, the one that looked last is right."""
    return Gauge(name, text, labels, multiprocess_mode="livemostrecent")


def _share(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
    """Something about one process: workers are added up."""
    return Gauge(name, text, labels, multiprocess_mode="livesum")


job_steps = Counter("reelgate_job_steps_total", "Timeline entries written, by step.", ["step"])
sends = Counter(
    "reelgate_sends_total", "Calls that start a job at Kie.ai, by operation and outcome.", ["operation", "outcome"]
)
vendor_answers = Counter("reelgate_vendor_answers_total", "Answers of Kie.ai, by call and class.", ["call", "kind"])
callbacks = Counter("reelgate_callbacks_total", "Webhooks received from Kie.ai, by what became of them.", ["result"])
messages = Counter("reelgate_messages_total", "Messages handled, by queue and end.", ["queue", "end"])
published = Counter("reelgate_outbox_published_total", "Outbox rows confirmed by the broker.", ["routing_key"])
publish_failures = Counter("reelgate_outbox_failures_total", "Outbox rows that stayed.", ["routing_key"])
refunds = Counter("reelgate_refunds_total", "Refunds written.")
late_successes = Counter("reelgate_late_successes_total", "Videos that came after the job was over.", ["given"])
duplicate_deliveries = Counter("reelgate_duplicate_deliveries_total", "Second videos for one job.")
breaker_open = _fact("reelgate_breaker_open", "1 while vendor trouble stops all sends.")
sends_paused = _fact("reelgate_sends_paused", "1 while an operator has stopped all sends.")
loop_failures = Counter("reelgate_loop_failures_total", "Passes of a periodic task that crashed.", ["task"])
result_hosts_refused = Counter("reelgate_result_hosts_refused_total", "Results on a host RESULT_URL_HOSTS leaves out.")
ledger_drift = _fact("reelgate_ledger_drift", "Findings of the running audit's last pass, by rule.", ["rule"])
queries_put_off = Counter("reelgate_queries_put_off_total", "Questions to Kie.ai that found no place in its limit.")
vendor_credits = Counter(
    "reelgate_vendor_credits_total", "What sends should cost at Kie.ai, in its credits, by outcome.", ["outcome"]
)
vendor_balance = _fact("reelgate_vendor_balance_credits", "What is left on the account at Kie.ai, as last seen.")
vendor_balance_low = _fact("reelgate_vendor_balance_low", "1 while that is less than KIE_LOW_BALANCE.")
vendor_capped = _fact("reelgate_vendor_spend_capped", "1 while today's KIE_DAILY_CREDITS stop all sends.")
webhook_attempts = Counter(
    "reelgate_webhook_attempts_total", "Outgoing webhooks sent, by what came of it.", ["outcome"]
)
webhooks_given_up = Counter("reelgate_webhooks_given_up_total", "Outgoing webhooks whose last try failed.")
webhook_endpoints_disabled = Counter(
    "reelgate_webhook_endpoints_disabled_total", "Endpoints that were given up, by reason.", ["reason"]
)
webhook_queue_age = _fact("reelgate_webhook_queue_seconds", "How long the outgoing webhook that waits longest is due.")
live_streams = _share("reelgate_live_streams", "Live streams and long polls that are open.")
live_reads = Counter("reelgate_live_reads_total", "Queries for what open streams wait for, however many they are.")

build_info = _fact("reelgate_build_info", "1, with the version that runs.", ["version"])
build_info.labels(version("reelgate-common")).set(1)

spans_lost = Counter("reelgate_spans_lost_total", "Spans that the trace collector did not take.")

http_requests = Counter(
    "reelgate_http_requests_total", "HTTP requests answered, by route and status.", ["method", "route", "status"]
)
queue_full = Counter("reelgate_queue_full_total", "Requests for a job refused because of MAX_QUEUED.")
http_request_seconds = Histogram(
    "reelgate_http_request_seconds", "Time to an answer's first byte.", ["method", "route"], buckets=_REQUEST_SECONDS
)
database_up = Gauge("reelgate_database_up", "1 while the database answers this process.", multiprocess_mode="livemin")
pool_used = _share("reelgate_pool_used", "Database connections in use.")
pool_size = _share("reelgate_pool_size", "Database connections there may be.")
pool_waiting = _share("reelgate_pool_waiting", "Who waits for a database connection.")
batch_waiting = _share("reelgate_batch_waiting", "Who waits for a statement that is shared with others.", ["of"])

job_failures = Counter("reelgate_job_failures_total", "Jobs that ended without a video, by reason.", ["code"])
send_wait_seconds = Histogram(
    "reelgate_send_wait_seconds", "From a job's acceptance to its first send.", buckets=_WAIT_SECONDS
)
send_seconds = Histogram(
    "reelgate_send_seconds", "How long Kie.ai took to answer a send.", ["operation"], buckets=_CALL_SECONDS
)
vendor_codes = Counter(
    "reelgate_vendor_codes_total", "Answers of Kie.ai, by call and the code in them.", ["call", "code"]
)
verdicts = Counter(
    "reelgate_verdicts_total", "Tasks found to be over, by whether Kie.ai's webhook had come.", ["webhook"]
)
detection_seconds = Histogram(
    "reelgate_detection_seconds",
    "From the end of a task, by Kie.ai's clock in whole seconds, to its verdict here.",
    ["by"],
    buckets=_DELAY_SECONDS,
)
refund_delay_seconds = Histogram(
    "reelgate_refund_delay_seconds", "From the end of a job to its refund.", buckets=_DELAY_SECONDS
)

# What the reconciler counts in one pass, over again. Counts end at 10,000.
jobs = _fact("reelgate_jobs", "Jobs that are not over, by state.", ["state"])
oldest_job = _fact(
    "reelgate_oldest_job_seconds", "Age of the oldest job of each state; 0 when there is none.", ["state"]
)
refunds_due = _fact("reelgate_refunds_due", "Jobs that are over and not refunded yet.")
oldest_refund_due = _fact("reelgate_oldest_refund_due_seconds", "How long the oldest refund is due.")
outbox_rows = _fact("reelgate_outbox_rows", "Messages that are due and not with the broker yet.")
oldest_outbox = _fact("reelgate_outbox_oldest_seconds", "How long the oldest of them is due.")
webhooks_due = _fact("reelgate_webhook_deliveries_due", "Outgoing webhooks that are due.")
window_used = _fact("reelgate_send_window_used", "Sends within the window that ends now.")
window_allowed = _fact("reelgate_send_window_allowed", "Sends that Kie.ai takes in a window.")
queue_messages = _fact("reelgate_queue_messages", "Messages ready in each queue.", ["queue"])
queue_consumers = _fact("reelgate_queue_consumers", "Consumers of each queue.", ["queue"])
parked_messages = _fact("reelgate_parked_messages", "Messages put aside for an operator.")
last_pass = _fact(
    "reelgate_last_pass_timestamp_seconds", "When a periodic task last did its work, or began to try.", ["task"]
)
custody_copies = Counter(
    "reelgate_custody_copies_total", "Tries to copy a video to the operator's bucket, by what came of it.", ["outcome"]
)
custody_bytes = Counter("reelgate_custody_bytes_total", "Bytes of the videos that were copied.")
custody_oldest_due = _fact("reelgate_custody_oldest_due_seconds", "Age of the oldest video that is still to be copied.")


def _begin() -> None:
    """Show at 0 what an alert waits for: Prometheus sees no increase when a series begins at 1."""
    for counter, values in (
        (late_successes, ("yes", "no")),
        (webhook_endpoints_disabled, ("gone", "failing")),
        (verdicts, ("came", "missing")),
        (loop_failures, ("webhooks", "live")),
        (custody_copies, ("given_up",)),
    ):
        for value in values:
            counter.labels(value)


_begin()


def keep_together(directory: Path) -> None:
    """Have processes started from now on share their numbers through files in this directory."""
    os.environ[_WORKERS] = str(directory)


def exposition() -> bytes:
    """What Prometheus reads: of this process, or of all workers of this service."""
    if _WORKERS not in os.environ:
        return generate_latest()
    for pid in {int(file.stem.rpartition("_")[2]) for file in Path(os.environ[_WORKERS]).glob("gauge_live*.db")}:
        if not _is_alive(pid):  # uvicorn replaces a worker that died, and tells nobody
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
