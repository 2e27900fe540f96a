"""How many files one process passes on at once: a link needs no key, and who has one may read as slowly as he can."""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

from reelgate_common.domain.errors import TooManyDownloads, TooManyStreams

_SHARE = 8  # of all places, one video gets so small a part: who has its link keeps nobody from the others


class Places:
    """Taken for as long as a file is passed on."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._of_one = max(1, count // _SHARE)
        self._taken: Counter[UUID] = Counter()

    def take(self, job_id: UUID) -> Callable[[], None]:
        """A place for one more reader of this video, and what gives it back, also when called twice.

        TooManyDownloads when this video has its share, TooManyStreams when every place is taken.
        """
        if self._taken[job_id] >= self._of_one:
            raise TooManyDownloads(most=self._of_one)
        if self._taken.total() >= self._count:
            raise TooManyStreams("every place for a download is taken")
        self._taken[job_id] += 1
        held = [job_id]

        def leave() -> None:
            while held:
                self._taken -= Counter([held.pop()])  # what is at 0 is forgotten

        return leave
