"""The rules as the Prometheus Operator takes them: `python tests/support/prometheus_rule.py` writes them anew."""

from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "observability" / "prometheus" / "rules"
TARGET = DEPLOY / "k8s" / "components" / "monitoring" / "rules.yaml"


def document() -> str:
    """Every group of every file, in one PrometheusRule."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "reelgate"},
        "spec": {"groups": groups},
    }
    head = "# Made from deploy/observability/prometheus/rules by tests/support/prometheus_rule.py: change those.\n"
    return head + yaml.safe_dump(rule, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
