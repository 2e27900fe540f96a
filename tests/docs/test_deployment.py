"""The image and docker-compose.yml fit the code. No engine is needed: this reads the files."""

import importlib.util
import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest
import stopping
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
GATEWAY = ("api", "submitter", "callback", "reconciler")
OURS = (*GATEWAY, "migrate", "simulator")
ONCE = ("secrets", "migrate", "reelgate", "backup", "restore")  # which end, and are not started again
WATCHING = ("prometheus", "grafana")
FOREIGN = ("gateway", "postgres", "rabbitmq", "backup", "restore", *WATCHING)

each_of_ours = pytest.mark.parametrize("name", OURS)
each = pytest.mark.parametrize("name", SERVICES)


def settings_of(name):
    return importlib.import_module(f"reelgate_{name}.settings").Settings


def needed_by(name):
    """Environment names without which the process stops at once; of several spellings, the first."""
    required = (field for field, info in settings_of(name).model_fields.items() if info.is_required())
    return {field.upper() for field in required}


def test_compose_runs_the_servers_and_every_process():
    assert set(SERVICES) == {*FOREIGN, *OURS, *ONCE}


def test_compose_stays_short():
    assert len((ROOT / "docker-compose.yml").read_text(encoding="utf-8").splitlines()) <= 290


@each_of_ours
def test_a_process_is_started_by_a_command_that_exists(name):
    match SERVICES[name]["command"]:
        case ["python", "-m", module]:
            assert module == f"reelgate_{name}"
            assert importlib.util.find_spec(f"{module}.__main__")
        case ["reelgate", command]:
            cli = tomllib.loads((ROOT / "libs" / "cli" / "pyproject.toml").read_text(encoding="utf-8"))
            assert "reelgate" in cli["project"]["scripts"]
            assert command == "migrate"
        case other:
            pytest.fail(f"nobody knows whether {other} starts anything")


@each_of_ours
def test_ours_all_run_from_one_image(name):
    assert (SERVICES[name]["image"], SERVICES[name]["build"]) == ("reelgate", ".")


@pytest.mark.parametrize("name", [*GATEWAY, "simulator"])
def test_a_process_is_given_settings_it_knows(name):
    known = {field.upper() for field in settings_of(name).model_fields}
    shared = {field.upper() for service in GATEWAY for field in settings_of(service).model_fields}

    assert set(SERVICES[name]["environment"]) <= (known if name == "simulator" else shared | {"SECRETS_DIR"})


@pytest.mark.parametrize("name", GATEWAY)
def test_a_process_is_given_all_it_needs(name):
    made = set(re.findall(r'"([A-Z_]+)"', (ROOT / "deploy/compose/make_secrets.py").read_text(encoding="utf-8")))

    # The rest is what .env must have, and all of .env is handed on.
    assert needed_by(name) <= made | {"PUBLIC_BASE_URL"}
    assert SERVICES[name]["env_file"] == ["${SETTINGS_FILE:-.env}"]


def test_the_gateway_is_the_only_public_one_and_leads_to_services_there_are():
    public = {name for name, one in SERVICES.items() if any("127.0.0.1" not in port for port in one.get("ports", []))}
    routes = (ROOT / "deploy/compose/Caddyfile").read_text(encoding="utf-8")

    assert public == {"gateway"}
    assert set(re.findall(r"reverse_proxy (\w+):8000", routes)) == {"api", "callback"}
    assert re.search(r"handle /api/video/kie-ai-callback \{[^}]*\}\s+reverse_proxy callback:8000", routes)
    assert routes.count("lb_try_duration") == routes.count("reverse_proxy") == 2  # none fails while one is replaced
    assert "path /metrics /healthz /readyz" in routes


def test_the_servers_are_on_a_network_of_their_own_without_a_way_out():
    assert COMPOSE["networks"]["servers"]["internal"] is True
    assert [SERVICES[name]["networks"] for name in ("postgres", "rabbitmq")] == [["servers"]] * 2
    assert SERVICES["gateway"]["networks"] == ["outside"]


def test_the_schema_comes_first_the_servers_before_it_and_secrets_before_all():
    assert SERVICES["migrate"]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "rabbitmq": {"condition": "service_healthy"},
    }
    for name in GATEWAY:
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    for server in ("postgres", "rabbitmq"):
        assert "healthcheck" in SERVICES[server]
        assert SERVICES[server]["depends_on"] == {"secrets": {"condition": "service_completed_successfully"}}


@each
def test_a_part_that_dies_is_restarted_unless_it_runs_once(name):
    assert SERVICES[name]["restart"] == ("no" if name in ONCE else "unless-stopped")


@each
def test_no_container_takes_more_than_its_share(name):
    limits = SERVICES[name]["deploy"]["resources"]["limits"]

    assert limits.keys() == {"memory"}  # more cores than a host has would be refused, and any host may have one
    assert SERVICES[name]["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", [*OURS, "secrets", "reelgate"])
def test_ours_need_no_privilege_and_write_nothing(name):
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", [*GATEWAY, "simulator"])
def test_a_stop_has_the_time_that_it_may_take(name):
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= stopping.seconds(name)


def test_the_database_has_a_connection_for_every_worker_that_one_host_is_likely_to_run():
    (most,) = re.findall(r"max_connections=(\d+)", " ".join(SERVICES["postgres"]["command"]))
    pool = settings_of("api").model_fields["database_pool_size"].default

    assert int(most) >= pool * (8 + 8)  # eight workers, the other three twice, and commands


@each
def test_what_goes_on_running_is_looked_after(name):
    """Ours have the image's own health check."""
    if name in ONCE:
        assert name in {"backup", "restore"} or SERVICES[name]["healthcheck"] == {"disable": True}
    elif name in FOREIGN:
        assert SERVICES[name]["healthcheck"]["test"]


def test_compose_holds_no_secret_and_asks_for_two_things():
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")

    asked = dict(re.findall(r"\$\{([A-Z_]+)([^}]*)\}", text))
    assert {name for name, rest in asked.items() if rest == ":?set it in .env"} == {"KIE_AI_API_KEY", "PUBLIC_BASE_URL"}
    for name in GATEWAY:
        environment = SERVICES[name]["environment"]
        assert {environment[secret] for secret in ("KIE_AI_API_KEY", "DATABASE_URL", "AMQP_URL", "CRON_SECRET")} == {""}


def test_what_is_mounted_is_there():
    for one in SERVICES.values():
        for volume in one.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or source == "./backups" or (ROOT / source).exists(), source


def test_the_simulators_settings_are_settings():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    given = re.findall(
        r"^([A-Z_]+)=", (ROOT / "deploy/compose/simulator.env").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert all(re.search(rf"^#?{name}=", example, re.MULTILINE) for name in given if not name.startswith("COMPOSE_"))


def test_the_trial_leaves_the_data_of_production_alone():
    text = (ROOT / "deploy/compose/simulator.env").read_text(encoding="utf-8")
    guide = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    (project,) = re.findall(r"^COMPOSE_PROJECT_NAME=(.+)$", text, re.MULTILINE)

    assert project != COMPOSE["name"]
    removed = re.findall(r"docker volume rm (.+)$", guide, re.MULTILINE)
    assert removed == [" ".join(f"{COMPOSE['name']}_{volume}" for volume in ("postgres", "rabbitmq"))]


def test_servers_have_a_pinned_major_version_and_keep_their_data():
    for server in ("postgres", "rabbitmq"):
        assert re.search(r":\d", SERVICES[server]["image"])
        assert SERVICES[server]["volumes"]


def test_the_simulator_starts_only_when_asked_for():
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}

    assert profiles.pop("simulator") == ["simulator"]
    assert {name for name, which in profiles.items() if which == ["observability"]} == set(WATCHING)
    assert {name for name, which in profiles.items() if which == ["tools"]} == {"reelgate", "backup", "restore"}


def test_the_image_holds_every_member_but_the_local_stack():
    members = {
        tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]
        for folder in ("libs", "services")
        for path in (ROOT / folder).glob("*/pyproject.toml")
    }

    installed = set(re.findall(r"reelgate-[a-z]+", DOCKERFILE))
    assert installed | {"reelgate-common", "reelgate-client"} == members  # which come with the others
    assert "deploy" not in re.findall(r"^COPY (\S+)", DOCKERFILE, re.MULTILINE)


def test_the_image_runs_as_nobody_special_and_without_a_shell():
    runtime = DOCKERFILE.rpartition("\nFROM ")[2]

    assert "USER 10001:10001" in runtime
    command = re.search(r"^CMD (\[.*\])$", runtime, re.MULTILINE)
    check = re.search(r"^HEALTHCHECK [^\n]*\\\n    CMD (\[.*\])$", runtime, re.MULTILINE)
    assert json.loads(command[1]) == ["python", "-m", "reelgate_api"]
    assert json.loads(check[1])[:2] == ["python", "-c"]
    compile(json.loads(check[1])[2], "HEALTHCHECK", "exec")


# What Prometheus is told -------------------------------------------------------------------------------

PROMETHEUS = ROOT / "deploy" / "observability" / "prometheus"
SCRAPED = {
    one["job_name"]: one for one in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
}


@pytest.mark.parametrize("name", GATEWAY)
def test_each_process_is_scraped_by_its_name_and_port(name):
    (found,) = SCRAPED[f"reelgate-{name}"]["dns_sd_configs"]

    assert (found["names"], str(found["port"])) == ([name], SERVICES[name]["environment"]["HTTP_PORT"])
    assert set(SERVICES[name]["networks"]) & set(SERVICES["prometheus"]["networks"])


def test_the_broker_is_scraped_where_its_plugin_listens():
    (found,) = SCRAPED["rabbitmq"]["static_configs"]

    assert found["targets"] == ["rabbitmq:15692"]
    assert set(SERVICES["rabbitmq"]["networks"]) & set(SERVICES["prometheus"]["networks"])


def test_the_rules_know_the_jobs_that_there_are():
    rules = "\n".join(path.read_text(encoding="utf-8") for path in PROMETHEUS.glob("rules/*.yml"))
    (pattern,) = set(re.findall(r'job=~"([^"]+)"', rules))

    ours = {name for name in SCRAPED if name.startswith("reelgate-")}
    assert set(SCRAPED) == ours | {"rabbitmq"}
    assert ours == {f"reelgate-{name}" for name in GATEWAY} == set(re.findall(r'absent\(up\{job="([^"]+)"\}\)', rules))
    assert all(re.fullmatch(pattern, name) for name in ours)
    assert set(re.findall(r'job="([^"]+)"', rules)) <= ours


# What `secrets` makes ---------------------------------------------------------------------------------


@pytest.fixture
def make_secrets(tmp_path, monkeypatch):
    """Run it as the container does; where it puts things."""
    code = runpy.run_path(str(ROOT / "deploy/compose/make_secrets.py"))
    for name in ("reelgate", "grafana", "postgres", "rabbitmq"):
        (tmp_path / name).mkdir()
    monkeypatch.setitem(code["main"].__globals__, "_VOLUMES", tmp_path)
    monkeypatch.setenv("KIE_AI_API_KEY", "key")

    def make(origin="https://your.name"):
        monkeypatch.setenv("PUBLIC_BASE_URL", origin)
        code["main"]()
        return tmp_path

    return make


def test_each_start_finds_the_secrets_of_the_first(make_secrets):
    def all_of(folder):
        return {path: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}

    first = all_of(make_secrets())

    assert all_of(make_secrets()) == first
    assert {path.name for path in first} >= {"DATABASE_URL", "AMQP_URL", "KIE_AI_API_KEY", "CRON_SECRET"}


def test_the_broker_speaks_to_the_console(make_secrets):
    """Its image says so in files that ours stand in place of."""
    told = (make_secrets() / "rabbitmq" / "20-reelgate.conf").read_text(encoding="utf-8")

    assert SERVICES["rabbitmq"]["environment"]["RABBITMQ_CONFIG_FILES"] == "/run/secrets/rabbitmq/*.conf"
    assert {"log.console = true", "log.file = false"} <= set(told.splitlines())


@pytest.mark.parametrize("origin", ["https://your.name", "http://localhost:8080"])
def test_an_origin_is_a_scheme_and_a_name(make_secrets, origin):
    assert (make_secrets(origin) / "reelgate" / "DATABASE_URL").exists()


@pytest.mark.parametrize(
    "origin", ["https://your.name/", "https://your.name/videos", "your.name", "https://a,https://b"]
)
def test_what_the_gateway_could_not_serve_is_refused_in_one_line(make_secrets, origin):
    with pytest.raises(SystemExit) as refused:
        make_secrets(origin)

    assert str(refused.value).startswith(f"PUBLIC_BASE_URL is {origin}: ")
    assert "\n" not in str(refused.value)


def test_the_origin_is_looked_at_before_anything_starts():
    assert (
        SERVICES["secrets"]["environment"]["PUBLIC_BASE_URL"] == SERVICES["gateway"]["environment"]["PUBLIC_BASE_URL"]
    )


# The lock ---------------------------------------------------------------------------------------------


def locked(name):
    """Package and version -> hashes."""
    found, package = {}, None
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if pinned := re.match(r"([a-z0-9][a-z0-9._-]*==\S+)", line):
            package = pinned[1]
            found[package] = set()
        found.setdefault(package, set()).update(re.findall(r"sha256:[0-9a-f]{64}", line))
    found.pop(None, None)
    return found


def test_the_images_lock_is_part_of_the_lock():
    everything, runtime = locked("requirements.lock"), locked("requirements-runtime.lock")

    assert runtime, "requirements-runtime.lock is empty"
    for package, hashes in runtime.items():
        assert hashes == everything.get(package), f"{package}: run `make lock`"


def test_the_images_lock_covers_what_the_members_ask_for():
    names = {package.partition("==")[0] for package in locked("requirements-runtime.lock")}
    for path in [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]:
        for wanted in tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]:
            name = re.match(r"[a-zA-Z0-9-]+", wanted)[0].lower()
            assert name in names or name.startswith("reelgate-"), f"{name}: run `make lock`"
