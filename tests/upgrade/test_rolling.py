"""From the release before to this one and back, while jobs come in: every job ends well, sent once, paid once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rig import SERVICES
from rollout import NEW, OLD, old_code

from reelgate_common import migrations


@pytest.mark.timeout(300)
async def test_a_rolling_upgrade_and_the_way_back_cost_no_job_and_no_credit(rollout, old_tree):
    """In the order of docs/upgrades.md, with every pair of the two releases meeting on the way."""
    await rollout.run(*OLD)
    await rollout.send("old-api")

    # The schema first. The old release goes on by itself.
    await rollout.migrate("new")
    await rollout.send("old-api")
    await rollout.at_rest()
    assert rollout.running == set(OLD)

    # Side by side, on the same queues.
    await rollout.run(*OLD, *NEW)
    await rollout.send("old-api")
    await rollout.send("new-api")

    # What the old api asks for, only the new release does.
    await rollout.run("old-api", "old-callback", *NEW)
    await rollout.send("old-api")
    await rollout.at_rest()
    await rollout.run(*NEW)
    await rollout.send("new-api")

    # The code goes back and the schema stays. What the new api asks for, only the old release does.
    await rollout.run("new-api", "new-callback", "old-submitter", "old-reconciler")
    await rollout.send("new-api")
    await rollout.at_rest()
    await rollout.run(*OLD)
    await rollout.send("old-api")
    await rollout.at_rest()

    await rollout.ended_right(rollout.sent)
    forgotten = "SELECT id FROM video_jobs WHERE status = 'completed' AND id NOT IN (SELECT job_id FROM videos)"
    assert await rollout.sql(forgotten) == []  # whichever release completed it
    await rollout.audit()
    assert rollout.errors() == set()
    assert await applied(rollout) == [migration.name for migration in migrations.known()]


@pytest.mark.parametrize("package", ["common", "cli", *SERVICES])
def test_the_old_processes_run_the_old_code(old_tree, package):
    said = subprocess.run(
        [sys.executable, "-c", f"import reelgate_{package} as package; print(package.__file__)"],
        env=os.environ | old_code(old_tree),
        capture_output=True,
        text=True,
        check=True,
    )

    assert Path(said.stdout).is_relative_to(old_tree)


async def applied(rollout):
    return [row["name"] for row in await rollout.sql("SELECT name FROM schema_migrations ORDER BY version")]
