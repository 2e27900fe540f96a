"""What a failure means for whoever asked: whose matter it is, and what to do about it."""

import re
from dataclasses import dataclass
from enum import StrEnum

from reelgate_common.domain.job import FailureCode


class FailureCategory(StrEnum):
    """Where to look for the cause."""

    INPUT = "input"  # what was asked for
    CONTENT = "content"  # what it shows
    VENDOR = "vendor"
    CAPACITY = "capacity"  # more was asked for than could be sent
    TIMEOUT = "timeout"  # nobody said in time how it ended
    CANCELED = "canceled"
    INTERNAL = "internal"  # ours


@dataclass(frozen=True)
class Meaning:
    """What a code means. `retryable`: the very same request may work another time."""

    category: FailureCategory
    retryable: bool
    advice: str  # one sentence for a person


# The one table; a test walks every code through it.
MEANINGS = {
    FailureCode.REFUSED: Meaning(
        FailureCategory.INPUT, False, "Kie.ai refused the request: change what error_message names."
    ),
    FailureCode.GENERATION_FAILED: Meaning(
        FailureCategory.VENDOR, True, "Kie.ai could not make the video: try again, or change the prompt."
    ),
    FailureCode.EMPTY_RESULT: Meaning(
        FailureCategory.VENDOR, True, "Kie.ai said it was done but gave no video: try again."
    ),
    FailureCode.SUBMIT_UNKNOWN: Meaning(
        FailureCategory.TIMEOUT,
        True,
        "Kie.ai never confirmed the job: try again; a video that turns up late is still given to this job.",
    ),
    FailureCode.PROCESSING_TIMEOUT: Meaning(
        FailureCategory.TIMEOUT,
        True,
        "Kie.ai did not finish in time: try again; a video that turns up late is still given to this job.",
    ),
    FailureCode.EXPIRED: Meaning(
        FailureCategory.CAPACITY, True, "The job waited too long to be sent: try later, or with a longer expires_in."
    ),
    FailureCode.CANCELED: Meaning(
        FailureCategory.CANCELED, True, "The job was canceled before it was sent: ask again if you still want it."
    ),
}

# Kie.ai has no codes for these, only sentences; what is not recognised keeps the meaning of its code.
_BY_THE_VENDOR = {FailureCode.REFUSED, FailureCode.GENERATION_FAILED}
_SENTENCES = (
    (
        re.compile(r"content polic|unsafe image|minor upload|prominent people", re.IGNORECASE),
        Meaning(
            FailureCategory.CONTENT, False, "The content rules of Kie.ai refuse this: change the prompt or the images."
        ),
    ),
    (
        re.compile(r"failed to fetch the image", re.IGNORECASE),
        Meaning(FailureCategory.INPUT, False, "Kie.ai could not fetch an image: use URLs that anyone can open."),
    ),
    (
        re.compile(r"only english prompts", re.IGNORECASE),
        Meaning(FailureCategory.INPUT, False, "Write the prompt in English, or leave enable_translation on."),
    ),
)


def meaning(code: FailureCode, message: str | None) -> Meaning:
    """What a failure means, by its code and, where only the vendor's words tell, by these."""
    if code in _BY_THE_VENDOR:
        for sentence, found in _SENTENCES:
            if sentence.search(message or ""):
                return found
    return MEANINGS[code]
