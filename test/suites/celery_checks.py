"""Checks of a broker by Celery, against a worker of celery_tasks: celery_checks.py <name of the check>"""

import sys
import time

from celery import chain, group

from celery_tasks import add, app, fail, now, origin, sleep, third_time

wait = 30


def check_a_task_runs_and_its_result_comes_back():
    assert add.delay(2, 3).get(timeout=wait) == 5


def check_many_tasks_each_have_their_result():
    results = group(add.s(i, i) for i in range(100)).apply_async()
    assert results.get(timeout=wait) == [2 * i for i in range(100)]


def check_a_chain_hands_results_on():
    assert chain(add.s(1, 2), add.s(10), add.s(100)).apply_async().get(timeout=wait) == 113


def check_an_exception_comes_back():
    try:
        fail.delay().get(timeout=wait)
    except ValueError as error:
        assert str(error) == "as asked"
    else:
        raise AssertionError("it did not fail")


def check_a_task_is_retried_until_it_succeeds():
    assert third_time.delay().get(timeout=wait) == 2


def check_a_countdown_is_waited_for():
    began = time.time()
    ran = now.apply_async(countdown=1.5).get(timeout=wait)
    assert ran - began >= 1.4, ran - began


def check_an_eta_does_not_hold_up_what_is_due():
    later = now.apply_async(countdown=3)
    soon = now.apply_async()
    assert soon.get(timeout=wait) < later.get(timeout=wait)


def check_higher_priorities_run_first():
    busy = sleep.apply_async(args=[1], queue="ranked")
    time.sleep(0.3)
    results = {rank: sleep.apply_async(args=[0], queue="ranked", priority=rank) for rank in (1, 9, 5, 0, 7)}
    busy.get(timeout=wait)
    ran = {rank: result.get(timeout=wait) for rank, result in results.items()}
    # one of them may have been handed to the worker while it was busy
    order = sorted(ran, key=ran.get)
    assert [rank for rank in order if rank != 1] == [9, 7, 5, 0], order


def check_a_task_knows_where_it_came_from():
    assert origin.apply_async(queue="ranked", priority=4).get(timeout=wait) == ["ranked", 4, False]


def check_an_expired_task_is_not_run():
    busy = sleep.apply_async(args=[1.5])
    late = now.apply_async(expires=0.5)
    busy.get(timeout=wait)
    assert add.delay(1, 1).get(timeout=wait) == 2
    assert not late.successful()


def check_a_worker_answers_what_is_broadcast():
    assert app.control.ping(timeout=5), "no pong"
    queues = app.control.inspect(timeout=5).active_queues()
    assert {queue["name"] for queue in next(iter(queues.values()))} >= {"celery", "ranked"}


def check_a_revoked_task_is_not_run():
    busy = sleep.apply_async(args=[1.5])
    late = now.apply_async()
    late.revoke()
    busy.get(timeout=wait)
    assert add.delay(1, 1).get(timeout=wait) == 2
    assert not late.successful()


if __name__ == "__main__":
    globals()["check_" + sys.argv[1]]()
