"""The API does what its OpenAPI document says, whatever is sent: schemathesis looks for a request where it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stack(run_stack):
    with run_stack("schemathesis", SIGNUP_CREDITS="1000000") as stack:
        yield stack


@pytest.mark.timeout(400)
def test_every_operation_keeps_to_the_document(stack):
    env = stack.env
    command = [Path(sys.executable).with_name("st"), "--config-file", ROOT / "schemathesis.toml", "run"]
    options = ["--no-color", "-H", f"Authorization: Bearer {env['ADMIN_KEY']}"]
    done = subprocess.run(
        [*command, f"{env['API_URL']}/openapi.json", *options],
        env=stack.environ | {"CRON_SECRET": env["CRON_SECRET"]},
        cwd=stack.home,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
