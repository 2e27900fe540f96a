"""The vendor's send limit: a sliding window that refuses the excess and queues nothing."""

from collections import deque


class SendWindow:
    """Remembers when recent sends were let in."""

    def __init__(self) -> None:
        self._let_in: deque[float] = deque()

    def admit(self, now: float, *, limit: int, seconds: float) -> bool:
        """Let one send in unless the window is full; a limit of 0 is no limit."""
        if limit == 0:
            return True
        while self._let_in and self._let_in[0] <= now - seconds:
            self._let_in.popleft()
        if len(self._let_in) >= limit:
            return False
        self._let_in.append(now)
        return True
