# SPDX-License-Identifier: Apache-2.0
"""Threads that a call starts, one after another.

Which of two threads of one call is the first at the database would be decided
by the operating system, another way in each run, and so nothing could be
repeated. Inside of one_by_one() a call that submits a task to a pool of threads
waits until the task is done, or until it waits for something that is not the
database: for that the call may be needed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Inside", "one_by_one"]

LOOK_S = 0.02  # between two looks at a thread that does not come back


class Inside:
    """Which threads are in the middle of something with the database."""

    def __init__(self) -> None:
        self._depths: dict[int, int] = {}

    def watch(self, wrapper: Any) -> None:
        """From now on, what this DatabaseWrapper does counts."""
        def execute(run: Any, sql: Any, params: Any, many: Any,
                    context: Any) -> Any:
            with self._noted():
                return run(sql, params, many, context)

        wrapper.execute_wrappers.append(execute)
        for name in ("connect", "_commit", "_rollback"):
            setattr(wrapper, name, self._watched(getattr(wrapper, name)))

    def has(self, thread: int) -> bool:
        return self._depths.get(thread, 0) > 0

    def _watched(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self._noted():
                return method(*args, **kwargs)

        return watched

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        here = threading.get_ident()
        self._depths[here] = self._depths.get(here, 0) + 1
        try:
            yield
        finally:
            self._depths[here] -= 1


class _Task:
    """What was submitted."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._thread: int | None = None
        self._native = 0

    def run(self, function: Callable[..., Any], *args: Any,
            **kwargs: Any) -> Any:
        self._native = threading.get_native_id()
        self._thread = threading.get_ident()
        return function(*args, **kwargs)

    def wait(self, future: concurrent.futures.Future[Any]) -> None:
        """Until it is done, or waits for others than the database."""
        before = None
        while not self._is_done(future):
            if self._thread is None:  # the pool has no thread for it
                now = "waits for a thread"
            elif self._inside.has(self._thread):
                before = None
                continue
            else:
                now = self._sleep()
            if now and now == before:
                return
            before = now

    @staticmethod
    def _is_done(future: concurrent.futures.Future[Any]) -> bool:
        done, _ = concurrent.futures.wait([future], timeout=LOOK_S)
        return bool(done)

    def _sleep(self) -> str:
        """The same text as long as the thread does not wake up; "": it is
        awake."""
        try:
            with open(f"/proc/self/task/{self._native}/status") as status:
                lines = dict(line.split(":", 1) for line in status)
        except (OSError, ValueError):
            return "it cannot be seen"
        if lines["State"].split()[0] != "S":
            return ""
        return lines["voluntary_ctxt_switches"] + \
            lines["nonvoluntary_ctxt_switches"]


@contextlib.contextmanager
def one_by_one(waits: Callable[[], bool], inside: Inside) -> Iterator[None]:
    """See above. waits: is the calling thread one of a call that is to wait?"""
    pool: Any = concurrent.futures.ThreadPoolExecutor
    original = pool.submit

    def submit(self: Any, function: Callable[..., Any], /, *args: Any,
               **kwargs: Any) -> Any:
        if not waits():
            return original(self, function, *args, **kwargs)
        task = _Task(inside)
        future = original(self, task.run, function, *args, **kwargs)
        task.wait(future)
        return future

    pool.submit = submit
    try:
        yield
    finally:
        pool.submit = original
