#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench/python/run.py [--build DIR] [--db DATABASE]... [--part PART]...
[--rounds N] [--unpinned]: the benches of the Python package.

Each part runs on each database in a process of its own, in which the sides that
are compared take turns; figures are medians, ratios are what to quote. All of
it runs on one CPU, PostgreSQL included: what is handed over from thread to
thread is then not measured by how fast a second CPU wakes up. The server is a
private one, on a Unix socket, without fsync.
"""

import argparse
import importlib.util
import os
import pathlib
import platform
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
DATABASES = ("sqlite", "postgresql")
# A part, and the numbers of models it is run with.
PARTS = {"calls": (10,), "testcases": (10, 100, 400), "schedules": (10,)}


def arguments():
    parser = argparse.ArgumentParser(
        description="Measures the Python package against what people use today.")
    parser.add_argument("--build", default=str(CHECKOUT / "build"))
    parser.add_argument("--db", action="append", choices=DATABASES)
    parser.add_argument("--part", action="append", choices=sorted(PARTS))
    parser.add_argument("--rounds", type=int, default=5,
                        help="at least 5 are worth quoting (5)")
    parser.add_argument("--unpinned", action="store_true")
    return parser.parse_args()


def new_server():
    """The server that the tests use."""
    spec = importlib.util.spec_from_file_location(
        "sqloom_tests_conftest", CHECKOUT / "tests/conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    spec.loader.exec_module(module)
    return module.Server(module.find_postgres())


def measure(options, database, directory, address):
    for part in options.part or PARTS:
        for models in PARTS[part]:
            env = {name: value for name, value in os.environ.items()
                   if not name.startswith("PG")}
            env.update(
                address, BENCH_DB=database, BENCH_MODELS=str(models),
                BENCH_ROUNDS=str(options.rounds), BENCH_DIRECTORY=directory,
                DJANGO_SETTINGS_MODULE="settings",
                PYTHONPATH=os.pathsep.join(
                    (str(pathlib.Path(options.build).resolve() / "site"),
                     str(HERE))))
            subprocess.run([sys.executable, "-B", HERE / f"{part}.py"],
                           env=env, check=True)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not options.unpinned:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    subprocess.run([CHECKOUT / "dev/python-site", options.build], check=True)
    print(f"Python {platform.python_version()}, medians of {options.rounds} "
          f"rounds, {'not pinned' if options.unpinned else 'on one CPU'}\n",
          flush=True)
    with tempfile.TemporaryDirectory(prefix="sqloom-bench-") as directory:
        for database in options.db or DATABASES:
            if database == "sqlite":
                measure(options, database, directory, {})
                continue
            server = new_server()
            try:
                server.start()
                server.sql("CREATE DATABASE bench")
                measure(options, database, directory,
                        {"PGHOST": str(server.directory),
                         "PGUSER": server.user})
            finally:
                server.stop()


main()
