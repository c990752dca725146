# SPDX-License-Identifier: Apache-2.0
"""Functions that the tests of concurrent calls call, in this process and in
clean ones. Nothing of Django is imported when this module is."""

import asyncio
import ctypes
import functools
import os
import pathlib
import signal
import subprocess
import sys
import time

LIST = []


def add(a, b=2, *more, **named):
    return a + b + sum(more) + sum(named.values())


def colliding(n, function, timeout, threads, self):
    return [n, function, timeout, threads, self]


async def add_later(a, b=2):
    await asyncio.sleep(0)
    return a + b


def numbers(n):
    yield from range(n)


def process():
    return os.getpid()


def remember(value):
    LIST.append(value)
    return list(LIST)


class Refused(Exception):
    """Cannot be made from its pickle."""

    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code


class Plain(ValueError):
    pass


class Another(Exception):
    def __reduce__(self):
        return ValueError, self.args


def fail_as_another():
    raise Another("one")


def fail(text="no"):
    try:
        {}["key"]
    except KeyError as error:
        raise Plain(text) from error


def fail_by_class():
    raise Refused(7, "not today")


def write_and_fail(text):
    print(text, file=sys.stderr)
    raise Plain("after writing")


def write(text, to):
    print(text, file={"out": sys.stdout, "err": sys.stderr}[to])


def write_below_python(text):
    os.write(1, text.encode())


def write_much():
    os.write(2, b"x" * 300_000 + b"end")


def hang():
    while True:
        time.sleep(1000)


def hang_deaf():
    """Does not even hear the signal that asks for a traceback."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGABRT])
    hang()


def hang_if(number):
    return hang() if number else "returned"


def crash():
    ctypes.string_at(0)


def kill_self(number):
    os.kill(os.getpid(), number)


def leave(code):
    sys.exit(code)


def leave_at_once(status):
    os._exit(status)


def interrupt():
    raise KeyboardInterrupt


def start_and_hang(directory, detached):
    """Leaves a process that would live for long, and hangs."""
    start(directory, detached)
    hang()


def start(directory, detached):
    child = subprocess.Popen(["sleep", "1000"], start_new_session=detached)
    path = pathlib.Path(directory, str(os.getpid()))
    path.write_text(f"{os.getpid()} {child.pid}")
    path.rename(path.with_suffix(".started"))


def result(size):
    return b"x" * size


def length(value):
    return len(value)


def unpicklable():
    return lambda: 1


def meet(directory, number):
    """Returns once all of `number` calls are in here: they overlap."""
    pathlib.Path(directory, str(os.getpid())).touch()
    while len(os.listdir(directory)) < number:
        time.sleep(0.001)
    return number


def meet_threads(barrier):
    return barrier.wait()


def environment(name):
    return os.environ.get(name)


def whole_environment():
    return dict(os.environ)


def directory():
    return os.getcwd()


def open_files():
    """What this process has open, but for 0, 1, 2 and what lists it."""
    names = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            names[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass
    return {number: name for number, name in names.items() if number > 2}


def signals():
    return [signal.getsignal(number) == signal.SIG_DFL
            for number in (signal.SIGCHLD, signal.SIGTERM)], \
        signal.pthread_sigmask(signal.SIG_BLOCK, [])


def parent():
    return os.getppid()


def without_wraps(function):
    def inner(*args, **kwargs):
        return "decorated", function(*args, **kwargs)
    return inner


def with_wraps(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return "wrapped", function(*args, **kwargs)
    return inner


class Instead:
    """A decorator that gives an object that can be called."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args, **kwargs):
        return "instead", self.function(*args, **kwargs)


@without_wraps
def badly_decorated(a):
    return a


@with_wraps
def well_decorated(a):
    return a


@Instead
def replaced(a):
    return a


named_lambda = (lambda a: a + 1)


class Shop:
    def __init__(self, price):
        self.price = price

    def total(self, count):
        return self.price * count

    @classmethod
    def name(cls, suffix):
        return cls.__name__ + suffix

    @staticmethod
    def double(a):
        return 2 * a
