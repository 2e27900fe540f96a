"""The image and docker-compose.yml fit the code. No engine is needed: this reads the files."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
GATEWAY = ("api", "submitter", "callback", "reconciler")
OURS = (*GATEWAY, "migrate", "simulator")

each_of_ours = pytest.mark.parametrize("name", OURS)


def settings_of(name):
    return importlib.import_module(f"reelgate_{name}.settings").Settings


def needed_by(name):
    """Environment names without which the process stops at once; of several spellings, the first."""
    required = (field for field, info in settings_of(name).model_fields.items() if info.is_required())
    return {field.upper() for field in required}


def test_compose_runs_the_servers_and_every_process():
    assert set(SERVICES) == {"postgres", "rabbitmq", *OURS}


def test_compose_stays_short():
    assert len((ROOT / "docker-compose.yml").read_text(encoding="utf-8").splitlines()) <= 120


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


@each_of_ours
def test_ours_all_run_from_one_image(name):
    assert (SERVICES[name]["image"], SERVICES[name]["build"]) == ("reelgate", ".")


@pytest.mark.parametrize("name", [*GATEWAY, "simulator"])
def test_a_process_is_given_settings_it_knows(name):
    known = {field.upper() for field in settings_of(name).model_fields}
    shared = {field.upper() for service in GATEWAY for field in settings_of(service).model_fields}

    assert set(SERVICES[name]["environment"]) <= (known if name == "simulator" else shared)


@pytest.mark.parametrize("name", GATEWAY)
def test_a_process_is_given_all_it_needs(name):
    assert needed_by(name) <= set(SERVICES[name]["environment"])


def test_the_api_hands_on_the_callback_path_and_is_the_only_public_one():
    assert SERVICES["api"]["environment"]["CALLBACK_SERVICE_URL"] == "http://callback:8000"
    public = {name for name, service in SERVICES.items() if any("127.0.0.1" not in p for p in service.get("ports", []))}
    assert public == {"api"}


def test_the_schema_comes_first_and_the_servers_before_it():
    assert SERVICES["migrate"]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "rabbitmq": {"condition": "service_healthy"},
    }
    for name in GATEWAY:
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert all("healthcheck" in SERVICES[server] for server in ("postgres", "rabbitmq"))


def test_a_part_that_dies_is_restarted_but_the_migration_runs_once():
    policies = {name: service["restart"] for name, service in SERVICES.items()}

    assert policies.pop("migrate") == "no"
    assert set(policies.values()) == {"unless-stopped"}


def test_compose_holds_no_secret_and_says_what_is_missing():
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")

    assert set(re.findall(r"\$\{[A-Z_]+([^}]*)\}", text)) == {":?set it in .env"}


def test_servers_have_a_pinned_major_version_and_keep_their_data():
    for server in ("postgres", "rabbitmq"):
        assert re.search(r":\d", SERVICES[server]["image"])
        assert SERVICES[server]["volumes"]


def test_the_simulator_starts_only_when_asked_for():
    assert SERVICES["simulator"]["profiles"] == ["simulator"]
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["simulator"]


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
