/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL between two memory BIOs. May use base.
 */
#include "probe/tls.h"

#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

#define PATH_BYTES 1024
#define WHY_BYTES 256

struct slm_tls_context {
	SSL_CTX *ssl;
	char *host; /* NULL: none is known */
	bool verifies_host;
};

struct slm_tls {
	SSL *ssl;
	BIO *in, *out; /* owned by ssl */
};

bool slm_tls_mode_of(const char *text, enum slm_tls_mode *out)
{
	static const struct {
		const char *text;
		enum slm_tls_mode mode;
	} modes[] = {
		{ "disable", SLM_TLS_DISABLE },
		{ "allow", SLM_TLS_PREFER },
		{ "prefer", SLM_TLS_PREFER },
		{ "require", SLM_TLS_REQUIRE },
		{ "verify-ca", SLM_TLS_VERIFY_CA },
		{ "verify-full", SLM_TLS_VERIFY_FULL },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(modes[i].text, text) == 0) {
			*out = modes[i].mode;
			return true;
		}
	return false;
}

/* What OpenSSL says last, in words. */
static const char *reason(char *text, size_t size)
{
	unsigned long code = ERR_peek_last_error();
	const char *words = code ? ERR_reason_error_string(code) : NULL;

	if (words)
		snprintf(text, size, "%s", words);
	else if (code)
		ERR_error_string_n(code, text, size);
	else
		snprintf(text, size, "the connection was closed");
	ERR_clear_error();
	return text;
}

/* ---- Files ------------------------------------------------------------- */

/* The file that was named, else the one of this name in ~/.postgresql. False:
 * there is none. */
static bool find_file(const char *given, const char *name, char *path)
{
	struct passwd entry, *found = NULL;
	char buffer[4096];
	struct stat info;
	int length;

	if (given && *given)
		length = snprintf(path, PATH_BYTES, "%s", given);
	else if (getpwuid_r(geteuid(), &entry, buffer, sizeof(buffer),
			    &found) == 0 &&
		 found)
		length = snprintf(path, PATH_BYTES, "%s/.postgresql/%s",
				  found->pw_dir, name);
	else
		return false;
	return length < PATH_BYTES && stat(path, &info) == 0;
}

static enum sqloom_status bad_file(const char *what, const char *path,
				   struct sqloom_error *err)
{
	char why[WHY_BYTES];

	return slm_error_set(err, SQLOOM_UNSUPPORTED,
			     "the %s %s cannot be used: %s; name another one "
			     "in the connection string",
			     what, path, reason(why, sizeof(why)));
}

/* As libpq has it: a root certificate that is there is always checked
 * against. */
static enum sqloom_status load_root(struct slm_tls_context *context,
				    const struct slm_tls_options *options,
				    struct sqloom_error *err)
{
	char path[PATH_BYTES] = "";

	if (!find_file(options->root, "root.crt", path)) {
		if (options->mode < SLM_TLS_VERIFY_CA)
			return SQLOOM_OK;
		return slm_error_set(
			err, SQLOOM_UNSUPPORTED,
			"sslmode asks to verify the server, but there is no "
			"root certificate %s; give sslrootcert=FILE in the "
			"connection string, or another sslmode",
			path);
	}
	if (SSL_CTX_load_verify_locations(context->ssl, path, NULL) != 1)
		return bad_file("root certificate", path, err);
	SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
	return SQLOOM_OK;
}

static enum sqloom_status load_own(struct slm_tls_context *context,
				   const struct slm_tls_options *options,
				   struct sqloom_error *err)
{
	char path[PATH_BYTES] = "";

	if (!find_file(options->certificate, "postgresql.crt", path)) {
		if (!options->certificate || !*options->certificate)
			return SQLOOM_OK;
		return slm_error_set(err, SQLOOM_UNSUPPORTED,
				     "there is no certificate %s; correct "
				     "sslcert in the connection string",
				     path);
	}
	if (SSL_CTX_use_certificate_chain_file(context->ssl, path) != 1)
		return bad_file("certificate", path, err);
	if (!find_file(options->key, "postgresql.key", path))
		return slm_error_set(err, SQLOOM_UNSUPPORTED,
				     "there is no private key %s for the "
				     "certificate; give sslkey=FILE in the "
				     "connection string",
				     path);
	if (SSL_CTX_use_PrivateKey_file(context->ssl, path, SSL_FILETYPE_PEM) !=
	    1)
		return bad_file("private key", path, err);
	return SQLOOM_OK;
}

/* A key with a passphrase: nobody is asked at the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *userdata)
{
	(void)buffer, (void)size, (void)writing, (void)userdata;
	return 0;
}

/* ---- Contexts ---------------------------------------------------------- */

enum sqloom_status slm_tls_context_new(const struct slm_tls_options *options,
				       struct slm_tls_context **out,
				       struct sqloom_error *err)
{
	bool named = options->host && *options->host;
	enum sqloom_status status = SQLOOM_OK;
	struct slm_tls_context *context = NULL;

	assert(options->mode != SLM_TLS_DISABLE);
	if (options->mode == SLM_TLS_VERIFY_FULL && !named)
		return slm_error_set(err, SQLOOM_UNSUPPORTED,
				     "sslmode=verify-full compares the name of "
				     "the server, and none is given; give "
				     "host=NAME beside hostaddr");
	context = slm_calloc(1, sizeof(*context));
	if (!context)
		return slm_error_nomem(err);
	context->ssl = SSL_CTX_new(TLS_client_method());
	if (named)
		context->host = slm_strdup(options->host);
	if (!context->ssl || (named && !context->host)) {
		status = slm_error_nomem(err);
		goto out;
	}
	context->verifies_host = options->mode == SLM_TLS_VERIFY_FULL;
	SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION);
	SSL_CTX_set_default_passwd_cb(context->ssl, no_passphrase);
	SSL_CTX_set_mode(context->ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					       SSL_MODE_RELEASE_BUFFERS);
	/* A server that goes away without a word is an end like others: what
	 * a message is, its length says. */
	SSL_CTX_set_options(context->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
	status = load_root(context, options, err);
	if (!status)
		status = load_own(context, options, err);
out:
	if (status)
		slm_tls_context_free(context);
	else
		*out = context;
	return status;
}

void slm_tls_context_free(struct slm_tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ssl);
	slm_free(context->host);
	slm_free(context);
}

/* ---- Sessions ---------------------------------------------------------- */

static bool is_address(const char *host)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, bytes) == 1 ||
	       inet_pton(AF_INET6, host, bytes) == 1;
}

static bool set_host(SSL *ssl, const struct slm_tls_context *context)
{
	bool address;

	if (!context->host)
		return true;
	address = is_address(context->host);
	if (!address && SSL_set_tlsext_host_name(ssl, context->host) != 1)
		return false;
	if (!context->verifies_host)
		return true;
	if (address)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl),
						     context->host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, context->host) == 1;
}

struct slm_tls *slm_tls_new(struct slm_tls_context *context)
{
	struct slm_tls *tls = slm_calloc(1, sizeof(*tls));

	if (!tls)
		return NULL;
	tls->ssl = SSL_new(context->ssl);
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (!tls->ssl || !tls->in || !tls->out ||
	    !set_host(tls->ssl, context)) {
		BIO_free(tls->in);
		BIO_free(tls->out);
		SSL_free(tls->ssl);
		slm_free(tls);
		ERR_clear_error();
		return NULL;
	}
	BIO_set_mem_eof_return(tls->in, -1);
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	SSL_set_connect_state(tls->ssl);
	return tls;
}

void slm_tls_free(struct slm_tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	slm_free(tls);
}

static bool waits(const struct slm_tls *tls, int result)
{
	int error = SSL_get_error(tls->ssl, result);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

enum slm_tls_progress slm_tls_handshake(struct slm_tls *tls, char *why,
					size_t size)
{
	long verified;
	int result;

	ERR_clear_error();
	result = SSL_do_handshake(tls->ssl);
	if (result == 1)
		return SLM_TLS_DONE;
	if (waits(tls, result))
		return SLM_TLS_MORE;
	verified = SSL_get_verify_result(tls->ssl);
	if (verified != X509_V_OK)
		snprintf(why, size, "its certificate: %s",
			 X509_verify_cert_error_string(verified));
	else
		reason(why, size);
	ERR_clear_error();
	return SLM_TLS_FAILED;
}

bool slm_tls_receive(struct slm_tls *tls, const void *bytes, size_t size)
{
	assert(size <= INT_MAX);
	return BIO_write(tls->in, bytes, (int)size) == (int)size;
}

size_t slm_tls_read(struct slm_tls *tls, void *bytes, size_t size, bool *failed)
{
	int result;

	assert(size <= INT_MAX);
	ERR_clear_error();
	result = SSL_read(tls->ssl, bytes, (int)size);
	*failed = result <= 0 && !waits(tls, result) &&
		  SSL_get_error(tls->ssl, result) != SSL_ERROR_ZERO_RETURN;
	return result > 0 ? (size_t)result : 0;
}

bool slm_tls_write(struct slm_tls *tls, const void *bytes, size_t size)
{
	size_t written;

	ERR_clear_error();
	/* Memory takes all at once. */
	return size == 0 ||
	       (SSL_write_ex(tls->ssl, bytes, size, &written) == 1 &&
		written == size);
}

void slm_tls_end(struct slm_tls *tls)
{
	SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

size_t slm_tls_to_send(struct slm_tls *tls, const void **bytes)
{
	char *data = NULL;
	long size = BIO_get_mem_data(tls->out, &data);

	*bytes = data;
	return size > 0 ? (size_t)size : 0;
}

void slm_tls_sent(struct slm_tls *tls)
{
	(void)BIO_reset(tls->out);
}
