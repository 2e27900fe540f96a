"""Outgoing webhooks are made here: in the transaction that makes their event true, so that none can be lost.

The table of deliveries is an outbox whose receivers speak HTTP; the callback service empties it. A way over the
broker would end in the same table, and could lose the message with the broker's data.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from reelgate_common.db import Connection
from reelgate_common.domain.job import Job
from reelgate_common.ids import new_id
from reelgate_common.messages import Event, JobCanceled, JobCompleted, JobFailed, JobRecovered, JobRefunded
from reelgate_common.views import JobEnvelope, JobView

JOB_EVENTS = tuple(event.routing_key for event in (JobCompleted, JobFailed, JobCanceled, JobRefunded, JobRecovered))
TEST = "webhook.test"  # somebody asked for it
DISABLED = "webhook.disabled"  # an endpoint of the same key was given up


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What is told, to however many endpoints."""

    event_id: UUID
    type: str
    at: datetime
    data: Mapping[str, Any]
    job_id: UUID | None = None
    job_version: int | None = None

    @property
    def body(self) -> str:
        """The request's body, in the shape Standard Webhooks suggests."""
        whole = {"type": self.type, "timestamp": self.at.isoformat(), "data": self.data}
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Target:
    """An endpoint, or the secret that signs for a job's own URL."""

    endpoint_id: UUID
    url: str | None = None


async def fan_out(tx: Connection, told: Sequence[tuple[Event, Job]]) -> None:
    """Write a delivery of each job's event, with the job as it is now, for everyone who asked for it.

    The events are of one type.
    """
    event_type = told[0][0].routing_key
    if event_type not in JOB_EVENTS:
        return
    targets = await _find_targets(tx, [job.id for _, job in told], event_type)
    for message, job in told:
        if job.id not in targets:
            continue
        notice = Notice(
            event_id=message.event_id,
            type=event_type,
            at=message.occurred_at,
            data=JobEnvelope(job=JobView.of(job)).model_dump(mode="json"),
            job_id=job.id,
            job_version=job.version,
        )
        await deliver(tx, notice, targets[job.id])


async def _find_targets(tx: Connection, job_ids: Sequence[UUID], event_type: str) -> dict[UUID, list[Target]]:
    rows = await tx.fetch(
        """
        SELECT j.id AS job_id, e.id, CASE WHEN e.url IS NULL THEN j.webhook_url END AS url
          FROM video_jobs j
          JOIN api_keys k ON k.wallets IS NULL OR j.wallet_address = ANY(k.wallets)
          JOIN webhook_endpoints e ON e.key_id = k.id
         WHERE j.id = ANY($1)
           AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
           AND e.deleted_at IS NULL
           AND CASE WHEN e.url IS NULL THEN j.webhook_url IS NOT NULL AND j.webhook_key_id = k.id
                    ELSE e.events IS NULL OR $2 = ANY(e.events) END
        """,
        job_ids,
        event_type,
    )
    targets: dict[UUID, list[Target]] = {}
    for row in rows:
        targets.setdefault(row["job_id"], []).append(Target(row["id"], row["url"]))
    return targets


async def deliver(tx: Connection, notice: Notice, targets: Sequence[Target]) -> list[UUID]:
    """Write a delivery for each target, due at once; the same event for the same endpoint only once."""
    rows = await tx.fetch(
        """
        INSERT INTO webhook_deliveries (id, endpoint_id, url, event_id, type, body, job_id, job_version)
        SELECT target.id, target.endpoint_id, target.url, $4, $5, $6, $7, $8
          FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS target(id, endpoint_id, url)
        ON CONFLICT (endpoint_id, event_id) DO NOTHING
        RETURNING id
        """,
        [new_id() for _ in targets],
        [target.endpoint_id for target in targets],
        [target.url for target in targets],
        notice.event_id,
        notice.type,
        notice.body,
        notice.job_id,
        notice.job_version,
    )
    return [row["id"] for row in rows]
