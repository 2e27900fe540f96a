"""Files handed to Kie.ai, so that it can fetch them as images: what its file host's answers mean.

Uploads are free. The host keeps a file for 24 hours, and a second file of the same path and name replaces the
first, so an upload may be made again under its own name whatever became of it.
"""

from dataclasses import dataclass

from reelgate_common.domain.job import SendOutcome
from reelgate_common.kie import answers, urls
from reelgate_common.kie.answers import Answer


@dataclass(frozen=True, kw_only=True)
class Upload(Answer):
    """What is known of one upload; where the file can be fetched when it was accepted."""

    url: str | None = None


def read_upload(status: int, body: bytes) -> Upload:
    """Classify an answer of the file host; it says `success` beside the code, and both must agree."""
    said, parsed = answers.read(status, body)
    if said.outcome is not SendOutcome.ACCEPTED:
        return Upload(outcome=said.outcome, code=said.code, message=said.message)
    data = parsed.get("data")
    url = data.get("downloadUrl") if isinstance(data, dict) else None
    if parsed.get("success") is False or not isinstance(url, str) or not urls.is_usable(url):
        return Upload(outcome=SendOutcome.UNKNOWN, code=said.code, message="no usable URL came with it")
    return Upload(outcome=said.outcome, code=said.code, message=said.message, url=url)
