"""The Kubernetes manifests as `kubectl kustomize` renders them, and what their network policies let through."""

import ipaddress
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).parents[2] / "deploy" / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
GATEWAY = ("api", "submitter", "callback", "reconciler")
_OLDEST = (1, 22)  # the first whose kustomize knows replacements

Object = dict[str, Any]


def cannot_render() -> str | None:
    """Why nothing can be rendered here, or None."""
    needed = f"install kubectl {'.'.join(map(str, _OLDEST))} or newer, whose `kubectl kustomize` renders deploy/k8s"
    if not shutil.which("kubectl"):
        return needed
    said = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", json.loads(said)["clientVersion"]["gitVersion"]) if said else None
    version = tuple(map(int, found.groups())) if found else (0, 0)
    return None if version >= _OLDEST else f"{needed}: this one is {'.'.join(map(str, version))}"


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """Every object of an overlay."""
    done = subprocess.run(["kubectl", "kustomize", K8S / "overlays" / overlay], capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, *kinds: str) -> dict[str, Object]:
    """The objects of these kinds by name."""
    return {one["metadata"]["name"]: one for one in rendered(overlay) if one["kind"] in kinds}


def pods(overlay: str) -> dict[str, Object]:
    """What runs, by name: the pod templates of Deployments and Jobs."""
    return {name: one["spec"]["template"] for name, one in of_kind(overlay, "Deployment", "Job").items()}


def matches(selector: Object, labels: Object) -> bool:
    """Whether a label selector takes these labels."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        {"In": labels.get(one["key"]) in one["values"]}[one["operator"]] for one in selector.get("matchExpressions", [])
    )


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod, known by its labels and its namespace's, or an address outside."""

    labels: Object = field(default_factory=dict)
    namespace: Object | None = None  # None: ours
    address: str | None = None
    ports: Object = field(default_factory=dict)  # name -> number

    @property
    def is_ours(self) -> bool:
        """Whether the overlay's policies govern it."""
        return self.namespace is None and self.address is None


def ends(overlay: str) -> dict[str, End]:
    """Every pod that the overlay makes, and those that the operators make of it."""
    found = {}
    for name, pod in pods(overlay).items():
        ports = {p["name"]: p["containerPort"] for c in pod["spec"]["containers"] for p in c.get("ports", [])}
        found[name] = End(pod["metadata"]["labels"], ports=ports)
    if of_kind(overlay, "Cluster"):
        found["database"] = End({"cnpg.io/cluster": "database"})
    if of_kind(overlay, "RabbitmqCluster"):
        found["broker"] = End({"app.kubernetes.io/name": "broker"})
    return found


def passes(overlay: str, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether the policies let a connection through: out of its source, and into its target."""
    out = not source.is_ours or _allowed(overlay, "egress", "to", source, target, (port, protocol, target))
    return out and (
        not target.is_ours or _allowed(overlay, "ingress", "from", target, source, (port, protocol, target))
    )


def _allowed(overlay: str, way: str, peers: str, governed: End, other: End, to: tuple[int, str, End]) -> bool:
    selecting = [
        one["spec"]
        for one in of_kind(overlay, "NetworkPolicy").values()
        if way.title() in one["spec"]["policyTypes"] and matches(one["spec"]["podSelector"], governed.labels)
    ]
    assert selecting, "default-deny takes every pod"
    return any(
        _is_peer(rule.get(peers), other) and any(_is_port(p, *to) for p in rule["ports"])
        for policy in selecting
        for rule in policy.get(way, [])
    )


def _is_peer(peers: list[Object] | None, end: End) -> bool:
    return peers is None or any(_is_one(peer, end) for peer in peers)


def _is_one(peer: Object, end: End) -> bool:
    if block := peer.get("ipBlock"):
        return end.address is not None and _within(block, end.address)
    if end.address:
        return False
    space = peer.get("namespaceSelector")
    right_space = end.namespace is None if space is None else matches(space, end.namespace or {})
    return right_space and matches(peer.get("podSelector", {}), end.labels)


def _within(block: Object, address: str) -> bool:
    ip = ipaddress.ip_address(address)
    networks = [ipaddress.ip_network(one) for one in (block["cidr"], *block.get("except", []))]
    return ip in networks[0] and not any(ip in one for one in networks[1:])


def _is_port(rule: Object, port: int, protocol: str, target: End) -> bool:
    wanted = target.ports.get(rule["port"]) if isinstance(rule["port"], str) else rule["port"]
    return rule["protocol"] == protocol and wanted is not None and wanted <= port <= rule.get("endPort", wanted)


def public_paths(overlay: str) -> Iterator[tuple[str, str, str]]:
    """The Ingress: path, kind of match, Service."""
    for rule in of_kind(overlay, "Ingress")["reelgate"]["spec"]["rules"]:
        for one in rule["http"]["paths"]:
            yield one["path"], one["pathType"], one["backend"]["service"]["name"]
