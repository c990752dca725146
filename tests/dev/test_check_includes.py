# SPDX-License-Identifier: Apache-2.0
"""dev/check-includes finds arrows that point back, and only those."""

import subprocess

import pytest


@pytest.fixture
def check(checkout, tmp_path):
    """check({path: text, ...}) -> (exit code, complaints) on such a tree."""

    def run(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run(
            [checkout / "dev/check-includes", tmp_path],
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_the_repository_is_clean(checkout):
    done = subprocess.run(
        [checkout / "dev/check-includes"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_allowed_arrows(check):
    code, out, _ = check(
        {
            "src/base/buf.c": '#include "base/buf.h"\n#include <xxhash.h>\n',
            "src/pg/pg.c": '#include <libpq-fe.h>\n#include "base/buf.h"\n',
            "src/db/postgres.c": '#include <libpq-fe.h>\n#include "pg/pg.h"\n',
            "src/isolation/run.c": '#include "pg/pg.h"\n#include "sql/sql.h"\n',
            "src/db/sqlite.c": '#include <sqlite3.h>\n#include "sql/sql.h"\n',
            "src/explore/explore.c": '#include "report/report.h"\n',
            "src/trace/read.c": "#include <jansson.h>\n",
            "include/sqloom/sqloom.h": "#include <stdio.h>\n",
            "cli/cli.h": "#include <sqloom/sqloom.h>\n",
            "cli/main.c": '#include "cli.h"\n',
            "python/ext/ext.h": "#include <Python.h>\n",
            "python/ext/x.c": '#include "ext.h"\n#include <sqloom/kit.h>\n',
            "tests/unit/db/test_x.c": '#include "spec/spec.h"\n',
            "tests/unit/trace/test_y.c": '#include "../db/helper.h"\n',
            "tests/unit/db/helper.h": "",
            "tests/fuzz/fuzz.h": "",
            "tests/fuzz/fuzz_spec.c": '#include "fuzz.h"\n',
        }
    )
    assert (code, out) == (0, "")


@pytest.mark.parametrize(
    "path, line, complaint",
    [
        ("src/base/buf.c", '#include "spec/spec.h"', "base must not know spec"),
        ("src/loom/loom.c", '#include "trace/trace.h"', "loom must not know"),
        ("src/strategy/pct.c", '#include "loom/loom.h"', "must not know loom"),
        ("src/db/sqlite.c", '#include "oracle/oracle.h"', "db must not know"),
        ("src/report/text.c", '  #  include "spec/spec.h"', "must not know"),
        ("src/oracle/serial.c", '#include "db/db.h"', "oracle must not know"),
        ("src/call/call.c", '#include "explore/run.h"', "call must not know"),
        ("src/base/buf.c", '#include "buf.h"', 'write the module, too: "base/'),
        ("src/base/buf.c", '#include "cli/cli.h"', '"cli" is no module'),
        ("src/db/x.c", '#include "../base/buf.h"', 'no ".."'),
        ("src/db/x.c", "#include <base/buf.h>", "included in quotes"),
        ("src/pg/pg.c", '#include "db/db.h"', "pg must not know db"),
        ("src/isolation/x.c", '#include "db/db.h"', "must not know db"),
        ("src/explore/x.c", "#include <libpq-fe.h>", "only pg and db and iso"),
        ("src/spec/read.c", "#include <pg_query.h>", "only sql may know"),
        ("src/loom/loom.c", "#include <sqlite3.h>", "only sql and db"),
        ("src/report/json.c", "#include <xxhash.h>", "only base may know"),
        ("src/novel/x.c", "", "novel has no row"),
        ("include/sqloom/sqloom.h", '#include "base/buf.h"', "public headers"),
        ("cli/main.c", '#include "spec/spec.h"', "public headers only"),
        ("cli/main.c", '#include "missing.h"', "public headers only"),
        ("cli/main.c", "#include <sqlite3.h>", "public headers only"),
        ("python/ext/x.c", '#include "base/buf.h"', "public headers only"),
        ("python/ext/x.c", "#include <sqlite3.h>", "public headers only"),
        ("tests/unit/db/test_x.c", '#include "cli/cli.h"', "tests include"),
        ("tests/unit/db/x.c", '#include "../../../cli/x.h"', "tests include"),
    ],
)
def test_arrows_that_point_back(check, path, line, complaint):
    code, out, err = check({path: f"/* first */\n{line}\n"})
    assert code == 1
    assert complaint in out
    assert out.startswith(path)
    if line:
        assert out.startswith(f"{path}:2: {line.strip()}\n")
    assert "1 wrong in 1 files" in err


def test_a_tree_without_sources_is_no_success(check):
    code, _, err = check({"README.md": "nothing here"})
    assert code == 1
    assert "no C files" in err
