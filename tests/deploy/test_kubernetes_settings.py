"""What a pod of deploy/k8s is told: settings its process knows, all it needs, and no secret of the repository."""

import importlib
import os
import re
import textwrap
from pathlib import Path

import pytest
import yaml
from manifests import GATEWAY, OVERLAYS, cannot_render, of_kind, pods, rendered
from operator_resources import Cluster

from reelgate_common.settings import load

pytestmark = pytest.mark.skipif(cannot_render() is not None, reason=cannot_render() or "")
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
GUIDE = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text(encoding="utf-8")


def settings_of(name):
    return importlib.import_module(f"reelgate_{name}.settings").Settings


def told(overlay, name):
    """The settings in the environment of a process."""
    (container,) = pods(overlay)[name]["spec"]["containers"]
    sources = [one for one in container.get("envFrom", []) if not one.get("secretRef", {}).get("optional")]
    maps = [of_kind(overlay, "ConfigMap")[one["configMapRef"]["name"]]["data"] for one in sources]
    return {key: value for data in maps for key, value in data.items()} | {
        one["name"]: one["value"] for one in container.get("env", [])
    }


def files(overlay, name):
    """The names of its secret files, after what each comes from."""
    pod = pods(overlay)[name]["spec"]
    sources = [one["secret"] for volume in pod["volumes"] for one in volume.get("projected", {}).get("sources", [])]
    found = {f"{one['name']}/{item['key']}": item["path"] for one in sources for item in one.get("items", [])}
    return found | {one["name"]: "KIE_AI_API_KEY" for one in sources if "items" not in one}


@each_overlay
@pytest.mark.parametrize("name", GATEWAY)
def test_a_process_starts_with_what_it_is_told(overlay, name, monkeypatch, tmp_path):
    for known in list(os.environ):
        monkeypatch.delenv(known)
    for setting, value in told(overlay, name).items():
        monkeypatch.setenv(setting, value)
    (container,) = pods(overlay)[name]["spec"]["containers"]
    mounted = {one["mountPath"] for one in container["volumeMounts"] if one["name"] == "secrets"}
    assert {os.environ["SECRETS_DIR"]} == mounted
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    for file in files(overlay, name).values():
        (tmp_path / file).write_text(f"of {file}", encoding="utf-8")

    settings = load(settings_of(name))

    assert settings.database_url.get_secret_value() == "of DATABASE_URL"
    assert settings.amqp_url.get_secret_value() == "of AMQP_URL"
    assert settings.kie_ai_api_key.get_secret_value() == "of KIE_AI_API_KEY"
    assert settings.http_host == "0.0.0.0"
    assert settings.http_port == container["ports"][0]["containerPort"]


@each_overlay
def test_every_setting_is_one_that_some_process_knows(overlay):
    known = {field.upper() for name in (*GATEWAY, "simulator") for field in settings_of(name).model_fields}
    (settings,) = of_kind(overlay, "ConfigMap").values()

    assert set(settings["data"]) <= known


@each_overlay
def test_no_secret_comes_from_the_repository(overlay):
    (settings,) = of_kind(overlay, "ConfigMap").values()
    secret = {
        name.upper()
        for service in GATEWAY
        for name, field in settings_of(service).model_fields.items()
        if "SecretStr" in str(field.annotation)
    }

    assert "KIE_AI_API_KEY" in secret
    assert not secret & set(settings["data"])
    assert not [one for one in rendered(overlay) if one["kind"] == "Secret"]


@each_overlay
def test_the_migration_knows_the_servers_and_nothing_more(overlay):
    assert set(told(overlay, "migrate")) == {"SECRETS_DIR"}
    assert files(overlay, "migrate") == {"database-app/uri": "DATABASE_URL", "broker/uri": "AMQP_URL"}


def test_the_simulators_overlay_sends_nothing_to_kie_ai():
    assert told("simulator", "submitter")["KIE_AI_API_ENDPOINT"] == "http://simulator:8000"
    assert not files("simulator", "simulator")


@each_overlay
def test_the_guide_names_what_an_operator_must_make(overlay):
    needed = {overlay, *(secret.partition("/")[0] for secret in files(overlay, "api"))}
    for one in rendered(overlay):
        needed |= _labels_of_others(one)
        if one["kind"] == "ObjectStore":
            needed |= {key["name"] for key in one["spec"]["configuration"]["s3Credentials"].values()}

    assert not {name for name in needed if f"`{name}`" not in GUIDE}


@each_overlay
def test_the_guide_says_what_each_policy_is_for(overlay):
    table = GUIDE.split("\n## What each network policy is for\n")[1].split("\n## ")[0]

    assert not [name for name in of_kind(overlay, "NetworkPolicy") if f"`{name}`" not in table]


def test_the_guides_way_back_from_a_backup_is_one_that_cloudnativepg_knows():
    (lines,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    before = of_kind("production", "Cluster")["database"]["spec"]
    change = yaml.safe_load(textwrap.dedent(lines))

    restored = Cluster.model_validate(before | change)

    (source,), (writes,) = restored.external_clusters, restored.plugins
    assert restored.bootstrap.recovery.source == source.name
    assert source.plugin.parameters["barmanObjectName"] == before["plugins"][0]["parameters"]["barmanObjectName"]
    assert source.plugin.parameters["serverName"] == "database"
    assert writes.parameters["serverName"] != "database"
    owner = restored.bootstrap.recovery.model_dump(exclude={"source"})
    assert owner == before["bootstrap"]["initdb"]


def _labels_of_others(one):
    """The labels by which policies know the namespaces of others."""
    rules = [*one["spec"].get("ingress", []), *one["spec"].get("egress", [])] if one["kind"] == "NetworkPolicy" else []
    peers = [peer for rule in rules for peer in (*rule.get("from", []), *rule.get("to", []))]
    labels = [label for peer in peers for label in peer.get("namespaceSelector", {}).get("matchLabels", {})]
    return {label for label in labels if label.startswith("reelgate/")}
