"""Who may talk to whom in deploy/k8s: every network policy together, as a cluster would judge them."""

from itertools import permutations

import pytest
from fastapi.routing import iter_route_contexts
from manifests import GATEWAY, OVERLAYS, End, cannot_render, ends, of_kind, passes, public_paths

from reelgate_api.app import create_app
from reelgate_api.settings import Settings
from reelgate_callback.routes import PATH as CALLBACK_PATH

pytestmark = pytest.mark.skipif(cannot_render() is not None, reason=cannot_render() or "")
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
public = pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name != "simulator"])

INSIDE = ("/healthz", "/readyz", "/metrics")
INTERNET = End(address="1.1.1.1")
DNS = End({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})
STRANGER = End({"app.kubernetes.io/component": "gateway"}, {"kubernetes.io/metadata.name": "other"})


def namespace(role):
    return End({}, {f"reelgate/{role}": "true"})


@each_overlay
def test_nothing_is_allowed_that_no_policy_names(overlay):
    spec = of_kind(overlay, "NetworkPolicy")["default-deny"]["spec"]

    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for pod in ends(overlay).values():
        assert not passes(overlay, STRANGER, pod, 8000)
        assert not passes(overlay, pod, STRANGER, 8000)


@each_overlay
def test_callers_come_by_the_ingress_to_the_api_and_the_callback_only(overlay):
    pods = ends(overlay)
    reached = {
        name
        for name, pod in pods.items()
        for port in (8000, 5432, 5672)
        if passes(overlay, namespace("ingress"), pod, port)
    }

    assert reached == {"api", "callback"}


@public
def test_the_authority_of_the_certificate_is_answered_by_way_of_the_ingress(overlay):
    """cert-manager runs the pod, and the Service before it, in the namespace of the Ingress."""
    solver = End({"acme.cert-manager.io/http01-solver": "true"})

    assert passes(overlay, namespace("ingress"), solver, 8089)
    assert not passes(overlay, STRANGER, solver, 8089)
    assert not passes(overlay, solver, INTERNET, 443)


@each_overlay
def test_every_service_can_be_reached_by_somebody(overlay):
    pods = ends(overlay)
    sources = [*pods.values(), namespace("ingress")]
    for name, service in of_kind(overlay, "Service").items():
        target = pods[service["spec"]["selector"]["app.kubernetes.io/name"]]
        port = target.ports[service["spec"]["ports"][0]["targetPort"]]
        assert any(passes(overlay, source, target, port) for source in sources), name


@each_overlay
def test_prometheus_reads_every_process(overlay):
    for name in GATEWAY:
        assert passes(overlay, namespace("prometheus"), ends(overlay)[name], 8000)


@each_overlay
@pytest.mark.parametrize("name", GATEWAY)
def test_a_process_reaches_the_internet_over_https_and_no_private_network(overlay, name):
    pod = ends(overlay)[name]

    assert passes(overlay, pod, INTERNET, 443)
    assert passes(overlay, pod, End(address="2606:4700::1111"), 443)
    assert not passes(overlay, pod, INTERNET, 80)
    for private in (
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "168.63.129.16"),
        *("0.0.0.0", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
        *("::1", "fd00::1", "fe80::1", "fd00:ec2::254", "64:ff9b::a00:1", "2002:a00:1::", "2001::1", "ff02::1"),
    ):
        assert not passes(overlay, pod, End(address=private), 443), private


@each_overlay
def test_traces_are_sent_by_the_processes_alone(overlay):
    senders = {name for name, pod in ends(overlay).items() if passes(overlay, pod, namespace("telemetry"), 4318)}

    assert senders == set(GATEWAY)
    assert not any(passes(overlay, namespace("telemetry"), pod, 8000) for pod in ends(overlay).values())


@each_overlay
def test_names_are_looked_up_by_everybody(overlay):
    for pod in ends(overlay).values():
        assert passes(overlay, pod, DNS, 53, "UDP")
    for name in GATEWAY:
        assert not passes(overlay, ends(overlay)[name], DNS, 443)


@pytest.mark.parametrize("overlay", ["production", "large", "simulator"])
def test_the_servers_are_for_the_gateway_and_its_migration(overlay):
    pods = ends(overlay)
    for server, port in (("database", 5432), ("broker", 5672)):
        clients = {name for name, pod in pods.items() if passes(overlay, pod, pods[server], port)} - {"database"}
        assert clients == {*GATEWAY, "migrate"}
        assert not passes(overlay, STRANGER, pods[server], port)
        assert not passes(overlay, namespace("ingress"), pods[server], port)


def test_servers_elsewhere_are_reached_where_they_are_said_to_be():
    for name in (*GATEWAY, "migrate"):
        pod = ends("small")[name]
        assert all(passes("small", pod, End(address="10.0.0.5"), port) for port in (5432, 5671, 5672))
        assert not passes("small", pod, INTERNET, 5432)


@each_overlay
def test_processes_meet_in_the_servers_only(overlay):
    pods = {name: ends(overlay)[name] for name in (*GATEWAY, "migrate")}

    assert not [pair for pair in permutations(pods, 2) if passes(overlay, pods[pair[0]], pods[pair[1]], 8000)]
    assert not passes(overlay, pods["migrate"], INTERNET, 443)


@pytest.mark.parametrize("overlay", ["production", "large"])
def test_operators_and_nodes_of_a_server_reach_it(overlay):
    pods, operators = ends(overlay), namespace("operators")
    database, broker = pods["database"], pods["broker"]

    assert all(passes(overlay, operators, database, port) for port in (5432, 8000))
    assert passes(overlay, operators, broker, 15672)
    assert all(passes(overlay, database, database, port) for port in (5432, 8000))
    assert all(passes(overlay, broker, broker, port) for port in (4369, 25672, 35672, 35682))
    assert passes(overlay, namespace("prometheus"), database, 9187)
    assert passes(overlay, namespace("prometheus"), broker, 15692)
    assert not passes(overlay, namespace("prometheus"), broker, 15672)
    assert passes(overlay, namespace("keda"), broker, 5672) == (overlay == "large")


def test_the_simulator_is_sent_to_and_calls_back():
    pods = ends("simulator")

    assert all(passes("simulator", pods[name], pods["simulator"], 8000) for name in GATEWAY)
    assert passes("simulator", pods["simulator"], pods["callback"], 8000)
    assert not passes("simulator", pods["simulator"], pods["database"], 5432)
    assert not passes("simulator", pods["simulator"], INTERNET, 443)


def leads_to(overlay, path):
    """The Service that an Ingress hands a path to: exact ones first, then the longest."""
    best = max(
        (
            (kind == "Exact", len(prefix), service)
            for prefix, kind, service in public_paths(overlay)
            if path == prefix or (kind == "Prefix" and path.startswith(prefix.rstrip("/") + "/"))
        ),
        default=None,
    )
    return best and best[2]


@public
def test_the_ingress_shows_what_callers_need_and_nothing_else(overlay):
    settings = Settings(
        database_url="postgresql://x", amqp_url="amqp://x", kie_ai_api_key="x", public_base_url="https://x.example"
    )
    paths = {route.path for route in iter_route_contexts(create_app(settings).routes)}

    assert set(INSIDE) < paths
    assert {path: leads_to(overlay, path) for path in paths} == {
        path: "callback" if path == CALLBACK_PATH else None if path in INSIDE else "api" for path in paths
    }


@public
def test_the_ingress_speaks_tls_for_the_host_that_kie_ai_calls_back(overlay):
    (settings,) = of_kind(overlay, "ConfigMap").values()
    spec = of_kind(overlay, "Ingress")["reelgate"]["spec"]
    (rule,), (tls,) = spec["rules"], spec["tls"]

    assert settings["data"]["PUBLIC_BASE_URL"] == f"https://{rule['host']}"
    assert tls["hosts"] == [rule["host"]]
    for _, _, service in public_paths(overlay):
        assert of_kind(overlay, "Service")[service]["spec"]["ports"][0]["name"] == "http"
