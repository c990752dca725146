/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes down what clients say through a relay: a call per connection, its
 * statements in the order in which the server was given them, with what they
 * returned. Nothing is held or changed. Bounded: what is beyond the limits is
 * relayed and not recorded, and a note of the trace says so.
 */
#ifndef SLM_PROBE_RECORD_H
#define SLM_PROBE_RECORD_H

#include <sqloom/sqloom.h>

#include "probe/relay.h"

#define SLM_RECORD_EVENTS_MAX 100000		 /* statements */
#define SLM_RECORD_BYTES_MAX (256 * 1024 * 1024) /* of texts and rows */

struct slm_record;

/* path: of the trace; copied. SQLOOM_USAGE: another file is there,
 * SQLOOM_NOMEM. */
enum sqloom_status slm_record_new(const char *path, struct slm_record **out,
				  struct sqloom_error *err);
/* free(NULL) is fine. Connections must be closed. */
void slm_record_free(struct slm_record *record);

/* For the hooks of the relay. The connection's data are the record's. */
struct slm_dialog *slm_record_open(struct slm_record *record,
				   struct slm_relay_connection *connection,
				   const struct slm_wire_startup *startup);
void slm_record_closed(struct slm_record *record,
		       struct slm_relay_connection *connection);

/* What comes now is no longer recorded: the relay is about to be stopped.
 * server_version: "15.5", "" if it is not known; copied. */
void slm_record_end(struct slm_record *record, const char *server_version);

/* After the end: writes the trace; fills in what of the summary tells of the record. */
enum sqloom_status slm_record_write(struct slm_record *record,
				    struct sqloom_proxy_summary *summary,
				    struct sqloom_error *err);

#endif
