"""docs/metrics.md, made from the code: `python tests/support/metrics_page.py` writes it anew."""
# ruff: noqa: E501 -- paragraphs of a page

from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from reelgate_common import metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
_HEAD = """# Metrics

Every process shows its own at `/metrics`, on the port it serves; of several workers (`API_WORKERS`), whichever is asked tells the numbers of all. Made from the code, where each has its one place: `reelgate_common/metrics.py`.

- **Counters** count from the start of a process: look at their rate, and add the processes up.
- **Gauges of the whole** are told alike by every process that looks: take the `max`. Those the reconciler counts come from one pass each `MEASURE_SECONDS`; `reelgate_last_pass_timestamp_seconds` says whether it still passes, and counts end at 10,000. What it cannot see any more it does not show.
- **Gauges of a process** are to be added up: `pool_*`, `live_streams`; of `reelgate_database_up` the least counts.
- Labels have few values, known beforehand: routes by their template, codes by a list. No id, wallet or URL is ever one.
- With several workers there are no `process_*` and `python_*` metrics.

Dashboards for Grafana: `deploy/observability/grafana/`. What is worth waking somebody for: [the SLOs](slo.md) and [the runbooks](runbooks/README.md).

| metric | type | labels | tells |
|---|---|---|---|
"""


def families() -> list[MetricWrapperBase]:
    """Every metric of the gateway, by name."""
    own = (value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase))
    return sorted(own, key=lambda metric: metric._name)


def samples() -> dict[str, set[str]]:
    """Name of each sample that Prometheus sees -> its labels."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {
        metric._name + suffix: {*metric._labelnames, *(("le",) if suffix == "_bucket" else ())}
        for metric in families()
        for suffix in suffixes[metric._type]
    }


def page() -> str:
    """The page as it should stand."""
    rows = []
    for metric in families():
        name = metric._name + ("_total" if metric._type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        rows.append(f"| `{name}` | {metric._type} | {labels} | {metric._documentation} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
