/* SPDX-License-Identifier: Apache-2.0 */
/* The type Fixture: owns a struct sqloom_fixture. Used by one thread at a
 * time: a second one gets an exception. */
#include "ext.h"

struct fixture {
	PyObject_HEAD struct sqloom_fixture *fixture; /* NULL: closed */
	bool busy;
};

static int fixture_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "database", "any_database", "processes",
				 NULL };
	struct fixture *fixture = (struct fixture *)self;
	struct sqloom_fixture_options options;
	struct sqloom_fixture *made = NULL;
	struct sqloom_error err;
	enum sqloom_status status;
	int any_database = 0, processes = 0;

	sqloom_fixture_options_init(&options);
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "z|$pp", names,
					 &options.database, &any_database,
					 &processes))
		return -1;
	if (fixture->fixture || fixture->busy) {
		PyErr_SetString(PyExc_RuntimeError,
				"the fixture is open already");
		return -1;
	}
	options.any_database = any_database;
	options.processes = processes;
	fixture->busy = true;
	Py_BEGIN_ALLOW_THREADS;
	status = sqloom_fixture_open(&options, &made, &err);
	Py_END_ALLOW_THREADS;
	fixture->busy = false;
	fixture->fixture = made;
	if (status)
		(void)ext_raise(&err);
	return status ? -1 : 0;
}

static bool may_use(const struct fixture *fixture)
{
	if (fixture->fixture && !fixture->busy)
		return true;
	PyErr_SetString(PyExc_RuntimeError,
			fixture->busy ? "another thread uses the fixture" :
					"the fixture is closed");
	return false;
}

static PyObject *get_url(PyObject *self, void *unused)
{
	const struct fixture *fixture = (const struct fixture *)self;

	(void)unused;
	if (!may_use(fixture))
		return NULL;
	return PyUnicode_DecodeFSDefault(sqloom_fixture_url(fixture->fixture));
}

static PyObject *fixture_restore(PyObject *self, PyObject *unused)
{
	struct fixture *fixture = (struct fixture *)self;
	struct sqloom_error err;
	enum sqloom_status status;
	char *left = NULL;
	PyObject *text;

	(void)unused;
	if (!may_use(fixture))
		return NULL;
	fixture->busy = true;
	Py_BEGIN_ALLOW_THREADS;
	status = sqloom_fixture_restore(fixture->fixture, &left, &err);
	Py_END_ALLOW_THREADS;
	fixture->busy = false;
	if (status)
		return ext_raise(&err);
	text = PyUnicode_DecodeUTF8(left, (Py_ssize_t)strlen(left), "replace");
	sqloom_text_free(left);
	return text;
}

static PyObject *fixture_close(PyObject *self, PyObject *unused)
{
	struct fixture *fixture = (struct fixture *)self;
	struct sqloom_fixture *closing = fixture->fixture;
	struct sqloom_error err;
	enum sqloom_status status;

	(void)unused;
	if (!closing)
		Py_RETURN_NONE;
	if (!may_use(fixture))
		return NULL;
	fixture->fixture = NULL;
	Py_BEGIN_ALLOW_THREADS;
	status = sqloom_fixture_close(closing, &err);
	Py_END_ALLOW_THREADS;
	if (status)
		return ext_raise(&err);
	Py_RETURN_NONE;
}

static void fixture_dealloc(PyObject *self)
{
	PyTypeObject *of = Py_TYPE(self);
	struct sqloom_fixture *closing = ((struct fixture *)self)->fixture;

	if (closing) {
		Py_BEGIN_ALLOW_THREADS;
		(void)sqloom_fixture_close(closing, NULL);
		Py_END_ALLOW_THREADS;
	}
	of->tp_free(self);
	Py_DECREF(of);
}

static PyGetSetDef properties[] = {
	{ "url", get_url, NULL, "What tests connect to.", NULL },
	{ 0 },
};

static PyMethodDef methods[] = {
	{ "restore", fixture_restore, METH_NOARGS,
	  "Puts back; returns who was left in a transaction." },
	{ "close", fixture_close, METH_NOARGS,
	  "Restores, and takes away what was made for it." },
	{ 0 },
};

static PyType_Slot slots[] = {
	{ Py_tp_doc, "A database that is put back after every test." },
	{ Py_tp_new, PyType_GenericNew },
	{ Py_tp_init, fixture_init },
	{ Py_tp_dealloc, fixture_dealloc },
	{ Py_tp_getset, properties },
	{ Py_tp_methods, methods },
	{ 0 },
};

static PyType_Spec spec = {
	.name = "sqloom._ext.Fixture",
	.basicsize = sizeof(struct fixture),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

int ext_fixture_add(PyObject *module)
{
	PyObject *made = PyType_FromSpec(&spec);

	return made ? PyModule_AddObject(module, "Fixture", made) : -1;
}
