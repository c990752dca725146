# SPDX-License-Identifier: Apache-2.0
"""One call in a clean process, against a manage.py that is started for it: both
have django.setup() behind them and make one query."""

import os
import pathlib
import subprocess
import sys

if os.environ["BENCH_DB"] == "sqlite":
    os.environ["BENCH_FILE"] = os.environ["BENCH_DIRECTORY"] + "/calls.sqlite3"

from common import heading, line, median, ROUNDS, seconds, test_database

TARGET = 40
CALLS = 20
HERE = pathlib.Path(__file__).resolve().parent


def main():
    from django.db import connection

    import sqloom
    from rows.functions import one_query

    env = {**os.environ, "BENCH_NAME": str(connection.settings_dict["NAME"])}

    def clean_process():
        results = sqloom.call_concurrently(1, one_query)
        assert results == [0], results

    def manage(*command):
        return subprocess.run([sys.executable, "-B", HERE / "manage.py",
                               *command], env=env, check=True,
                              stdout=subprocess.PIPE).stdout

    def program():
        assert manage("one_query") == b"0\n"

    first = seconds(clean_process)
    ours, theirs, forks = [], [], []
    for _ in range(ROUNDS):
        ours += [seconds(clean_process) for _ in range(CALLS)]
        theirs += [seconds(program) for _ in range(3)]
        forks.append(float(manage("forks", str(CALLS))))
    ratio = median(theirs) / median(ours)
    heading("one call with one query", "ms")
    line("in a clean process : manage.py", 1e3 * median(ours),
         1e3 * median(theirs), ratio, f">= {TARGET}", ratio >= TARGET)
    print(f"  a bare fork of a program that is ready, and its query: "
          f"{median(forks):.3g} ms, ratio "
          f"{1e3 * median(theirs) / median(forks):.3g}")
    print(f"  the first call, which starts the helper, took {first:.2f} s\n",
          flush=True)


with test_database():
    main()
