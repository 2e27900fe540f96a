"""Celery: threads, late acks, publisher confirms, a quorum queue."""

import os
import sys

import work
from celery import Celery

app = Celery("peer", broker=os.environ["AMQP_URL"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    task_default_queue="peer.celery",
    task_default_queue_type="quorum",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=2,
)
doing = work.Threads() if sys.argv[1] == "work" else None


@app.task(name="submit")
def submit(job_id: str) -> None:
    doing.submit(job_id)


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        for job_id in work.pending():
            submit.delay(job_id)
    else:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
        app.worker_main(["worker", "--pool", "threads", "--concurrency", str(work.CONCURRENCY), *quiet])
