"""The page of metrics says what the code has; the dashboards ask for nothing else."""

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import metrics_page
import pytest
import yaml

GRAFANA = Path(__file__).parents[2] / "deploy" / "observability" / "grafana"
MAKE = runpy.run_path(str(GRAFANA / "make.py"))
DASHBOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in GRAFANA.glob("dashboards/*.json")}
PANELS = [
    pytest.param(panel, id=f"{uid}-{panel['title']}") for uid, one in DASHBOARDS.items() for panel in one["panels"]
]
# As Grafana fills them in.
_VARIABLES = {"$__rate_interval": "5m", "$__range": "6h"}


def queries_of(panel):
    for target in panel["targets"]:
        query = target["expr"]
        for name, value in _VARIABLES.items():
            query = query.replace(name, value)
        yield query


def test_the_page_is_as_the_code_makes_it():
    assert metrics_page.PAGE.read_text(encoding="utf-8") == metrics_page.page(), (
        "run python tests/support/metrics_page.py"
    )


def test_no_page_names_a_metric_that_nobody_exports():
    root = GRAFANA.parents[2]
    ours = {path.name for path in root.glob("*/*/reelgate_*")}
    pages = [*root.glob("docs/**/*.md"), *root.glob("*.md"), root / "deploy" / "README.md"]
    for page in pages:
        named = re.findall(r"`(reelgate_[a-z_]+)(?=[`{ ])", page.read_text(encoding="utf-8"))
        assert set(named) <= metrics_page.samples().keys() | histograms() | ours, page


def histograms():
    return {metric._name for metric in metrics_page.families() if metric._type == "histogram"}


def test_a_dashboard_is_as_its_list_makes_it():
    assert set(DASHBOARDS) == set(MAKE["DASHBOARDS"])
    for uid in DASHBOARDS:
        written = (GRAFANA / "dashboards" / f"{uid}.json").read_text(encoding="utf-8")
        assert written == MAKE["written"](uid), "run python deploy/observability/grafana/make.py"


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_asks_for_what_there_is(panel):
    known = metrics_page.samples()

    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    for query in queries_of(panel):
        asked = re.findall(r"(reelgate_\w+)", query)
        assert asked, query
        assert set(asked) <= set(known), query
        labels = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
        labels |= {
            label for matchers in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)[=!]", matchers)
        }
        assert labels <= {"job"}.union(*(known[name] for name in asked)), query


@pytest.mark.parametrize("panel", PANELS)
def test_a_legend_names_a_label_that_its_query_keeps(panel):
    for target in panel["targets"]:
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), target


def test_every_query_is_promql(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not there: install Debian's package prometheus")
    rules = [
        {"record": f"test:query:{number}", "expr": query}
        for number, query in enumerate(query for panel in PANELS for query in queries_of(panel.values[0]))
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": rules}]}), encoding="utf-8")

    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_what_grafana_is_given_fits_together():
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))

    assert {panel.values[0]["datasource"]["uid"] for panel in PANELS} == {source["datasources"][0]["uid"]}
    assert len({one["uid"] for one in DASHBOARDS.values()}) == len(DASHBOARDS)
    for one in DASHBOARDS.values():
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in one["panels"]]
        assert len(set(places)) == len(places)
