"""The services' environment, and the file others find the stack by."""

import shlex

import pytest

from reelgate_local.errors import LocalError
from reelgate_local.settings import DEFAULTS, DEMO_SCALE, Addresses, StackFile, for_services

_OURS = Addresses(
    api="http://127.0.0.1:3000",
    callback="http://127.0.0.1:2",
    simulator="http://127.0.0.1:3",
    database="postgresql://ours",
    broker="amqp://ours",
)
_VENDOR = Addresses(_OURS.api, _OURS.callback, "", _OURS.database, _OURS.broker)


@pytest.fixture
def file():
    return StackFile(
        api_url="http://127.0.0.1:3000",
        callback_url="http://127.0.0.1:2",
        simulator_url="",
        database_url="postgresql://user@host/db?sslmode=disable&application_name=it's",
        amqp_url="amqp://ours",
        api_key="rg_live_a",
        admin_key="rg_live_b",
        cron_secret="secret",
        pid_api="12",
    )


def test_the_stack_runs_at_demo_scale():
    assert (DEFAULTS | DEMO_SCALE).items() <= for_services({}, _OURS).items()


def test_the_vendor_itself_gets_the_deadlines_meant_for_it():
    vendor = {"KIE_AI_API_ENDPOINT": "https://api.kie.ai", "KIE_AI_API_KEY": "key"}

    assert DEMO_SCALE.keys().isdisjoint(for_services(vendor, _VENDOR))


def test_settings_of_the_caller_win():
    env = for_services({"SIM_VIDEO_SECONDS": "9", "LATE_SUCCESS": "recharge", "CRON_SECRET": "mine"}, _OURS)

    assert (env["SIM_VIDEO_SECONDS"], env["LATE_SUCCESS"], env["CRON_SECRET"]) == ("9", "recharge", "mine")


def test_an_empty_setting_is_no_setting():
    assert for_services({"SIM_VIDEO_SECONDS": ""}, _OURS)["SIM_VIDEO_SECONDS"] == "2"


def test_the_parts_find_each_other():
    env = for_services({}, _OURS)

    assert env["PUBLIC_BASE_URL"] == _OURS.api
    assert env["CALLBACK_SERVICE_URL"] == env["CALLBACK_BASE_URL"] == _OURS.callback
    assert env["KIE_AI_API_ENDPOINT"] == _OURS.simulator
    assert (env["DATABASE_URL"], env["AMQP_URL"]) == (_OURS.database, _OURS.broker)


def test_a_public_url_under_either_name_is_kept():
    env = for_services({"NEXT_PUBLIC_BASE_URL": "https://mine.example"}, _OURS)

    assert not env.keys() & {"PUBLIC_BASE_URL", "CALLBACK_BASE_URL"}


def test_secrets_differ_from_stack_to_stack():
    one, other = for_services({}, _OURS), for_services({}, _OURS)

    assert one["CRON_SECRET"] != other["CRON_SECRET"]
    assert one["KIE_WEBHOOK_HMAC_KEY"] != other["KIE_WEBHOOK_HMAC_KEY"]


def test_the_vendor_itself_wants_a_key():
    with pytest.raises(LocalError, match="set KIE_AI_API_KEY"):
        for_services({"KIE_AI_API_ENDPOINT": "https://api.kie.ai"}, _VENDOR)


def test_a_stand_in_on_this_machine_wants_none():
    env = for_services({"KIE_AI_API_ENDPOINT": "http://localhost:9"}, _VENDOR)

    assert env["KIE_AI_API_ENDPOINT"] == "http://localhost:9"
    assert env["KIE_AI_API_KEY"]


def test_the_file_is_lines_a_shell_can_source(file, tmp_path):
    file.write(tmp_path / "stack.env")

    lines = (tmp_path / "stack.env").read_text().splitlines()
    assert lines[0] == "API_URL=http://127.0.0.1:3000"
    assert "SIMULATOR_URL=" in lines
    assert f"DATABASE_URL={shlex.quote(file.database_url)}" in lines


def test_the_file_reads_back_as_written(file, tmp_path):
    file.write(tmp_path / "stack.env")

    assert StackFile.read(tmp_path / "stack.env") == file


def test_no_file_means_no_stack(tmp_path):
    assert StackFile.read(tmp_path / "stack.env") is None


def test_the_file_is_replaced_not_rewritten(file, tmp_path):
    path = tmp_path / "stack.env"
    file.write(path)
    with path.open() as reader:
        file.pid_api = "13"
        file.write(path)

        assert "PID_API=12" in reader.read()
    assert "PID_API=13" in path.read_text()
    assert [entry.name for entry in tmp_path.iterdir()] == ["stack.env"]


def test_the_file_is_for_its_owner_only(file, tmp_path):
    file.write(tmp_path / "stack.env")

    assert (tmp_path / "stack.env").stat().st_mode & 0o077 == 0
