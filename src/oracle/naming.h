/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files that name anomalies share: anomaly.c, for outcomes that
 * are wrong, and anomaly_error.c, for calls that failed. */
#ifndef SLM_ORACLE_NAMING_H
#define SLM_ORACLE_NAMING_H

#include "oracle/internal.h"

/* What the search works with. */
struct slm_naming {
	const struct slm_oracle *oracle;
	const struct slm_group *group;
	const struct slm_view *view;
	struct slm_arena *scratch;
	struct slm_accesses all;
	struct slm_buf cause;
	const char *name; /* static; NULL: none found */
};

/* read, by the call of own, is stale for own because of foreign. */
struct slm_stale {
	const struct slm_access *read, *foreign, *own;
	uint32_t table;
};

/* anomaly.c */
const char *slm_naming_call(const struct slm_naming *n, uint32_t call);
bool slm_naming_in_table(uint64_t tables, uint32_t table);
/* "before alice's write", or what made it invisible. */
const char *slm_naming_before(const struct slm_stale *s);
/* The last step of the call of own before own that reads table, and does not
 * itself write it. */
const struct slm_access *slm_naming_last_read(const struct slm_naming *n,
					      const struct slm_access *own,
					      uint32_t table);

/* anomaly_error.c: names the first unexpected error of this kind. */
bool slm_naming_error(struct slm_naming *n, enum slm_error_kind kind);

#endif
