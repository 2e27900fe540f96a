"""Saving a video over a line that breaks."""

import httpx
import pytest

from reelgate_client import Unreachable

TEXT = {"generation_type": "TEXT_2_VIDEO"}
_PART = 3000  # bytes of an answer, head and all: a small part of the file


@pytest.fixture
async def job(reelgate, wallet):
    return await reelgate.create_and_wait(wallet, "To be saved", **TEXT)


async def test_a_cut_download_goes_on_where_it_broke_off(through_proxy, job, tmp_path):
    """Each connection carries a part only, so who began anew would never be done."""
    async with through_proxy(max_retries=1) as (reelgate, proxy):
        proxy.answer_bytes = _PART
        path = await reelgate.download(job.id, tmp_path / "video.mp4")

    async with httpx.AsyncClient() as anyone:
        whole = (await anyone.get(job.video_url)).content
    assert len(whole) > 2 * _PART
    assert path.read_bytes() == whole


async def test_a_download_that_fails_leaves_nothing_half(through_proxy, job, tmp_path):
    (tmp_path / "video.mp4").write_text("what was there before")
    async with through_proxy(max_retries=0) as (reelgate, proxy):
        proxy.answer_bytes = _PART

        with pytest.raises(Unreachable):
            await reelgate.download(job.id, tmp_path / "video.mp4")

    assert [path.read_text() for path in tmp_path.iterdir()] == ["what was there before"]
