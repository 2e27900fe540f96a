"""Alert rules, runbooks and SLOs fit each other and the code."""

import json
import re
from pathlib import Path

import pytest
import yaml
from metrics_page import samples
from prometheus_client import REGISTRY

from reelgate_api.openapi import document
from reelgate_callback.webhooks.receiver import Outcome
from reelgate_common import audit
from reelgate_common.domain.job import FailureCode, JobStatus, SendOutcome

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "observability" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
LOOPS = "services/reconciler/reelgate_reconciler/loops.py"
RULES = [
    rule
    for file in sorted((PROMETHEUS / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
PAGES = sorted(page for page in RUNBOOKS.glob("*.md") if page.stem != "README")
_PATHS = set(json.loads(document())["paths"])
SLO = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
_CODE = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("[ls]*/*/reelgate_*/**/*.py"))
_CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
_ENV = (ROOT / ".env.example").read_text(encoding="utf-8")

# What a scrape adds.
_SCRAPE = {"job", "instance"}
_SELECTED = re.compile(r"\b((?:reelgate_|up\b)\w*)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_VALUES = {
    "state": set(JobStatus),
    "outcome": set(SendOutcome) | set(Outcome) | {"given_up"},
    "code": set(FailureCode),
    "rule": set(audit.RULES),
    "webhook": {"came", "missing"},
    "job": {f"reelgate-{name}" for name in ("api", "submitter", "callback", "reconciler")},
    "route": _PATHS,
    "method": {"POST"},
    "step": {"completed", "failed"},
}

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def buckets(name):
    return {str(bound) for bound in REGISTRY._names_to_collectors[name.removesuffix("_bucket")]._upper_bounds}


def expressions(text):
    """The PromQL in a runbook's backquotes."""
    return [code for code in re.findall(r"`([^`\n]+)`", text) if re.search(r"\breelgate_\w", code)]


def check(expression):
    known = samples() | {"up": set()}
    for name, matchers in _SELECTED.findall(expression):
        assert name in known, f"{name} is exported by nobody"
        for label, how, value in _MATCHER.findall(matchers):
            assert label in known[name] | _SCRAPE, f"{name} has no label {label}"
            if label == "le":
                assert value in buckets(name), f"{name} has no bucket of {value}"
            elif how in {"=", "!="} and label in _VALUES:
                assert value in _VALUES[label], f"{label} is never {value}"
            elif how == "=~" and label in _VALUES:
                assert any(re.fullmatch(value, one) for one in _VALUES[label]), f"{label} is never like {value}"
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\b(?:by|on) \(([^)]*)\)", expression))))
    assert grouped <= set().union(*known.values()) | _SCRAPE


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_reads_what_the_code_exports(rule):
    expression = rule["expr"]
    for recorded in re.findall(r"\breelgate:[\w:]+", expression):
        assert recorded in RECORDED
    check(re.sub(r"\breelgate:[\w:]+", "", expression))


@each_alert
def test_an_alert_says_what_a_person_needs(alert):
    told = alert["annotations"]

    assert alert["alert"].startswith("Reelgate")
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert told.keys() == {"summary", "description", "runbook_url"}
    assert told["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    assert (ROOT / told["runbook_url"]).exists()
    assert told["summary"] != told["description"]


def test_every_page_has_its_alert_and_the_list_has_all():
    severities = {}
    for alert in ALERTS:
        severities.setdefault(alert["alert"], set()).add(alert["labels"]["severity"])
    listed = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| ([\w, ]+) \|",
        (RUNBOOKS / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )

    assert {page.stem for page in PAGES} == severities.keys()
    assert {name: set(words.split(", ")) for name, file, words in listed if name == file} == severities


def test_every_alert_is_made_to_fire_by_a_test():
    tests = ROOT / "tests" / "alerts"
    fired = set()
    for path in tests.glob("test_*.py"):
        for call in re.findall(r"\.fires\((.*?)\)\n", path.read_text(encoding="utf-8"), re.DOTALL):
            fired |= {tuple(words.split()) for words in re.findall(r'"(Reelgate\w+ \w+)"', call)}
    for path in tests.glob("*_test.yml"):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for one in test["alert_rule_test"]:
                fired |= {(one["alertname"], expected["exp_labels"]["severity"]) for expected in one["exp_alerts"]}

    assert fired == {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS}


def test_the_list_of_passes_is_that_of_the_reconciler():
    """Copies of videos are watched by their age: one may take long."""
    passes = set(re.findall(r'every\([\w.]+, "(\w+)"', (ROOT / LOOPS).read_text(encoding="utf-8")))
    page = (RUNBOOKS / "ReelgatePassStopped.md").read_text(encoding="utf-8")

    assert len(passes) > 10
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == passes - {"copy_videos"}


def test_what_a_page_divides_or_compares_has_the_same_labels_on_both_sides():
    """A metric as it is has the labels of its process; a sum has none: between them there is no answer, ever."""
    for page in PAGES:
        for expression in expressions(page.read_text(encoding="utf-8")):
            for left, right in re.findall(r"^(.+) [/<>*-] (.+)$", expression):
                assert re.match(r"\w+( by \([^)]*\))? ?\(", left.strip("( ")), f"{page.stem}: {expression}"
                assert re.match(r"\w+( by \([^)]*\))? ?\(|[\d.]+$", right.strip("( ")), f"{page.stem}: {expression}"


def test_what_leads_to_a_place_can_be_run():
    text = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    (look,) = re.findall(r"^look='(.*?)'$", text, re.MULTILINE | re.DOTALL)

    compile(look, "look", "exec")
    named = set(re.findall(r"docker compose (?:exec|run --rm|restart|logs --tail 100) (\w+)", text))
    assert named - {"SERVICE"} == {"reelgate", "postgres", "rabbitmq"} <= set(compose)
    for page in PAGES:
        assert "curl" not in page.read_text(encoding="utf-8").replace("curl -i -X POST PUBLIC_BASE_URL", ""), page.stem


@each_page
def test_a_page_has_its_form(page):
    text = page.read_text(encoding="utf-8")

    assert text.startswith(f"# {page.stem}\n\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Who is hurt", "Look", "Do", "Over when"]


@each_page
def test_what_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")

    for words in re.findall(r"`reelgate ([a-z -]+)", text):
        command = words.split(" -")[0].split()
        assert all(re.search(rf"\b{word}\b", _CLI) for word in command), command
    for setting in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)", text):
        assert re.search(rf"^#?{setting}=", _ENV, re.MULTILINE), setting
    for event in re.findall(r"`([a-z]+_[a-z_]+)`", text):
        assert re.search(rf"\b{event}\b", _CODE), event
    for path in re.findall(r"`(?:GET|POST) (/[^`?\s]*)", text):
        assert re.sub(r"\{\w+\}", "{}", path) in {re.sub(r"\{\w+\}", "{}", known) for known in _PATHS}
    for expression in expressions(text):
        check(expression)


def test_the_slos_are_measured_as_the_page_says():
    told = dict(re.findall(r"^`(reelgate:[\w:]+)`\n\n```promql\n(.*?)\n```", SLO, re.MULTILINE | re.DOTALL))

    def plain(expression):
        return re.sub(r"\s+", " ", expression).strip()

    assert len(told) == 5
    for name, expression in told.items():
        for window in ("5m", "30m", "1h", "6h", "3d"):
            recorded = RECORDED[name.removesuffix("1h") + window]
            assert plain(recorded) == plain(expression.replace("[1h]", f"[{window}]"))
    assert len(RECORDED) == 5 * len(told)


def test_the_burn_rates_are_those_of_the_page():
    windows = re.findall(r"^\| (\w+) \| (\w+) \| ([\d.]+) \| [^|]* \| (\w+) \|$", SLO, re.MULTILINE)
    table = re.findall(r"^\| [\w ]+ \| \[(\w+)\]\([^)]*\) \| (\w+) \| (\w+) \| (\w+) \|$", SLO, re.MULTILINE)
    objectives = [float(share) for share in re.findall(r"^\| [\w ]+ \| ([\d.]+) % \|", SLO, re.MULTILINE)]
    burning = {(rule["alert"], rule["labels"]["window"]): rule for rule in ALERTS if "window" in rule["labels"]}

    assert len(windows) == 3
    assert len(table) == len(objectives) == 5
    assert burning.keys() == {(name, long) for name, *_ in table for long, *_ in windows}
    for (name, *severities), objective in zip(table, objectives, strict=True):
        for (long, short, rate, hold), severity in zip(windows, severities, strict=True):
            rule = burning[name, long]
            limits = re.findall(r"bad_ratio_rate(\w+) > ([\d.]+) \* ([\d.]+)", rule["expr"])
            assert [limit[:2] for limit in limits] == [(long, rate), (short, rate)]
            assert re.search(
                rf"and reelgate:\w+:bad_ratio_rate{long} \* sum\(increase\(.*\[{long}\]\)\) > 4\n", rule["expr"]
            )
            assert {float(budget) for *_, budget in limits} == {round(1 - objective / 100, 6)}
            assert (rule["for"], rule["labels"]["severity"]) == (hold, severity)
