# SPDX-License-Identifier: Apache-2.0
"""Concurrent calls on threads, and the decorator @test_concurrently."""

import sys
import threading
import traceback
import unittest

import pytest

import concurrently_called as called
import sqloom
from sqloom import test_concurrently

on_threads = sqloom.Calls(threads=True)


def test_results_are_in_order():
    calls = [(called.add, {"a": number}) for number in range(10)]
    assert on_threads.make_concurrent_calls(*calls) == list(range(2, 12))


def test_all_overlap():
    barrier = threading.Barrier(9)
    results = on_threads.call_concurrently(9, called.meet_threads, barrier)
    assert sorted(results) == list(range(9))


def test_lambdas_and_closures_are_called():
    found = []
    assert on_threads.make_concurrent_calls(
        lambda: 1, (found.append, (2,), {})) == [1, None]
    assert found == [2]


def test_dotted_path():
    assert on_threads.call_concurrently(2, "concurrently_called:add", 1) == [
        3, 3]


@pytest.mark.parametrize("path", ["nothing", "concurrently_called.nothing"])
def test_paths_that_are_refused(path):
    with pytest.raises(sqloom.UsageError):
        on_threads.call_concurrently(2, path)


def test_no_name_of_an_argument_is_taken():
    assert on_threads.call_concurrently(
        1, called.colliding, n=1, function=2, timeout=3, threads=4, self=5
    ) == [[1, 2, 3, 4, 5]]


def test_an_exception_is_a_value():
    result, = on_threads.call_concurrently(1, called.fail, "well")
    assert isinstance(result, sqloom.WrappedError)
    assert isinstance(result.error, called.Plain)
    line, = traceback.extract_tb(result.traceback)
    assert line.name == "fail"
    # The frame itself, with its variables.
    assert result.traceback.tb_frame.f_locals["text"] == "well"


@pytest.mark.parametrize("function, kind", [
    (called.interrupt, KeyboardInterrupt),
    (called.fail_by_class, called.Refused),
])
def test_exceptions_of_all_kinds_are_values(function, kind):
    result, = on_threads.call_concurrently(1, function)
    assert type(result.error) is kind


def test_exit_is_told():
    result, = on_threads.call_concurrently(1, called.leave, "done")
    assert isinstance(result.error, sqloom.CallExited)
    assert result.error.code == "done"
    assert str(result.error) == (
        "concurrently_called.leave ended by exit('done')")


def test_a_late_thread_is_told_and_goes_on():
    over = threading.Event()
    calls = sqloom.Calls(threads=True, timeout=0.1)
    try:
        late, early = calls.make_concurrent_calls((over.wait,), called.process)
        assert isinstance(late.error, sqloom.CallTimedOut)
        assert late.error.timeout == 0.1
        assert "goes on, as threads cannot be killed" in str(late.error)
        assert ", in wait" in late.stderr
        assert isinstance(early, int)
        thread, = [thread for thread in threading.enumerate()
                   if thread.name == "sqloom call 1"]
        assert thread.daemon
    finally:
        over.set()
    thread.join()


def test_no_thread_is_left():
    before = threading.enumerate()
    on_threads.call_concurrently(20, called.process)
    assert threading.enumerate() == before


def test_threads_that_cannot_be_started(monkeypatch):
    """The third cannot; the first two run, and nothing waits for it."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "sqloom call 3":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    results = on_threads.call_concurrently(4, called.add, 1)
    assert results[:2] == [3, 3]
    assert [type(result.error) for result in results[2:]] == [
        sqloom.CallLost] * 2
    assert "can't start new thread" in str(results[2].error)


# The decorator


def test_the_decorated_function_is_called_that_often():
    numbers = []

    @test_concurrently(15)
    def register(number, by=0):
        numbers.append((number, by))

    assert register(1, by=2) is None
    assert numbers == [(1, 2)] * 15


def test_the_decorated_function_keeps_its_name():
    decorated = test_concurrently(2)(called.add)
    assert decorated.__name__ == "add"
    assert decorated.__wrapped__ is called.add


def test_all_exceptions_are_raised_as_one():
    numbers = iter(range(6))
    lock = threading.Lock()

    @test_concurrently(6)
    def go():
        with lock:
            number = next(numbers)
        if number % 2:
            called.fail(f"number {number}")

    with pytest.raises(sqloom.CallsFailed) as raised:
        go()
    group = raised.value
    assert sorted(map(str, group.exceptions)) == [
        "number 1", "number 3", "number 5"]
    assert str(group).startswith(
        "3 of 6 calls of test_concurrent_threads.test_all_exceptions_are_"
        "raised_as_one.<locals>.go failed (3 sub-exceptions)")
    for error in group.exceptions:
        names = [line.name for line in traceback.extract_tb(
            error.__traceback__)]
        assert names == ["go", "fail"]
    shown = "".join(traceback.format_exception(
        type(group), group, group.__traceback__))
    assert shown.count("Plain: number ") == 3


@pytest.mark.skipif(sys.version_info < (3, 11), reason="new in Python 3.11")
def test_it_is_an_exception_group():
    with pytest.raises(ExceptionGroup) as raised:  # noqa: F821
        test_concurrently(2)(called.fail)()
    matched, rest = raised.value.split(called.Plain)
    assert isinstance(matched, sqloom.CallsFailed)
    assert rest is None


def test_failed_assertions_are_a_failed_test():
    class Inner(unittest.TestCase):
        @test_concurrently(3)
        def test_it(self):
            self.assertEqual(1, 2)

    result = unittest.TestResult()
    Inner("test_it").run(result)
    assert not result.errors
    (_, text), = result.failures
    assert text.count("AssertionError: 1 != 2") == 3


def test_other_exceptions_are_an_error():
    with pytest.raises(sqloom.CallsFailed) as raised:
        test_concurrently(2)(called.fail)()
    assert not isinstance(raised.value, AssertionError)


def test_what_pytest_raises_is_raised():
    """It is no Exception."""
    with pytest.raises(BaseException) as raised:
        test_concurrently(2)(pytest.fail)("on purpose")
    assert [str(error) for error in raised.value.exceptions] == [
        "on purpose"] * 2
    assert not isinstance(raised.value, Exception)


@test_concurrently(4)
def test_as_a_test_with_a_fixture(tmp_path):
    """The decorator on a test itself; pytest gives it its fixtures."""
    assert tmp_path.is_dir()


class TestAMethod(unittest.TestCase):
    numbers = []

    @test_concurrently(times=3)
    def test_method(self):
        self.numbers.append(1)

    @classmethod
    def tearDownClass(cls):
        assert len(cls.numbers) == 3


def test_the_decorator_is_no_test(pytester_less_collection):
    assert "test_concurrently" not in pytester_less_collection
    assert "test_the_decorator_is_no_test" in pytester_less_collection


@pytest.fixture
def pytester_less_collection(request):
    """What pytest collected from this file."""
    return {item.originalname for item in request.session.items
            if item.path == request.node.path
            and hasattr(item, "originalname")}


@pytest.mark.parametrize("times", [0, 257, None, called.add])
def test_numbers_that_are_refused(times):
    with pytest.raises(sqloom.UsageError):
        test_concurrently(times)
