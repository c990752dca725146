# SPDX-License-Identifier: Apache-2.0
"""Concurrent calls of Celery tasks: by object, although none of them is the
function that its name says."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("celery")

TASKS = """
    import celery

    app = celery.Celery("sqloom", broker="memory://")


    @app.task
    def double(a):
        return 2 * a


    @celery.shared_task(bind=True)
    def name_of(task, a):
        return task.name, a


    @app.task(name="another.name")
    def renamed(a):
        return a + 1
    """

TESTS = """
    import celery_tasks as tasks, sqloom

    print(sqloom.make_concurrent_calls(
        (tasks.double, {"a": 2}), (tasks.name_of, {"a": 3}),
        (tasks.renamed, {"a": 4}), ("celery_tasks.double", {"a": 5}),
        (tasks.double.run, {"a": 6}),
    ))
    """


def test_celery_tasks(tmp_path):
    """In a program of its own: Celery knows one current app."""
    (tmp_path / "celery_tasks.py").write_text(textwrap.dedent(TASKS))
    (tmp_path / "program.py").write_text(textwrap.dedent(TESTS))
    environment = {**os.environ}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    ended = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=60)
    assert ended.stdout == (
        "[4, ('celery_tasks.name_of', 3), 5, 10, 12]\n"), ended.stderr
