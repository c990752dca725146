# SPDX-License-Identifier: Apache-2.0
"""A real worker of Celery's for explorations on PostgreSQL.

    with WorkerProcess("project.celery:app") as worker:
        sqloom.assert_race_free([(shelve, book), worker.work], worker.clear)

The worker is a process of its own. What the calls queue waits in the broker
until worker.work, which is a call like others, hands it to the worker, one task
a time; what the task does in the database belongs to that call. So an
exploration tries when the worker is fast and when it is slow.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from sqloom import errors, point

__all__ = ["TaskFailed", "WorkerProcess"]

# While it works the call itself does nothing that sqloom can see.
STALL_AFTER_MS = 5000

_SETTINGS = ("NAME", "HOST", "PORT", "USER", "PASSWORD")
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from sqloom.django._worker import main; main()"
)
_TAIL = 2000  # characters of what a worker said before it ended

_alive: set[WorkerProcess] = set()


def is_used() -> bool:
    """Does a worker run?"""
    return bool(_alive)


class TaskFailed(Exception):
    """A task ended with an exception, which is the message."""


def _settings_for(aliases: Sequence[str]) -> dict[str, Any]:
    """Where the aliases lead now, in this thread's view of the settings."""
    from django.db import connections

    found = {}
    for alias in aliases:
        settings = connections.databases[alias]
        options = {
            key: value
            for key, value in (settings.get("OPTIONS") or {}).items()
            if value is None or isinstance(value, (str, int, float))
        }
        found[alias] = {key: settings.get(key, "") for key in _SETTINGS}
        found[alias]["OPTIONS"] = options
    return found


def _name_of(app: Any) -> str:
    """"module:attribute" of an application of Celery's."""
    if isinstance(app, str):
        return app
    for name, module in list(sys.modules.items()):
        if name == "__main__" or name.partition(".")[0] == "celery":
            continue
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is app:
                return f"{name}:{attribute}"
    raise errors.UsageError(
        f"the worker cannot import {app!r}: keep it in a variable of a module, "
        'and give "module:variable"')


def load_app(name: str) -> Any:
    """The application of Celery's that is called "module:attribute"."""
    from celery.app.utils import find_app

    return find_app(name)


class WorkerProcess:
    """A worker of the application app ("module:variable", or itself), as a
    context manager: it is started, and ended.

    queues: those that the calls queue in; the application's default queue.
    databases: the aliases that tasks use; all of PostgreSQL. timeout: seconds
    that the worker has to start, and for a task.

    Raises UsageError if one of the aliases is not PostgreSQL: the statements of
    another process on SQLite cannot be controlled.
    """

    def __init__(self, app: Any, *, queues: Sequence[str] | None = None,
                 databases: Sequence[str] | None = None,
                 timeout: float = 60) -> None:
        self._name = _name_of(app)
        self._app = load_app(self._name) if isinstance(app, str) else app
        self._queues = list(queues or [self._app.conf.task_default_queue])
        self._mine = f"sqloom-{os.getpid()}-{id(self)}"
        self._databases = databases
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._aliases: list[str] = []
        self._unread = b""

    # ---- Life ----

    def __enter__(self) -> WorkerProcess:
        self._aliases = self._checked_aliases()
        self.clear()
        self._words = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._words, start_new_session=True)
        _alive.add(self)
        try:
            self._say(self._configuration())
            self._hear("start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *ignored: object) -> None:
        _alive.discard(self)
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # nothing of it is to be kept
        process.communicate()
        self._words.close()
        self.clear()

    def _checked_aliases(self) -> list[str]:
        from django.db import connections

        given = self._databases
        kinds = {alias: connections[alias].vendor
                 for alias in (connections if given is None else given)}
        chosen = [alias for alias, kind in kinds.items()
                  if kind == "postgresql" or given is not None]
        for alias in chosen or list(kinds)[:1]:
            if kinds[alias] == "postgresql":
                continue
            raise errors.UsageError(
                f"alias {alias!r} is {connections[alias].display_name}: the "
                "statements of a worker that is a process of its own cannot be "
                "controlled there. Explore on PostgreSQL; or let the worker be "
                "a thread of this process "
                "(celery.contrib.testing.worker.start_worker with "
                "pool=\"solo\"), or the tasks be run by the calls themselves "
                "(task_always_eager)")
        return chosen

    def _configuration(self) -> dict[str, Any]:
        from django.conf import settings

        conf = self._app.conf
        return {
            "app": self._name,
            "settings": os.environ.get("DJANGO_SETTINGS_MODULE")
            or getattr(settings, "SETTINGS_MODULE", ""),
            "queue": self._mine,
            "conf": {key: conf[key] for key in ("broker_url", "result_backend")
                     if isinstance(conf[key], str)},
            "databases": _settings_for(self._aliases),
        }

    # ---- What the calls use ----

    def work(self) -> str:
        """The worker gets the task that waits longest; what it returned, as a
        text; "nothing to do" if none waits. Before it is taken, other calls may
        come in between. Raises TaskFailed; Error, if the worker has ended, or
        takes too long."""
        point("the worker asks for a task")
        self._say({"databases": _settings_for(self._aliases)})
        self._hear("go")
        if not self._hand_over():
            return "nothing to do"
        said = self._hear("task")
        if said["state"] == "FAILURE":
            raise TaskFailed(said["error"])
        return f"{said['task']}: {said['state']} {said['result']}"

    def clear(self) -> None:
        """Empties the queues: behind each run, since the broker is not put back
        as the database is."""
        with self._app.connection_for_write() as connection:
            for queue in [*self._queues, self._mine]:
                connection.default_channel.queue_declare(
                    queue=queue, durable=True, auto_delete=False)
                connection.default_channel.queue_purge(queue)

    def _hand_over(self) -> bool:
        """Moves a message to the worker's queue, as it is."""
        with self._app.connection_for_write() as connection:
            channel = connection.default_channel
            for queue in self._queues:
                message = channel.basic_get(queue=queue, no_ack=True)
                if message is None:
                    continue
                kept = {key: value for key, value in message.properties.items()
                        if key in ("correlation_id", "reply_to", "priority")}
                self._app.amqp.Producer(channel).publish(
                    message.body, routing_key=self._mine, serializer=None,
                    content_type=message.content_type,
                    content_encoding=message.content_encoding,
                    headers=message.headers, **kept)
                return True
        return False

    # ---- Talking to it ----

    def _say(self, what: dict[str, Any]) -> None:
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(what).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            self._complain("has ended")

    def _hear(self, kind: str) -> dict[str, Any]:
        """The next line that it says about that."""
        process = self._running()
        assert process.stdout is not None
        end = time.monotonic() + self._timeout
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                said: dict[str, Any] = json.loads(line)
                if said["kind"] == kind:
                    return said
                continue
            left = end - time.monotonic()
            poll = select.poll()
            poll.register(process.stdout, select.POLLIN | select.POLLHUP)
            if left <= 0 or not poll.poll(left * 1000):
                self._complain(f"says nothing for {self._timeout:g} seconds "
                               "(timeout=)")
            more = os.read(process.stdout.fileno(), 65536)
            if not more:
                self._complain("has ended")
            self._unread += more

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise errors.UsageError(
                "the worker does not run: use it inside of the with block")
        return self._process

    def _complain(self, what: str) -> None:
        process = self._running()
        process.kill()
        process.wait()
        self._words.seek(0)
        said = self._words.read().decode(errors="replace")
        text = said.strip()[-_TAIL:] or "nothing"
        raise errors.Error(f"the Celery worker of {self._name} {what}. Its last "
                           f"words:\n{text}")
