/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exploring calls that are Python functions. Each call has a thread of the
 * library's, which gets a thread state of Python that is kept as long as the
 * thread: so connections in thread-locals are, too. The GIL is held by a call
 * while it runs Python, and by nobody while it is stopped at a step: SQLite's
 * and libpq's callers let go of it, and so does point().
 */
#include "ext.h"

#include <pthread.h>

/* Lives as long as a call that uses it: one that never returns is left alone
 * when all else is over. All of it needs the GIL. */
struct exploration {
	unsigned users;
	PyObject *call, *setup, *check, *drop; /* NULL: none */
	struct sqloom_function *functions;
	/* The first exception of setup, check, drop or a signal handler; the
	 * exploration ends at the next progress. */
	PyObject *type, *value, *traceback;
};

static void unuse(struct exploration *exploration)
{
	if (--exploration->users > 0)
		return;
	Py_XDECREF(exploration->call);
	Py_XDECREF(exploration->setup);
	Py_XDECREF(exploration->check);
	Py_XDECREF(exploration->drop);
	Py_XDECREF(exploration->type);
	Py_XDECREF(exploration->value);
	Py_XDECREF(exploration->traceback);
	PyMem_Free(exploration->functions);
	PyMem_Free(exploration);
}

/* ---- Threads -------------------------------------------------------------- */

static pthread_key_t states;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The thread ends. Python's own mark on it may be gone already, so the state is
 * ended by hand. */
static void drop_state(void *state)
{
	if (!Py_IsInitialized())
		return;
	PyEval_RestoreThread(state);
	PyThreadState_Clear(state);
	PyThreadState_DeleteCurrent();
}

static void make_key(void)
{
	(void)pthread_key_create(&states, drop_state);
}

/* A state that Ensure has made goes with its Release: one Ensure more keeps it
 * until the thread ends. With the GIL held. */
static void keep_state(void)
{
	(void)pthread_once(&once, make_key);
	if (pthread_getspecific(states))
		return;
	(void)PyGILState_Ensure();
	(void)pthread_setspecific(states, PyThreadState_Get());
}

PyObject *ext_is_explored(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	(void)pthread_once(&once, make_key);
	return PyBool_FromLong(pthread_getspecific(states) != NULL);
}

/* ---- What the library calls ------------------------------------------------- */

/* The exception that is set now is told at the end, if it is the first. */
static void note_exception(struct exploration *exploration)
{
	if (exploration->type)
		PyErr_Clear();
	else
		PyErr_Fetch(&exploration->type, &exploration->value,
			    &exploration->traceback);
}

/* Gives the call's outcome, a tuple, to the library. -1: it is none. */
static int give(struct sqloom_call *call, PyObject *outcome, int *returned)
{
	const char *bytes, *message;
	Py_ssize_t size;
	int kind;

	if (!PyArg_ParseTuple(outcome, "iy#s", &kind, &bytes, &size, &message))
		return -1;
	/* More than it may write: the library says so. */
	(void)sqloom_call_write(call, bytes, (size_t)size);
	*returned = 0;
	if (kind == 1)
		*returned = sqloom_call_fail(call, "%s", message);
	else if (kind == 2)
		*returned = sqloom_call_refuse(call, "%s", message);
	return 0;
}

static void drop_kept(void *kept)
{
	struct exploration *exploration = kept;
	PyGILState_STATE state = PyGILState_Ensure();
	PyObject *result = PyObject_CallNoArgs(exploration->drop);

	if (!result)
		note_exception(exploration);
	Py_XDECREF(result);
	unuse(exploration);
	PyGILState_Release(state);
}

static int call_python(struct sqloom_call *call, void *arg)
{
	struct exploration *exploration = arg;
	PyGILState_STATE state = PyGILState_Ensure();
	PyObject *outcome;
	int returned = -1;

	keep_state();
	exploration->users++;
	if (exploration->drop && !*sqloom_call_keep(call, drop_kept)) {
		exploration->users++;
		*sqloom_call_keep(call, drop_kept) = exploration;
	}
	outcome = PyObject_CallFunction(exploration->call, "nz",
					(Py_ssize_t)sqloom_call_number(call),
					sqloom_call_database(call));
	if (!outcome || give(call, outcome, &returned)) {
		note_exception(exploration);
		returned = sqloom_call_fail(call, "it could not be called");
	}
	Py_XDECREF(outcome);
	unuse(exploration);
	PyGILState_Release(state);
	return returned;
}

/* Setup and check: None, or a text that says why it failed. */
static int ask(struct exploration *exploration, PyObject *function,
	       struct sqloom_call *call)
{
	PyGILState_STATE state = PyGILState_Ensure();
	PyObject *answer = PyObject_CallFunction(function, "z",
						 sqloom_call_database(call));
	const char *text = NULL;
	int failed = 0;

	if (answer && answer != Py_None)
		text = PyUnicode_AsUTF8(answer);
	if (text) {
		failed = sqloom_call_fail(call, "%s", text);
	} else if (answer != Py_None) {
		note_exception(exploration);
		failed = sqloom_call_fail(call, "it raised an exception");
	}
	Py_XDECREF(answer);
	PyGILState_Release(state);
	return failed;
}

static int setup(struct sqloom_call *call, void *arg)
{
	struct exploration *exploration = arg;

	return ask(exploration, exploration->setup, call);
}

static int check(struct sqloom_call *call, void *arg)
{
	struct exploration *exploration = arg;

	return ask(exploration, exploration->check, call);
}

/* Ctrl-C ends it, and so does an exception of the user's functions. */
static bool goes_on(const struct sqloom_progress *progress, void *userdata)
{
	struct exploration *exploration = userdata;
	PyGILState_STATE state = PyGILState_Ensure();
	bool goes;

	(void)progress;
	if (PyErr_CheckSignals())
		note_exception(exploration);
	goes = !exploration->type;
	PyGILState_Release(state);
	return goes;
}

/* ---- explore() ---------------------------------------------------------------- */

struct request {
	struct exploration *exploration;
	struct sqloom_calls calls;
	struct sqloom_options options;
	struct ext_lists lists;
	const char *token;
	const struct sqloom_report *recorded;
	const char **names, **queries;
};

static void free_request(struct request *request)
{
	ext_free_lists(&request->lists);
	PyMem_Free(request->names);
	PyMem_Free(request->queries);
	if (request->exploration)
		unuse(request->exploration);
}
#define AUTO_REQUEST __attribute__((cleanup(free_request)))

static int set_function(PyObject **out, PyObject *value, const char *what)
{
	if (value == Py_None)
		return 0;
	if (!PyCallable_Check(value)) {
		PyErr_Format(PyExc_TypeError, "%s must be callable", what);
		return -1;
	}
	Py_INCREF(value);
	Py_XSETREF(*out, value);
	return 0;
}

/* One keyword argument. 1: it is none of these. */
static int set_keyword(struct request *request, PyObject *name, PyObject *value)
{
	struct exploration *exploration = request->exploration;
	const char *text = PyUnicode_AsUTF8(name);

	if (!text)
		return -1;
	if (strcmp(text, "setup") == 0)
		return set_function(&exploration->setup, value, text);
	if (strcmp(text, "check") == 0)
		return set_function(&exploration->check, value, text);
	if (strcmp(text, "drop") == 0)
		return set_function(&exploration->drop, value, text);
	if (strcmp(text, "queries") == 0) {
		request->queries = ext_texts(value, text);
		return request->queries ? 0 : -1;
	}
	if (strcmp(text, "recorded") == 0) {
		if (value != Py_None)
			request->recorded = ext_report_of(value);
		return PyErr_Occurred() ? -1 : 0;
	}
	if (strcmp(text, "name") == 0 || strcmp(text, "token") == 0) {
		const char *given = value == Py_None ? NULL :
						       PyUnicode_AsUTF8(value);

		if (!given && value != Py_None)
			return -1;
		if (*text == 't')
			request->token = given;
		else
			request->calls.name = given;
		return 0;
	}
	return 1;
}

static int set_keywords(struct request *request, PyObject *kwargs)
{
	PyObject *name, *value;
	Py_ssize_t at = 0;

	while (kwargs && PyDict_Next(kwargs, &at, &name, &value)) {
		int known = set_keyword(request, name, value);

		if (known > 0)
			known = ext_set_option(&request->options,
					       &request->lists, name, value);
		if (known < 0)
			return -1;
	}
	return 0;
}

static int set_calls(struct request *request, PyObject *names)
{
	struct exploration *exploration = request->exploration;
	size_t count = 0;

	request->names = ext_texts(names, "names");
	if (!request->names)
		return -1;
	while (request->names[count])
		count++;
	exploration->functions =
		PyMem_Calloc(count + 1, sizeof(*exploration->functions));
	if (!exploration->functions) {
		PyErr_NoMemory();
		return -1;
	}
	for (size_t i = 0; i < count; i++)
		exploration->functions[i] =
			(struct sqloom_function){ .name = request->names[i],
						  .fn = call_python,
						  .arg = exploration };
	request->calls.calls = exploration->functions;
	request->calls.ncalls = count;
	request->calls.arg = exploration;
	return 0;
}

static PyObject *run(struct request *request)
{
	struct exploration *exploration = request->exploration;
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	enum sqloom_status status;
	PyThreadState *thread = PyEval_SaveThread();

	if (request->token)
		status = sqloom_replay_calls(&request->calls, request->token,
					     request->recorded,
					     &request->options, &report, &err);
	else
		status = sqloom_explore_calls(&request->calls,
					      &request->options, &report, &err);
	PyEval_RestoreThread(thread);
	if (exploration->type) {
		sqloom_report_free(report);
		PyErr_Restore(exploration->type, exploration->value,
			      exploration->traceback);
		exploration->type = NULL;
		exploration->value = exploration->traceback = NULL;
		return NULL;
	}
	return status ? ext_raise(&err) : ext_report_new(report);
}

PyObject *ext_explore(PyObject *module, PyObject *args, PyObject *kwargs)
{
	AUTO_REQUEST struct request request = { 0 };
	struct exploration *exploration = PyMem_Calloc(1, sizeof(*exploration));
	PyObject *names, *call;

	(void)module;
	if (!exploration)
		return PyErr_NoMemory();
	exploration->users = 1;
	request.exploration = exploration;
	sqloom_calls_init(&request.calls);
	sqloom_options_init(&request.options);
	if (!PyArg_ParseTuple(args, "OO:explore", &names, &call) ||
	    set_function(&exploration->call, call, "call") ||
	    set_keywords(&request, kwargs) || set_calls(&request, names))
		return NULL;
	if (exploration->setup)
		request.calls.setup = setup;
	if (exploration->check)
		request.calls.check = check;
	request.calls.queries = request.queries;
	request.options.progress = goes_on;
	request.options.userdata = exploration;
	return run(&request);
}
