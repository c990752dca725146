/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of struct sqloom_options, by name. */
#include "ext.h"

#include <stddef.h>

enum kind {
	TEXT,	  /* const char *, or None */
	FLAG,	  /* bool */
	NUMBER,	  /* int */
	COUNT,	  /* unsigned */
	LONG,	  /* uint64_t */
	STRATEGY, /* by name */
	STORE,
	NAMES, /* texts */
};

static const struct field {
	const char *name;
	enum kind kind;
	size_t offset;
} fields[] = {
#define F(field, kind)                                               \
	{                                                            \
#field, kind, offsetof(struct sqloom_options, field) \
	}
	F(database, TEXT),
	F(pg_temp, FLAG),
	F(pg_bindir, TEXT),
	F(pg_path, TEXT),
	F(pg_place, TEXT),
	F(isolation, TEXT),
	F(any_database, FLAG),
	F(statement_limit_ms, LONG),
	F(store, STORE),
	F(journal, TEXT),
	F(busy_timeout_ms, NUMBER),
	F(strategy, STRATEGY),
	F(seed, LONG),
	F(max_runs, LONG),
	F(max_time_ms, LONG),
	F(max_preemptions, NUMBER),
	F(pct_depth, COUNT),
	F(strict, FLAG),
	F(ignore, NAMES),
	F(local_begin, FLAG),
	F(proxy_port, NUMBER),
	F(background, NAMES),
	F(stall_after_ms, LONG),
	F(call_limit_ms, LONG),
	F(source, TEXT),
	F(trace_path, TEXT),
#undef F
};

static int set_word(int *out, PyObject *value, const char *what,
		    const char *const *words)
{
	const char *text = PyUnicode_AsUTF8(value);

	if (!text)
		return -1;
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], text) == 0) {
			*out = i;
			return 0;
		}
	PyErr_Format(PyExc_ValueError, "no such %s: %R", what, value);
	return -1;
}

const char **ext_texts(PyObject *sequence, const char *what)
{
	AUTO_REF PyObject *list = PySequence_Fast(sequence, what);
	Py_ssize_t count;
	const char **texts;

	if (!list)
		return NULL;
	count = PySequence_Fast_GET_SIZE(list);
	if (count > EXT_TEXTS_MAX)
		return (void)PyErr_Format(PyExc_ValueError,
					  "%s: %zd of them; the most is %d",
					  what, count, EXT_TEXTS_MAX),
		       NULL;
	texts = PyMem_Calloc((size_t)count + 1, sizeof(*texts));
	if (!texts)
		return (void)PyErr_NoMemory(), NULL;
	for (Py_ssize_t i = 0; i < count; i++) {
		texts[i] = PyUnicode_AsUTF8(PySequence_Fast_GET_ITEM(list, i));
		if (!texts[i]) {
			PyMem_Free(texts);
			return NULL;
		}
	}
	return texts;
}

static int set_count(unsigned *out, PyObject *value)
{
	unsigned long number = PyLong_AsUnsignedLong(value);

	if (number == (unsigned long)-1 && PyErr_Occurred())
		return -1;
	if (number > UINT_MAX) {
		PyErr_SetString(PyExc_OverflowError, "the number is too large");
		return -1;
	}
	*out = (unsigned)number;
	return 0;
}

static int set_number(int *out, PyObject *value)
{
	long number = PyLong_AsLong(value);

	if (number == -1 && PyErr_Occurred())
		return -1;
	if (number < INT_MIN || number > INT_MAX) {
		PyErr_SetString(PyExc_OverflowError, "the number is too large");
		return -1;
	}
	*out = (int)number;
	return 0;
}

static int set_long(uint64_t *out, PyObject *value)
{
	unsigned long long number = PyLong_AsUnsignedLongLong(value);

	if (number == (unsigned long long)-1 && PyErr_Occurred())
		return -1;
	*out = number;
	return 0;
}

static int set_text(const char **out, PyObject *value)
{
	const char *text = value == Py_None ? NULL : PyUnicode_AsUTF8(value);

	if (!text && value != Py_None)
		return -1;
	*out = text;
	return 0;
}

static int set_names(const char *const **out, struct ext_lists *lists,
		     PyObject *value, const char *name)
{
	if (lists->count == EXT_LISTS_MAX) {
		PyErr_SetString(PyExc_ValueError, "too many lists");
		return -1;
	}
	*out = lists->lists[lists->count] = ext_texts(value, name);
	return lists->lists[lists->count++] ? 0 : -1;
}

static int set(const struct field *field, struct sqloom_options *options,
	       struct ext_lists *lists, PyObject *value)
{
	static const char *const strategies[] = {
		[SQLOOM_STRATEGY_AUTO] = "auto",
		[SQLOOM_STRATEGY_EXHAUSTIVE] = "exhaustive",
		[SQLOOM_STRATEGY_RANDOM] = "random",
		[SQLOOM_STRATEGY_UNIFORM] = "uniform",
		[SQLOOM_STRATEGY_PCT] = "pct",
		NULL,
	};
	static const char *const stores[] = {
		[SQLOOM_STORE_MEMORY] = "memory",
		[SQLOOM_STORE_FILE] = "file",
		NULL,
	};
	void *at = (char *)options + field->offset;
	int word = 0;

	switch (field->kind) {
	case TEXT:
		return set_text(at, value);
	case FLAG:
		word = PyObject_IsTrue(value);
		*(bool *)at = word > 0;
		return word < 0 ? -1 : 0;
	case NUMBER:
		return set_number(at, value);
	case COUNT:
		return set_count(at, value);
	case LONG:
		return set_long(at, value);
	case STRATEGY:
		if (set_word(&word, value, "strategy", strategies))
			return -1;
		options->strategy = (enum sqloom_strategy)word;
		return 0;
	case STORE:
		if (set_word(&word, value, "store", stores))
			return -1;
		options->store = (enum sqloom_store)word;
		return 0;
	case NAMES:
		return set_names(at, lists, value, field->name);
	}
	return -1;
}

int ext_set_option(struct sqloom_options *options, struct ext_lists *lists,
		   PyObject *name, PyObject *value)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (PyUnicode_CompareWithASCIIString(name, fields[i].name) == 0)
			return set(&fields[i], options, lists, value);
	PyErr_Format(PyExc_TypeError, "there is no option %R", name);
	return -1;
}

void ext_free_lists(struct ext_lists *lists)
{
	while (lists->count)
		PyMem_Free(lists->lists[--lists->count]);
}
