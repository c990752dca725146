/* SPDX-License-Identifier: Apache-2.0 */
/* The module sqloom._ext: its functions, constants and its exception. */
#include "ext.h"

static PyObject *error_type;

#define CONSTANT_OK 0
#define CONSTANT_FAILED 1
#define CONSTANT_REFUSED 2

/* ---- Errors ------------------------------------------------------------ */

/* The C name of a status, without its prefix. */
static const char *status_name(enum sqloom_status status)
{
	switch (status) {
#define X(name, exit_code, text) \
	case SQLOOM_##name:      \
		return #name;
		SQLOOM_STATUS_LIST(X)
#undef X
	}
	return "INTERNAL";
}

static int set_text(PyObject *object, const char *name, const char *text)
{
	AUTO_REF PyObject *value =
		PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");

	return value ? PyObject_SetAttrString(object, name, value) : -1;
}

PyObject *ext_raise(const struct sqloom_error *err)
{
	AUTO_REF PyObject *message = NULL, *error = NULL;

	if (PyErr_Occurred())
		return NULL;
	if (err->status == SQLOOM_NOMEM)
		return PyErr_NoMemory();
	message = PyUnicode_DecodeUTF8(
		err->message, (Py_ssize_t)strlen(err->message), "replace");
	if (!message)
		return NULL;
	error = PyObject_CallOneArg(error_type, message);
	if (!error || set_text(error, "status", status_name(err->status)) ||
	    set_text(error, "sqlstate", err->sqlstate))
		return NULL;
	PyErr_SetObject(error_type, error);
	return NULL;
}

int ext_errors_add(PyObject *module)
{
	error_type = PyErr_NewExceptionWithDoc(
		"sqloom._ext.Error",
		"The job could not be done. A race is never an error.",
		PyExc_Exception, NULL);
	if (!error_type || set_text(error_type, "status", "INTERNAL") ||
	    set_text(error_type, "sqlstate", ""))
		return -1;
	Py_INCREF(error_type);
	return PyModule_AddObject(module, "Error", error_type);
}

/* ---- Functions ------------------------------------------------------------ */

static PyObject *point(PyObject *module, PyObject *name)
{
	const char *text = PyUnicode_AsUTF8(name);
	PyThreadState *thread;

	(void)module;
	if (!text)
		return NULL;
	thread = PyEval_SaveThread();
	sqloom_point(text);
	PyEval_RestoreThread(thread);
	Py_RETURN_NONE;
}

static PyObject *sqlite_mode(PyObject *module, PyObject *unused)
{
	static const char *const names[] = {
		[SQLOOM_SQLITE_ABSENT] = "absent",
		[SQLOOM_SQLITE_PRELOADED] = "preloaded",
		[SQLOOM_SQLITE_LINKED] = "linked",
		[SQLOOM_SQLITE_EXTENSION] = "extension",
	};
	enum sqloom_sqlite_mode mode;

	(void)module;
	(void)unused;
	Py_BEGIN_ALLOW_THREADS;
	mode = sqloom_sqlite_selftest();
	Py_END_ALLOW_THREADS;
	return PyUnicode_FromString(names[mode]);
}

static PyMethodDef functions[] = {
	{ "explore", (PyCFunction)(void (*)(void))ext_explore,
	  METH_VARARGS | METH_KEYWORDS,
	  "explore(names, call, **options)\n--\n\n"
	  "Explores calls, or replays one schedule of them." },
	{ "is_explored", ext_is_explored, METH_NOARGS,
	  "is_explored()\n--\n\nIs this a thread of a call that is explored?" },
	{ "read_trace", ext_read_trace, METH_O,
	  "read_trace(path)\n--\n\nReads a trace that an exploration wrote." },
	{ "point", point, METH_O,
	  "point(name)\n--\n\nWhere other calls may come in between." },
	{ "sqlite_mode", sqlite_mode, METH_NOARGS,
	  "sqlite_mode()\n--\n\nHow SQLite is seen in this process." },
	{ 0 },
};

static int add_constants(PyObject *module)
{
	if (PyModule_AddStringConstant(module, "VERSION", SQLOOM_VERSION) ||
	    PyModule_AddIntConstant(module, "OK", CONSTANT_OK) ||
	    PyModule_AddIntConstant(module, "FAILED", CONSTANT_FAILED) ||
	    PyModule_AddIntConstant(module, "REFUSED", CONSTANT_REFUSED) ||
	    PyModule_AddIntConstant(module, "HOLDS", SQLOOM_HOLDS) ||
	    PyModule_AddIntConstant(module, "BROKEN", SQLOOM_BROKEN) ||
	    PyModule_AddIntConstant(module, "INCONCLUSIVE",
				    SQLOOM_INCONCLUSIVE))
		return -1;
	return 0;
}

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "sqloom._ext",
	.m_doc = "The C binding of sqloom.",
	.m_size = -1,
	.m_methods = functions,
};

PyMODINIT_FUNC PyInit__ext(void);

PyMODINIT_FUNC PyInit__ext(void)
{
	PyObject *module = PyModule_Create(&definition);

	if (!module)
		return NULL;
	if (ext_errors_add(module) || ext_report_add(module) ||
	    ext_fixture_add(module) || add_constants(module)) {
		Py_DECREF(module);
		return NULL;
	}
	return module;
}
