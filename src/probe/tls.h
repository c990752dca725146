/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS to a PostgreSQL server, without sockets: encrypted bytes go in and come
 * out of memory, as do plain ones. OpenSSL does the work. What is demanded of
 * the server's certificate follows sslmode as libpq has it.
 *
 * May use base. A session belongs to one thread.
 */
#ifndef SLM_PROBE_TLS_H
#define SLM_PROBE_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include <sqloom/sqloom.h>

enum slm_tls_mode {
	SLM_TLS_DISABLE,
	SLM_TLS_PREFER, /* plain if the server has no TLS */
	SLM_TLS_REQUIRE,
	SLM_TLS_VERIFY_CA,
	SLM_TLS_VERIFY_FULL, /* and the name of the server is that of its
				certificate */
};

/* "allow" is PREFER. False: there is no such sslmode. */
bool slm_tls_mode_of(const char *text, enum slm_tls_mode *out);

struct slm_tls_options {
	enum slm_tls_mode mode;
	/* NULL or "": those in ~/.postgresql, if they are there */
	const char *root, *certificate, *key;
	const char *host; /* the server's name; NULL or "": none is known */
};

/* What the sessions share. */
struct slm_tls_context;

/* All is copied. SQLOOM_UNSUPPORTED: the mode cannot be fulfilled (no root
 * certificate, a file that cannot be used), SQLOOM_NOMEM. */
enum sqloom_status slm_tls_context_new(const struct slm_tls_options *options,
				       struct slm_tls_context **out,
				       struct sqloom_error *err);
/* free(NULL) is fine. The sessions must be gone. */
void slm_tls_context_free(struct slm_tls_context *context);

/* One session. */
struct slm_tls;

/* NULL: memory is out. */
struct slm_tls *slm_tls_new(struct slm_tls_context *context);
/* free(NULL) is fine. */
void slm_tls_free(struct slm_tls *tls);

enum slm_tls_progress { SLM_TLS_MORE, SLM_TLS_DONE, SLM_TLS_FAILED };

/* Goes on with the handshake as far as the bytes allow. FAILED: why is in
 * why, size bytes. */
enum slm_tls_progress slm_tls_handshake(struct slm_tls *tls, char *why,
					size_t size);

/* Encrypted bytes that came from the server. False: memory is out. */
bool slm_tls_receive(struct slm_tls *tls, const void *bytes, size_t size);
/* Plain bytes of the server: how many, 0 if there are none now. *failed: what
 * came was no TLS. */
size_t slm_tls_read(struct slm_tls *tls, void *bytes, size_t size,
		    bool *failed);
/* Plain bytes for the server. */
bool slm_tls_write(struct slm_tls *tls, const void *bytes, size_t size);
/* No more will be written. */
void slm_tls_end(struct slm_tls *tls);
/* Encrypted bytes that are to be sent: borrowed until slm_tls_sent(), which
 * says that they were taken. */
size_t slm_tls_to_send(struct slm_tls *tls, const void **bytes);
void slm_tls_sent(struct slm_tls *tls);

#endif
