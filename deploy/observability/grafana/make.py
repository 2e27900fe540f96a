"""The dashboards, made from the short lists below: `python deploy/observability/grafana/make.py` writes them anew."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_PER_ROW = 3
_WIDTH, _HEIGHT = 24 // _PER_ROW, 8
_RATE = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """One picture: what is asked for, under which name it is drawn (`{{label}}`), in which unit of Grafana's."""

    title: str
    text: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    stacked: bool = False
    limits: tuple[tuple[str, float | None], ...] = field(default=(("green", None),))


def _percentiles(metric: str, *, by: str = "", where: str = "") -> dict[str, str]:
    labels = f"le, {by}" if by else "le"
    rate = f"sum by ({labels}) (rate(reelgate_{metric}_bucket{where}[{_RATE}]))"
    suffix = f" {{{{{by}}}}}" if by else ""
    return {f"p{round(q * 100)}{suffix}": f"histogram_quantile({q}, {rate})" for q in (0.5, 0.99)}


def _rate(metric: str, *, by: str, where: str = "") -> dict[str, str]:
    return {f"{{{{{by}}}}}": f"sum by ({by}) (rate(reelgate_{metric}{where}[{_RATE}]))"}


_ACCEPT = '{method="POST", route=~"/api/video/generate|/api/video/jobs/.+/(extend|upgrade)|/v1/videos"}'
_ACCEPT_BAD = _ACCEPT.replace("}", ', status=~"5.."}')
_API = '{job="reelgate-api"}'  # it looks each second; others know what they last saw
_RED_ABOVE_0 = (("green", None), ("red", 1.0))

DASHBOARDS: dict[str, tuple[str, list[Panel]]] = {
    "overview": (
        "Reelgate: overview",
        [
            Panel(
                "Accepted without error",
                "Share of requests for a video that were not answered with 5xx, `queue_full` apart. Objective: 99.9 %.",
                "percentunit",
                {
                    "": f"1 - ((sum(rate(reelgate_http_requests_total{_ACCEPT_BAD}[$__range]))"
                    " - sum(rate(reelgate_queue_full_total[$__range]))) or vector(0))"
                    f" / sum(rate(reelgate_http_requests_total{_ACCEPT}[$__range]))"
                },
                kind="stat",
                limits=(("red", None), ("orange", 0.999), ("green", 0.9995)),
            ),
            Panel(
                "Sends",
                "1: jobs go to Kie.ai. 0: the breaker is open, they are paused, or the day's credits are spent.",
                "none",
                {
                    "": f"1 - clamp_max(max(reelgate_breaker_open{_API}) + max(reelgate_sends_paused{_API})"
                    f" + max(reelgate_vendor_spend_capped{_API}), 1)"
                },
                kind="stat",
                limits=(("red", None), ("green", 1.0)),
            ),
            Panel(
                "Broken promises",
                "Findings of the running audit: of money and of states. Anything but 0 is for a person, now.",
                "none",
                {"": "sum(max by (rule) (reelgate_ledger_drift))"},
                kind="stat",
                limits=_RED_ABOVE_0,
            ),
            Panel("Jobs", "Accepted and ended jobs a second, by step.", "ops", _rate("job_steps_total", by="step")),
            Panel(
                "Not over yet",
                "Jobs by state. unknown: nobody can say whether Kie.ai took them.",
                "none",
                {"{{state}}": "max by (state) (reelgate_jobs)"},
                stacked=True,
            ),
            Panel(
                "Oldest job of a state",
                "Age of the oldest job in each state: a line that only rises is a job that is stuck.",
                "s",
                {"{{state}}": "max by (state) (reelgate_oldest_job_seconds)"},
            ),
            Panel(
                "Time to send",
                "From a job's acceptance to its first send. Objective: 95 % within 60 s.",
                "s",
                _percentiles("send_wait_seconds"),
            ),
            Panel(
                "Detection",
                "From the end of a task, by Kie.ai's clock, to our verdict. Objective: 95 % within 30 s.",
                "s",
                _percentiles("detection_seconds", by="by"),
            ),
            Panel(
                "Refund delay",
                "From the end of a job to its refund. Objective: 99.9 % within 60 s.",
                "s",
                _percentiles("refund_delay_seconds"),
            ),
            Panel(
                "Left at Kie.ai",
                "Credits on our account at Kie.ai, as last seen.",
                "none",
                {"credits": "max(reelgate_vendor_balance_credits)"},
            ),
            Panel(
                "Spent at Kie.ai",
                "What sends should cost an hour, in Kie.ai's credits, by outcome.",
                "none",
                {"{{outcome}}": "sum by (outcome) (increase(reelgate_vendor_credits_total[1h]))"},
                stacked=True,
            ),
            Panel(
                "Failures", "Jobs that ended without a video, by reason.", "ops", _rate("job_failures_total", by="code")
            ),
            Panel(
                "Refunds that are due",
                "Jobs that are over and not refunded yet, and for how long the oldest.",
                "none",
                {"due": "max(reelgate_refunds_due)", "oldest, seconds": "max(reelgate_oldest_refund_due_seconds)"},
            ),
            Panel(
                "Copies of videos",
                "Tries to copy a video to our bucket, by what came of it.",
                "ops",
                _rate("custody_copies_total", by="outcome"),
            ),
            Panel(
                "Videos not copied yet",
                "Age of the oldest. Kie.ai deletes it after 14 days.",
                "s",
                {"oldest": "max(reelgate_custody_oldest_due_seconds)"},
            ),
        ],
    ),
    "vendor": (
        "Reelgate: sends and Kie.ai",
        [
            Panel("Sends", "Calls that start a job, by outcome.", "ops", _rate("sends_total", by="outcome")),
            Panel(
                "Codes", "What Kie.ai said, by the code in its answer.", "ops", _rate("vendor_codes_total", by="code")
            ),
            Panel(
                "Questions",
                "Answers to record-info. NotYet: not known yet, or not understood.",
                "ops",
                _rate("vendor_answers_total", by="kind", where='{call="record-info"}'),
            ),
            Panel(
                "Questions put off",
                "Questions that found no place in what Kie.ai takes a second.",
                "ops",
                {"put off": f"sum(rate(reelgate_queries_put_off_total[{_RATE}]))"},
            ),
            Panel("Time of a send", "How long Kie.ai took to answer a send.", "s", _percentiles("send_seconds")),
            Panel(
                "Window",
                "Sends within the window that ends now, of those that Kie.ai takes.",
                "none",
                {"used": "max(reelgate_send_window_used)", "allowed": "max(reelgate_send_window_allowed)"},
            ),
            Panel(
                "Webhooks that came",
                "Tasks found to be over, by whether Kie.ai's webhook had come. With many missing, look at the URL.",
                "ops",
                _rate("verdicts_total", by="webhook"),
            ),
            Panel(
                "Webhooks", "Kie.ai's webhooks, by what became of them.", "ops", _rate("callbacks_total", by="result")
            ),
            Panel(
                "Late and double",
                "Videos after the end of their job, and second videos of one job: paid twice.",
                "none",
                {
                    "late, given: {{given}}": "sum by (given) (increase(reelgate_late_successes_total[1h]))",
                    "double": "sum(increase(reelgate_duplicate_deliveries_total[1h]))",
                },
            ),
            Panel(
                "Stops",
                "1 while the breaker is open, sends are paused, the day's credits are spent, or little is left.",
                "none",
                {
                    "breaker": f"max(reelgate_breaker_open{_API})",
                    "paused": f"max(reelgate_sends_paused{_API})",
                    "capped": f"max(reelgate_vendor_spend_capped{_API})",
                    "balance low": "max(reelgate_vendor_balance_low)",
                },
            ),
        ],
    ),
    "messaging": (
        "Reelgate: broker and database",
        [
            Panel(
                "Queues",
                "Messages ready in each queue.",
                "none",
                {"{{queue}}": "max by (queue) (reelgate_queue_messages)"},
            ),
            Panel(
                "Consumers",
                "Who takes from each queue. A work queue with none stands still.",
                "none",
                {"{{queue}}": 'min by (queue) (reelgate_queue_consumers{queue!~".*[.]retry|.*[.]parked[.].*"})'},
            ),
            Panel(
                "Set aside",
                "Messages that failed every round: `reelgate dead-letters list`.",
                "none",
                {"": "max(reelgate_parked_messages)"},
                kind="stat",
                limits=_RED_ABOVE_0,
            ),
            Panel("Messages", "Handled messages, by how it ended.", "ops", _rate("messages_total", by="end")),
            Panel(
                "Outbox",
                "Messages that are due and not with the broker yet.",
                "none",
                {"rows": "max(reelgate_outbox_rows)"},
            ),
            Panel(
                "Outbox, oldest",
                "How long the oldest of them is due.",
                "s",
                {"oldest": "max(reelgate_outbox_oldest_seconds)"},
            ),
            Panel(
                "Published",
                "Messages the broker confirmed, and those that stayed.",
                "ops",
                {
                    "{{routing_key}}": f"sum by (routing_key) (rate(reelgate_outbox_published_total[{_RATE}]))",
                    "stayed": f"sum(rate(reelgate_outbox_failures_total[{_RATE}]))",
                },
            ),
            Panel(
                "Pool",
                "Database connections in use, and who waits for one, by service.",
                "none",
                {
                    "{{job}} used": "sum by (job) (reelgate_pool_used)",
                    "{{job}} waiting": "sum by (job) (reelgate_pool_waiting)",
                },
            ),
            Panel(
                "Database",
                "1 while the database answers every process of a service.",
                "none",
                {"{{job}}": "min by (job) (reelgate_database_up)"},
            ),
            Panel(
                "Spans lost",
                "Spans that the trace collector did not take.",
                "ops",
                {"lost": f"sum(rate(reelgate_spans_lost_total[{_RATE}]))"},
            ),
            Panel(
                "Passes",
                "How long ago each periodic task last did its work.",
                "s",
                {"{{task}}": "time() - max by (task) (reelgate_last_pass_timestamp_seconds)"},
            ),
        ],
    ),
    "http": (
        "Reelgate: HTTP, webhooks, streams",
        [
            Panel("Requests", "Answers a second, by status.", "reqps", _rate("http_requests_total", by="status")),
            Panel("By route", "Answers a second, by route.", "reqps", _rate("http_requests_total", by="route")),
            Panel(
                "Time to accept",
                "Until the answer to a request for a video.",
                "s",
                _percentiles("http_request_seconds", where=_ACCEPT),
            ),
            Panel(
                "Time by route",
                "Until the first byte of the answer.",
                "s",
                _percentiles("http_request_seconds", by="route"),
            ),
            Panel(
                "Customers' webhooks",
                "Tries, by what came of them.",
                "ops",
                _rate("webhook_attempts_total", by="outcome"),
            ),
            Panel(
                "Webhooks that wait",
                "How many are due, and for how long the oldest.",
                "none",
                {
                    "due": "max(reelgate_webhook_deliveries_due)",
                    "oldest, seconds": "max(reelgate_webhook_queue_seconds)",
                },
            ),
            Panel(
                "Given up",
                "Webhooks whose last try failed, and endpoints that were turned off, by reason.",
                "none",
                {
                    "webhooks": "sum(increase(reelgate_webhooks_given_up_total[1h]))",
                    "endpoints: {{reason}}": "sum by (reason)"
                    " (increase(reelgate_webhook_endpoints_disabled_total[1h]))",
                },
            ),
            Panel(
                "Streams", "Live streams and long polls that are open.", "none", {"open": "sum(reelgate_live_streams)"}
            ),
            Panel(
                "Crashes",
                "Passes of a periodic task that crashed, by task.",
                "none",
                {"{{task}}": "sum by (task) (increase(reelgate_loop_failures_total[1h]))"},
            ),
        ],
    ),
}


def dashboard(uid: str) -> dict[str, Any]:
    """One dashboard as Grafana 10 and later read it."""
    title, panels = DASHBOARDS[uid]
    return {
        "uid": f"reelgate-{uid}",
        "title": title,
        "tags": ["reelgate"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["reelgate"], "title": "Reelgate", "asDropdown": False}],
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    is_stat = panel.kind == "stat"
    drawn = {} if is_stat else {"fillOpacity": 10, "stacking": {"mode": "normal" if panel.stacked else "none"}}
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": {
            "x": number % _PER_ROW * _WIDTH,
            "y": number // _PER_ROW * _HEIGHT,
            "w": _WIDTH,
            "h": _HEIGHT,
        },
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": drawn,
                "thresholds": {
                    "mode": "absolute",
                    "steps": [{"color": color, "value": value} for color, value in panel.limits],
                },
            },
            "overrides": [],
        },
        "options": {} if is_stat else {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": query, "legendFormat": name or panel.title}
            for index, (name, query) in enumerate(panel.queries.items())
        ],
    }


def written(uid: str) -> str:
    """A dashboard as it stands in its file."""
    return json.dumps(dashboard(uid), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(written(name), encoding="utf-8")
