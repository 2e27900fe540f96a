"""A video outlives Kie.ai's: on a whole stack, by everybody's way to it."""

import hashlib
import os
import subprocess
import sys
import uuid

import httpx
import pytest


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    return tmp_path_factory.mktemp("bucket")


@pytest.fixture(scope="module")
def stack(run_stack, bucket):
    with run_stack("custody", CUSTODY_URL=f"file://{bucket}", CUSTODY_SECONDS="0.2") as stack:
        yield stack


async def test_a_video_survives_its_deletion_at_kie(stack, bucket, tmp_path):
    async with stack.client() as client:
        job_id = await stack.create(client, "A character waving hello", uuid.uuid4().hex)
        await stack.reached(job_id, "completed")
        path = f"/api/video/jobs/{job_id}"
        first = (await client.get(path)).json()["job"]

        async def is_kept():
            return (await client.get(path)).json()["job"]["video_kept"]

        await stack.until(is_kept)
        [row] = await stack.sql(
            "SELECT video_url, sha256 FROM video_jobs JOIN videos ON job_id = id WHERE id = $1", uuid.UUID(job_id)
        )
        await stack.simulator("/sim/config", retention_seconds=0)

        kept = (await client.get(path)).json()["job"]
        async with httpx.AsyncClient() as anyone:
            at_kie = await anyone.get(row["video_url"])
            by_link = await anyone.get(first["video_url"])
            part = await anyone.get(first["video_url"], headers={"Range": "bytes=4-7"})
        saved = _save(stack, job_id, tmp_path / "saved.mp4")
        [file] = [file for file in bucket.rglob("*") if file.is_file()]
        deleted = await client.delete(f"{path}/content")
        gone = await client.get(f"{path}/content")

    assert at_kie.status_code == 404
    assert (by_link.status_code, part.content) == (200, b"ftyp")
    assert hashlib.sha256(by_link.content).digest() == row["sha256"]
    assert saved == by_link.content
    assert first["video_url"] == kept["video_url"]
    assert (kept["video_expires_at"], kept["video_deleted_at"]) == (None, None)
    assert (await stack.timeline(job_id))[-2:] == ["video_kept", "video_deleted"]
    assert (deleted.status_code, gone.status_code) == (200, 410)

    async def is_removed():
        return not file.exists()

    await stack.until(is_removed)
    await stack.audit()


def _save(stack, job_id, path):
    """As the command does it."""
    settings = {"REELGATE_URL": stack.env["API_URL"], "REELGATE_API_KEY": stack.env["API_KEY"]}
    subprocess.run(
        [sys.executable, "-m", "reelgate_cli", "watch", job_id, "--save", str(path)],
        env=os.environ | settings,
        check=True,
        capture_output=True,
    )
    return path.read_bytes()
