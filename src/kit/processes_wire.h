/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program and its helper say to each other, over a socket, and a call
 * in a clean process to the helper, over a pipe and in a shared page. All three
 * are the same program, so structs go as they are in memory.
 *
 * The helper: SLM_REPLY_READY. The program: one request, followed by its texts and the args. The helper:
 * SLM_REPLY_REFUSED, and that was all; or for each call any number of
 * SLM_REPLY_RECORD, then one of SLM_REPLY_LOST and SLM_REPLY_ENDED, and behind
 * the last call SLM_REPLY_DONE.
 */
#ifndef SLM_KIT_PROCESSES_WIRE_H
#define SLM_KIT_PROCESSES_WIRE_H

#include <sqloom/sqloom.h>

#include <stdatomic.h>

/* ---- The request ------------------------------------------------------- */

struct slm_request {
	uint32_t ncalls;
	uint32_t has_database;
	uint64_t timeout_ms; /* 0: none */
	uint64_t texts_size; /* the database, then each call: a struct
				slm_request_call, and its texts */
	uint64_t args_size;  /* the args, one behind the other */
};

/* In the texts; then name, library, and the variables of the environment, each
 * with its NUL. */
struct slm_request_call {
	uint64_t fn;	     /* address of the function ... */
	uint64_t base;	     /* ... and of the library that it is in */
	uint64_t arg_offset; /* in the args; calls may share one */
	uint64_t arg_size;   /* 0: NULL */
	uint32_t nvariables;
};

/* ---- The replies ------------------------------------------------------- */

enum slm_reply_kind {
	SLM_REPLY_READY,   /* once, at the start. status: errno; it ends */
	SLM_REPLY_REFUSED, /* status: errno; ENOENT: no such function */
	SLM_REPLY_LOST,	   /* it could not be started; status: errno */
	SLM_REPLY_RECORD,  /* payload: next bytes of the call's record */
	SLM_REPLY_ENDED,   /* status: of wait(); payload: standard error */
	SLM_REPLY_DONE,
};

struct slm_reply {
	uint32_t kind;
	uint32_t call;
	int32_t status;
	uint8_t timed_out; /* ENDED: it was killed, because it was late */
	uint8_t returned;  /* ENDED: its function had returned */
	uint64_t size;	   /* of the payload */
};

/* ---- A call and the helper --------------------------------------------- */

/* What a call writes to its pipe when its function has returned: this, the
 * error and the value. */
struct slm_record {
	int32_t returned;
	uint32_t failed;
	uint64_t error_size; /* without a NUL; 0: none */
	uint64_t value_size;
};

enum slm_slot {
	SLM_SLOT_BEGUN,
	SLM_SLOT_LOST,	   /* the child could not get ready; errno beside */
	SLM_SLOT_RETURNED, /* its function has returned */
};

/* Memory that the helper shares with its children. */
struct slm_page {
	atomic_uint go; /* futex: the number of the batch that may run */
	struct {
		atomic_int state; /* enum slm_slot */
		atomic_int error;
	} slots[SQLOOM_CALLS_MAX];
};

#endif
