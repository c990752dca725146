# SPDX-License-Identifier: Apache-2.0
"""The interpreter never freezes: whatever the calls do, an exploration ends,
with a message. Each case runs in a process of its own that may take a minute."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("SQLOOM_TEST_DB") == "postgresql",
    reason="it is on SQLite anyway, and runs then")

LIMIT = 60  # seconds

PRELUDE = """
import os, signal, sqlite3, sys, threading, time
import sqloom
from sqloom import call_database

def connect(**more):
    return sqlite3.connect(call_database(), isolation_level=None, **more)

def set_up():
    db = connect()
    db.executescript("CREATE TABLE t (v INT); INSERT INTO t VALUES (1)")
    db.close()

def add():
    db = connect()
    [(v,)] = db.execute("SELECT v FROM t")
    db.execute("UPDATE t SET v = ?", [v + 1])
    db.close()

def explore(calls, check=None, **more):
    try:
        report = sqloom.explore(calls, check, setup=set_up,
                                database=":memory:", **more)
    except sqloom.Error as error:
        print(type(error).__name__, error)
        return None
    print(report)
    return report

def explore_again():
    "What came before has left nothing behind."
    assert sqloom.explore([add] * 2, setup=set_up, database=":memory:").broken
    print("again: fine")
"""


def environment():
    """Django has nothing to do with it."""
    kept = dict(os.environ)
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    kept.pop("PYTEST_CURRENT_TEST", None)
    return kept


def start(code):
    code = PRELUDE + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", code], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=environment())


def finish(process):
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"it froze\n{out}\n{err}")
    return process.returncode, out, err


def run(code, quiet=True):
    status, out, err = finish(start(code))
    assert status == 0, out + err
    assert err == "" or not quiet
    return out + err


def test_a_connection_shared_by_threads():
    said = run("""
        shared = []

        def use():
            if not shared:
                shared.append(connect(check_same_thread=False))
            [(v,)] = shared[0].execute("SELECT v FROM t")
            shared[0].execute("UPDATE t SET v = ?", [v + 1])

        explore([use] * 2)
        explore_again()
    """)
    assert said.startswith(("broken", "inconclusive"))
    assert "again: fine" in said


def test_a_transaction_on_a_shared_connection():
    said = run("""
        shared = []

        def use():
            if not shared:
                shared.append(connect(check_same_thread=False))
            db = shared[0]
            db.execute("BEGIN IMMEDIATE")
            [(v,)] = db.execute("SELECT v FROM t")
            db.execute("UPDATE t SET v = ?", [v + 1])
            db.execute("COMMIT")

        explore([use] * 2)
        explore_again()
    """)
    assert said.startswith(("broken", "inconclusive"))


def test_a_connection_of_another_thread_is_refused_by_sqlite3():
    said = run("""
        shared = []

        def use():
            if not shared:
                shared.append(connect())
            shared[0].execute("UPDATE t SET v = v + 1")

        explore([use] * 2)
        explore_again()
    """)
    assert "can only be used in that same thread" in said


def test_a_trace_callback_of_the_users_own():
    said = run("""
        seen = []

        def use():
            db = connect()
            db.set_trace_callback(seen.append)
            [(v,)] = db.execute("SELECT v FROM t")
            db.execute("UPDATE t SET v = ?", [v + 1])
            db.set_trace_callback(None)
            db.close()

        explore([use] * 2)
        assert any("SELECT v" in sql for sql in seen), seen
        explore_again()
    """)
    assert said.startswith("broken")


def test_a_trace_callback_that_uses_the_database():
    said = run("""
        def use():
            db = connect()
            other = connect()
            db.set_trace_callback(
                lambda sql: other.execute("SELECT v FROM t").fetchall())
            db.execute("UPDATE t SET v = v + 1")
            db.set_trace_callback(None)
            other.close()
            db.close()

        explore([use] * 2)
        explore_again()
    """)
    assert "again: fine" in said


def test_functions_that_sqlite_calls_back():
    said = run("""
        def use():
            db = connect()
            db.create_function("plus", 1, lambda v: v + 1)
            db.set_authorizer(lambda *args: sqlite3.SQLITE_OK)
            db.set_progress_handler(lambda: 0, 1)
            db.execute("UPDATE t SET v = plus(v)")
            db.close()

        explore([use] * 2)
        explore_again()
    """)
    assert said.startswith("holds")


@pytest.mark.parametrize("name", [
    "file:shared?mode=memory&cache=shared", "file::memory:?cache=shared"])
def test_a_database_in_memory_with_a_shared_cache(name):
    said = run(f"""
        keeper = sqlite3.connect({name!r}, uri=True, isolation_level=None)
        keeper.executescript("CREATE TABLE s (v INT); INSERT INTO s VALUES (1)")

        def use():
            own = sqlite3.connect({name!r}, uri=True, isolation_level=None)
            [(v,)] = own.execute("SELECT v FROM s")
            own.execute("UPDATE s SET v = ?", [v + 1])
            own.close()
            add()

        explore([use] * 2)
        explore_again()
    """)
    assert "again: fine" in said
    assert "memory" in said or "another SQLite" in said, said


def test_an_exception_in_a_check():
    said = run("""
        def check():
            raise ValueError("a defect of the check")

        try:
            explore([add] * 2, check)
        except ValueError as error:
            print("raised", error)
        explore_again()
    """)
    assert said.startswith("raised a defect of the check")


def test_a_check_that_exits():
    said = run("""
        try:
            explore([add] * 2, lambda: sys.exit(3))
        except SystemExit as error:
            print("raised", error)
        explore_again()
    """)
    assert said.startswith("raised 3")


def test_a_call_that_exits_its_thread():
    said = run("""
        def leave():
            add()
            sys.exit(3)

        explore([leave] * 2)
        explore_again()
    """)
    assert "SystemExit: 3" in said


def test_a_call_that_never_returns():
    said = run("""
        never = threading.Event()

        def hang():
            add()
            never.wait()

        explore([hang, add], call_limit=1)
        explore_again()
    """)
    assert "hang" in said and "call_limit=" in said
    assert "again: fine" in said


def test_a_call_that_never_stops_computing():
    said = run("""
        stop = []

        def spin():
            add()
            while not stop:
                pass

        explore([spin, add], call_limit=1)
        stop.append(True)
        explore_again()
    """)
    assert "spin" in said and "call_limit=" in said


def test_calls_that_wait_for_each_other():
    said = run("""
        one, two = threading.Lock(), threading.Lock()

        def use(first, second):
            with first:
                add()
                with second:
                    add()

        explore([(use, one, two), (use, two, one)], call_limit=2)
        explore_again()
    """)
    assert said.startswith(("inconclusive", "broken", "LimitError"))


def test_a_lock_of_the_programs_own_around_it():
    said = run("""
        lock = threading.Lock()

        def use():
            with lock:
                add()

        explore([use] * 2)
        explore_again()
    """)
    assert said.startswith("inconclusive")
    assert "a lock inside of the program" in " ".join(said.split())


def test_a_call_that_closes_its_connection_in_the_middle():
    said = run("""
        def use():
            db = connect()
            rows = db.execute("SELECT v FROM t UNION ALL SELECT v FROM t")
            next(rows)
            db.execute("BEGIN")
            db.execute("UPDATE t SET v = 2")
            db.close()
            db = connect()
            db.execute("SELECT v FROM t").fetchall()

        explore([use] * 2)
        explore_again()
    """)
    assert said.startswith("holds")


def test_a_cursor_and_a_transaction_that_are_left_open():
    said = run("""
        kept = []

        def use():
            db = connect()
            kept.append(db)
            db.execute("BEGIN IMMEDIATE")
            kept.append(db.execute("SELECT v FROM t UNION ALL SELECT 1"))
            next(kept[-1])

        explore([use] * 2)
        explore_again()
    """)
    assert "again: fine" in said


def test_a_thread_that_is_not_joined():
    said = run("""
        def late():
            time.sleep(0.05)
            add()

        def use():
            add()
            threading.Thread(target=late).start()

        explore([use] * 2)
        time.sleep(0.3)
        explore_again()
    """, quiet=False)
    assert "again: fine" in said
    assert "threads that the calls had started were still running" in said
    assert "(late()): what they do then" in " ".join(said.split())


def test_a_pool_whose_threads_wait_for_work():
    said = run("""
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)

        def use():
            pool.submit(add).result()

        explore([use] * 2)
        explore_again()
    """)
    assert said.startswith("broken") and "threads that" not in said


def test_a_thread_that_is_not_joined_and_never_ends():
    said = run("""
        stop = threading.Event()

        def work():
            while not stop.is_set():
                add()

        def use():
            add()
            threading.Thread(target=work, daemon=True).start()

        explore([use] * 2, call_limit=2, max_runs=5)
        stop.set()
        time.sleep(0.3)
        explore_again()
    """, quiet=False)
    assert "again: fine" in said
    assert "hreads that the calls had started" in said
    assert "work()" in said


def test_a_call_that_fails_beside_a_thread_that_is_not_joined():
    said = run("""
        stop = threading.Event()

        def work():
            stop.wait()

        def use():
            connect().execute("SELECT v FROM t")
            threading.Thread(target=work).start()
            raise ValueError("the thread is in the way")

        explore([use] * 2)
        stop.set()
        explore_again()
    """, quiet=False)
    assert "again: fine" in said
    assert "fails in every run" in said and "ValueError" in said
    assert "Threads that the calls had started ran on" in said
    assert "(work()): end and join them" in said


def test_threads_of_the_test_that_go_on_meanwhile():
    said = run("""
        stop = threading.Event()

        def work():
            db = sqlite3.connect(":memory:")
            while not stop.is_set():
                db.execute("SELECT 1").fetchall()

        thread = threading.Thread(target=work)
        thread.start()
        explore([add] * 2)
        stop.set()
        thread.join()
    """)
    assert said.startswith("broken")


def test_a_call_that_forks():
    said = run("""
        def use():
            add()
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)

        explore([use] * 2)
        explore_again()
    """)
    assert said.startswith("broken")


def test_an_exploration_at_the_end_of_the_interpreter():
    said = run("""
        import atexit
        atexit.register(explore_again)
        explore([add] * 2, max_runs=2)
    """)
    assert "again: fine" in said


# ---- Ctrl-C -------------------------------------------------------------------

ENDLESS = """
def slow():
    add()
    time.sleep(0.002)
    add()

try:
    print("begins", flush=True)
    explore([slow] * 6, max_runs=0, stall_after=5)
except KeyboardInterrupt:
    print("interrupted", flush=True)
explore_again()
"""


@pytest.mark.parametrize("code", [
    ENDLESS,
    ENDLESS.replace("[slow] * 6, max", "[slow] * 6, lambda: None, max"),
    # In a call that hangs: it is left alone.
    ENDLESS.replace("[slow] * 6, max",
                    "[add, lambda: (add(), time.sleep(30))], max")
    .replace("stall_after=5", "stall_after=40"),
], ids=["calls", "check", "hang"])
def test_ctrl_c(code):
    process = start(code)
    assert process.stdout.readline() == "begins\n"
    # Somewhere in the middle; wherever that is, it must be right.
    process.send_signal(signal.SIGINT)
    status, out, err = finish(process)
    assert "interrupted" in out, out + err
    assert "again: fine" in out, out + err
    assert status == 0 and err == "", err


def test_ctrl_c_again_and_again():
    process = start(ENDLESS)
    assert process.stdout.readline() == "begins\n"
    for _ in range(20):
        process.send_signal(signal.SIGINT)
    _, out, err = finish(process)
    assert "interrupted" in out or "KeyboardInterrupt" in err


def test_a_signal_handler_of_the_users_own():
    process = start("""
        class Stop(Exception):
            pass

        def handler(number, frame):
            raise Stop("told to stop")

        signal.signal(signal.SIGUSR1, handler)
        def slow():
            add()
            time.sleep(0.002)
            add()

        try:
            print("begins", flush=True)
            explore([slow] * 6, max_runs=0, stall_after=5)
        except Stop as error:
            print(error)
        explore_again()
    """)
    assert process.stdout.readline() == "begins\n"
    process.send_signal(signal.SIGUSR1)
    status, out, err = finish(process)
    assert "told to stop" in out and "again: fine" in out, out + err
    assert status == 0 and err == "", err
