"""The SQL of accepting jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from uuid import UUID

from reelgate_api.further import SourceState
from reelgate_common.db import Connection
from reelgate_common.domain.job import Operation
from reelgate_common.domain.request import VideoRequest
from reelgate_common.ids import new_id
from reelgate_common.messages import JobRequested


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job about to be accepted. Its id is made before the statement, so that a try can be repeated."""

    id: UUID
    request: VideoRequest
    cost: int
    owner: str
    key: str | None
    request_hash: bytes
    traceparent: str | None = None  # where the request stands in its trace
    welcome: bool = True  # whether a wallet never seen is opened with the signup credits

    @cached_property
    def permit(self) -> JobRequested:
        """What is published of it: the same one, however often it is tried."""
        return JobRequested(job_id=self.id, job_version=1)


@dataclass(frozen=True, kw_only=True)
class AcceptResult:
    """What became of one of them. `balance` is from before the charge; None for a wallet never seen or passed over.

    `has_room`: its wallet may have one more job waiting.
    """

    made: bool
    covered: bool
    has_room: bool
    balance: int | None


async def accept(
    db: Connection,
    new: Sequence[NewJob],
    *,
    expires_in: timedelta,
    max_queued: int = 0,
    wait: bool = True,
    hold: timedelta = timedelta(0),
) -> list[AcceptResult]:
    """Charge and store jobs in one statement: all of a job's rows or none of them.

    Wallets are locked in order before anything is written, so that batches do not deadlock. Of each wallet
    the prefix that its balance covers is accepted, and of these the ones whose idempotency key is new. With
    `max_queued`, no more than so many jobs of a wallet wait. Without `wait`, a wallet that somebody holds is passed
    over like one never seen, and a key that somebody holds is Busy at once. `hold` is for the rows of permits.
    """
    impatience = ", (SELECT set_config('lock_timeout', '100ms', true)) AS impatience"
    rows = await db.fetch(
        f"""
        WITH asked AS MATERIALIZED (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::jsonb[], $5::jsonb[], $6::uuid[],
                                 $7::text[], $8::text[], $9::bytea[], $13::text[])
              WITH ORDINALITY AS t(id, wallet, cost, request, event, charge_id, owner, key, request_hash,
                                   traceparent, n)
                   {"" if wait else impatience}
        ), wallet AS MATERIALIZED (
            SELECT wallet_address, credits, last_turn FROM credits
             WHERE wallet_address = ANY($2::text[])
             ORDER BY wallet_address
               FOR NO KEY UPDATE {"" if wait else "SKIP LOCKED"}
        ), room AS MATERIALIZED (
            SELECT wallet_address, $12::integer - queued_jobs(wallet_address, $12) AS room FROM wallet WHERE $12 > 0
        ), ranked AS MATERIALIZED (
            SELECT asked.*, wallet.credits AS balance,
                   sum(cost) OVER per_wallet <= wallet.credits AS covered,
                   coalesce(row_number() OVER per_wallet <= room.room, true) AS has_room,
                   -- the round in which it is sent: one job of each wallet a round
                   greatest(wallet.last_turn + 1, (SELECT first_turn())) + row_number() OVER per_wallet - 1 AS turn
              FROM asked JOIN wallet ON wallet.wallet_address = asked.wallet
                         LEFT JOIN room USING (wallet_address)
            WINDOW per_wallet AS (PARTITION BY asked.wallet ORDER BY asked.n)
        ), keyed AS (
            INSERT INTO idempotency_keys (owner, key, request_hash, job_id)
            SELECT owner, key, request_hash, id FROM ranked
             WHERE covered AND has_room AND key IS NOT NULL
             ORDER BY owner, key
            ON CONFLICT DO NOTHING
            RETURNING job_id
        ), made AS (
            INSERT INTO video_jobs (id, wallet_address, prompt, image_urls, aspect_ratio, model, generation_type,
                                    resolution, duration, watermark, metadata, client_reference_id, seeds,
                                    enable_translation, operation, source_job_id, source_task_id, cost, turn,
                                    expires_at, deadline_at, next_attempt_at, republish_after,
                                    webhook_url, webhook_key_id, traceparent)
            SELECT ranked.id, ranked.wallet, r.prompt, r.image_urls, r.aspect_ratio, r.model, r.generation_type,
                   r.resolution, r.duration, r.watermark, r.metadata, r.client_reference_id, r.seeds,
                   r.enable_translation, r.operation, r.source_job_id, r.source_task_id, ranked.cost, ranked.turn,
                   now() + until.sent, now() + until.sent, now(), now() + interval '10 s',
                   r.webhook_url, CASE WHEN r.webhook_url IS NOT NULL THEN ranked.owner::uuid END,
                   ranked.traceparent
              FROM ranked,
                   jsonb_to_record(ranked.request) AS r(
                       prompt text, image_urls jsonb, aspect_ratio text, model text, generation_type text,
                       resolution text, duration integer, watermark text, metadata jsonb, client_reference_id text,
                       seeds integer, enable_translation boolean, operation text, source_job_id uuid,
                       source_task_id text, webhook_url text, expires_in integer),
                   LATERAL (SELECT coalesce(make_interval(secs => r.expires_in), $10::interval) AS sent) AS until
             WHERE ranked.covered AND ranked.has_room
               AND (ranked.key IS NULL OR ranked.id IN (SELECT job_id FROM keyed))
            ON CONFLICT (id) DO NOTHING
            RETURNING id, wallet_address, cost, turn, operation
        ), debited AS (
            UPDATE credits
               SET credits = credits - spent.total, last_turn = spent.last_turn, updated_at = now()
              FROM (SELECT wallet_address, sum(cost)::bigint AS total, max(turn) AS last_turn
                      FROM made GROUP BY wallet_address) AS spent
             WHERE credits.wallet_address = spent.wallet_address
        ), charged AS (
            INSERT INTO credit_transactions (id, wallet_address, job_id, transaction_type, amount, description)
            SELECT asked.charge_id, made.wallet_address, made.id, 'charge', -made.cost,
                   CASE made.operation WHEN 'generate' THEN 'Video generation' WHEN 'extend' THEN 'Video extension'
                                       ELSE 'Video upgrade' END
              FROM made JOIN asked USING (id)
        ), told AS (
            INSERT INTO job_events (job_id, seq, event, status, service, reason)
            SELECT id, 1, 'accepted', 'pending', 'api', cost || ' credits charged' FROM made
        ), queued AS (
            INSERT INTO outbox (event_id, routing_key, job_id, payload, available_at, headers)
            SELECT (asked.event->>'event_id')::uuid, $11, made.id, asked.event, clock_timestamp() + $14::interval,
                   jsonb_strip_nulls(jsonb_build_object('traceparent', asked.traceparent))
              FROM made JOIN asked USING (id)
        )
        SELECT asked.id IN (SELECT id FROM made) AS made, coalesce(ranked.covered, false) AS covered,
               coalesce(ranked.has_room, true) AS has_room, ranked.balance
          FROM asked LEFT JOIN ranked USING (n)
         ORDER BY asked.n
        """,  # noqa: S608 -- the words are ours, the values are arguments
        [job.id for job in new],
        [job.request.wallet_address for job in new],
        [job.cost for job in new],
        [vars(job.request) for job in new],
        [job.permit.model_dump(mode="json") for job in new],
        [new_id() for _ in new],
        [job.owner for job in new],
        [job.key for job in new],
        [job.request_hash for job in new],
        expires_in,
        JobRequested.routing_key,
        max_queued,
        [job.traceparent for job in new],
        hold,
    )
    return [AcceptResult(**row) for row in rows]


async def open_wallet(db: Connection, wallet: str, *, signup_credits: int) -> None:
    """Open a wallet with its signup grant; nothing when it is open already."""
    await db.execute(
        """
        WITH opened AS (
            INSERT INTO credits (wallet_address, credits) VALUES ($1, $2)
            ON CONFLICT DO NOTHING
            RETURNING wallet_address
        )
        INSERT INTO credit_transactions (id, wallet_address, transaction_type, amount, description)
        SELECT $3, wallet_address, 'signup', $2, 'Welcome credits' FROM opened WHERE $2 > 0
        """,
        wallet,
        signup_credits,
        new_id(),
    )


async def find_idempotency_key(db: Connection, owner: str, key: str) -> tuple[UUID, bytes] | None:
    """The job a key stands for, and the hash of the request that made it."""
    row = await db.fetchrow(
        "SELECT job_id, request_hash FROM idempotency_keys WHERE owner = $1 AND key = $2", owner, key
    )
    return (row["job_id"], row["request_hash"]) if row else None


async def job_exists(db: Connection, job_id: UUID) -> bool:
    """Whether a try whose answer was lost had been kept."""
    return bool(await db.fetchval("SELECT true FROM video_jobs WHERE id = $1", job_id))


async def find_source_state(
    tx: Connection, source_id: UUID, operation: Operation, *, besides: UUID, memory: timedelta
) -> SourceState:
    """What was done to a video before, and whether the vendor, whose memory is this long, still has it."""
    [row] = await tx.fetch(
        """
        SELECT started_at <= now() - $4::interval AS is_too_old,
               EXISTS (SELECT FROM video_jobs WHERE source_job_id = $1 AND operation = 'upgrade_1080p'
                          AND status NOT IN ('failed', 'canceled')) AS has_1080p,
               (SELECT id FROM video_jobs WHERE source_job_id = $1 AND operation = $2 AND id <> $3
                   AND status NOT IN ('failed', 'canceled') LIMIT 1) AS same
          FROM video_jobs
         WHERE id = $1
        """,
        source_id,
        operation,
        besides,
        memory,
    )
    return SourceState(**row)
