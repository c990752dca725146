# SPDX-License-Identifier: Apache-2.0
"""A Redis and a Celery worker for the time of a test class. Both are real."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import redis
from celery.contrib.testing.worker import start_worker
from celery.result import AsyncResult
from django.test import override_settings
from sqloom import point

from project.celery import app

# What is queued waits in Celery's own queue. The worker listens to another one,
# so that the test decides when it gets a job.
WAITING, WORKING = app.conf.task_default_queue, "working"

# Ends with its standard input, however the tests end.
GUARD = '"$@" >/dev/null 2>&1 </dev/null & cat >/dev/null; kill $!; wait'


class Services:
    """redis: a client; work(): the worker's turn; clear(): empties queues."""

    def __init__(self, server):
        self.redis = server

    def work(self):
        """The worker gets the job that waits longest, if there is one. What it
        does with it, the exploration sees as this call's."""
        point("the worker asks for a job")
        message = self.redis.rpoplpush(WAITING, WORKING)
        if message is None:
            return "nothing to do"
        job = json.loads(message)["headers"]["id"]
        return AsyncResult(job, app=app).get(timeout=60, interval=0.001)

    def clear(self):
        """Behind each run: Redis is not put back, as the database is."""
        self.redis.flushdb()


@contextlib.contextmanager
def redis_server():
    """The path of its socket."""
    if shutil.which("redis-server") is None:
        raise unittest.SkipTest("there is no redis-server: "
                                "apt-get install redis-server")
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "socket"
        guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "sh", "redis-server", "--port", "0",
             "--unixsocket", socket, "--save", "", "--dir", directory],
            stdin=subprocess.PIPE, start_new_session=True)
        try:
            yield socket
        finally:
            guard.stdin.close()
            guard.wait()


def wait_for(server):
    while True:
        with contextlib.suppress(redis.ConnectionError):
            return server.ping()
        time.sleep(0.01)


@contextlib.contextmanager
def services():
    """Starts both, and stops both."""
    with redis_server() as socket:
        server = redis.Redis(unix_socket_path=str(socket))
        wait_for(server)
        url = f"redis+socket://{socket}"
        # The worker is a thread of this process: results may stay in memory.
        with override_settings(CELERY_BROKER_URL=url,
                               CELERY_RESULT_BACKEND="cache+memory://"):
            with start_worker(app, pool="solo", queues=[WORKING],
                              perform_ping_check=False,
                              loglevel="CRITICAL"):
                yield Services(server)
        # Celery forgets its connections; the next Redis is another one.
        app._after_fork()
