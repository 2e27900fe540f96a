"""deploy/k8s renders, is what the API server takes, and keeps the rules a cluster's owner would ask for."""

import json
import math
import re

import kubernetes_validate
import prometheus_rule
import pytest
import stopping
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus
from manifests import GATEWAY, K8S, OVERLAYS, cannot_render, matches, of_kind, pods, rendered
from operator_resources import KINDS

from reelgate_common import topology
from reelgate_submitter.settings import Settings as SubmitterSettings

pytestmark = pytest.mark.skipif(cannot_render() is not None, reason=cannot_render() or "")
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
with_operators = pytest.mark.parametrize("overlay", ["production", "large"])

OPERATORS = {  # their own definitions, as packages carry them
    "ScaledObject": keda.ScaledObject,
    "TriggerAuthentication": keda.TriggerAuthentication,
    "PodMonitor": prometheus.PodMonitor,
    "PrometheusRule": prometheus.PrometheusRule,
}


def containers(overlay):
    """Name of the pod, the pod, the container."""
    for name, pod in pods(overlay).items():
        for container in pod["spec"]["containers"]:
            yield name, pod["spec"], container


def is_built_in(one):
    return one["kind"] not in OPERATORS and (one["apiVersion"], one["kind"]) not in KINDS


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_every_object_is_what_kubernetes_takes(version):
    each_once = {json.dumps(one, sort_keys=True) for overlay in OVERLAYS for one in rendered(overlay)}
    objects = [one for one in map(json.loads, each_once) if is_built_in(one)]
    assert len(objects) > 40

    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)


@each_overlay
def test_every_resource_of_an_operator_is_what_it_takes(overlay):
    for one in rendered(overlay):
        if model := OPERATORS.get(one["kind"]):
            taken = model.model_validate(one).model_dump(by_alias=True, exclude_unset=True, mode="json")
            assert taken == one  # what the model does not know is left out
        elif model := KINDS.get((one["apiVersion"], one["kind"])):
            model.model_validate(one["spec"])


@with_operators
def test_what_is_merged_into_an_operators_objects_is_of_their_form(overlay):
    broker = of_kind(overlay, "RabbitmqCluster")["broker"]["spec"]
    pod = broker["override"]["statefulSet"]["spec"]["template"]["spec"]
    named = [{**one, "image": broker["image"]} for one in pod["containers"]]

    kubernetes_validate.validate(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "broker"},
            "spec": {**pod, "containers": named, "affinity": broker["affinity"]},
        },
        kubernetes_validate.latest_version(),
        strict=True,
    )


def test_every_file_is_used():
    for folder in {path.parent for path in K8S.rglob("kustomization.yaml")}:
        text = (folder / "kustomization.yaml").read_text(encoding="utf-8")
        for path in folder.iterdir():
            assert path.is_dir() or path.name == "kustomization.yaml" or path.name in text, path


def test_the_alerts_are_the_rules_that_are_tested():
    assert prometheus_rule.TARGET.read_text(encoding="utf-8") == prometheus_rule.document()


@with_operators
def test_the_alerts_know_the_processes_by_the_names_that_they_are_scraped_under(overlay):
    (scraped,) = of_kind(overlay, "PodMonitor")["reelgate"]["spec"]["podMetricsEndpoints"]
    (renamed,) = scraped["relabelings"]
    assert renamed["sourceLabels"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    jobs = {renamed["replacement"].replace("$1", name) for name in GATEWAY}
    rules = of_kind(overlay, "PrometheusRule")["reelgate"]["spec"]["groups"]

    asked_for = set(re.findall(r'job="([^"]+)"', json.dumps(rules).replace("\\", "")))
    assert asked_for == jobs


@each_overlay
def test_everything_lies_in_one_namespace_that_admits_no_root(overlay):
    assert {one["metadata"].get("namespace", "reelgate") for one in rendered(overlay)} == {"reelgate"}
    labels = of_kind(overlay, "Namespace")["reelgate"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@each_overlay
def test_no_container_is_root_or_can_become_it_or_writes_to_its_image(overlay):
    for _, pod, container in containers(overlay):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)


@each_overlay
def test_no_pod_can_talk_to_the_kubernetes_api_or_to_its_node(overlay):
    for pod in pods(overlay).values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["serviceAccountName"] in of_kind(overlay, "ServiceAccount")
        assert pod["spec"]["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])


@each_overlay
def test_every_container_says_what_it_needs_and_may_have(overlay):
    for _, _, container in containers(overlay):
        for bound in ("requests", "limits"):
            assert set(container["resources"][bound]) == {"cpu", "memory"}


@each_overlay
def test_every_image_is_pinned(overlay):
    images = [container["image"] for _, _, container in containers(overlay)]
    images += [one["spec"]["imageName"] for one in of_kind(overlay, "Cluster").values()]
    images += [one["spec"]["image"] for one in of_kind(overlay, "RabbitmqCluster").values()]

    for image in images:
        # To the patch of a release, or to the bytes: what a shorter tag means changes from one pull to the next.
        made_here = overlay == "simulator" and image == "reelgate:trial"
        assert made_here or re.search(r"@sha256:[0-9a-f]{64}$|:\d+\.\d+(\.\d+)?(-[\w.-]+)?$", image), image


@each_overlay
def test_every_process_is_probed(overlay):
    for name, one in of_kind(overlay, "Deployment").items():
        (container,) = one["spec"]["template"]["spec"]["containers"]
        ports = {port["name"] for port in container["ports"]}
        probes = [container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")]
        paths = [probe.get("httpGet", {}).get("path") for probe in probes]

        assert {probe["httpGet"]["port"] for probe in probes if "httpGet" in probe} <= ports
        if name in GATEWAY:
            # What callers reach answers for itself while a server is away: taken out, all at once, it could not.
            ready = "/healthz" if name in of_kind(overlay, "Service") else "/readyz"
            assert paths == ["/healthz", "/healthz", ready]


@each_overlay
def test_selectors_find_what_they_are_for(overlay):
    running = pods(overlay)
    for name, one in of_kind(overlay, "Deployment").items():
        found = [other for other, pod in running.items() if matches(one["spec"]["selector"], pod["metadata"]["labels"])]
        assert found == [name]
    for one in rendered(overlay):
        if one["kind"] == "Service":
            (pod,) = (
                p
                for p in running.values()
                if matches({"matchLabels": one["spec"]["selector"]}, p["metadata"]["labels"])
            )
            named = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= named
        if one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
            target = of_kind(overlay, "Deployment")[one["spec"]["scaleTargetRef"]["name"]]
            assert "replicas" not in target["spec"], "an apply would take back what the autoscaler did"


@each_overlay
def test_a_drain_takes_one_of_each_at_most_and_is_never_stuck(overlay):
    budgets = of_kind(overlay, "PodDisruptionBudget")
    for name in GATEWAY:
        assert budgets[name]["spec"]["selector"] == of_kind(overlay, "Deployment")[name]["spec"]["selector"]
    assert {one["spec"]["maxUnavailable"] for one in budgets.values()} == {1}


@each_overlay
def test_new_code_comes_up_beside_old_code(overlay):
    for name in GATEWAY:
        assert of_kind(overlay, "Deployment")[name]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@each_overlay
def test_a_stop_has_the_time_that_a_send_in_hand_may_take(overlay):
    for name in GATEWAY:
        pod = pods(overlay)[name]["spec"]
        (container,) = pod["containers"]
        before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)

        assert pod["terminationGracePeriodSeconds"] >= before + stopping.seconds(name)
        assert bool(before) == (name in of_kind(overlay, "Service"))


@with_operators
def test_replicas_are_spread_by_process_and_release(overlay):
    for name in GATEWAY:
        pod = pods(overlay)[name]
        spread = pod["spec"]["topologySpreadConstraints"]
        assert {one["topologyKey"] for one in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        for one in spread:
            assert matches(one["labelSelector"], pod["metadata"]["labels"])
            assert one["matchLabelKeys"] == ["app.kubernetes.io/name", "pod-template-hash"]


@with_operators
def test_the_servers_keep_what_was_promised_when_a_machine_dies(overlay):
    database = of_kind(overlay, "Cluster")["database"]["spec"]
    broker = of_kind(overlay, "RabbitmqCluster")["broker"]["spec"]

    assert (database["instances"], broker["replicas"]) == (3, 3)
    assert database["postgresql"]["synchronous"]["dataDurability"] == "required"
    assert database["affinity"]["podAntiAffinityType"] == "required"
    assert "requiredDuringSchedulingIgnoredDuringExecution" in broker["affinity"]["podAntiAffinity"]
    store = database["plugins"][0]["parameters"]["barmanObjectName"]
    assert store in of_kind(overlay, "ObjectStore")
    assert of_kind(overlay, "ScheduledBackup")["nightly"]["spec"]["cluster"]["name"] == "database"


@with_operators
def test_the_database_has_a_connection_for_every_process_there_may_be(overlay):
    most = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"].get("maxReplicas") or one["spec"]["maxReplicaCount"]
        for one in of_kind(overlay, "HorizontalPodAutoscaler").values()
    }
    most |= {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]["maxReplicaCount"]
        for one in of_kind(overlay, "ScaledObject").values()
    }
    pool = SubmitterSettings.model_fields["database_pool_size"].default
    needed = 0
    for name in GATEWAY:
        spec = of_kind(overlay, "Deployment")[name]["spec"]
        needed += pool * ((most.get(name) or spec["replicas"]) + spec["strategy"]["rollingUpdate"]["maxSurge"])

    offered = int(of_kind(overlay, "Cluster")["database"]["spec"]["postgresql"]["parameters"]["max_connections"])
    assert needed <= 0.9 * offered  # the rest for operators, backups and commands


def test_submitters_are_scaled_by_their_own_queue_and_no_further_than_the_window_can_use():
    scaled = of_kind("large", "ScaledObject")["submitter"]["spec"]
    settings = next(one["data"] for one in rendered("large") if one["kind"] == "ConfigMap")
    window = SubmitterSettings.model_fields["kie_send_window_seconds"].default
    sends_a_second = int(settings["KIE_SENDS_PER_WINDOW"]) / window
    one_sends = SubmitterSettings.model_fields["kie_calls_in_flight"].default / 0.5  # Kie.ai answers in half a second

    assert scaled["triggers"][0]["metadata"]["queueName"] == topology.JOB_REQUESTED.name
    assert scaled["maxReplicaCount"] == math.ceil(sends_a_second / one_sends) + 1


def test_overlays_differ_from_each_other_in_little():
    for overlay in OVERLAYS:
        text = (K8S / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 50
        assert yaml.safe_load(text)["kind"] == "Kustomization"
