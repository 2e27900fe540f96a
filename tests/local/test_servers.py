"""Where the servers come from."""

import pytest

from reelgate_local import apt, programs, servers
from reelgate_local.errors import LocalError
from reelgate_local.postgres import PrivatePostgres
from reelgate_local.rabbit import PrivateRabbit


@pytest.fixture
def bare(monkeypatch):
    """A machine without server programs, without root, without Docker."""
    for name in ("find_postgres", "find_rabbitmq", "find_epmd"):
        monkeypatch.setattr(programs, name, lambda: None)
    monkeypatch.setattr(apt, "can_install", lambda: False)
    monkeypatch.setattr(servers, "_docker_runs", lambda: False)


def test_servers_named_in_the_environment_are_used_each_on_its_own(tmp_path):
    assert servers.database({"DATABASE_URL": "postgresql://given"}, tmp_path) is None
    assert servers.broker({"AMQP_URL": "amqp://given"}, tmp_path) is None


def test_programs_on_the_machine_serve_privately(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "find_postgres", lambda: tmp_path)
    monkeypatch.setattr(programs, "find_rabbitmq", lambda: tmp_path)
    monkeypatch.setattr(programs, "find_epmd", lambda: "epmd")

    assert isinstance(servers.database({}, tmp_path), PrivatePostgres)
    assert isinstance(servers.broker({}, tmp_path), PrivateRabbit)


def test_a_bare_machine_is_told_what_to_install(bare):
    with pytest.raises(LocalError, match=r"PostgreSQL and RabbitMQ not found.*or set DATABASE_URL and AMQP_URL"):
        servers.install_missing({}, print)


def test_only_what_is_missing_is_named(bare):
    with pytest.raises(LocalError, match=r"^RabbitMQ not found"):
        servers.install_missing({"DATABASE_URL": "postgresql://given"}, print)


def test_nothing_is_installed_when_both_are_named(bare):
    servers.install_missing({"DATABASE_URL": "postgresql://given", "AMQP_URL": "amqp://given"}, print)


def test_what_is_missing_is_installed_where_that_is_allowed(bare, monkeypatch):
    installed = []

    def install(packages, _say):
        installed.extend(packages)
        monkeypatch.setattr(programs, "find_rabbitmq", lambda: "found")
        monkeypatch.setattr(programs, "find_epmd", lambda: "found")

    monkeypatch.setattr(apt, "can_install", lambda: True)
    monkeypatch.setattr(apt, "install", install)
    servers.install_missing({"DATABASE_URL": "postgresql://given"}, print)

    assert installed == ["rabbitmq-server"]


@pytest.fixture
def policy(tmp_path, monkeypatch):
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(apt, "_POLICY", path)
    return path


def test_no_service_starts_while_packages_are_installed(policy, monkeypatch):
    seen = []
    monkeypatch.setattr(apt, "_run", lambda *_: seen.append("exit 101" in policy.read_text()))

    apt.install(["postgresql"], print)

    assert seen == [True, True]
    assert not policy.exists()


def test_a_policy_of_the_machine_is_left_as_it_is(policy, monkeypatch):
    policy.write_text("theirs")
    monkeypatch.setattr(apt, "_run", lambda *_: None)

    apt.install(["postgresql"], print)

    assert policy.read_text() == "theirs"
