"""Acceptance: charge, job, timeline and permit in one statement, or nothing."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import asyncpg
import pytest

from reelgate_api.accepting import handlers, repository
from reelgate_api.accepting.handlers import Acceptor
from reelgate_api.limits.handlers import Limiter
from reelgate_api.settings import Settings
from reelgate_common.auth import ANYONE, Caller
from reelgate_common.domain.errors import (
    Busy,
    IdempotencyMismatch,
    InsufficientCredits,
    InvalidInput,
    NotAllowed,
    Unavailable,
)

DAY = timedelta(days=1)


@pytest.fixture
def open_acceptor(db, relay):
    """What accepts the jobs of one process."""

    def opened(database=db, **settings):
        needed = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x", "public_base_url": "http://localhost"}
        known = Settings(**needed | settings)
        return Acceptor(database, relay, known, Limiter(db, known))

    return opened


@pytest.fixture
def accept(open_acceptor, make_request):
    """Accept a job as the route of a process with these settings does, or that of a given process."""

    async def run(*, key=None, caller=ANYONE, acceptor=None, settings=None, **overrides):
        acceptor = acceptor or open_acceptor(**settings or {})
        return await acceptor.accept(make_request(**overrides), key=key, caller=caller)

    return run


@pytest.fixture
def together(accept, open_acceptor):
    """Accept jobs that come at the same time to one process: a dict of what is asked for, for each."""

    async def run(*asked, database=None, **settings):
        acceptor = open_acceptor(*[database] if database else [], **settings)
        return await asyncio.gather(*(accept(acceptor=acceptor, **one) for one in asked), return_exceptions=True)

    return run


@pytest.fixture
def batch(db):
    async def run(new):
        async with db.connection() as connection:
            return await repository.accept(connection, new, expires_in=DAY)

    return run


async def test_one_statement_writes_everything_of_a_job(accept, fund, stored):
    await fund(amount=10)

    job_id = (await accept()).job_id

    assert await stored.status(job_id) == "pending"
    assert await stored.ledger(job_id) == {"charge": -4}
    assert await stored.balance() == 6
    assert await stored.events(job_id) == ["accepted"]
    assert await stored.outbox(job_id) == ["job.requested"]


async def test_what_was_asked_for_is_stored_as_it_was(accept, fund, stored, make_request):
    await fund()
    asked = {"metadata": {"ü": [1, None, {"x": True}]}, "client_reference_id": "order 7", "watermark": "me"}

    job = await stored.job((await accept(**asked)).job_id)

    assert {name: getattr(job, name) for name in asked} == asked
    assert job.image_urls == list(make_request().image_urls)


@pytest.mark.parametrize("credits_left", [0, 3])
async def test_a_short_balance_stores_nothing(accept, fund, stored, credits_left):
    await fund(amount=4 + credits_left)
    await accept()

    with pytest.raises(InsufficientCredits) as refused:
        await accept(key="k")

    assert (refused.value.balance, refused.value.cost) == (credits_left, 4)
    counts = [await stored.count(table) for table in ("video_jobs", "outbox", "idempotency_keys", "job_events")]
    assert counts == [1, 1, 0, 1]
    assert await stored.balance() == credits_left


async def test_an_unknown_wallet_has_no_credits_and_is_not_opened(accept, stored):
    with pytest.raises(InsufficientCredits):
        await accept()

    assert await stored.count("credits") == 0


async def test_a_key_repeated_gives_the_same_job_and_charges_once(accept, fund, stored):
    await fund()

    first, second = await accept(key="k"), await accept(key="k")

    assert first.job_id == second.job_id
    assert (first.replayed, second.replayed) == (False, True)
    assert await stored.balance() == 96


async def test_a_key_repeated_by_a_wallet_that_is_empty_now_gives_the_same_job(accept, fund):
    await fund(amount=4)

    assert (await accept(key="k")).job_id == (await accept(key="k")).job_id


async def test_a_key_with_another_body_is_refused(accept, fund, stored):
    await fund()
    await accept(key="k")

    with pytest.raises(IdempotencyMismatch):
        await accept(key="k", prompt="Another cat")

    assert await stored.count("video_jobs") == 1


async def test_keys_of_different_owners_do_not_meet(accept, fund):
    await fund("a")
    await fund("b")

    jobs = {(await accept(key="k", wallet_address=wallet)).job_id for wallet in ("a", "b")}

    assert len(jobs) == 2


async def test_one_owners_key_for_another_wallet_is_another_body(accept, fund):
    await fund("a")
    await fund("b")
    caller = Caller("key-id", None, frozenset({"jobs"}))
    await accept(key="k", caller=caller, wallet_address="a")

    with pytest.raises(IdempotencyMismatch):
        await accept(key="k", caller=caller, wallet_address="b")


async def test_concurrent_requests_with_one_key_make_one_job(accept, open_acceptor, fund, stored):
    await fund()
    processes = open_acceptor(), open_acceptor()

    accepted = await asyncio.gather(*(accept(key="k", acceptor=processes[n % 2]) for n in range(12)))

    assert len({one.job_id for one in accepted}) == 1
    assert await stored.balance() == 96


@pytest.mark.parametrize("processes", [1, 2, 20])
async def test_a_thousand_jobs_at_once_cost_exactly_what_the_balance_covers(
    accept, open_acceptor, fund, stored, processes
):
    await fund(amount=400)
    acceptors = [open_acceptor() for _ in range(processes)]

    async def ask(n):
        while True:
            try:
                await accept(key=f"k{n}", acceptor=acceptors[n % processes])
            except InsufficientCredits:
                return False
            except Unavailable:  # no connection was free in time: come back, as a caller is told to
                continue
            return True

    accepted = await asyncio.gather(*(ask(n) for n in range(1000)))

    assert sum(accepted) == await stored.count("video_jobs") == 100
    assert await stored.balance() == 0


async def test_a_statement_tried_again_charges_once(batch, fund, make_new, stored):
    """The first answer was lost: the same ids are sent once more."""
    await fund()
    new = make_new(key="k")

    first, second = await batch([new]), await batch([new])

    assert (first[0].made, second[0].made) == (True, False)
    assert await stored.ledger(new.id) == {"charge": -4}
    assert await stored.balance() == 96


class LosesTheFirstAnswer:
    """A database whose first statement is kept, but nobody hears of it."""

    def __init__(self, db):
        self._db = db
        self._heard = False

    @asynccontextmanager
    async def connection(self):
        async with self._db.connection() as connection:
            yield connection if self._heard else self._deaf(connection)

    def _deaf(self, connection):
        self._heard = True
        return SimpleNamespace(fetch=partial(self._fetch, connection))

    async def _fetch(self, connection, *arguments):
        await connection.fetch(*arguments)
        raise Unavailable("the answer was lost")


async def test_an_answer_lost_by_the_database_is_asked_for_again(accept, open_acceptor, fund, stored, db):
    await fund()

    accepted = await accept(acceptor=open_acceptor(LosesTheFirstAnswer(db)))

    assert await stored.status(accepted.job_id) == "pending"
    assert await stored.balance() == 96
    assert await stored.count("video_jobs") == 1


async def test_jobs_whose_common_answer_was_lost_are_charged_once_each(together, fund, stored, db):
    await fund("a", 8)  # for both of them, and not for either twice
    await fund("b", 4)

    asked = [{"wallet_address": wallet, "key": key} for wallet, key in (("a", "1"), ("b", None), ("a", None))]
    accepted = await together(*asked, database=LosesTheFirstAnswer(db))

    assert len({one.job_id for one in accepted}) == await stored.count("video_jobs") == 3
    assert [one.replayed for one in accepted] == [False, False, False]
    assert (await stored.balance("a"), await stored.balance("b")) == (0, 0)
    assert await stored.books_balance()


async def test_a_wallet_that_is_held_is_waited_for_by_its_own_jobs_only(together, accept, open_acceptor, fund, db):
    await fund("held")
    await fund("free")
    acceptor = open_acceptor()
    async with db.transaction() as tx:
        await tx.execute("SELECT FROM credits WHERE wallet_address = 'held' FOR NO KEY UPDATE")
        asked = [
            asyncio.create_task(accept(acceptor=acceptor, wallet_address=wallet)) for wallet in ("held", "free") * 5
        ]

        await asyncio.gather(*asked[1::2])

        assert not any(one.done() for one in asked[::2])
    assert len({one.job_id for one in await asyncio.gather(*asked)}) == 10


async def test_a_key_that_is_held_elsewhere_keeps_no_neighbour_waiting(together, fund, stored, database_url):
    """As by a process that stands still after it wrote the key."""
    for wallet in ("a", "b", "c"):
        await fund(wallet)
    holder = await asyncpg.connect(database_url)
    await holder.execute(
        "BEGIN; INSERT INTO idempotency_keys (owner, key, request_hash, job_id)"
        " VALUES ('wallet:b', 'k', '', gen_random_uuid())"
    )
    try:
        first, held_up, last = await together(*({"wallet_address": wallet, "key": "k"} for wallet in ("a", "b", "c")))
    finally:
        await holder.close()

    assert isinstance(held_up, Busy)
    assert [await stored.status(one.job_id) for one in (first, last)] == ["pending", "pending"]
    assert [await stored.balance(wallet) for wallet in ("a", "b", "c")] == [96, 100, 96]


async def test_processes_that_want_the_same_wallets_get_them_all(accept, open_acceptor, fund, stored):
    wallets = [f"wallet-{n}" for n in range(20)]
    for wallet in wallets:
        await fund(wallet, 1000)
    processes = open_acceptor(), open_acceptor(), open_acceptor()

    accepted = await asyncio.gather(
        *(accept(acceptor=processes[n % 3], wallet_address=wallets[n * 7 % 20], key=f"k{n}") for n in range(300))
    )

    assert len({one.job_id for one in accepted}) == await stored.count("video_jobs") == 300
    assert await stored.books_balance()


async def test_a_wallet_nobody_knows_fails_none_of_those_it_came_with(together, fund, stored):
    await fund("known")

    nobody, known = await together({"wallet_address": "nobody"}, {"wallet_address": "known"})

    assert isinstance(nobody, InsufficientCredits)
    assert await stored.status(known.job_id) == "pending"


async def test_a_job_that_cannot_be_stored_fails_none_of_those_it_came_with(together, fund, stored):
    await fund()

    bad, good = await together({"metadata": {"text": "\x00"}}, {})  # which no route lets through

    assert isinstance(bad, Exception)
    assert await stored.status(good.job_id) == "pending"
    assert await stored.balance() == 96


async def test_credit_for_one_is_not_refused_because_of_those_who_wanted_it_before(together, fund, stored):
    """The dear one is counted before the cheap one, and does not get it."""
    await fund(amount=4)

    dear, cheap = await together({"model": "veo3"}, {})

    assert isinstance(dear, InsufficientCredits)
    assert await stored.ledger(cheap.job_id) == {"charge": -4}


async def test_each_of_many_at_once_is_told_what_came_of_its_own(together, fund, stored):
    for n in range(10):
        await fund(f"wallet-{n}", 4 * (n + 1))

    results = await together(*({"wallet_address": f"wallet-{n % 10}", "key": f"k{n}"} for n in range(150)))

    for n, result in enumerate(results):
        if isinstance(result, handlers.Accepted):
            assert (await stored.job(result.job_id)).wallet_address == f"wallet-{n % 10}"
    accepted = [n % 10 for n, result in enumerate(results) if isinstance(result, handlers.Accepted)]
    assert [accepted.count(n) for n in range(10)] == list(range(1, 11))
    assert await stored.books_balance()


async def test_a_wallet_with_credit_for_ten_gets_ten_of_a_hundred(together, fund, stored):
    await fund(amount=43)

    results = await together(*({} for _ in range(100)))

    assert sum(isinstance(result, handlers.Accepted) for result in results) == 10
    assert sum(isinstance(result, InsufficientCredits) for result in results) == 90
    assert (await stored.balance(), await stored.count("video_jobs")) == (3, 10)
    assert await stored.books_balance()


async def test_batches_of_many_wallets_in_any_order_do_not_deadlock(batch, fund, make_new, stored):
    wallets = [f"wallet-{n}" for n in range(20)]
    for wallet in wallets:
        await fund(wallet, 1000)

    batches = [[make_new(wallet_address=w) for w in wallets[::step]] for step in (1, -1) for _ in range(8)]
    results = await asyncio.gather(*(batch(one) for one in batches))

    assert all(result.made for one in results for result in one)
    assert await stored.count("video_jobs") == 16 * 20
    assert await stored.books_balance()


async def test_a_batch_accepts_what_the_balance_covers_and_no_more(batch, fund, make_new, stored):
    await fund("a", 9)
    await fund("b", 4)
    new = [make_new(wallet_address=w) for w in ("a", "b", "a", "a", "b", "nobody")]

    results = await batch(new)

    assert [result.made for result in results] == [True, True, True, False, False, False]
    assert [result.balance for result in results] == [9, 4, 9, 9, 4, None]
    assert (await stored.balance("a"), await stored.balance("b")) == (1, 0)


async def test_a_key_repeated_within_a_batch_makes_one_job(batch, fund, make_new, stored):
    await fund()

    results = await batch([make_new(key="k"), make_new(key="k")])

    assert sorted(result.made for result in results) == [False, True]
    assert await stored.balance() == 96


async def test_a_first_seen_wallet_gets_its_signup_credits_once(accept, stored):
    accepted = await asyncio.gather(*(accept(settings={"signup_credits": 40}) for _ in range(10)))

    assert len({one.job_id for one in accepted}) == 10
    assert await stored.balance() == 0
    assert await stored.value("SELECT count(*) FROM credit_transactions WHERE transaction_type = 'signup'") == 1
    assert await stored.books_balance()


async def test_a_wallet_that_was_opened_before_gets_no_signup_credits(accept, fund):
    await fund(amount=1)

    with pytest.raises(InsufficientCredits):
        await accept(settings={"signup_credits": 40})


async def test_wallets_take_turns(batch, fund, make_new, stored):
    for wallet in ("a", "b", "c"):
        await fund(wallet)
    for wallet in ("a", "a", "a", "b", "b", "c"):
        await batch([make_new(wallet_address=wallet)])

    rows = await stored.rows("SELECT wallet_address AS w FROM video_jobs ORDER BY turn, id")

    assert [row["w"] for row in rows] == ["a", "b", "c", "a", "b", "a"]


async def test_a_wallet_that_was_away_does_not_overtake_the_whole_queue(batch, fund, make_new, stored):
    await fund("busy")
    await fund("away")
    for _ in range(3):
        await batch([make_new(wallet_address="busy")])
    await stored.run("DELETE FROM outbox")
    await stored.run("UPDATE video_jobs SET turn = turn + 100")
    await stored.run("UPDATE credits SET last_turn = 103 WHERE wallet_address = 'busy'")

    await batch([make_new(wallet_address="away") for _ in range(2)])
    rows = await stored.rows("SELECT wallet_address AS w FROM video_jobs ORDER BY turn, id")

    assert [row["w"] for row in rows] == ["busy", "away", "busy", "away", "busy"]


async def test_a_key_bound_to_other_wallets_may_not_spend(accept, fund, stored):
    await fund()

    with pytest.raises(NotAllowed):
        await accept(caller=Caller("id", ("other",), frozenset({"jobs"})))

    assert await stored.count("video_jobs") == 0


async def test_a_video_without_a_price_is_not_sold(accept, fund, stored):
    await fund()

    with pytest.raises(InvalidInput, match="no price is set"):
        await accept(resolution="4k", settings={"credits_per_video": {"veo3_fast": {"720p": 4}}})

    assert await stored.count("video_jobs") == 0


async def test_the_price_list_decides_the_charge(accept, fund, stored):
    await fund()

    job_id = (await accept(model="veo3", generation_type="TEXT_2_VIDEO", image_urls=())).job_id

    assert await stored.ledger(job_id) == {"charge": -17}
