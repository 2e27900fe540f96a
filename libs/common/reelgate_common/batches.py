"""What is asked for at the same time is done together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from reelgate_common import metrics
from reelgate_common.domain.errors import Overloaded, Unavailable

A = TypeVar("A")
R = TypeVar("R")

_MOST_TOGETHER = 100
_COMPANY = 4  # so many together are a crowd: more are to be expected
IN_NO_HURRY = 0.004  # seconds; for `pause`, where calls to Kie.ai lie between one batch and the next
_MOST_WAITING = 2_000  # more would only wait until their callers have given up
# What was not begun by then is not begun: its caller may have given up, and tries again. Less than the 5 s that a
# statement waits for a lock: else those behind one that meets a locked table would go on to meet it themselves.
_PATIENCE_SECONDS = 4.0


def may_be_of_one(error: Exception) -> bool:
    """What is wrong with one shall not fail others. A database that is away, or locked for long, fails all."""
    return not isinstance(error, Unavailable)


class Batches(Generic[A, R]):
    """Hands arguments to `act`, as many at a time as came while it was busy with earlier ones.

    Nobody waits for company where there was none: a lone argument is handed on at once, and batches get as large as
    the load makes them. After a crowd so many seconds of `pause` are given to those who come back from elsewhere.
    `act` answers for each argument, in order. An error `of_one` of several is no reason to fail the others: each is
    then tried by itself. `name` is for the metric of what waits.
    """

    def __init__(
        self,
        act: Callable[[Sequence[A]], Awaitable[Sequence[R]]],
        *,
        name: str,
        of_one: Callable[[Exception], bool] = lambda _: False,
        pause: float = 0,
    ) -> None:
        self._act = act
        self._of_one = of_one
        self._pause = pause
        self._is_crowded = False
        self._gauge = metrics.batch_waiting.labels(name)
        self._waiting: deque[tuple[A, asyncio.Future[R], float]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None

    async def __call__(self, argument: A) -> R:
        """What came of one argument, or its error. Overloaded: too many wait, or it waited too long; nothing was done.

        An argument whose caller is cancelled meanwhile is acted on all the same.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise Overloaded("too many requests wait for the database")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((argument, future, loop.time() + _PATIENCE_SECONDS))
        if self._worker is None:
            # It works for many, so in the context of none: an entry in the log shall not name another's request.
            self._worker = loop.create_task(self._work(), context=Context())
        elif self._patience is None:
            self._patience = loop.call_later(_PATIENCE_SECONDS, self._give_up)
        with self._gauge.track_inprogress():
            return await future

    def _give_up(self) -> None:
        """Tell those who waited too long for `act` to be free: it may hang for much longer."""
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][2] <= loop.time():
            _, future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(Overloaded("the database is too slow for what is asked of it"))
        self._patience = loop.call_at(self._waiting[0][2], self._give_up) if self._waiting else None

    async def _work(self) -> None:
        try:
            while self._waiting:
                if self._is_crowded and self._pause:
                    await asyncio.sleep(self._pause)
                together = min(len(self._waiting), _MOST_TOGETHER)
                self._is_crowded = together >= _COMPANY
                await self._settle([self._waiting.popleft()[:2] for _ in range(together)])
        finally:
            self._worker = None  # in the same step as nobody was found waiting: the next caller starts another

    async def _settle(self, batch: list[tuple[A, asyncio.Future[R]]]) -> None:
        try:
            results = await self._act([argument for argument, _ in batch])
            settled = list(zip(batch, results, strict=True))
        except BaseException as error:
            if isinstance(error, Exception) and len(batch) > 1 and self._of_one(error):
                await asyncio.gather(*(self._settle([one]) for one in batch))
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future), result in settled:
                if not future.done():
                    future.set_result(result)
