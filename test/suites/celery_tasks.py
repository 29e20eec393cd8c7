"""The application of the Celery checks: its worker runs it, and celery_checks.py calls it."""

import os
import time

from celery import Celery
from kombu import Queue

app = Celery("checks", broker=os.environ["BROKER"], backend="rpc://")
app.conf.update(
    task_queues=[
        Queue("celery"),
        Queue("ranked", queue_arguments={"x-max-priority": 10}),
    ],
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    result_expires=60,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
)


@app.task
def add(x, y):
    return x + y


@app.task
def fail():
    raise ValueError("as asked")


@app.task
def sleep(seconds):
    time.sleep(seconds)
    return time.time()


@app.task
def now():
    return time.time()


@app.task(bind=True, max_retries=5)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task(bind=True)
def origin(self):
    info = self.request.delivery_info
    return [info["routing_key"], info.get("priority"), info.get("redelivered")]
