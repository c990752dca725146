# SPDX-License-Identifier: Apache-2.0
"""The process of sqloom.django.celery.WorkerProcess.

It is told by lines of JSON on its standard input (first its configuration, then
before each task where the databases are), says what it does in lines on what
was its standard output, and ends when its input does. What tasks print goes to
standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any


def _listen(say: Any) -> None:
    """In a thread: where the databases are from now on. A worker closes its
    connections behind each task."""
    from django.db import connections

    for line in sys.stdin:
        for alias, changes in json.loads(line)["databases"].items():
            connections.databases[alias].update(changes)
        say("go")
    os._exit(0)


def main() -> None:
    """Runs until the input ends."""
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    config = json.loads(sys.stdin.readline())
    os.environ["DJANGO_SETTINGS_MODULE"] = config["settings"]
    lock = threading.Lock()

    def say(kind: str, **what: Any) -> None:
        with lock:
            output.write(json.dumps({"kind": kind, **what}) + "\n")

    import django

    django.setup()
    from celery import signals
    from django.db import connections

    from sqloom.django.celery import load_app

    for alias, changes in config["databases"].items():
        connections.databases[alias].update(changes)
    app = load_app(config["app"])
    app.conf.update(task_always_eager=False, **config["conf"])

    def tell(task: Any = None, retval: Any = None, state: Any = None,
             **ignored: Any) -> None:
        failed = isinstance(retval, BaseException)
        said = f"{type(retval).__name__}: {retval}" if failed else ""
        say("task", task=task.name, state=str(state), error=said,
            result="" if failed else repr(retval))

    def start(**ignored: Any) -> None:
        # Behind what Celery itself does when a task ends: closes connections.
        signals.task_postrun.connect(tell, weak=False)
        threading.Thread(target=_listen, args=(say,), daemon=True).start()
        say("start")

    signals.worker_ready.connect(start, weak=False)
    app.Worker(pool="solo", queues=[config["queue"]], loglevel="ERROR",
               hostname=f"sqloom@{os.getpid()}", without_mingle=True,
               without_gossip=True, without_heartbeat=True).start()
