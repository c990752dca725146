# SPDX-License-Identifier: Apache-2.0
"""Calls in clean processes that come to their end: functions, arguments,
results, and what is around them. Nothing here uses a database."""

import functools
import io
import os
import sys
import time
import traceback
import types

import pytest

import concurrently_called as called
import sqloom


def test_results_are_in_order():
    calls = [(called.add, {"a": number}) for number in range(10)]
    assert sqloom.make_concurrent_calls(*calls) == list(range(2, 12))


def test_each_call_is_in_a_process_of_its_own():
    processes = sqloom.call_concurrently(5, called.process)
    assert len({*processes, os.getpid()}) == 6


def test_a_process_is_clean():
    called.LIST.append("of the test")
    try:
        results = [sqloom.call_concurrently(2, called.remember, value)
                   for value in (1, 2)]
    finally:
        called.LIST.clear()
    assert results == [[[1], [1]], [[2], [2]]]


def test_calls_overlap(tmp_path):
    """They wait for each other inside of the function."""
    assert sqloom.call_concurrently(
        8, called.meet, str(tmp_path), 8) == [8] * 8


def test_nobody_starts_before_the_last_one_is_ready(tmp_path):
    """One is made slow by its argument, which is read before the barrier."""
    results = sqloom.make_concurrent_calls(
        (time.time_ns, {}), (time.time_ns, {}),
        (returned, {"value": Slow()}))
    assert min(results[:2]) > results[2]


class Slow:
    """Takes its time to be unpickled; then it is the time when it was."""

    def __reduce__(self):
        return slow, ()


def slow():
    time.sleep(0.3)
    return time.time_ns()


def returned(value):
    return value


# Functions and arguments


def test_arguments():
    assert sqloom.call_concurrently(2, called.add, 1, 2, 3, c=4, d=5) == [
        15, 15]


def test_no_name_of_an_argument_is_taken():
    assert sqloom.call_concurrently(
        1, called.colliding, n=1, function=2, timeout=3, threads=4, self=5
    ) == [[1, 2, 3, 4, 5]]


def test_shapes_of_calls():
    assert sqloom.make_concurrent_calls(
        called.process,
        (called.process,),
        (called.add, {"a": 1}),
        [called.add, (1, 5), {"c": 2}],
        ("concurrently_called.add", {"a": 3}),
    )[2:] == [3, 8, 5]


@pytest.mark.parametrize("path", [
    "concurrently_called.add", "concurrently_called:add"])
def test_dotted_path(path):
    assert sqloom.call_concurrently(1, path, 5) == [7]


def test_dotted_path_of_a_method():
    assert sqloom.call_concurrently(
        1, "concurrently_called.Shop.name", "!") == ["Shop!"]


@pytest.mark.parametrize("function, result", [
    (functools.partial(called.add, 1, b=3), 4),
    (functools.partial(functools.partial(called.add, 1), 9), 10),
    (called.Shop.double, None),
])
def test_functions_of_many_kinds(function, result):
    if result is None:
        assert sqloom.call_concurrently(1, function, 4) == [8]
    else:
        assert sqloom.call_concurrently(1, function) == [result]


@pytest.mark.parametrize("threads", [False, True])
def test_coroutines_come_to_their_end(threads):
    calls = sqloom.Calls(threads=threads)
    assert calls.call_concurrently(2, called.add_later, 1) == [3, 3]
    with pytest.raises(sqloom.UsageError, match="numbers is a generator"):
        calls.call_concurrently(2, called.numbers, 3)


def test_async_functions_are_tested():
    @sqloom.test_concurrently(2)
    async def fails():
        raise AssertionError("it ran")

    with pytest.raises(AssertionError, match="2 of 2 calls"):
        fails()


def test_methods():
    shop = called.Shop(3)
    assert sqloom.make_concurrent_calls(
        (shop.total, {"count": 2}), (called.Shop.name, {"suffix": "?"}),
    ) == [6, "Shop?"]


@pytest.mark.parametrize("function, result", [
    (called.badly_decorated, ("decorated", 1)),
    (called.well_decorated, ("wrapped", 1)),
    (called.replaced, ("instead", 1)),
    (called.named_lambda, 2),
    (called.well_decorated.__wrapped__, 1),
])
def test_decorated_functions(function, result):
    assert sqloom.call_concurrently(2, function, 1) == [result] * 2


def test_a_badly_decorated_function_of_a_test_module():
    assert sqloom.call_concurrently(1, decorated_here) == [("decorated", 1)]


@called.without_wraps
def decorated_here():
    return 1


def test_a_large_argument_and_a_large_result():
    size = 5_000_000
    assert sqloom.call_concurrently(2, called.length, b"x" * size) == [
        size] * 2
    results = sqloom.call_concurrently(3, called.result, size)
    assert [len(result) for result in results] == [size] * 3


def test_many_calls():
    assert len(set(sqloom.call_concurrently(256, called.process))) == 256


# Exceptions


def failed(function, *args, **kwargs):
    result, = sqloom.call_concurrently(1, function, *args, **kwargs)
    assert isinstance(result, sqloom.WrappedError)
    return result


def test_an_exception_is_a_value():
    results = sqloom.make_concurrent_calls(
        *[(called.add, {"a": 1}), (called.fail, {"text": "well"})] * 3)
    assert results[::2] == [3] * 3
    assert [str(result.error) for result in results[1::2]] == ["well"] * 3
    assert {type(result.error) for result in results[1::2]} == {called.Plain}


def test_a_wrapped_error_is_an_exception_with_a_traceback():
    wrapped = failed(called.fail, "why")
    assert isinstance(wrapped, Exception)
    assert isinstance(wrapped.traceback, types.TracebackType)
    line, = traceback.extract_tb(wrapped.traceback)
    assert line.name == "fail"
    assert line.filename == called.__file__
    assert line.line == "raise Plain(text) from error"
    assert repr(wrapped) == "WrappedError(Plain('why'))"


def test_reraise():
    wrapped = failed(called.fail, "why")
    for _ in range(2):
        with pytest.raises(called.Plain, match="^why$") as raised:
            wrapped.reraise()
        names = [line.name for line in traceback.extract_tb(raised.tb)]
        assert names[-2:] == ["reraise", "fail"]
    assert isinstance(raised.value.__cause__, KeyError)
    shown = "".join(traceback.format_exception(
        type(raised.value), raised.value, raised.tb))
    assert '{}["key"]' in shown
    assert "direct cause" in shown


def test_print_tb(capsys):
    failed(called.fail).print_tb()
    shown = capsys.readouterr().err
    assert "in fail\n    raise Plain(text) from error" in shown


def test_debug(monkeypatch):
    out = io.StringIO()
    monkeypatch.setitem(sys.modules, "ipdb", None)
    monkeypatch.setattr("sys.stdin", io.StringIO("where\nlist\nquit\n"))
    monkeypatch.setattr("sys.stdout", out)
    failed(called.fail).debug()
    assert "concurrently_called.py" in out.getvalue()
    assert "->" in out.getvalue()


def test_an_exception_that_cannot_be_pickled():
    wrapped = failed(called.fail_by_class)
    assert isinstance(wrapped.error, sqloom.RemoteError)
    assert wrapped.error.kind == "concurrently_called.Refused"
    assert str(wrapped.error).startswith(
        "concurrently_called.Refused: 7: not today (a stand-in: the exception"
        " cannot be pickled: TypeError: ")
    assert traceback.extract_tb(wrapped.traceback)[-1].name == "fail_by_class"


def test_an_exception_that_is_another_one_after_pickling():
    wrapped = failed(called.fail_as_another)
    assert isinstance(wrapped.error, sqloom.RemoteError)
    assert wrapped.error.kind == "concurrently_called.Another"
    assert "gives an object of another class" in str(wrapped.error)


def test_a_wrapped_error_can_be_sent_on():
    import pickle

    wrapped = failed(called.write_and_fail, "a text")
    again = pickle.loads(pickle.dumps(wrapped))
    assert repr(again) == repr(wrapped)
    assert again.stderr == wrapped.stderr
    assert isinstance(again.traceback, types.TracebackType)


def test_standard_error_is_attached():
    wrapped = failed(called.write_and_fail, "what went on")
    assert wrapped.stderr == "what went on\n"
    assert str(wrapped) == (
        "Plain('after writing')\nstandard error of the call:\nwhat went on\n")


def test_standard_error_of_a_call_that_returns_is_shown(capsys):
    sqloom.call_concurrently(2, called.write, "a warning", "err")
    assert capsys.readouterr().err == "a warning\n" * 2


def test_only_the_end_of_much_standard_error_is_kept(capsys):
    sqloom.call_concurrently(1, called.write_much)
    text = capsys.readouterr().err
    assert len(text) == 64 * 1024
    assert text.endswith("xend")


def test_standard_output_is_that_of_the_test(capfd):
    sqloom.call_concurrently(1, called.write, "said", "out")
    sqloom.call_concurrently(1, called.write_below_python, "written")
    assert capfd.readouterr().out == "said\nwritten"


# What is around


def test_environment(monkeypatch):
    monkeypatch.setenv("SQLOOM_TRIED", "first")
    assert sqloom.call_concurrently(1, called.environment, "SQLOOM_TRIED") == [
        "first"]
    monkeypatch.delenv("SQLOOM_TRIED")
    assert sqloom.call_concurrently(1, called.environment, "SQLOOM_TRIED") == [
        None]


def test_nothing_is_added_to_the_environment():
    assert sqloom.call_concurrently(1, called.whole_environment) == [
        dict(os.environ)]


def test_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sqloom.call_concurrently(1, called.directory) == [str(tmp_path)]


def test_import_path(tmp_path, monkeypatch):
    (tmp_path / "only_here_for_sqloom.py").write_text("def f(): return 'here'")
    with pytest.raises(sqloom.UsageError, match="No module named"):
        sqloom.call_concurrently(1, "only_here_for_sqloom.f")
    monkeypatch.syspath_prepend(tmp_path)
    assert sqloom.call_concurrently(1, "only_here_for_sqloom.f") == ["here"]


def test_descriptors_and_signals_are_those_of_a_new_program():
    files, = sqloom.Calls(databases=()).call_concurrently(
        1, called.open_files)
    assert sorted(name.split()[0] for name in files.values()) == [
        "/memfd:sqloom-result"]
    assert sqloom.call_concurrently(1, called.signals) == [
        ([True, True], set())]


# Refusals


@pytest.mark.parametrize("function, why", [
    (lambda: 1, r"a lambda \(.*test_concurrent.py, line \d+\) has no name"),
    ("nothing", "'nothing' is no dotted path to a function"),
    ("concurrently_called.nothing", "does not find concurrently_called.noth"),
    ("concurrently_called.LIST", "is \\[\\], which cannot be called"),
    ("no_module_of_sqloom.f", "No module named 'no_module_of_sqloom'"),
    (3, "3 cannot be called"),
])
def test_functions_that_are_refused(function, why):
    with pytest.raises(sqloom.UsageError, match=why):
        sqloom.call_concurrently(2, function)


def test_a_closure_is_refused():
    number = 3

    def inside():
        return number

    with pytest.raises(sqloom.UsageError) as refused:
        sqloom.call_concurrently(2, inside)
    assert str(refused.value).startswith(
        "test_a_closure_is_refused.<locals>.inside (")
    assert "is made inside of a function" in str(refused.value)
    assert "sqloom.Calls(threads=True)" in str(refused.value)


def test_a_function_that_its_module_does_not_have(monkeypatch):
    original = called.add
    monkeypatch.setattr(called, "add", called.fail)
    with pytest.raises(sqloom.UsageError, match="under this name"):
        sqloom.call_concurrently(2, original)


def test_an_argument_that_cannot_be_pickled_is_named():
    with pytest.raises(sqloom.UsageError, match=(
            "^argument 2 of concurrently_called.add, a function, cannot be")):
        sqloom.call_concurrently(2, called.add, 1, lambda: 1)
    with open(os.devnull) as file, pytest.raises(
            sqloom.UsageError, match="^argument 'b' of .*, a TextIOWrapper,"):
        sqloom.call_concurrently(2, called.add, 1, b=file)


def test_an_argument_that_cannot_be_unpickled():
    with pytest.raises(sqloom.UsageError, match=(
            "arguments of concurrently_called.add cannot be used in a clean"
            " process: TypeError")):
        sqloom.call_concurrently(3, called.add, called.Refused(1, "x"))


def test_a_result_that_cannot_be_pickled():
    wrapped = failed(called.unpicklable)
    assert isinstance(wrapped.error, sqloom.ResultError)
    assert str(wrapped.error).startswith(
        "concurrently_called.unpicklable returned a function that cannot be"
        " pickled")


def test_a_result_that_cannot_be_unpickled():
    wrapped = failed(called.Refused, 1, "x")
    assert isinstance(wrapped.error, sqloom.ResultError)
    assert "cannot be made from its pickle in this process" in str(
        wrapped.error)


@pytest.mark.parametrize("n, why", [
    (0, "0 calls; give a number from 1 to 256"),
    (257, "257 calls; give a number from 1 to 256"),
    (called.add, "it comes first"),
    (True, "it comes first"),
    ("concurrently_called.add", "it comes first"),
])
def test_numbers_that_are_refused(n, why):
    with pytest.raises(sqloom.UsageError, match=why):
        sqloom.call_concurrently(n, called.add)


@pytest.mark.parametrize("calls, why", [
    ([], "no calls"),
    ([(called.add, 1)], "call 1 is"),
    ([called.process, (called.add, {"a": 1}, {"b": 2})], "call 2 is"),
    ([3], "call 1 is 3"),
])
def test_calls_that_are_refused(calls, why):
    with pytest.raises(sqloom.UsageError, match=why):
        sqloom.make_concurrent_calls(*calls)


@pytest.mark.parametrize("options, why", [
    ({"timeout": 0}, "the timeout is 0"),
    ({"timeout": "5"}, "the timeout is '5'"),
    ({"databases": "default"}, "is one string"),
])
def test_options_that_are_refused(options, why):
    with pytest.raises(sqloom.UsageError, match=why):
        sqloom.Calls(**options)
