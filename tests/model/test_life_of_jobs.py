"""Whatever happens, in whatever order: the books are right, no state is illegal, every job ends."""

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from reelgate_api import handlers as api
from reelgate_api.accepting.handlers import Acceptor
from reelgate_api.limits.handlers import Limiter
from reelgate_api.settings import Settings as ApiSettings
from reelgate_callback import handlers as callback
from reelgate_callback.handlers import Receiver, Webhook
from reelgate_callback.settings import Settings as CallbackSettings
from reelgate_common import settlement
from reelgate_common.auth import ANYONE
from reelgate_common.db import Database
from reelgate_common.domain.errors import AlreadySent, InsufficientCredits, NotFound
from reelgate_common.domain.job import FOLLOWERS, JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import Empty, Failed, Generating, Send, Succeeded
from reelgate_common.messages import CallbackReceived, JobRequested
from reelgate_common.outbox import Relay
from reelgate_common.settings import PostgresSettings
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
    "kie_queries_per_second": 10_000,
}
PROMPT = "A cat on a skateboard"
VIDEO = "https://media.example/v.mp4"
ECHO = {"prompt": PROMPT, "callback_url": None}
PERMIT = JobRequested(job_id=uuid4(), job_version=1)
TRUTHS = {
    "generating": Generating(**ECHO),
    "video": Succeeded(video_url=VIDEO, **ECHO),
    "failure": Failed(code=501, message="no", **ECHO),
    "empty": Empty(**ECHO),
}
# A task of the same account that no job of ours was sent as: its video must never be given to one.
FOREIGN = "task-foreign"
FOREIGN_TRUTH = Succeeded(video_url="https://x/other.mp4", prompt="A dog", callback_url=None)
PICK = st.integers(0, 1000)
POLICY = st.sampled_from(["fail", "resubmit"])
LATE = st.sampled_from(["give", "recharge"])

BOOKS = """
    SELECT w.wallet_address, w.credits, coalesce(sum(t.amount), 0) AS booked
      FROM credits w LEFT JOIN credit_transactions t USING (wallet_address)
     GROUP BY w.wallet_address
"""
JOBS = """
    SELECT j.id, j.status, j.version, j.refunded_at, j.recovered_at, j.video_url,
           array(SELECT e.status FROM job_events e WHERE e.job_id = j.id ORDER BY e.seq) AS path,
           array(SELECT e.event FROM job_events e WHERE e.job_id = j.id ORDER BY e.seq) AS events,
           array(SELECT t.transaction_type FROM credit_transactions t WHERE t.job_id = j.id ORDER BY 1) AS booked,
           (SELECT count(*) FROM job_attempts a WHERE a.job_id = j.id AND a.superseded_at IS NULL
               AND (a.outcome IS NULL OR a.outcome IN ('accepted', 'unknown'))) AS live
      FROM video_jobs j
"""


class LifeOfJobs(RuleBasedStateMachine):
    """A few jobs of two wallets, with everything that may happen to them."""

    url: str
    tools: dict

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.jobs, self.claims, self.sent = [], [], []
        self.runner.run(self._open())

    async def _open(self):
        await self.tools["empty"](self.url)
        self.db = await self.stack.enter_async_context(Database.open(PostgresSettings(database_url=self.url)))
        self.vendor, self.relay = self.tools["vendor"](), Relay(self.db, self.tools["publisher"])
        self.submitter = Submitter(
            self.db, self.vendor, self.relay, SubmitterSettings(**QUICK, kie_sends_per_window=10_000)
        )
        self.vendor.tasks[FOREIGN] = FOREIGN_TRUTH
        await self._grant("a", 12)
        await self._grant("b", 8)

    def reconciler(self, policy="fail", late="give"):
        chosen = ReconcilerSettings(**QUICK, submit_unknown_policy=policy, late_success=late)
        return Reconciler(self.db, None, self.relay, Verifier(self.db, self.vendor, chosen, "reconciler"), chosen)

    async def _sql(self, statement, *arguments):
        async with self.db.connection() as connection:
            return await connection.fetch(statement, *arguments)

    async def _grant(self, wallet, amount):
        async with self.db.transaction() as tx:
            await tx.execute(
                """
                INSERT INTO credits (wallet_address, credits) VALUES ($1, $2)
                ON CONFLICT (wallet_address) DO UPDATE SET credits = credits.credits + $2
                """,
                wallet,
                amount,
            )
            await tx.execute(
                """
                INSERT INTO credit_transactions (id, wallet_address, transaction_type, amount)
                VALUES ($1, $2, 'grant', $3)
                """,
                new_id(),
                wallet,
                amount,
            )

    # What callers do

    @rule(wallet=st.sampled_from(["a", "b"]), key=st.sampled_from([None, None, "k1", "k2"]))
    def request(self, wallet, key):
        self.runner.run(self._request(wallet, key))

    async def _request(self, wallet, key):
        asked = self.tools["make_request"](wallet_address=wallet, prompt=PROMPT)
        chosen = ApiSettings(**NEEDED)
        try:
            acceptor = Acceptor(self.db, self.relay, chosen, Limiter(self.db, chosen))
            accepted = await acceptor.accept(asked, key=key, caller=ANYONE)
        except InsufficientCredits:
            return
        if accepted.job_id not in self.jobs:
            self.jobs.append(accepted.job_id)

    @precondition(lambda self: self.jobs)
    @rule(pick=PICK)
    def cancel(self, pick):
        self.runner.run(self._cancel(self.jobs[pick % len(self.jobs)]))

    async def _cancel(self, job_id):
        try:
            await api.cancel(job_id, caller=ANYONE, db=self.db, relay=self.relay)
        except AlreadySent:
            return

    # What the submitter does

    @rule()
    def claim(self):
        self.runner.run(self._claim())

    async def _claim(self):
        await self._sql("UPDATE video_jobs SET next_attempt_at = now() WHERE status = 'pending'")
        await self._sql("UPDATE breaker SET open_until = 'epoch'")
        [claim] = await self.submitter._claim_all([PERMIT])
        if claim is not None and not isinstance(claim, float):
            self.claims.append(claim)
            self.sent.append(claim)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, outcome=st.sampled_from(SendOutcome))
    def outcome(self, pick, outcome):
        claim = self.claims.pop(pick % len(self.claims))
        task_id = self.task_of(claim) if outcome is SendOutcome.ACCEPTED else None
        send = Send(outcome=outcome, code=200, message="said so", task_id=task_id)
        self.runner.run(self.submitter._record(claim, send))

    # What the vendor does

    @staticmethod
    def task_of(claim):
        return f"task-{claim.attempt.id}"

    @precondition(lambda self: self.sent)
    @rule(pick=PICK, truth=st.sampled_from(sorted(TRUTHS)))
    def task_changes(self, pick, truth):
        self.vendor.tasks[self.task_of(self.sent[pick % len(self.sent)])] = TRUTHS[truth]

    @precondition(lambda self: self.sent)
    @rule(pick=PICK, other=PICK, good_token=st.booleans(), late=LATE)
    def webhook(self, pick, other, good_token, late):
        """About this attempt's task, or with this attempt's URL about another's, or a foreign one."""
        claim = self.sent[pick % len(self.sent)]
        task_id = self.task_of(claim)
        if other % 4 == 0:
            task_id = self.task_of(self.sent[other % len(self.sent)])
        elif other % 4 == 1:
            task_id = FOREIGN
        self.runner.run(self._webhook(claim, task_id, good_token=good_token, late=late))

    async def _webhook(self, claim, task_id, *, good_token, late):
        chosen = CallbackSettings(**QUICK, late_success=late)
        attempt, token = claim.callback_url.split("attempt=")[1].split("&token=")
        webhook = Webhook(
            body=f'{{"code":200,"n":"{uuid4()}","data":{{"taskId":"{task_id}"}}}}'.encode(),
            attempt=attempt,
            token=token if good_token else "forged",
            timestamp=None,
            signature=None,
        )
        try:
            job_id = await Receiver(self.db, self.relay, chosen).receive(webhook)
        except NotFound:
            return
        [row] = await self._sql("SELECT id FROM callbacks ORDER BY id DESC LIMIT 1")
        message = CallbackReceived(job_id=job_id, job_version=0, callback_id=row["id"])
        verifier = Verifier(self.db, self.vendor, chosen, "callback")
        await callback.Hints(self.db, verifier).verify(message)

    # What the reconciler does

    @rule(late=LATE)
    def poll(self, late):
        self.runner.run(self._poll(late))

    async def _poll(self, late):
        await self._sql("UPDATE video_jobs SET next_check_at = now() - interval '1 s' WHERE next_check_at IS NOT NULL")
        await self.reconciler(late=late).check_due()

    @precondition(lambda self: self.jobs)
    @rule(pick=PICK, policy=POLICY, late=LATE)
    def deadline(self, pick, policy, late):
        self.runner.run(self._deadline(self.jobs[pick % len(self.jobs)], policy, late))

    async def _deadline(self, job_id, policy, late):
        await self._sql("UPDATE video_jobs SET deadline_at = now() WHERE id = $1 AND deadline_at IS NOT NULL", job_id)
        await self.reconciler(policy, late).end_overdue()

    @precondition(lambda self: self.jobs)
    @rule(pick=PICK)
    def refund(self, pick):
        self.runner.run(self._refund(self.jobs[pick % len(self.jobs)]))

    async def _refund(self, job_id):
        async with self.db.transaction() as tx:
            await settlement.refund(tx, job_id, by="tests")

    # What must hold

    @invariant()
    def the_books_are_right(self):
        for wallet in self.runner.run(self._sql(BOOKS)):
            assert wallet["credits"] == wallet["booked"] >= 0

    @invariant()
    def every_job_is_sound(self):
        for job in self.runner.run(self._sql(JOBS)):
            assert job["live"] <= 1
            assert job["version"] == len(job["path"])
            assert job["path"][-1] == job["status"]
            self.check_path([JobStatus(status) for status in job["path"]])
            self.check_money(job)

    def check_path(self, path):
        for before, after in pairwise(path):
            assert before is after or after in FOLLOWERS[before], path

    def check_money(self, job):
        booked = job["booked"]
        assert booked.count("charge") == 1
        assert booked.count("refund") <= 1
        assert booked.count("recharge") <= booked.count("refund")
        assert ("refund" in booked) == (job["refunded_at"] is not None)
        if "refund" in booked:
            assert job["status"] in {"failed", "canceled"} or job["recovered_at"] is not None
        assert job["video_url"] in {None, VIDEO}
        assert job["events"].count("completed") + job["events"].count("recovered") <= 1

    def teardown(self):
        try:
            self.runner.run(self._end())
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()

    async def _end(self):
        """Time alone, and nobody's help, ends every job and gives back what did not deliver."""
        for _ in range(6):
            await self._sql("UPDATE video_jobs SET deadline_at = now() WHERE deadline_at IS NOT NULL")
            await self._sql("UPDATE video_jobs SET expires_at = now()")
            await self.reconciler().end_overdue()
        await self.reconciler().sweep_refunds()
        for job in await self._sql(JOBS):
            assert JobStatus(job["status"]).is_final
            assert ("refund" in job["booked"]) == (job["video_url"] is None) or job["recovered_at"]
        for wallet in await self._sql(BOOKS):
            assert wallet["credits"] == wallet["booked"]


def test_the_promises_hold_in_every_order_of_events(database_url, empty, vendor, publisher, make_request):
    class Machine(LifeOfJobs):
        url = database_url
        tools = {"empty": empty, "vendor": type(vendor), "publisher": publisher, "make_request": make_request}  # noqa: RUF012

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
