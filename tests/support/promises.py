"""What must hold for wallets and their jobs after every step, and what must hold once everything is at rest."""

from itertools import pairwise

from reelgate_common.domain.job import FOLLOWERS, JobStatus

_WALLETS = """
    SELECT w.wallet_address, w.credits, coalesce(sum(t.amount), 0) AS booked
      FROM credits w LEFT JOIN credit_transactions t USING (wallet_address)
     WHERE w.wallet_address = ANY($1)
     GROUP BY w.wallet_address
"""
_JOBS = """
    SELECT j.id, j.status, j.version, j.cost, j.refunded_at, j.recovered_at, j.video_url,
           array(SELECT e.seq FROM job_events e WHERE e.job_id = j.id ORDER BY e.seq) AS numbers,
           array(SELECT e.status FROM job_events e WHERE e.job_id = j.id ORDER BY e.seq) AS path,
           array(SELECT e.event FROM job_events e WHERE e.job_id = j.id ORDER BY e.seq) AS events,
           array(SELECT t.transaction_type FROM credit_transactions t WHERE t.job_id = j.id) AS booked,
           array(SELECT t.amount FROM credit_transactions t WHERE t.job_id = j.id) AS amounts,
           (SELECT count(*) FROM job_attempts a WHERE a.job_id = j.id AND a.superseded_at IS NULL
               AND (a.outcome IS NULL OR a.outcome IN ('accepted', 'unknown'))) AS live
      FROM video_jobs j
     WHERE j.wallet_address = ANY($1)
"""


async def check(connection, wallets):
    """Assert what must hold at any moment; return the jobs of these wallets."""
    for wallet in await connection.fetch(_WALLETS, wallets):
        assert wallet["credits"] == wallet["booked"] >= 0, f"the balance is not the ledger's sum: {dict(wallet)}"
    found = [dict(row) for row in await connection.fetch(_JOBS, wallets)]
    for job in found:
        _check_timeline(job)
        _check_money(job)
        assert job["live"] <= 1, f"two attempts may be at the vendor: {job}"
        videos = job["events"].count("completed") + job["events"].count("recovered")
        assert videos == (job["video_url"] is not None), f"delivered more than once: {job}"
    return found


async def check_at_rest(connection, wallets):
    """Assert besides that every job is over, and that its money lies where its end says."""
    found = await check(connection, wallets)
    for job in found:
        assert JobStatus(job["status"]).is_final, f"a job that never ends: {job}"
        if job["recovered_at"] is None:
            kept = job["video_url"] is not None
            assert ("refund" in job["booked"]) != kept, f"neither a video nor the credits, or both: {job}"
    return found


def _check_timeline(job):
    path = [JobStatus(status) for status in job["path"]]
    assert job["numbers"] == list(range(1, job["version"] + 1)), f"a gap in the timeline: {job}"
    assert path[0] is JobStatus.PENDING, f"a timeline without its beginning: {job}"
    assert path[-1] == job["status"], f"the timeline ends elsewhere than the job: {job}"
    for before, after in pairwise(path):
        assert before is after or after in FOLLOWERS[before], f"{before} may not go to {after}: {job}"


def _check_money(job):
    booked = job["booked"]
    assert booked.count("charge") == 1, f"not charged once: {job}"
    assert booked.count("refund") <= 1, f"refunded twice: {job}"
    assert booked.count("recharge") <= booked.count("refund"), f"charged again without a refund: {job}"
    assert {abs(amount) for amount in job["amounts"]} == {job["cost"]}, f"another amount than the price: {job}"
    assert ("refund" in booked) == (job["refunded_at"] is not None), f"ledger and job tell apart: {job}"
    if "refund" in booked:
        given_late = job["recovered_at"] is not None
        assert given_late or job["status"] in {"failed", "canceled"}, f"refunded and delivered: {job}"
