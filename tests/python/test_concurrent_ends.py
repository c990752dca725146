# SPDX-License-Identifier: Apache-2.0
"""Calls in clean processes that do not return: late, crashed, killed; and that
nothing is left of them, of the helper, or in this process, whatever happens."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

import concurrently_called as called
import sqloom
from sqloom import _processes

PATIENCE_S = 60  # of the tests; nothing is measured by it


def wait_until(what):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def is_there(pid):
    """Not as a zombie."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def helper_pid():
    sqloom.call_concurrently(1, called.process)
    return _processes._helper.process.pid


def started_by(directory):
    """Processes that called.start() told of."""
    return [int(word) for path in pathlib.Path(directory).glob("*.started")
            for word in path.read_text().split()]


def left_of_calls():
    """Children of the helper that are no spares: those wait for an order on a
    socket, which is neither that of a call nor anything that a call starts."""
    pid = _processes._helper.process.pid
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [child for child in path.read_text().split()
            if not is_spare(child)]


def is_spare(pid):
    try:
        files = [os.readlink(path) for path in
                 pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return True  # it has ended
    return any(file.startswith("socket:") for file in files)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _nothing_is_left():
    """Neither a child of the helper nor a descriptor of ours."""
    helper_pid()
    before = descriptors()
    yield
    if _processes._helper is not None and _processes._helper.is_alive():
        assert left_of_calls() == []
    helper_pid()
    assert descriptors() == before


def failed(calls, function, *args):
    result, = calls.call_concurrently(1, function, *args)
    assert isinstance(result, sqloom.WrappedError)
    return result


# Late


def test_a_late_call_is_killed_and_shows_where_it_was():
    late = failed(sqloom.Calls(timeout=0.2), called.hang)
    assert isinstance(late.error, sqloom.CallTimedOut)
    assert late.error.timeout == 0.2
    assert str(late.error) == (
        "concurrently_called.hang had not returned after 0.2 s; its process"
        " was killed")
    assert "concurrently_called.py" in late.stderr
    assert "in hang" in late.stderr
    assert "_child.py" not in late.stderr


def test_others_are_not_late():
    results = sqloom.Calls(timeout=0.5).make_concurrent_calls(
        *[(called.hang_if, {"number": number % 2}) for number in range(6)])
    assert results[::2] == ["returned"] * 3
    assert {type(result.error) for result in results[1::2]} == {
        sqloom.CallTimedOut}


def test_a_late_call_that_hears_nothing_is_killed():
    late = failed(sqloom.Calls(timeout=0.2), called.hang_deaf)
    assert isinstance(late.error, sqloom.CallTimedOut)


@pytest.mark.parametrize("detached", [False, True])
def test_what_a_late_call_started_is_killed(tmp_path, detached):
    failed(sqloom.Calls(timeout=1), called.start_and_hang, str(tmp_path),
           detached)
    pids = started_by(tmp_path)
    assert len(pids) == 2
    assert not any(map(is_there, pids))


@pytest.mark.parametrize("detached", [False, True])
def test_what_a_call_leaves_behind_is_killed(tmp_path, detached):
    assert sqloom.call_concurrently(
        2, called.start, str(tmp_path), detached) == [None, None]
    pids = started_by(tmp_path)
    assert len(pids) == 4
    assert not any(map(is_there, pids))


# Crashed, or ended


def test_a_crash_is_named_and_shows_where_it_was():
    crash = failed(sqloom, called.crash)
    assert isinstance(crash.error, sqloom.CallCrashed)
    assert crash.error.signal == signal.SIGSEGV
    assert str(crash.error) == (
        "the process of concurrently_called.crash was killed: SIGSEGV,"
        " Segmentation fault")
    assert "in crash" in crash.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM,
                                    signal.SIGHUP])
def test_signals(number):
    crash = failed(sqloom, called.kill_self, number)
    assert isinstance(crash.error, sqloom.CallCrashed)
    assert crash.error.signal == number


@pytest.mark.parametrize("function, given", [
    (called.leave, 3), (called.leave, "a text"), (called.leave, None),
    (called.leave_at_once, 4), (called.leave_at_once, 0)])
def test_exit_is_told(function, given):
    end = failed(sqloom, function, given)
    assert isinstance(end.error, sqloom.CallExited)
    assert end.error.code == given


def test_a_keyboard_interrupt_of_the_call_is_a_value():
    assert isinstance(failed(sqloom, called.interrupt).error,
                      KeyboardInterrupt)


def test_calls_after_all_that():
    for function in (called.crash, called.hang_deaf, called.fail):
        sqloom.Calls(timeout=0.1).call_concurrently(3, function)
        assert sqloom.call_concurrently(2, called.add, 1) == [3, 3]


# The helper


def test_the_helper_is_kept():
    assert helper_pid() == helper_pid()


def test_a_helper_that_was_killed_between_calls_is_replaced():
    pid = helper_pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_there(pid))
    assert sqloom.call_concurrently(2, called.add, 1) == [3, 3]
    assert helper_pid() != pid


def test_a_helper_that_is_killed_in_the_middle_is_told(tmp_path):
    pid = helper_pid()

    def kill():
        wait_until(lambda: len(started_by(tmp_path)) == 4)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(sqloom.Error) as raised:
        sqloom.call_concurrently(
            2, called.start_and_hang, str(tmp_path), False)
    killer.join()
    assert str(raised.value) == (
        "the helper of clean processes ended in the middle of calls, while it"
        " was running the calls: signal 9")
    for left in started_by(tmp_path):
        wait_until(lambda left=left: not is_there(left))
    assert sqloom.call_concurrently(2, called.add, 1) == [3, 3]


def test_a_helper_that_does_not_answer_is_killed(tmp_path, monkeypatch):
    (tmp_path / "never_imported_for_sqloom.py").write_text(
        "import time\ntime.sleep(1000)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_processes, "PREPARE_S", 0.5)
    monkeypatch.setattr(_processes, "CANCEL_S", 0.1)
    pid = helper_pid()
    with pytest.raises(sqloom.Error, match=(
            "did not answer, and was killed, while it was importing"
            " never_imported_for_sqloom.f")):
        sqloom.call_concurrently(1, "never_imported_for_sqloom.f")
    assert not is_there(pid)
    monkeypatch.undo()
    assert sqloom.call_concurrently(1, called.add, 1) == [3]


def test_a_module_that_ends_the_program(tmp_path, monkeypatch):
    (tmp_path / "ends_the_program.py").write_text(
        "import os, sys\nprint('about to end', file=sys.stderr, flush=True)\n"
        "os._exit(5)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(sqloom.Error) as raised:
        sqloom.call_concurrently(1, "ends_the_program.f")
    assert str(raised.value) == (
        "the helper of clean processes ended in the middle of calls, while it"
        " was importing ends_the_program.f: exit status 5\nabout to end\n")


def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "broken_for_sqloom.py").write_text("import os\n1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(sqloom.UsageError) as raised:
        sqloom.call_concurrently(1, "broken_for_sqloom.f")
    assert "ZeroDivisionError" in str(raised.value)
    assert 'broken_for_sqloom.py", line 2' in str(raised.value)


def test_a_module_that_makes_calls_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "calls_early.py").write_text(textwrap.dedent("""
        import sqloom

        def f():
            return 1

        sqloom.call_concurrently(2, f)
        """))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(sqloom.UsageError, match='under `if __name__ =='):
        sqloom.call_concurrently(1, "calls_early.f")


def test_what_an_import_leaves_is_told(tmp_path, monkeypatch):
    (tmp_path / "leaves_things.py").write_text(textwrap.dedent("""
        import socket, threading
        listening = socket.create_server(("127.0.0.1", 0))
        connected = socket.create_connection(listening.getsockname())
        threading.Thread(target=threading.Event().wait, name="of the import",
                         daemon=True).start()

        def f():
            return 1
        """))
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert sqloom.call_concurrently(2, "leaves_things.f") == [1, 1]
        assert sqloom.call_concurrently(2, "leaves_things.f") == [1, 1]
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    assert "left a thread, 'of the import'; clean" in texts[0]
    assert "left a socket that is connected to ('127.0.0.1', " in texts[1]
    _processes.stop_helper()


def test_spares_that_were_killed_are_not_used():
    sqloom.call_concurrently(3, called.process)
    pid = helper_pid()
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    spares = wait_until(lambda: path.read_text().split())
    for spare in spares:
        os.kill(int(spare), signal.SIGKILL)
    pids = sqloom.call_concurrently(5, called.process)
    assert len(set(pids)) == 5
    assert not set(map(str, pids)) & set(spares)


def test_spares_see_what_was_imported_later(tmp_path, monkeypatch):
    sqloom.call_concurrently(3, called.process)
    (tmp_path / "imported_later.py").write_text(
        "import os\nhelper = os.getpid()\n"
        "def f():\n    return helper == os.getppid()\n")
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(3):
        assert sqloom.call_concurrently(2, "imported_later.f") == [True] * 2


# This process


def test_calls_of_several_threads_at_once():
    results = {}

    def go(number):
        results[number] = sqloom.call_concurrently(3, called.add, number)

    threads = [threading.Thread(target=go, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: [i + 2] * 3 for i in range(6)}


def test_a_fork_of_this_process_has_a_helper_of_its_own():
    pid = helper_pid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert sqloom.call_concurrently(2, called.add, 1) == [3, 3]
            os.write(writing, str(_processes._helper.process.pid).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading) as file:
        other = int(file.read())
    assert os.waitpid(child, 0)[1] == 0
    assert other != pid
    # It did not say goodbye to it.
    wait_until(lambda: not is_there(other))
    assert helper_pid() == pid


def test_a_call_can_make_calls():
    assert sqloom.call_concurrently(1, nested) == [[3, 3]]


def nested():
    return sqloom.call_concurrently(2, called.add, 1)


def run_program(text, directory, *arguments):
    path = directory / "program.py"
    path.write_text(textwrap.dedent(text))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.Popen(
        [sys.executable, str(path), *arguments], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


LONG = """
    import sys, sqloom, concurrently_called as called
    from sqloom import _processes
    sqloom.call_concurrently(1, called.add, 1)
    print(_processes._helper.process.pid, flush=True)
    try:
        sqloom.call_concurrently(3, called.start_and_hang, sys.argv[1], True)
    except KeyboardInterrupt:
        from test_concurrent_ends import left_of_calls
        print("interrupted", left_of_calls(), flush=True)
        print(sqloom.call_concurrently(2, called.add, 1))
    """


def test_ctrl_c(tmp_path):
    program = run_program(LONG, tmp_path, str(tmp_path))
    with program:
        helper = int(program.stdout.readline())
        wait_until(lambda: len(started_by(tmp_path)) == 6)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=PATIENCE_S)
    assert out == "interrupted []\n[3, 3]\n"
    assert err == ""
    assert not any(map(is_there, [helper, *started_by(tmp_path)]))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_if_the_program_is_killed(tmp_path, number):
    program = run_program(LONG, tmp_path, str(tmp_path))
    with program:
        helper = int(program.stdout.readline())
        wait_until(lambda: len(started_by(tmp_path)) == 6)
        program.send_signal(number)
        program.communicate(timeout=PATIENCE_S)
    for pid in [helper, *started_by(tmp_path)]:
        wait_until(lambda pid=pid: not is_there(pid))


def test_the_helper_ends_even_while_it_imports(tmp_path):
    (tmp_path / "never_imported_for_sqloom.py").write_text(
        "import pathlib, time\npathlib.Path('here').touch()\n"
        "time.sleep(1000)\n")
    program = run_program("""
        import os, sqloom, concurrently_called as called
        from sqloom import _processes
        os.chdir(os.path.dirname(__file__))
        sqloom.call_concurrently(1, called.add, 1)
        print(_processes._helper.process.pid, flush=True)
        sqloom.call_concurrently(1, "never_imported_for_sqloom.f")
        """, tmp_path)
    with program:
        helper = int(program.stdout.readline())
        wait_until((tmp_path / "here").exists)
        program.kill()
    wait_until(lambda: not is_there(helper))


def test_the_helper_ends_although_a_fork_lives(tmp_path):
    """The fork holds what the program had open, and knows nothing of that; the
    thread that started the helper has ended before."""
    program = run_program("""
        import ctypes, os, signal, threading
        import sqloom, concurrently_called as called
        from sqloom import _processes
        thread = threading.Thread(
            target=sqloom.call_concurrently, args=(1, called.add, 1))
        thread.start()
        thread.join()
        fork = ctypes.CDLL(None).fork()
        if not fork:
            os.closerange(0, 3)
            signal.pause()
        print(_processes._helper.process.pid, fork, flush=True)
        signal.pause()
        """, tmp_path)
    with program:
        helper, fork = map(int, program.stdout.readline().split())
        program.kill()
    try:
        wait_until(lambda: not is_there(helper))
    finally:
        os.kill(fork, signal.SIGKILL)


def test_the_helper_outlives_the_thread_that_started_it(tmp_path):
    program = run_program("""
        import threading, sqloom, concurrently_called as called
        from sqloom import _processes
        def first():
            sqloom.call_concurrently(1, called.add, 1)
        thread = threading.Thread(target=first)
        thread.start()
        thread.join()
        pid = _processes._helper.process.pid
        print(sqloom.call_concurrently(2, called.add, 1))
        print(pid == _processes._helper.process.pid, pid)
        """, tmp_path)
    out, err = program.communicate(timeout=PATIENCE_S)
    assert err == ""
    lines = out.split()
    assert lines[:3] == ["[3,", "3]", "True"]
    assert not is_there(int(lines[3]))


def test_functions_and_classes_of_a_program(tmp_path):
    program = run_program("""
        import sqloom
        class Point:
            def __init__(self, x):
                self.x = x
        def move(point, by):
            return Point(point.x + by)
        def fail():
            raise Odd("so")
        class Odd(Exception):
            pass
        if __name__ == "__main__":
            point, = sqloom.call_concurrently(1, move, Point(1), by=2)
            print(type(point) is Point, point.x)
            error, = sqloom.call_concurrently(1, fail)
            print(type(error.error) is Odd)
        """, tmp_path)
    assert program.communicate(timeout=PATIENCE_S) == ("True 3\nTrue\n", "")


def test_a_program_without_a_guard_is_told(tmp_path):
    program = run_program("""
        import sqloom
        def f():
            return 1
        sqloom.call_concurrently(1, f)
        """, tmp_path)
    _, err = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 1
    assert "UsageError" in err
    assert 'under `if __name__ == "__main__":`' in err


def test_a_program_that_is_no_file_is_told(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", "import sqloom\ndef f(): pass\n"
         "sqloom.call_concurrently(1, f)"], env=environment,
        capture_output=True, text=True, timeout=PATIENCE_S)
    assert "is defined in __main__, which is no file" in ended.stderr


def test_no_warning_at_the_end_of_a_program(tmp_path):
    program = run_program("""
        import warnings
        warnings.simplefilter("error")
        import sqloom, concurrently_called as called
        print(sqloom.call_concurrently(2, called.add, 1))
        """, tmp_path)
    assert program.communicate(timeout=PATIENCE_S) == ("[3, 3]\n", "")
