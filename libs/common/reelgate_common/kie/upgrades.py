"""What Kie.ai's answers about a better copy of a finished video mean: 1080p and 4K.

Both calls start the work the first time and tell how it stands when they are made again. They use codes 400 and
422 for "not ready" and even for "done", so under those the sentence decides; one that is not known stays unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reelgate_common.domain.job import SendOutcome
from reelgate_common.kie import answers, urls
from reelgate_common.kie.answers import Answer

_AMBIGUOUS = frozenset({400, 422})
_UNDER_WAY = ("is processing", "being generated", "generated successfully")
_NO_SUCH_CLIP = ("does not exist", "not found", "within 14 days")
_UNAVAILABLE = "version of this video is unavailable"  # met as code 500


@dataclass(frozen=True, kw_only=True)
class Upgrade(Answer):
    """What is known of one upgrade call: ACCEPTED without `video_url` means that it is being made."""

    task_id: str | None = None  # of the 4K work: the vendor does not say whether it is the clip's own
    video_url: str | None = None


def read_upgrade(status: int, body: bytes, *, wanted: Callable[[str], bool]) -> Upgrade:
    """Classify an answer to get-1080p-video or get-4k-video; a usable URL that is not `wanted` counts as none."""
    said, parsed = answers.read(status, body)
    if parsed:
        said = answers.about_a_clip(said)
    task_id, video_url = answers.task_id_of(parsed), _video_url(parsed.get("data"), wanted)
    outcome = _outcome(said, has_work=bool(task_id or video_url), is_done=video_url is not None)
    if outcome is not SendOutcome.ACCEPTED:
        task_id = video_url = None
    return Upgrade(outcome=outcome, code=said.code, message=said.message, task_id=task_id, video_url=video_url)


def _outcome(said: Answer, *, has_work: bool, is_done: bool) -> SendOutcome:
    lowered = (said.message or "").lower()
    if said.outcome is SendOutcome.ACCEPTED:
        return SendOutcome.ACCEPTED if has_work else SendOutcome.UNKNOWN
    if said.code == 500 and _UNAVAILABLE in lowered:
        return SendOutcome.REFUSED
    if said.code not in _AMBIGUOUS or said.outcome is not SendOutcome.REFUSED:
        return said.outcome
    if is_done or any(words in lowered for words in _UNDER_WAY):
        return SendOutcome.ACCEPTED
    return SendOutcome.REFUSED if any(words in lowered for words in _NO_SUCH_CLIP) else SendOutcome.UNKNOWN


def _video_url(data: Any, wanted: Callable[[str], bool]) -> str | None:
    """1080p names one URL, 4K a list of them, in camel or snake case."""
    if not isinstance(data, dict):
        return None
    for name in ("resultUrl", "resultUrls", "result_urls"):
        for url in urls.urls_of(data.get(name)):
            if urls.is_usable(url) and wanted(url):
                return url
    return None
