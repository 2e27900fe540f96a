"""One wallet and its job, everything that may happen to it as handlers run it, and time that heals the rest."""

from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import promises
from explorer import Actor

from reelgate_api import handlers as api
from reelgate_api.accepting.handlers import Acceptor
from reelgate_api.limits.handlers import Limiter
from reelgate_api.settings import Settings as ApiSettings
from reelgate_callback import handlers as callback
from reelgate_callback.handlers import Receiver, Webhook
from reelgate_callback.settings import Settings as CallbackSettings
from reelgate_common.auth import ADMIN, Caller
from reelgate_common.domain.errors import AlreadySent, InsufficientCredits, NotFound
from reelgate_common.domain.job import SendOutcome
from reelgate_common.domain.request import VideoRequest
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import Empty, Failed, Generating, NotYet, Send, Succeeded
from reelgate_common.messages import CallbackReceived, JobCanceled, JobFailed, JobRequested
from reelgate_common.outbox import Relay
from reelgate_common.verification import Verifier
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.settings import Settings as ReconcilerSettings
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings as SubmitterSettings

NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x", "public_base_url": "http://localhost"}
# Time is passed by hand, by ageing rows: nothing here waits.
QUICK = NEEDED | {
    "hint_interval_seconds": 1e-6,
    "empty_result_grace_seconds": 0,
    "breaker_first_seconds": 1e-6,
    "kie_send_window_seconds": 1e-6,
    "kie_send_margin_seconds": 0,
    "retry_first_seconds": 1e-6,
    "checks_per_pass": 1,
    "kie_queries_per_second": 1000,
}
OPERATOR = Caller(None, None, frozenset({ADMIN}))
PROMPT = "A cat on a skateboard"
PRICE = 4
ECHO = {"prompt": PROMPT, "callback_url": None}
TRUTHS = {
    "not yet": NotYet(why="code 422: Record not found"),
    "generating": Generating(**ECHO),
    "video": Succeeded(video_url="https://media.example/v.mp4", **ECHO),
    "failure": Failed(code=501, message="no", **ECHO),
    "empty": Empty(**ECHO),
}
REQUEST = {
    "prompt": PROMPT,
    "image_urls": ("https://images.example/cat.png",),
    "aspect_ratio": "16:9",
    "model": "veo3_fast",
    "generation_type": "REFERENCE_2_VIDEO",
    "resolution": "720p",
    "duration": 8,
}
# After these a job may be sent again: the vendor surely has not taken it.
SURELY_NOT_TAKEN = frozenset({SendOutcome.NOT_SENT, SendOutcome.THROTTLED, SendOutcome.BLOCKED})
_ROUNDS = 10
_PATIENCE = 2  # rounds in which only what needs no deadline is done


@cache  # reading settings takes milliseconds, and there are thousands of runs
def _settings(kind, **chosen):
    return kind(**QUICK | chosen)


@dataclass
class Sent:
    """One call as the vendor saw it. Until it has answered, or when the answer is lost: unknown."""

    job_id: UUID
    attempt_id: UUID
    callback_url: str
    outcome: SendOutcome = SendOutcome.UNKNOWN

    @property
    def task_id(self):
        return f"task-{self.attempt_id}"


@dataclass
class Vendor:
    """Kie.ai: what it took, and how its tasks stand."""

    truth: str = "not yet"
    outcome: SendOutcome = SendOutcome.ACCEPTED
    sends: list[Sent] = field(default_factory=list)
    too_late: set[UUID] = field(default_factory=set)  # attempts whose lease is over: our client sends nothing then

    def generate(self, job, *, callback_url, send_before):
        attempt_id = UUID(parse_qs(urlsplit(callback_url).query)["attempt"][0])
        if attempt_id in self.too_late:
            return Send(outcome=SendOutcome.NOT_SENT, message="its time was over")
        self.sends.append(Sent(job.id, attempt_id, callback_url))
        return self.answer(self.sends[-1], self.outcome)

    def answer(self, sent, outcome):
        sent.outcome = outcome
        task_id = sent.task_id if outcome is SendOutcome.ACCEPTED else None
        return Send(outcome=outcome, code=200, message="said so", task_id=task_id)

    def record_info(self, task_id):
        taken = {sent.task_id for sent in self.sends if sent.outcome in {SendOutcome.ACCEPTED, SendOutcome.UNKNOWN}}
        return TRUTHS[self.truth if task_id in taken else "not yet"]


@dataclass(frozen=True)
class Unstepped:
    """The vendor as handlers call it when nobody stands in between."""

    vendor: Vendor

    async def generate(self, job, **call):
        return self.vendor.generate(job, **call)

    async def record_info(self, task_id):
        return self.vendor.record_info(task_id)


class Bus:
    """A broker whose queues are empty, and which keeps what the relay publishes for us to deliver."""

    def __init__(self):
        self.published = []

    async def depth(self, _):
        return 0

    async def publish(self, *, routing_key, body, **_):
        self.published.append((routing_key, body))


class World:
    """A wallet that can pay one video. Its methods without underscore are what may happen, one handler's run each."""

    def __init__(self, db, observer, *, late):
        self.db, self.observer, self.late = db, observer, late
        self.wallet = f"wallet-{uuid4().hex}"
        self.vendor, self.bus, self.actors = Vendor(), Bus(), []
        self.relay = Relay(db, self.bus)
        self.job_id = self.claimed = None

    async def begin(self, history: Sequence[str], kinds: Sequence[str], truth: str) -> None:
        """Live through a history, then let the actors stand ready. Tasks are not over before that."""
        await self.observer.execute(
            "UPDATE breaker SET failures = 0, strikes = 0, probing = false, open_until = 'epoch', opened_at = NULL"
        )
        await self.observer.execute("INSERT INTO credits (wallet_address, credits) VALUES ($1, $2)", self.wallet, PRICE)
        await self.observer.execute(
            """
            INSERT INTO credit_transactions (id, wallet_address, transaction_type, amount)
            VALUES ($1, $2, 'grant', $3)
            """,
            new_id(),
            self.wallet,
            PRICE,
        )
        for event in history:
            await self._happen(event)
        self.vendor.truth = truth
        self.actors = [Actor(kind, self._handler(kind), database=self.db, vendor=self.vendor) for kind in kinds]

    def _handler(self, event):
        name, _, argument = event.partition(" ")
        method = getattr(self, name)
        return lambda db, vendor: method(db, vendor, *([argument] if argument else []))

    async def _happen(self, event):
        await self._handler(event)(self.db, Unstepped(self.vendor))

    def _submitter(self, db, vendor):
        return Submitter(db, vendor, self.relay, _settings(SubmitterSettings))

    def _reconciler(self, db, vendor, policy="fail"):
        chosen = _settings(ReconcilerSettings, submit_unknown_policy=policy, late_success=self.late)
        return Reconciler(db, self.bus, self.relay, Verifier(db, vendor, chosen, "reconciler"), chosen)

    def _verifier(self, db, vendor):
        return Verifier(db, vendor, _settings(CallbackSettings, late_success=self.late), "callback")

    async def _age(self, db, column):
        async with db.connection() as connection:
            rows = await connection.fetch(
                f"""
                UPDATE video_jobs SET {column} = now() - interval '1 s'
                 WHERE wallet_address = $1 AND {column} > now()
                RETURNING status, attempt_id
                """,
                self.wallet,
            )
        if column == "deadline_at":
            self.vendor.too_late |= {row["attempt_id"] for row in rows if row["status"] == "submitting"}

    # What callers do

    async def accept(self, db, vendor, key=None):
        request = VideoRequest(wallet_address=self.wallet, **REQUEST)
        settings = _settings(ApiSettings)
        try:
            acceptor = Acceptor(db, self.relay, settings, Limiter(db, settings))
            accepted = await acceptor.accept(request, key=key, caller=OPERATOR)
        except InsufficientCredits:
            return
        self.job_id = self.job_id or accepted.job_id

    async def cancel(self, db, vendor):
        try:
            await api.cancel(self.job_id, caller=OPERATOR, db=db, relay=self.relay)
        except AlreadySent:
            return

    async def ask(self, db, vendor):
        verifier = self._verifier(db, vendor)
        sent = self.vendor.sends[-1]
        await api.ask(sent.task_id, self.job_id, caller=OPERATOR, db=db, verifier=verifier)

    # What the submitter does

    async def send(self, db, vendor, outcome="accepted"):
        self.vendor.outcome = SendOutcome(outcome)
        await self._submitter(db, vendor).use_permit(JobRequested(job_id=self.job_id, job_version=1))

    async def claim(self, db, vendor):
        """The first half of a send: the vendor has taken the job, and its answer is on the way."""
        permit = JobRequested(job_id=self.job_id, job_version=1)
        [claim] = await self._submitter(db, vendor)._claim_all([permit])
        await vendor.generate(claim.job, callback_url=claim.callback_url, send_before=claim.send_before)
        self.vendor.sends[-1].outcome = SendOutcome.UNKNOWN
        self.claimed = claim, self.vendor.sends[-1]

    async def record(self, db, vendor, outcome):
        """The second half: the answer arrives, in time or late."""
        claim, sent = self.claimed
        await self._submitter(db, vendor)._record(claim, self.vendor.answer(sent, SendOutcome(outcome)))

    # What the vendor does

    async def hint(self, db, vendor, which="last"):
        """The webhook is stored, and its message waits. Nothing comes about a task that does not exist."""
        if not self.vendor.sends:
            return None
        sent = self.vendor.sends[0 if which == "first" else -1]
        query = parse_qs(urlsplit(sent.callback_url).query)
        webhook = Webhook(
            body=f'{{"code":200,"data":{{"taskId":"{sent.task_id}"}}}}'.encode(),
            attempt=query["attempt"][0],
            token=query["token"][0],
            timestamp=None,
            signature=None,
        )
        settings = _settings(CallbackSettings, late_success=self.late)
        return await Receiver(db, self.relay, settings).receive(webhook)

    async def callback(self, db, vendor, which="last"):
        """The webhook, and its message right after."""
        try:
            job_id = await self.hint(db, vendor, which)
        except NotFound:
            return
        async with self.db.connection() as connection:
            stored = await connection.fetchval("SELECT id FROM callbacks WHERE job_id = $1 ORDER BY id DESC", job_id)
        if stored:
            await self._verify(db, vendor, CallbackReceived(job_id=job_id, job_version=0, callback_id=stored))

    async def _verify(self, db, vendor, message):
        await callback.Hints(db, self._verifier(db, vendor)).verify(message)

    # What the reconciler does

    async def poll(self, db, vendor):
        await self._age(db, "next_check_at")
        await self._reconciler(db, vendor).check_due()

    async def deadline(self, db, vendor, policy="fail"):
        await self._age(db, "deadline_at")
        await self._reconciler(db, vendor, policy).end_overdue()

    async def refund(self, db, vendor):
        message = JobFailed(job_id=self.job_id, job_version=1, code="refused", message="no")
        await self._reconciler(db, vendor).refund(message)

    async def sweep(self, db, vendor):
        await self._reconciler(db, vendor).sweep_refunds()

    async def republish(self, db, vendor):
        await self._age(db, "republish_after")
        await self._reconciler(db, vendor).republish()

    # What the broker does

    async def drop(self, db, vendor):
        """Every message is lost."""
        async with db.connection() as connection:
            await connection.execute("DELETE FROM outbox")

    async def _deliver(self):
        """Publish what waits, and hand every message out twice, as a broker may."""
        await self.observer.execute("UPDATE outbox SET available_at = now()")
        await self.relay.run_once()
        db, vendor = self.db, Unstepped(self.vendor)
        handlers = {
            "job.requested": (JobRequested, self._submitter(db, vendor).use_permit),
            "callback.received": (CallbackReceived, lambda message: self._verify(db, vendor, message)),
            "job.failed": (JobFailed, self._reconciler(db, vendor).refund),
            "job.canceled": (JobCanceled, self._reconciler(db, vendor).refund),
        }
        messages, self.bus.published = self.bus.published, []
        for routing_key, body in messages:
            if routing_key in handlers:
                model, handle = handlers[routing_key]
                for _ in range(2):
                    await handle(model.model_validate_json(body))

    # What must hold

    async def check(self):
        """The promises, which hold at any moment; the wallet's jobs."""
        found = await promises.check(self.observer, [self.wallet])
        await self._check_sends(found)
        return found

    async def _check_sends(self, found):
        """Each send costs money: a second one only after a sure no, or by the operator's policy."""
        given_up = {
            row["id"]
            for row in await self.observer.fetch(
                "SELECT id FROM job_attempts WHERE job_id = ANY($1) AND superseded_at IS NOT NULL",
                [job["id"] for job in found],
            )
        }
        canceled = {job["id"] for job in found if job["status"] == "canceled"}
        for job_id, sends in groupby(sorted(self.vendor.sends, key=lambda sent: sent.job_id), lambda sent: sent.job_id):
            *earlier, last = sends
            for sent in [*earlier, last] if job_id in canceled else earlier:
                free = sent.outcome in SURELY_NOT_TAKEN or sent.attempt_id in given_up
                assert free, f"sent twice, or canceled though sent: {[*earlier, last]}"

    async def rest(self):
        """Redeliver what was cut off, and let time pass until nothing is left to do. Then a video comes late."""
        for actor in self.actors:
            # An answer that was in the memory of a process is gone with it; all else is done again by somebody.
            if (actor.crashed or actor.interrupted) and not actor.name.startswith("record"):
                await self._happen(actor.name)
        self.vendor.outcome = SendOutcome.ACCEPTED
        for turn in range(_ROUNDS):
            await self._deliver()
            if await self._is_at_rest():
                break
            await self._pass_time(deadlines=turn >= _PATIENCE)
        await promises.check_at_rest(self.observer, [self.wallet])
        await self._happen("poll")
        await self._deliver()
        await self._check_sends(await promises.check_at_rest(self.observer, [self.wallet]))

    async def _is_at_rest(self):
        over = {"completed", "failed", "canceled"}
        jobs = await self.check()
        return all(job["status"] in over and (job["refunded_at"] or job["video_url"]) for job in jobs)

    async def _pass_time(self, *, deadlines):
        await self._age(self.db, "next_attempt_at")
        await self._happen("poll")
        if deadlines:
            await self._happen("deadline")
        await self._happen("sweep")
        await self._happen("republish")


@asynccontextmanager
async def begin(db, observer, history, kinds, *, truth="video", late="give"):
    """A world with this past whose actors stand ready."""
    world = World(db, observer, late=late)
    await world.begin(history, kinds, truth)
    yield world
