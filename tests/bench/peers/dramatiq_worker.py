"""Dramatiq: threads, acks after the work, publisher confirms."""

import os
import signal
import sys
import threading

import dramatiq
import work
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url=os.environ["AMQP_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)
doing = work.Threads() if sys.argv[1] == "work" else None


@dramatiq.actor(queue_name="peer-dramatiq")
def submit(job_id: str) -> None:
    doing.submit(job_id)


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        for job_id in work.pending():
            submit.send(job_id)
    else:
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        worker = dramatiq.Worker(broker, worker_threads=work.CONCURRENCY)
        worker.start()
        stop.wait()
        worker.stop()
