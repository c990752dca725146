# SPDX-License-Identifier: Apache-2.0
"""dev/man-pages: headers become pages, and what is not documented is refused."""

import subprocess

import pytest

HEADER = r"""/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqloom: makes things.
 *
 * One promise:
 *
 * - It never prints.
 */
#ifndef SQLOOM_H
#define SQLOOM_H

#define SQLOOM_VERSION "9.8.7"

/* ---- Status ---- */

/* The list. */
#define SQLOOM_STATUS_LIST(X)    \
	X(OK, 0, "ok")           \
	X(USAGE, 2, "not valid") \
	X(IO, 3, "not readable")

enum sqloom_status {
#define X(name, exit_code, text) SQLOOM_##name,
	SQLOOM_STATUS_LIST(X)
#undef X
};

/* What went wrong. */
struct sqloom_error {
	char message[640]; /* one line */
};

/* ---- Things ------------------------------------------------------------- */

/*
 * All about things.
 */

#define SQLOOM_THINGS_MAX 16 /* at once */

/* A thing. */
struct sqloom_thing;
#define SQLOOM_THING_INIT(name) \
	{                       \
		(name), NULL    \
	}

/* Always start from sqloom_things_init(). */
struct sqloom_things {
	/* How many; at most
	 * SQLOOM_THINGS_MAX. */
	size_t count;
	const char *name; /* borrowed; -1 is
			     no name */
	/* Below: callbacks. */
	bool (*goes_on)(void *userdata, int code); /* may be NULL */
	void *userdata;
};

/* The defaults: everything 0 or NULL. */
void sqloom_things_init(struct sqloom_things *things);

/*
 * Makes a thing (owned by the caller); blocks. The out of *out is lost.
 *
 * Fails with SQLOOM_USAGE. See sqloom_thing_free(), and --help.
 */
enum sqloom_status sqloom_thing_new(const struct sqloom_things *things_there,
				    void (*drop)(void *arg, int code),
				    struct sqloom_thing **out,
				    struct sqloom_error *err);
/* Frees them. NULL is fine. */
void sqloom_thing_free(struct sqloom_thing *thing);
bool sqloom_thing_freed(const struct sqloom_thing *thing, const char *fmt, ...)
#if defined(__GNUC__)
	__attribute__((format(printf, 2, 3)))
#endif
	;

#endif
"""


@pytest.fixture
def make(checkout, tmp_path):
    """make(text) -> (exit code, complaint, {name of a page: its text})."""

    def run(text):
        header = tmp_path / "sqloom.h"
        header.write_text(text)
        directory = tmp_path / "man3"
        directory.mkdir(exist_ok=True)
        (directory / "old.3").write_text("of an earlier build")
        done = subprocess.run([checkout / "dev/man-pages", directory, header],
                              capture_output=True, text=True)
        return done.returncode, done.stderr, {
            path.stem: path.read_text() for path in directory.iterdir()}

    return run


@pytest.fixture
def pages(make):
    code, complaint, pages = make(HEADER)
    assert (code, complaint) == (0, "")
    return pages


def plain(page):
    """Without fonts, and with the lines of a paragraph joined."""
    for font in "BIP":
        page = page.replace(f"\\f{font}", "")
    return " ".join(page.split())


def test_a_page_for_each_function(pages):
    assert set(pages) == {"sqloom", "sqloom_things_init", "sqloom_thing_new",
                          "sqloom_thing_free", "sqloom_thing_freed"}
    assert pages["sqloom_thing_freed"] == ".so man3/sqloom_thing_free.3\n"


def test_name_and_title(pages):
    page = plain(pages["sqloom_thing_new"])
    assert '.TH SQLOOM_THING_NEW 3 "" "sqloom 9.8.7" "C library"' in page
    assert ".SH NAME sqloom_thing_new \\- makes a thing .SH" in page
    assert ("sqloom_thing_free, sqloom_thing_freed \\- frees them"
            in plain(pages["sqloom_thing_free"]))


def test_synopsis_fits_and_is_complete(pages):
    assert r"""
\fBenum sqloom_status\fP
\fBsqloom_thing_new(const struct sqloom_things *things_there,\fP
\fB                 void (*drop)(void *arg, int code),\fP
\fB                 struct sqloom_thing **out, struct sqloom_error *err);\fP
""" in pages["sqloom_thing_new"]
    assert "attribute" not in "".join(pages.values())
    assert "fmt, ...);" in plain(pages["sqloom_thing_free"])


def test_description(pages):
    page = " ".join(pages["sqloom_thing_new"].split())
    assert r"The out of \fI*out\fP is lost. .PP Fails" in page
    assert r"See \fBsqloom_thing_free\fP(3), and \-\-help." in page
    assert "All about things." in page  # the section's own comment
    assert r".TP \fBSQLOOM_USAGE\fP not valid" in page
    assert "not readable" not in page


def test_types_are_described_once(pages):
    page = plain(pages["sqloom_things_init"])
    assert "struct sqloom_things:" in page
    assert (".TP size_t count How many; at most SQLOOM_THINGS_MAX. "
            ".TP const char *name borrowed; \\-1 is no name "
            ".PP Below: callbacks. "
            ".TP bool (*goes_on)(void *userdata, int code) may be NULL "
            ".TP void *userdata") in page
    assert "#define SQLOOM_THINGS_MAX 16" in page
    assert "size_t count" not in pages["sqloom_thing_new"]
    assert (r"#define SQLOOM_THING_INIT(name) { (name), NULL }"
            in plain(pages["sqloom_thing_new"]))
    assert "struct sqloom_thing;" in plain(pages["sqloom_thing_new"])
    assert "sqloom_things_init(3)" in plain(pages["sqloom_thing_new"])


def test_overview(pages):
    page = plain(pages["sqloom"])
    assert "sqloom \\- makes things .SH" in page
    assert "It never prints." in page
    assert "SQLOOM_IO not readable (exit code 3)" in page
    assert "char message[640] one line" in page
    assert "sqloom_thing_free(3), sqloom_thing_freed(3) frees them" in page


@pytest.mark.parametrize("comment, function", [
    ("/* The defaults: everything 0 or NULL. */\n", "sqloom_things_init"),
    ("/* Frees them. NULL is fine. */\n", "sqloom_thing_free"),
])
def test_a_function_without_a_comment(make, comment, function):
    assert HEADER.count(comment) == 1
    changed = HEADER.replace(comment, "\n")
    code, complaint, pages = make(changed)
    line = changed.split(f"void {function}(")[0].count("\n") + 1
    assert code == 1
    assert complaint.endswith(f"sqloom.h:{line}: {function}() has no comment; "
                              "write one above it, it becomes its man page\n")
    assert set(pages) == {"old"}  # nothing half made


def test_a_declaration_that_it_cannot_read(make):
    code, complaint, _ = make(HEADER.replace("struct sqloom_thing;",
                                             "int sqloom_things;"))
    assert code == 1
    assert "what is this?\nint sqloom_things;" in complaint
