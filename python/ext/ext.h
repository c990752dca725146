/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the extension module sqloom._ext share. It converts, lets
 * go of the GIL around everything that may block, and maps errors; its contract
 * is python/sqloom/_ext.pyi. May include <sqloom/sqloom.h> only.
 *
 * A function that returns a pointer or an int in Python's way sets an exception
 * when it fails, and is called with the GIL held.
 */
#ifndef SQLOOM_PYTHON_EXT_H
#define SQLOOM_PYTHON_EXT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <sqloom/sqloom.h>

/* Freed when it goes out of scope. */
static inline void ext_decref(PyObject **object)
{
	Py_XDECREF(*object);
}
#define AUTO_REF __attribute__((cleanup(ext_decref)))

/* Raises Error(message) with .status and .sqlstate. Returns NULL. */
PyObject *ext_raise(const struct sqloom_error *err);
int ext_errors_add(PyObject *module);

/* ---- Options (options.c) -------------------------------------------------- */

#define EXT_TEXTS_MAX 256 /* of one list of texts */

/* Sets the field of options that has this name; its texts are borrowed from
 * value. lists: takes the arrays that it needs, freed by ext_free_lists().
 * -1: no such field, or not such a value. */
#define EXT_LISTS_MAX 2 /* fields that are lists of texts */
struct ext_lists {
	const char **lists[EXT_LISTS_MAX];
	unsigned count;
};
int ext_set_option(struct sqloom_options *options, struct ext_lists *lists,
		   PyObject *name, PyObject *value);
void ext_free_lists(struct ext_lists *lists);

/* The texts of a sequence, NULL at the end; borrowed from it, the array is freed
 * with PyMem_Free(). */
const char **ext_texts(PyObject *sequence, const char *what);

/* ---- Types ---------------------------------------------------------------- */

int ext_report_add(PyObject *module);
/* Takes report. */
PyObject *ext_report_new(struct sqloom_report *report);
/* NULL: it is none. Borrowed. */
const struct sqloom_report *ext_report_of(PyObject *object);
PyObject *ext_read_trace(PyObject *module, PyObject *path);

int ext_fixture_add(PyObject *module);

/* ---- Calls (calls.c) ------------------------------------------------------ */

PyObject *ext_explore(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *ext_is_explored(PyObject *module, PyObject *unused);

#endif
