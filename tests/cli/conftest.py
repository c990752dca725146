# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command share: running it beside the test and on a
terminal, and specs."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios

import pytest

LOST_UPDATE = """\
setup {
    CREATE TABLE account (id INTEGER PRIMARY KEY, bal INTEGER);
    INSERT INTO account VALUES (1, 100);
}
session alice
step a_read  { SELECT bal FROM account WHERE id = 1 }
step a_write { UPDATE account SET bal = :bal + 10 WHERE id = 1 }
session bob
step b_read  { SELECT bal FROM account WHERE id = 1 }
step b_write { UPDATE account SET bal = :bal + 10 WHERE id = 1 }
"""

ATOMIC = """\
setup { CREATE TABLE hits (n INTEGER); INSERT INTO hits VALUES (0) }
session first
step f1 { UPDATE hits SET n = n + 1 }
session second
step s1 { UPDATE hits SET n = n + 1 }
"""


def restore_sigint():
    """A test run in the background of a shell ignores SIGINT; what it starts
    would, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(sqloom, environment, tmp_path):
    """Starts the command and hands out the process; kills what is left."""
    started = []

    def run(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **env):
        process = subprocess.Popen(
            [sqloom, *map(str, arguments)],
            cwd=tmp_path,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=restore_sigint,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()  # nothing, if it has been waited for
        process.wait()
        for pipe in process.stdout, process.stderr:
            if pipe is not None:
                pipe.close()


class Terminal:
    """A pseudo-terminal. Closed by its fixture."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.seen = b""

    def resize(self, columns):
        """A new one has no size."""
        size = struct.pack("4H", 24, columns, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)

    def read(self):
        """What comes next; b"" at the end of the program's output."""
        try:
            data = os.read(self.master, 65536)
        except OSError:  # Linux says EIO when nobody has the slave open.
            data = b""
        self.seen += data
        return data

    def read_until(self, wanted):
        while wanted not in self.seen:
            assert self.read(), self.seen

    def read_all(self):
        """To the end; the caller's slave must be the command's alone."""
        self.release()
        while self.read():
            pass
        return self.seen

    def release(self):
        if self.slave is not None:
            os.close(self.slave)
        self.slave = None


@pytest.fixture
def terminal():
    try:
        made = Terminal()
    except OSError as error:
        # A bare chroot: nothing that could be installed gives it one.
        pytest.skip(f"no pseudo-terminals here, mount /dev/pts: {error}")
    yield made
    made.release()
    os.close(made.master)


@pytest.fixture
def broken_spec(write):
    return write("broken.spec", LOST_UPDATE)


@pytest.fixture
def holding_spec(write):
    return write("holding.spec", ATOMIC)


@pytest.fixture
def long_spec(write):
    """4 sessions of 6 steps: 2 * 10^12 schedules, a lost update in many."""
    parts = [
        "setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER);",
        "        INSERT INTO t VALUES (1, 0), (2, 0) }",
    ]
    for session in "klmn":
        parts.append(f"session {session}")
        for i in range(3):
            parts.append(f"step {session}r{i} {{ SELECT v FROM t WHERE id = 1 }}")
            parts.append(
                f"step {session}w{i} {{ UPDATE t SET v = :v + 1 WHERE id = 1 }}"
            )
    return write("long.spec", "\n".join(parts) + "\n")


@pytest.fixture
def long_holding_spec(write):
    """As long, and nothing goes wrong."""
    parts = ["setup { CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (0) }"]
    for session in "klmn":
        parts.append(f"session {session}")
        for i in range(6):
            parts.append(f"step {session}{i} {{ UPDATE t SET v = v + 1 }}")
    return write("long-holding.spec", "\n".join(parts) + "\n")
