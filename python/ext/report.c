/* SPDX-License-Identifier: Apache-2.0 */
/* The type Report: owns a struct sqloom_report, which never changes. */
#include "ext.h"

struct report {
	PyObject_HEAD struct sqloom_report *report;
};

static PyTypeObject *type;

static void report_dealloc(PyObject *self)
{
	PyTypeObject *of = Py_TYPE(self);

	sqloom_report_free(((struct report *)self)->report);
	of->tp_free(self);
	Py_DECREF(of);
}

static PyObject *get_verdict(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromLong(
		sqloom_report_verdict(((struct report *)self)->report));
}

static PyObject *report_render(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "json",     "width",	"color",
				 "ascii",    "brief",	"timing",
				 "findings", "finding", NULL };
	const struct sqloom_report *report = ((struct report *)self)->report;
	int json = 0, color = 0, ascii = 0, brief = 0, timing = 0;
	struct sqloom_render render;
	struct sqloom_error err;
	enum sqloom_status status;
	PyObject *out;
	char *text = NULL;
	size_t size = 0;

	sqloom_render_init(&render);
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$pIppppIz", names,
					 &json, &render.width, &color, &ascii,
					 &brief, &timing, &render.findings,
					 &render.finding))
		return NULL;
	render.format = json ? SQLOOM_FORMAT_JSON : SQLOOM_FORMAT_TEXT;
	render.color = color;
	render.ascii = ascii;
	render.brief = brief;
	render.timing = timing;
	Py_BEGIN_ALLOW_THREADS;
	status = sqloom_report_render(report, &render, &text, &size, &err);
	Py_END_ALLOW_THREADS;
	if (status)
		return ext_raise(&err);
	out = PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "replace");
	sqloom_text_free(text);
	return out;
}

static PyGetSetDef properties[] = {
	{ "verdict", get_verdict, NULL, "HOLDS, BROKEN or INCONCLUSIVE", NULL },
	{ 0 },
};

static PyMethodDef methods[] = {
	{ "render", (PyCFunction)(void (*)(void))report_render,
	  METH_VARARGS | METH_KEYWORDS, "The report as text, or as JSON." },
	{ 0 },
};

static PyType_Slot slots[] = {
	{ Py_tp_doc, "What an exploration came to." },
	{ Py_tp_dealloc, report_dealloc },
	{ Py_tp_getset, properties },
	{ Py_tp_methods, methods },
	{ 0 },
};

static PyType_Spec spec = {
	.name = "sqloom._ext.Report",
	.basicsize = sizeof(struct report),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

int ext_report_add(PyObject *module)
{
	PyObject *made = PyType_FromSpec(&spec);

	if (!made)
		return -1;
	type = (PyTypeObject *)made;
	type->tp_new = NULL; /* only explorations make them */
	Py_INCREF(made);
	return PyModule_AddObject(module, "Report", made);
}

PyObject *ext_report_new(struct sqloom_report *report)
{
	struct report *made = (struct report *)type->tp_alloc(type, 0);

	if (!made) {
		sqloom_report_free(report);
		return NULL;
	}
	made->report = report;
	return (PyObject *)made;
}

const struct sqloom_report *ext_report_of(PyObject *object)
{
	if (!PyObject_TypeCheck(object, type)) {
		PyErr_SetString(PyExc_TypeError,
				"recorded must be a Report or None");
		return NULL;
	}
	return ((struct report *)object)->report;
}

PyObject *ext_read_trace(PyObject *module, PyObject *path)
{
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	enum sqloom_status status;
	AUTO_REF PyObject *bytes = NULL;

	(void)module;
	if (!PyUnicode_FSConverter(path, &bytes))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	status = sqloom_trace_read(PyBytes_AS_STRING(bytes), &report, &err);
	Py_END_ALLOW_THREADS;
	return status ? ext_raise(&err) : ext_report_new(report);
}
