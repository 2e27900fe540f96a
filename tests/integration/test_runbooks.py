"""The SQL of the runbooks runs on the schema as it is."""

import re
from pathlib import Path
from uuid import UUID

import pytest

from reelgate_common import settlement
from reelgate_common.domain.job import FailureCode, JobStatus
from reelgate_common.settings import JobSettings

PAGES = sorted((Path(__file__).parents[2] / "docs" / "runbooks").glob("*.md"))
STATEMENTS = {
    f"{page.stem}-{n}": statement
    for page in PAGES
    for n, statement in enumerate(re.findall(r"`(SELECT [^`]+)`", page.read_text(encoding="utf-8")))
    if statement.endswith(";")
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_runs_and_changes_nothing(stored, name):
    """`PID` and `ID` stand for what an operator puts in."""
    statement = STATEMENTS[name].replace("'ID'", f"'{UUID(int=0)}'").replace("PID", "0")

    await stored.run("SET default_transaction_read_only = on")
    await stored.rows(statement)


async def test_a_recovered_job_is_found_by_the_deadline_that_had_ended_it(make_job, cast, stored):
    job = await make_job(JobStatus.PROCESSING, task_id="task-1")
    policy = JobSettings()
    await cast(settlement.fail, job.id, FailureCode.PROCESSING_TIMEOUT, message="late", by="test", policy=policy)
    await cast(
        settlement.deliver, job.id, video_url="https://x/v.mp4", attempt_id=job.attempt_id, by="test", policy=policy
    )
    (by_deadline,) = (one for name, one in STATEMENTS.items() if name.startswith("ReelgateLateVideos"))

    assert [tuple(row.values()) for row in await stored.rows(by_deadline)] == [("processing_timeout", 1)]
