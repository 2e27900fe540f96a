"""A process that consumes as our services do, with a handler that makes one guarded write: part of relay.py.

The writes of messages that come at the same time are made together, as in every handler of ours; a message is acked
when its own is committed.
"""

import asyncio
import signal
from collections.abc import Sequence

import uvloop

from reelgate_common import logs, topology
from reelgate_common.batches import Batches, may_be_of_one
from reelgate_common.bus import Bus
from reelgate_common.consumer import subscription
from reelgate_common.db import Database
from reelgate_common.messages import JobRequested
from reelgate_common.service import end_with_parent, keep_out_of_collections
from reelgate_common.settings import PostgresSettings, RabbitSettings, load

_PREFETCH = 200
_MARK = "UPDATE bench_marks SET marked_at = now() WHERE job_id = ANY($1) AND marked_at IS NULL"


async def main() -> None:
    """Consume until told to stop."""
    logs.configure("bench", level="WARNING")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Database.open(load(PostgresSettings)) as db, Bus.open(load(RabbitSettings), "bench") as bus:

        async def mark(messages: Sequence[JobRequested]) -> Sequence[None]:
            async with db.connection() as connection:
                await connection.execute(_MARK, [message.job_id for message in messages])
            return [None] * len(messages)

        marks = Batches(mark, name="marks", of_one=may_be_of_one)

        subscribed = subscription(
            topology.JOB_REQUESTED, JobRequested, marks, publisher=bus.publisher, prefetch=_PREFETCH
        )
        keep_out_of_collections()
        async with bus.consuming([subscribed]):
            await stop.wait()


if __name__ == "__main__":
    end_with_parent()
    uvloop.run(main())
