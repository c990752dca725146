# SPDX-License-Identifier: Apache-2.0
"""Exploring calls that queue tasks of Celery's: run eagerly, by a worker that
is a thread, by a worker that is a process; on a real Redis."""

import os
import shutil
import subprocess
import time

import pytest

import sqloom
from shop.models import Account, Coupon

pytest.importorskip("celery")
redis = pytest.importorskip("redis")

from celery.contrib.testing.worker import start_worker  # noqa: E402
from explored import queue  # noqa: E402
from explored.queue import app  # noqa: E402

from sqloom.django.celery import TaskFailed, WorkerProcess  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann():
    return Account.objects.create(name="ann", balance=1)


# ---- Eagerly ----------------------------------------------------------------


@pytest.fixture
def eagerly():
    before = app.conf.task_always_eager, app.conf.task_eager_propagates
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    yield
    app.conf.update(task_always_eager=before[0],
                    task_eager_propagates=before[1])


@pytest.mark.parametrize("task, verdict", [
    (queue.deposit, "broken"), (queue.deposit_in_database, "holds")])
def test_eager_tasks(eagerly, ann, task, verdict):
    def call(amount):
        task.delay(ann.pk, amount)

    report = sqloom.explore([(call, 10), (call, 20)])
    assert report.verdict == verdict, report.text


def test_eager_task_in_on_commit(eagerly, ann):
    report = sqloom.explore([(queue.sign_up_and_commit, "bob"),
                             (queue.sign_up_and_commit, "eve")],
                            max_preemptions=1)
    assert report.holds, report.text
    assert "for bob" in str(report.json) or report.explored > 1
    assert not Coupon.objects.filter(code="for bob").exists()


# ---- A real Redis, and real workers -----------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URL of a Redis of our own."""
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server")
    directory = tmp_path_factory.mktemp("redis")
    path = directory / "socket"
    process = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(path), "--save",
         "", "--dir", str(directory)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = redis.Redis(unix_socket_path=str(path))
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert process.poll() is None
                time.sleep(0.01)
        yield f"redis+socket://{path}"
    finally:
        process.kill()
        process.wait()


def forget_connections():
    """To a Redis that is another one by now."""
    app._pool = None
    app.amqp._producer_pool = None


@pytest.fixture
def broker(server):
    """The application works on it."""
    before = app.conf.broker_url, app.conf.result_backend
    app.conf.update(broker_url=server, result_backend=None,
                    task_always_eager=False)
    forget_connections()
    yield server
    app.conf.update(broker_url=before[0], result_backend=before[1])
    forget_connections()


@pytest.fixture
def worker(broker, on_postgresql):
    if not on_postgresql:
        pytest.skip("a worker that is a process needs PostgreSQL")
    with WorkerProcess(app) as started:
        yield started


def test_worker_process_before_the_commit(worker):
    report = sqloom.explore([(queue.sign_up, "bob"), worker.work],
                            worker.clear, names=["visitor", "worker"])
    assert report.broken, report.text
    assert "DoesNotExist" in report.text
    # It was the worker's own statement that was held.
    assert any("shop_account" in event.sql for event in
               report.findings[0].events if event.call == "worker")


def test_worker_process_behind_the_commit(worker):
    report = sqloom.assert_race_free(
        [(queue.sign_up_and_commit, "bob"), worker.work], worker.clear)
    assert report.explored == report.total
    assert not Account.objects.filter(name="bob").exists()


def test_worker_process_loses_an_update(worker, ann):
    """Two tasks that were queued before, by one worker and by one call."""
    def setup():
        queue.deposit.delay(ann.pk, 10)

    def refill():
        worker.clear()
        queue.deposit.delay(ann.pk, 10)

    report = sqloom.explore([worker.work, (queue.deposit.run, ann.pk, 20)],
                            refill, setup=setup)
    assert report.broken, report.text
    assert "lost update" in report.text


def test_worker_process_alone(worker, ann):
    """Nothing is explored: it works as workers do."""
    assert worker.work() == "nothing to do"
    queue.greet.delay(ann.pk)
    assert worker.work() == "explored.queue.greet: SUCCESS 'ann'"
    assert Coupon.objects.filter(code="for ann").exists()
    queue.greet.delay(-1)
    with pytest.raises(TaskFailed, match="DoesNotExist: Account matching"):
        worker.work()


def test_worker_process_that_ends(worker, ann):
    worker._process.kill()
    queue.greet.delay(ann.pk)
    with pytest.raises(sqloom.Error, match="has ended"):
        worker.work()


def test_worker_process_is_gone_at_the_end(broker, on_postgresql):
    if not on_postgresql:
        pytest.skip("a worker that is a process needs PostgreSQL")
    with WorkerProcess("explored.queue:app") as worker:
        pid = worker._process.pid
        assert os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(sqloom.UsageError, match="inside of the with block"):
        worker.work()


def test_worker_process_on_sqlite(broker, on_postgresql):
    if on_postgresql:
        pytest.skip("of SQLite")
    with pytest.raises(sqloom.UsageError) as caught:
        with WorkerProcess(app):
            pass
    for word in ("'default' is SQLite", "cannot be controlled", "start_worker",
                 "task_always_eager"):
        assert word in str(caught.value)


def test_worker_that_is_a_thread(broker, on_postgresql):
    """On both databases: its connections are led like those of any thread."""
    waiting, working = app.conf.task_default_queue, "working"
    client = redis.Redis(unix_socket_path=broker.split("//")[1])
    done = []

    def work():
        sqloom.point("the worker asks for a task")
        if client.rpoplpush(waiting, working) is None:
            return "nothing to do"
        while not done:
            time.sleep(0.001)
        return done.pop()

    def tell(retval=None, **ignored):
        done.append(repr(retval))

    def clear():
        client.flushdb()
        done.clear()

    from celery.signals import task_postrun
    task_postrun.connect(tell)
    try:
        with start_worker(app, pool="solo", queues=[working],
                          perform_ping_check=False, loglevel="CRITICAL"):
            broken = sqloom.explore([(queue.sign_up, "bob"), work], clear,
                                    stall_after=5)
            fixed = sqloom.explore([(queue.sign_up_and_commit, "bob"), work],
                                   clear, stall_after=5)
    finally:
        task_postrun.disconnect(tell)
    assert broken.broken and "DoesNotExist" in broken.text, broken.text
    assert fixed.holds, fixed.text
