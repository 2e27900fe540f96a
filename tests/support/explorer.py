"""A small model checker: real handlers on a real database, in every order of their steps.

An actor is one run of a handler. It stands still after each effect it has (a statement, a commit, a call to
the vendor) until the scheduler lets it go on; between two effects nothing happens that others could see. A
plan says before which step to switch to another actor, to crash one or to lose its connection. A run is
repeated from the start for each plan, so a failing one can be repeated by its plan alone.
"""

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import permutations

from reelgate_common.domain.errors import Unavailable

# How often a statement that has not ended is looked at: it ends, or the database says whom it waits for.
_LOOK_SECONDS = 0.002
_STATEMENTS = frozenset({"execute", "fetch", "fetchrow", "fetchval"})


class Crash(BaseException):
    """The process is gone: no handler goes on after this, and what it had not committed is rolled back."""


class Move(StrEnum):
    """What the scheduler may do instead of letting the running actor take its next step."""

    SWITCH = "switch"
    CRASH = "crash"
    LOSE = "lose the connection"  # the handler lives, and does not learn whether a commit was kept


class Actor:
    """One run of a handler, step by step. `handler(database, vendor)` gets what it works with in our hands."""

    def __init__(self, name, handler, *, database, vendor):
        self.name, self.handler = name, handler
        self.database, self.vendor = SteppedDatabase(database, self), SteppedVendor(vendor, self)
        self.at = "start"
        self.committed = False  # its last step is one that others can see
        self.in_transaction = self.waits = self.crashed = self.interrupted = False
        self.pid = self.task = self.error = self.fault = None
        self.still = asyncio.Event()
        self.go = asyncio.Event()

    @property
    def ended(self):
        return self.task is not None and self.task.done()

    @property
    def ready(self):
        return not self.ended and not self.waits

    def may(self, move):
        """Whether a fault says anything here that it does not say elsewhere."""
        return self.task is not None and self.ready and (move is Move.CRASH or not self.at.startswith("vendor"))

    def resume(self):
        self.still.clear()
        self.committed = False
        if self.task is None:
            self.task = asyncio.create_task(self._run())
        self.go.set()

    async def _run(self):
        try:
            await self.handler(self.database, self.vendor)
        except Crash:
            self.crashed = True
        except Unavailable:
            self.interrupted = True
        except Exception as error:  # noqa: BLE001 -- judged by the explorer
            self.error = error
        finally:
            self.at = "end"
            self.still.set()

    async def point(self, label, *, committed):
        """Stand still after an effect, until the scheduler says how to go on."""
        self.at, self.committed = label, committed
        self.go.clear()
        self.still.set()
        await self.go.wait()
        fault, self.fault = self.fault, None
        if fault is Move.CRASH:
            self.crashed = True
            raise Crash
        if fault is Move.LOSE:
            raise Unavailable("the connection was lost")


class SteppedDatabase:
    """The database as one actor sees it. A dropped connection is a rollback, as the server does it."""

    def __init__(self, database, actor):
        self._database, self._actor = database, actor

    @asynccontextmanager
    async def transaction(self):
        async with self._enter(self._database.transaction()) as connection:
            self._actor.in_transaction = True
            try:
                yield SteppedConnection(connection, self._actor, committed=False)
            finally:
                self._actor.in_transaction = False
        await self._actor.point("commit", committed=True)

    @asynccontextmanager
    async def connection(self):
        async with self._enter(self._database.connection()) as connection:
            yield SteppedConnection(connection, self._actor, committed=True)

    @asynccontextmanager
    async def _enter(self, opened):
        if self._actor.crashed:
            raise Crash
        async with opened as connection:
            self._actor.pid = connection.get_server_pid()
            yield connection


class SteppedConnection:
    """Stands still after every statement."""

    def __init__(self, connection, actor, *, committed):
        self._connection, self._actor, self._committed = connection, actor, committed

    def __getattr__(self, name):
        method = getattr(self._connection, name)
        return self._stepped(method) if name in _STATEMENTS else method

    def _stepped(self, method):
        async def run(statement, *arguments):
            if self._actor.crashed:
                raise Crash
            result = await method(statement, *arguments)
            await self._actor.point(" ".join(statement.split())[:60], committed=self._committed)
            return result

        return run


class SteppedVendor:
    """Stands still after every call, when the vendor has done it and nobody of ours knows."""

    def __init__(self, vendor, actor):
        self._vendor, self._actor = vendor, actor

    async def generate(self, job, **call):
        send = self._vendor.generate(job, **call)
        await self._actor.point("vendor: generate", committed=False)
        return send

    async def record_info(self, task_id):
        info = self._vendor.record_info(task_id)
        await self._actor.point("vendor: record-info", committed=False)
        return info


@dataclass(frozen=True)
class Budget:
    """How many of each move a plan may have."""

    switches: int = 0
    faults: int = 0

    def after(self, move):
        spent = (1, 0) if move is Move.SWITCH else (0, 1)
        return Budget(self.switches - spent[0], self.faults - spent[1])

    def allows(self, move):
        return (self.switches if move is Move.SWITCH else self.faults) > 0


@dataclass
class Run:
    """What one plan did: each step, and the moves that were possible before it."""

    steps: list[str] = field(default_factory=list)
    options: list[list[Move]] = field(default_factory=list)


class Scheduler:
    """Runs actors by a plan, one step of one actor at a time."""

    def __init__(self, observer, actors, check):
        self._observer, self._actors, self._check = observer, actors, check
        self.run = Run()

    async def follow(self, plan):
        current = self._actors[0]
        while ready := [actor for actor in self._actors if actor.ready]:
            if current not in ready:  # it ended or waits: the other's turn, which is no choice
                current = ready[0]
            self.run.options.append(self._options(current, ready))
            move = plan.get(len(self.run.steps))
            if move is Move.SWITCH:
                current = next(actor for actor in ready if actor is not current)
            else:
                current.fault = move
            current.resume()
            await self._settle()
            said = f"{move}: " if move and move is not Move.SWITCH else ""
            self.run.steps.append(f"{current.name}: {said}{current.at}" + (" (waits)" if current.waits else ""))
            await self._judge()
        stuck = [actor.name for actor in self._actors if not actor.ended]
        assert not stuck, f"they wait for each other: {stuck}"

    @staticmethod
    def _options(current, ready):
        moves = [Move.SWITCH] if len(ready) > 1 and current.task is not None else []
        return moves + [move for move in (Move.CRASH, Move.LOSE) if current.may(move)]

    async def _settle(self):
        """Until every actor that was let go stands still again, or waits for a lock another one holds."""
        for actor in self._actors:
            if actor.task is None:
                continue
            actor.waits = False
            while not actor.still.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(actor.still.wait(), _LOOK_SECONDS)
                if not actor.still.is_set() and await self._waits(actor):
                    actor.waits = True
                    break

    async def _waits(self, actor):
        holders = [other.pid for other in self._actors if other is not actor and other.in_transaction]
        return bool(holders) and await self._observer.fetchval(
            "SELECT pg_blocking_pids($1) && $2::int[]", actor.pid, holders
        )

    async def _judge(self):
        for actor in self._actors:
            if actor.error:
                raise AssertionError(f"{actor.name} failed: {actor.error!r}") from actor.error
        if any(actor.committed for actor in self._actors):
            await self._check()
            for actor in self._actors:
                actor.committed = False


async def explore(kinds, start, budget):
    """Run every plan within a budget, from every actor first; return how many runs that were.

    `start(kinds)` is an async context manager that gives a fresh world: its `observer`, its `actors` in that
    order, `check()` for every moment and `rest()` for the end.
    """
    runs = 0
    for order in sorted(set(permutations(kinds))):
        plans = [({}, budget)]
        while plans:
            plan, left = plans.pop()
            run = await _run(start, order, plan)
            runs += 1
            for at in range(max(plan, default=-1) + 1, len(run.options)):
                plans += [({**plan, at: move}, left.after(move)) for move in run.options[at] if left.allows(move)]
    return runs


async def _run(start, order, plan):
    async with start(order) as world:
        scheduler = Scheduler(world.observer, world.actors, world.check)
        try:
            await scheduler.follow(plan)
            await world.rest()
        except AssertionError as failure:
            moves = {at: str(move) for at, move in plan.items()}
            told = "\n  ".join(scheduler.run.steps)
            raise AssertionError(f"{failure}\nplan: {moves}\n  {told}") from failure
        finally:
            for actor in world.actors:
                if actor.task and not actor.ended:
                    actor.task.cancel()
                    await asyncio.wait([actor.task])
    return scheduler.run
