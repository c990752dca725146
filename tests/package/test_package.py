# SPDX-License-Identifier: Apache-2.0
"""What `meson install` delivers, as a program outside of the tree meets it: the
headers, both libraries, what pkg-config says, and the manual."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

HEADERS = ("sqloom.h", "kit.h")
STRICT = ("-pedantic", "-Wall", "-Wextra", "-Werror")

# Needs both headers, a database, and a static object.
PROGRAM = r"""
#include <sqloom/sqloom.h>
#include <stdio.h>
#include <string.h>

static const char text[] =
	"setup {\n"
	"  CREATE TABLE account (id INTEGER PRIMARY KEY, bal INTEGER);\n"
	"  INSERT INTO account VALUES (1, 100);\n"
	"}\n"
	"session alice\n"
	"step a1 { SELECT bal FROM account WHERE id = 1 }\n"
	"step a2 { UPDATE account SET bal = :bal + 10 WHERE id = 1 }\n"
	"session bob\n"
	"step b1 { SELECT bal FROM account WHERE id = 1 }\n"
	"step b2 { UPDATE account SET bal = :bal + 10 WHERE id = 1 }\n";

static struct sqloom_signal explored = SQLOOM_SIGNAL_INIT("explored");

static int print_verdict(struct sqloom_signal *signal, const void *sender,
			 void *data, void *arg)
{
	(void)sender;
	(void)arg;
	printf("%s: %s\n", signal->name,
	       *(enum sqloom_verdict *)data == SQLOOM_BROKEN ? "broken" : "?");
	return 0;
}

int main(void)
{
	struct sqloom_receiver receiver;
	struct sqloom_options options;
	struct sqloom_spec *spec = NULL;
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	enum sqloom_verdict verdict;

	sqloom_receiver_init(&receiver);
	receiver.fn = print_verdict;
	if (sqloom_signal_connect(&explored, &receiver, &err))
		return 2;
	sqloom_options_init(&options);
	if (sqloom_spec_parse(text, strlen(text), "text", &spec, &err) ||
	    sqloom_explore(spec, &options, &report, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 3;
	}
	verdict = sqloom_report_verdict(report);
	if (sqloom_signal_send(&explored, NULL, &verdict, NULL, &err))
		return 4;
	sqloom_signal_disconnect(&explored, &receiver);
	sqloom_report_free(report);
	sqloom_spec_free(spec);
	return 0;
}
"""

# Statements of its own, of which the library has to learn.
PROGRAM_WITH_SQLITE = r"""
#include <sqlite3.h>
#include <sqloom/sqloom.h>
#include <stdio.h>

static int setup(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = NULL;
	int failed;

	(void)arg;
	failed = sqlite3_open(sqloom_call_database(call), &db) ||
		 sqlite3_exec(db, "CREATE TABLE hits (n INTEGER);"
				  "INSERT INTO hits VALUES (0)",
			      NULL, NULL, NULL);
	sqlite3_close(db);
	return failed;
}

/* Loses an update if another call comes in between. */
static int count_up(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	char sql[64];
	int n = 0, failed;

	(void)arg;
	if (sqlite3_open(sqloom_call_database(call), &db) ||
	    sqlite3_prepare_v2(db, "SELECT n FROM hits", -1, &stmt, NULL))
		return sqloom_call_fail(call, "%s", sqlite3_errmsg(db));
	if (sqlite3_step(stmt) == SQLITE_ROW)
		n = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	snprintf(sql, sizeof(sql), "UPDATE hits SET n = %d", n + 1);
	failed = sqlite3_exec(db, sql, NULL, NULL, NULL);
	sqlite3_close(db);
	return failed;
}

int main(void)
{
	struct sqloom_function functions[2];
	struct sqloom_calls calls;
	struct sqloom_options options;
	struct sqloom_report *report = NULL;
	struct sqloom_error err;

	for (int i = 0; i < 2; i++) {
		functions[i].name = i ? "one" : "other";
		functions[i].fn = count_up;
		functions[i].arg = NULL;
		functions[i].arg_size = 0;
		functions[i].environment = NULL;
	}
	sqloom_calls_init(&calls);
	calls.calls = functions;
	calls.ncalls = 2;
	calls.setup = setup;
	sqloom_options_init(&options);
	if (sqloom_explore_calls(&calls, &options, &report, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 3;
	}
	printf("%s %s\n",
	       sqloom_sqlite_selftest() == SQLOOM_SQLITE_LINKED ? "linked" : "?",
	       sqloom_report_verdict(report) == SQLOOM_BROKEN ? "broken" : "?");
	sqloom_report_free(report);
	return 0;
}
"""

PROGRAMS = [(PROGRAM, "explored: broken\n"),
            (PROGRAM_WITH_SQLITE, "linked broken\n")]


def run(*command, **more):
    """Its standard output; what it says when it fails."""
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


class Installed:
    """A copy of what is installed, in a directory of the tests."""

    def __init__(self, build, root):
        # What is installed and no more, whatever else the build has.
        targets = json.loads(run("meson", "introspect", "--targets", build))
        run("ninja", "-C", build, *[
            os.path.relpath(path, build) for target in targets
            if target["installed"] for path in target["filename"]])
        run("meson", "install", "-C", build, "--quiet", "--no-rebuild",
            "--destdir", root)
        options = {each["name"]: each["value"] for each in json.loads(
            run("meson", "introspect", "--buildoptions", build))}
        self.prefix = root / options["prefix"].lstrip("/")
        self.libdir = self.prefix / options["libdir"]
        self.man = self.prefix / options["mandir"]
        self.include = self.prefix / options["includedir"]
        # A library that was built with a sanitizer wants a program that was.
        self.sanitize = ([] if options["b_sanitize"] == "none"
                         else ["-fsanitize=" + options["b_sanitize"]])

    def pkg_config(self, *arguments):
        return run("pkg-config", f"--define-variable=prefix={self.prefix}",
                   *arguments, "sqloom",
                   env={**os.environ,
                        "PKG_CONFIG_PATH": self.libdir / "pkgconfig"}).split()


@pytest.fixture(scope="session")
def installed(sqloom, tmp_path_factory):
    build = pathlib.Path(sqloom).resolve().parent.parent
    if not (build / "build.ninja").is_file():
        pytest.skip(f"{sqloom} is not in a build directory: nothing to install")
    return Installed(build, tmp_path_factory.mktemp("installed"))


def preprocessed(installed):
    return run("cc", "-E", "-P", "-include", "sqloom/sqloom.h", "-x", "c",
               "/dev/null", f"-I{installed.include}")


def declared(installed):
    """The functions of the headers. A callback's name stands in parentheses."""
    return set(re.findall(r"\b(sqloom_\w+)\s*\(", preprocessed(installed)))


def exported(installed):
    lines = run("nm", "-D", "--defined-only", "--format=posix",
                installed.libdir / "libsqloom.so").splitlines()
    names = {line.split()[0] for line in lines}
    if installed.sanitize:
        names = {name for name in names if not name.startswith("__")}
    return names


# ---- What is there -----------------------------------------------------------

def test_files(installed):
    def present(directory):
        return {path.name for path in directory.iterdir()}

    assert present(installed.include / "sqloom") == set(HEADERS)
    assert {path.name for path in installed.libdir.glob("lib*")} == {
        "libsqloom.a", "libsqloom.so", "libsqloom.so.0", "libsqloom-sqlite.so"}
    assert (installed.libdir / "libsqloom.so").is_symlink()
    assert present(installed.man / "man1") == {"sqloom.1"}
    assert os.access(installed.prefix / "bin/sqloom", os.X_OK)


def test_the_library_knows_its_name(installed):
    """What a program asks for at run time: the version of the interface."""
    assert "[libsqloom.so.0]" in run("readelf", "-d",
                                     installed.libdir / "libsqloom.so")


def test_exported_are_exactly_the_public_functions(installed):
    public, there = declared(installed), exported(installed)
    assert len(public) > 40
    assert sorted(public - there) == [], "declared, and not in libsqloom.so"
    assert sorted(there - public) == [], "in libsqloom.so, and not declared"


def test_the_command_needs_no_library_of_ours(installed):
    """It is one file, which also runs where it was built."""
    needed = run("readelf", "-d", installed.prefix / "bin/sqloom")
    assert "NEEDED" in needed
    assert "libsqloom" not in needed


# ---- The headers -----------------------------------------------------------

@pytest.mark.parametrize("compiler", ["cc -std=c17 -x c", "c++ -std=c++17 -x c++"])
@pytest.mark.parametrize("order", [HEADERS[:1], HEADERS[1:], HEADERS,
                                   HEADERS[::-1]])
def test_headers_compile_alone(installed, tmp_path, compiler, order):
    source = tmp_path / "source"
    source.write_text(
        "".join(f"#include <sqloom/{name}>\n" for name in order)
        + 'struct sqloom_signal saved = SQLOOM_SIGNAL_INIT("saved");\n'
        + "const char *used(void);\n"
        + "const char *used(void) { return sqloom_version(); }\n")
    run(*compiler.split(), *STRICT, "-fsyntax-only", f"-I{installed.include}",
        source)


# ---- pkg-config --------------------------------------------------------------

def build_program(installed, directory, compiler, text, libs):
    source = directory / "program.c"
    source.write_text(text)
    program = directory / "program"
    run(*compiler.split(), *STRICT, *installed.sanitize, source, "-x", "none",
        "-o", program, *installed.pkg_config("--cflags"), *libs,
        *(["-lsqlite3"] if "<sqlite3.h>" in text else []))
    return program


def test_shared_users_link_one_library(installed):
    assert installed.pkg_config("--libs") == [f"-L{installed.libdir}",
                                              "-lsqloom"]
    assert installed.pkg_config("--print-requires-private") == []
    assert installed.pkg_config("--modversion") == [
        re.search(r'SQLOOM_VERSION "(.*)"', (
            installed.include / "sqloom/sqloom.h").read_text())[1]]


@pytest.mark.parametrize("compiler", ["cc -std=c17", "c++ -std=c++17 -x c++"])
@pytest.mark.parametrize("text, output", PROGRAMS, ids=["spec", "functions"])
def test_a_program_with_the_shared_library(installed, tmp_path, environment,
                                           compiler, text, output):
    program = build_program(installed, tmp_path, compiler, text,
                            installed.pkg_config("--libs"))
    assert "[libsqloom.so.0]" in run("readelf", "-d", program)
    assert run(program, env=environment(
        LD_LIBRARY_PATH=str(installed.libdir))) == output


@pytest.mark.parametrize("text, output", PROGRAMS, ids=["spec", "functions"])
def test_a_program_with_the_static_library(installed, tmp_path, environment,
                                           text, output):
    libs = ["-l:libsqloom.a" if each == "-lsqloom" else each
            for each in installed.pkg_config("--static", "--libs")]
    program = build_program(installed, tmp_path, "cc -std=c17", text, libs)
    assert "libsqloom" not in run("readelf", "-d", program)
    assert run(program, env=environment()) == output


# ---- The manual ----------------------------------------------------------------

def test_every_function_has_a_page(installed):
    pages = {path.stem for path in (installed.man / "man3").iterdir()}
    assert pages == declared(installed) | {"sqloom"}


def test_pages_are_sound(installed):
    """groff has no objection, and every alias leads to a page."""
    groff = shutil.which("groff")
    if not groff:
        pytest.fail("groff is not installed: run dev/setup test, or apt-get "
                    "install groff-base", pytrace=False)
    pages = sorted(path.relative_to(installed.man)
                   for path in installed.man.glob("man[13]/*"))
    for page in pages:
        done = subprocess.run([groff, "-man", "-ww", "-Tutf8", "-P-cbou", page],
                              cwd=installed.man, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (0, ""), page
        assert "NAME" in done.stdout, page
        assert page.stem in done.stdout, page
