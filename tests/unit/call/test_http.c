/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests: their text, what a real server gets of them, and what it
 * answers. The server is a Python program, started as
 * the application of a case is started. No test may leave a handle, a block of
 * memory or a descriptor.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "call/http.h"
#include "call/process.h"

#define RUNS 1000 /* that must leave nothing */
#define LINE_SIZE 400

/* ---- The server -------------------------------------------------------- */

/* /echo tells what it got; other paths answer as they are called. Requests to
 * /slow are answered when the client is gone, or never. */
static const char program[] =
	"PROGRAM="
	"import http.server, os, sys, time\n"
	"gone = 0\n"
	"class Handler(http.server.BaseHTTPRequestHandler):\n"
	"    protocol_version = 'HTTP/1.1'\n"
	"    served = 0\n"
	"    def log_message(self, *args): pass\n"
	"    def answer(self, body, status=200, *headers):\n"
	"        self.send_response(status)\n"
	"        for name, value in headers:\n"
	"            self.send_header(name, value)\n"
	"        self.send_header('Content-Length', str(len(body)))\n"
	"        self.end_headers()\n"
	"        if self.command != 'HEAD': self.wfile.write(body)\n"
	"    def echo(self):\n"
	"        size = int(self.headers.get('Content-Length', 0))\n"
	"        lines = [self.command + ' ' + self.path]\n"
	"        for name in sorted(self.headers.keys()):\n"
	"            if name != 'Host':\n"
	"                lines.append(name + ': ' + self.headers[name])\n"
	"        lines.append('')\n"
	"        body = self.rfile.read(size)\n"
	"        self.answer('\\n'.join(lines).encode() + b'\\n' + body)\n"
	"    def handle_any(self):\n"
	"        global gone\n"
	"        self.served += 1\n"
	"        path = self.path.partition('?')[0]\n"
	"        if path == '/echo': return self.echo()\n"
	"        if path == '/served':\n"
	"            return self.answer(str(self.served).encode())\n"
	"        if path.startswith('/status/'):\n"
	"            return self.answer(b'first line\\nsecond', int(path[8:]))\n"
	"        if path == '/page':\n"
	"            return self.answer(b'<!doctype html>\\n<title>Error\\n at "
	"/x</title>',\n"
	"                500, ('Content-Type', 'text/html; charset=utf-8'))\n"
	"        if path == '/redirect':\n"
	"            return self.answer(b'', 302, ('Location', '/echo'))\n"
	"        if path == '/loop':\n"
	"            return self.answer(b'', 302, ('Location', '/loop'))\n"
	"        if path == '/file':\n"
	"            return self.answer(b'', 302, ('Location', "
	"'file:///etc/passwd'))\n"
	"        if path == '/login':\n"
	"            return self.answer(b'', 303, ('Location', '/echo'),\n"
	"                ('Set-Cookie', 'session=s1'))\n"
	"        if path == '/binary':\n"
	"            return self.answer(bytes(range(256)))\n"
	"        if path == '/big':\n"
	"            return self.answer(b'x' * int(self.path[5:]))\n"
	"        if path == '/json':\n"
	"            return self.answer(b'{\"b\": [1, null], \"a\": \"x\"}',\n"
	"                200, ('Content-Type', 'application/json'))\n"
	"        if path == '/gone': return self.answer(str(gone).encode())\n"
	"        if path == '/slow':\n"
	"            print('slow', flush=True)\n"
	"            if not self.connection.recv(1): gone += 1\n"
	"        if path == '/half':\n"
	"            self.wfile.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: "
	"9\\r\\n\\r\\nabc')\n"
	"        if path == '/garbage':\n"
	"            self.wfile.write(b'SSH-2.0-OpenSSH\\r\\n')\n"
	"        if path == '/chunked':\n"
	"            self.wfile.write(b'HTTP/1.1 200 OK\\r\\n'\n"
	"                b'Transfer-Encoding: chunked\\r\\n\\r\\n'\n"
	"                b'3\\r\\nabc\\r\\n')\n"
	"            time.sleep(0.02)\n"
	"            self.wfile.write(b'5\\r\\n\\ndefg\\r\\n0\\r\\n\\r\\n')\n"
	"        self.close_connection = True\n"
	"    do_GET = do_POST = do_PUT = do_HEAD = do_PURGE = handle_any\n"
	"class Server(http.server.ThreadingHTTPServer):\n"
	"    request_queue_size = 100\n"
	"    def handle_error(self, *args): pass\n"
	"server = Server(('127.0.0.1', 0), Handler)\n"
	"print(server.server_port, flush=True)\n"
	"server.serve_forever()\n";

static const char *const environment[] = { "PATH=/usr/local/bin:/usr/bin:/bin",
					   program, NULL };

struct world {
	uv_loop_t loop;
	struct slm_process *server;
	int port;
	struct slm_http *http;
	struct slm_arena arena;
	int64_t blocks;
	int files;
};

static int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static int start_server(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct slm_process_options options = {
		.loop = &world->loop,
		.command = "exec python3 -c \"$PROGRAM\"",
		.name = "the server",
		.environment = environment,
		.cpu = -1,
	};
	struct sqloom_error err;

	uv_loop_init(&world->loop);
	if (slm_process_start(&options, &world->server, &err) != SQLOOM_OK) {
		print_error("%s\n", err.message);
		return -1;
	}
	while (!strchr(slm_process_output(world->server, NULL, NULL), '\n')) {
		if (slm_process_has_ended(world->server)) {
			print_error("%s\n", slm_process_errors(world->server,
							       NULL, NULL));
			return -1;
		}
		uv_run(&world->loop, UV_RUN_ONCE);
	}
	world->port = atoi(slm_process_output(world->server, NULL, NULL));
	*state = world;
	return 0;
}

static int stop_server(void **state)
{
	struct world *world = *state;
	int closed;

	slm_process_free(world->server, 1000);
	closed = uv_loop_close(&world->loop);
	free(world);
	return closed;
}

static int begin(void **state)
{
	struct world *world = *state;
	struct sqloom_error err;

	slm_process_forget_output(world->server);
	world->blocks = slm_alloc_live();
	world->files = open_files();
	slm_arena_init(&world->arena);
	return slm_http_new(&world->loop, &world->http, &err);
}

static int end(void **state)
{
	struct world *world = *state;
	int64_t blocks;
	int files;

	slm_http_free(world->http);
	slm_arena_deinit(&world->arena);
	blocks = slm_alloc_live() - world->blocks;
	files = open_files() - world->files;
	if (blocks > 1 || files != 0)
		print_error("left: blocks %d, files %d\n", (int)blocks, files);
	/* What the server writes is kept in one block. */
	return blocks > 1 || files != 0;
}

/* ---- Helpers ----------------------------------------------------------- */

/* An answer, kept. */
struct kept {
	bool done;
	int status;
	char error[1000], type[100], location[200];
	struct slm_buf body;
	bool cut;
	struct slm_arena *arena; /* NULL: no result is wanted */
	const struct slm_result *result;
};

static void keep(void *userdata, const struct slm_http_answer *answer)
{
	struct kept *kept = userdata;

	slm_alloc_fail_from(0);
	assert_false(kept->done);
	kept->done = true;
	kept->status = answer->status;
	snprintf(kept->error, sizeof(kept->error), "%s",
		 answer->error ? answer->error : "");
	snprintf(kept->type, sizeof(kept->type), "%s", answer->content_type);
	snprintf(kept->location, sizeof(kept->location), "%s",
		 answer->location);
	slm_buf_append(&kept->body, answer->body, answer->body_size);
	assert_int_equal(answer->body[answer->body_size], '\0');
	kept->cut = answer->cut;
	if (kept->arena)
		assert_int_equal(slm_http_result(answer, kept->arena,
						 &kept->result, NULL),
				 SQLOOM_OK);
}

/* "%" in a text stands for the address of the server. */
static struct slm_http_request *read_at(struct world *world, const char *text)
{
	struct slm_http_request *request = NULL;
	struct sqloom_error err;
	struct slm_buf whole;

	slm_buf_init(&whole);
	for (; *text; text++)
		if (*text == '%')
			slm_buf_printf(&whole, "http://127.0.0.1:%d",
				       world->port);
		else
			slm_buf_putc(&whole, *text);
	if (slm_http_read(whole.data, &world->arena, &request, &err) !=
	    SQLOOM_OK)
		fail_msg("%s", err.message);
	slm_buf_deinit(&whole);
	return request;
}

static struct slm_http_call *send_to(struct world *world, const char *text,
				     struct kept *kept)
{
	struct slm_http_call *call = NULL;
	struct sqloom_error err;

	if (slm_http_start(world->http, read_at(world, text), keep, kept, &call,
			   &err) != SQLOOM_OK)
		fail_msg("%s", err.message);
	return call;
}

static void wait_for(struct world *world, struct kept *kept)
{
	while (!kept->done)
		uv_run(&world->loop, UV_RUN_ONCE);
}

static void ask(struct world *world, const char *text, struct kept *kept)
{
	memset(kept, 0, sizeof(*kept));
	kept->arena = &world->arena;
	send_to(world, text, kept);
	wait_for(world, kept);
}

/* The body of the answer is this. */
static void assert_body(struct world *world, const char *text,
			const char *expected)
{
	struct kept kept;

	ask(world, text, &kept);
	assert_string_equal(kept.error, "");
	assert_string_equal(kept.body.data ? kept.body.data : "", expected);
	slm_buf_deinit(&kept.body);
}

/* There is an error that says this. */
static void assert_error(struct world *world, const char *text,
			 const char *part)
{
	struct kept kept;

	ask(world, text, &kept);
	if (!strstr(kept.error, part))
		fail_msg("not '%s' in: '%s'", part, kept.error);
	assert_int_equal(kept.result->error, SLM_ERROR_OTHER);
	assert_string_equal(kept.result->code, "no answer");
	assert_string_equal(kept.result->message, kept.error);
	slm_buf_deinit(&kept.body);
}

/* ---- The text of a request --------------------------------------------- */

static void assert_title(struct world *world, const char *text,
			 const char *expected)
{
	struct slm_http_request *request = NULL;
	struct sqloom_error err;

	if (slm_http_read(text, &world->arena, &request, &err) != SQLOOM_OK)
		fail_msg("%s: %s", text, err.message);
	/* libcurl may write %3d or %3D. */
	if (strcasecmp(slm_http_title(request), expected) != 0)
		assert_string_equal(slm_http_title(request), expected);
}

static void test_titles(void **state)
{
	assert_title(*state, "http://a:80", "GET http://a:80/");
	assert_title(*state, " \n http://a/b\t", "GET http://a/b");
	assert_title(*state, "https://a/b c=d", "POST https://a/b");
	assert_title(*state, "PUT http://a/b", "PUT http://a/b");
	assert_title(*state, "http://me:secret@a/b --json 1",
		     "POST http://a/b");
	assert_title(*state, "http://a/?x=1 y==2 'z==a b&c=d'",
		     "GET http://a/?x=1&y=2&z=a+b%26c%3Dd");
	assert_title(*state, "'http://a/'\\''' X:1", "GET http://a/'");
}

static void test_bad_texts(void **state)
{
	static const struct {
		const char *text, *part;
	} bad[] = {
		{ "", "needs a URL" },
		{ "POST", "needs a URL" },
		{ "post http://a/", "\"post\" is no URL" },
		{ "127.0.0.1:80/x", "with http://" },
		{ "ftp://a/", "with http://" },
		{ "http://", "not a valid URL" },
		{ "http://a:99999/", "not a valid URL" },
		{ "'http://a/b c'", "not a valid URL" },
		{ "http://a/ word", "\"word\" is none of" },
		{ "http://a/ =x", "has no name before \"x\"" },
		{ "http://a/ :x", "is no header" },
		{ "http://a/ 'A b:x'", "is no header" },
		{ "http://a/ 'A:x\r\nB: y'", "is no header" },
		{ "http://a/ 'x=1", "has no end" },
		{ "http://a/ \"x=1'", "has no end" },
		{ "http://a/ x\\", "has no end" },
		{ "http://a/ n:=01x", "\"01x\" is not JSON" },
		{ "http://a/ n:=", "\"\" is not JSON" },
		{ "http://a/ --json '{'", "\"{\" is not JSON" },
		{ "http://a/ --json", "--json wants a value" },
		{ "http://a/ --nothing", "no option \"--nothing\"" },
		{ "http://a/ --data a --json 1", "one body" },
		{ "http://a/ --data a b=c", "one body" },
		{ "http://a/ @f b=c", "one body" },
		{ "http://a/ n:=1 f@g", "cannot be sent" },
		{ "http://a/ n:=1 x=\xff", "not UTF-8" },
		{ "http://a/ --timeout 0", "--timeout wants seconds" },
		{ "http://a/ --timeout 1s", "--timeout wants seconds" },
		{ "http://a/ --timeout nan", "--timeout wants seconds" },
		{ "http://a/ --user me", "name:password" },
		{ "http://a/ --cookie x", "no cookie" },
		{ "http://a/ --cookie 'a=b\nC: d'", "no cookie" },
	};
	struct world *world = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct slm_http_request *request = NULL;
		struct sqloom_error err;

		assert_int_equal(slm_http_read(bad[i].text, &world->arena,
					       &request, &err),
				 SQLOOM_SPEC);
		assert_null(request);
		if (!strstr(err.message, bad[i].part))
			fail_msg("%s: not '%s' in: %s", bad[i].text,
				 bad[i].part, err.message);
	}
}

static void test_text_limits(void **state)
{
	struct world *world = *state;
	struct slm_http_request *request;
	struct slm_buf text;

	slm_buf_init(&text);
	slm_buf_puts(&text, "http://a/");
	for (int i = 0; i < 255; i++)
		slm_buf_puts(&text, " A:b");
	assert_int_equal(slm_http_read(text.data, &world->arena, &request,
				       NULL),
			 SQLOOM_OK);
	slm_buf_puts(&text, " A:b");
	assert_int_equal(slm_http_read(text.data, &world->arena, &request,
				       NULL),
			 SQLOOM_LIMIT);
	slm_buf_clear(&text);
	slm_buf_puts(&text, "http://a/ --data ");
	slm_buf_fill(&text, 'x', 1024 * 1024);
	assert_int_equal(slm_http_read(text.data, &world->arena, &request,
				       NULL),
			 SQLOOM_LIMIT);
	slm_buf_deinit(&text);
}

/* Every allocation fails once, and nothing is left. libcurl and jansson have
 * memory of their own. */
static void test_text_memory(void **state)
{
	static const char text[] = "http://a/ n:=1 x=2 X:y q==1 --cookie a=b "
				   "--cookie c=d";
	struct slm_http_request *request = NULL;
	enum sqloom_status status;
	struct slm_arena arena;

	(void)state;
	for (uint64_t n = 1; !request; n++) {
		slm_arena_init(&arena);
		slm_alloc_fail_from(n);
		status = slm_http_read(text, &arena, &request, NULL);
		slm_alloc_fail_from(0);
		assert_int_equal(status, request ? SQLOOM_OK : SQLOOM_NOMEM);
		slm_arena_deinit(&arena);
	}
}

/* ---- What the server gets ---------------------------------------------- */

#define ALWAYS "Accept: */*\n"
#define AGENT "User-Agent: sqloom/" SQLOOM_VERSION "\n"
#define FORM "Content-Type: application/x-www-form-urlencoded\n"

static void test_get(void **state)
{
	assert_body(*state, "%/echo", "GET /echo\n" ALWAYS AGENT "\n");
	assert_body(*state, "GET %/echo?a=b x==y",
		    "GET /echo?a=b&x=y\n" ALWAYS AGENT "\n");
	assert_body(*state, "PURGE %/echo", "PURGE /echo\n" ALWAYS AGENT "\n");
	assert_body(*state, "HEAD %/echo", "");
	assert_body(*state, "POST %/echo",
		    "POST /echo\n" ALWAYS "Content-Length: 0\n" FORM AGENT
		    "\n");
}

static void test_form(void **state)
{
	assert_body(*state,
		    "%/echo 'code=a b&c' \"name=\xc3\xa9\" x= y==1 z=a=b",
		    "POST /echo?y=1\n" ALWAYS "Content-Length: 37\n" FORM AGENT
		    "\ncode=a%20b%26c&name=%C3%A9&x=&z=a%3Db");
	assert_body(*state, "PUT %/echo a=1 a=2",
		    "PUT /echo\n" ALWAYS "Content-Length: 7\n" FORM AGENT
		    "\na=1&a=2");
}

static void test_json(void **state)
{
	assert_body(*state, "%/echo n:=1 s=1 'o:={\"a\" : [true, null]}'",
		    "POST /echo\n" ALWAYS "Content-Length: 37\n"
		    "Content-Type: application/json\n" AGENT
		    "\n{\"n\":1,\"s\":\"1\",\"o\":{\"a\":[true,null]}}");
	assert_body(*state,
		    "%/echo --json '[1,  2]' Content-Type:application/x+json",
		    "POST /echo\n" ALWAYS "Content-Length: 7\n"
		    "Content-Type: application/x+json\n" AGENT "\n[1,  2]");
}

static void test_data(void **state)
{
	assert_body(*state, "%/echo --data 'a\nb' Content-Type:text/plain",
		    "POST /echo\n" ALWAYS "Content-Length: 3\n"
		    "Content-Type: text/plain\n" AGENT "\na\nb");
}

static void test_headers(void **state)
{
	assert_body(*state,
		    "%/echo X-One:1 'X-Two: a: b' Accept: --cookie a=b "
		    "--cookie c=d --user me:se:cret",
		    "GET /echo\nAuthorization: Basic bWU6c2U6Y3JldA==\n"
		    "Cookie: a=b; c=d\n" AGENT "X-One: 1\nX-Two: a: b\n\n");
}

static void make_file(char *path, const char *data, size_t size)
{
	int fd;

	strcpy(path, P_tmpdir "/sqloom-test-XXXXXX");
	fd = mkstemp(path);
	assert_int_equal(write(fd, data, size), size);
	close(fd);
}

static void test_file(void **state)
{
	char path[64], text[200];

	make_file(path, "ab\ncd", 5);
	snprintf(text, sizeof(text), "%%/echo @%s", path);
	assert_body(*state, text,
		    "POST /echo\n" ALWAYS "Content-Length: 5\n"
		    "Content-Type: application/octet-stream\n" AGENT
		    "\nab\ncd");
	unlink(path);
}

static void test_upload(void **state)
{
	struct kept kept;
	char path[64], text[200];
	const char *at;

	make_file(path, "a\0b", 3);
	snprintf(text, sizeof(text), "%%/echo name=x file@%s", path);
	ask(*state, text, &kept);
	unlink(path);
	assert_non_null(strstr(kept.body.data, "multipart/form-data; bound"));
	at = strstr(kept.body.data, "name=\"name\"\r\n\r\nx\r\n");
	assert_non_null(at);
	at = strstr(at, "name=\"file\"; filename=\"sqloom-test-");
	assert_non_null(at);
	at = strstr(at, "\r\n\r\n");
	assert_memory_equal(at, "\r\n\r\na\0b\r\n", 9);
	slm_buf_deinit(&kept.body);
}

static void test_no_file(void **state)
{
	static const char *const texts[] = { "%/echo @/no/such/file",
					     "%/echo a@/no/such/file",
					     "%/echo @/tmp", "%/echo b@/tmp" };
	struct world *world = *state;

	for (size_t i = 0; i < 4; i++) {
		struct slm_http_call *call = NULL;
		struct sqloom_error err;

		assert_int_equal(slm_http_start(world->http,
						read_at(world, texts[i]), keep,
						NULL, &call, &err),
				 SQLOOM_IO);
		assert_null(call);
		assert_non_null(strstr(err.message, "cannot read"));
		assert_non_null(strchr(texts[i], '@'));
		assert_non_null(strstr(err.message, strchr(texts[i], '@') + 1));
	}
}

/* The environment does not send requests elsewhere. */
static void test_no_proxy(void **state)
{
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	assert_body(*state, "%/served", "1");
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
}

/* No connection is used twice. */
static void test_fresh(void **state)
{
	for (int i = 0; i < 5; i++)
		assert_body(*state, "%/served", "1");
}

/* ---- What the server answers ------------------------------------------- */

static void test_status(void **state)
{
	static const struct {
		const char *text;
		int status;
		enum slm_error_kind error;
	} cases[] = {
		{ "%/status/200", 200, SLM_ERROR_NONE },
		{ "%/status/399", 399, SLM_ERROR_NONE },
		{ "%/status/400", 400, SLM_ERROR_REFUSED },
		{ "%/status/404", 404, SLM_ERROR_REFUSED },
		{ "%/status/500", 500, SLM_ERROR_OTHER },
		{ "%/status/503", 503, SLM_ERROR_OTHER },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char code[20];
		struct kept kept;

		ask(*state, cases[i].text, &kept);
		assert_int_equal(kept.status, cases[i].status);
		assert_string_equal(kept.error, "");
		assert_int_equal(kept.result->error, cases[i].error);
		snprintf(code, sizeof(code), "HTTP %d", cases[i].status);
		if (cases[i].error == SLM_ERROR_NONE) {
			assert_null(kept.result->code);
			assert_null(kept.result->message);
		} else {
			assert_string_equal(kept.result->code, code);
			assert_string_equal(kept.result->message, "first line");
		}
		slm_buf_deinit(&kept.body);
	}
}

static void test_page(void **state)
{
	struct kept kept;

	ask(*state, "%/page", &kept);
	assert_string_equal(kept.type, "text/html; charset=utf-8");
	assert_string_equal(kept.result->message, "Error at /x");
	slm_buf_deinit(&kept.body);
}

static void test_redirect(void **state)
{
	struct world *world = *state;
	char location[100];
	struct kept kept;

	ask(world, "%/redirect", &kept);
	snprintf(location, sizeof(location), "http://127.0.0.1:%d/echo",
		 world->port);
	assert_int_equal(kept.status, 302);
	assert_string_equal(kept.location, location);
	assert_int_equal(kept.result->rows.ncolumns, 2);
	assert_string_equal(kept.result->rows.columns[1], "location");
	assert_string_equal(kept.result->rows.values[1].text, location);
	slm_buf_deinit(&kept.body);
}

static void test_follow(void **state)
{
	assert_body(*state, "%/redirect --follow",
		    "GET /echo\n" ALWAYS AGENT "\n");
	/* After 303 a POST becomes a GET, and cookies come along. */
	assert_body(*state, "%/login a=b --follow",
		    "GET /echo\n" ALWAYS "Cookie: session=s1\n" AGENT "\n");
	assert_error(*state, "%/loop --follow", "redirects");
	assert_error(*state, "%/file --follow", "rotocol");
	/* The next one has no cookies of it. */
	assert_body(*state, "%/echo --follow", "GET /echo\n" ALWAYS AGENT "\n");
}

static void test_bodies(void **state)
{
	struct kept kept;

	assert_body(*state, "%/chunked", "abc\ndefg");
	ask(*state, "%/binary", &kept);
	assert_int_equal(kept.body.size, 256);
	for (int i = 0; i < 256; i++)
		assert_int_equal((unsigned char)kept.body.data[i], i);
	slm_buf_deinit(&kept.body);
	ask(*state, "%/big?1048576", &kept);
	assert_int_equal(kept.body.size, SLM_HTTP_BODY_MAX);
	assert_false(kept.cut);
	slm_buf_deinit(&kept.body);
	ask(*state, "%/big?5000000", &kept);
	assert_int_equal(kept.body.size, SLM_HTTP_BODY_MAX);
	assert_true(kept.cut);
	assert_string_equal(kept.result->rows.columns[2], "cut");
	slm_buf_deinit(&kept.body);
}

/* A port where nobody listens. */
static int free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size),
			 0);
	close(fd);
	return ntohs(address.sin_port);
}

static void test_failures(void **state)
{
	char text[100];

	snprintf(text, sizeof(text), "POST http://127.0.0.1:%d/x", free_port());
	assert_error(*state, text, text); /* names method and URL */
	assert_error(*state, text, "Connection refused; is the application");
	assert_error(*state, "http://no-such-host.invalid/", "find the host");
	assert_error(*state, "%/nothing", "closed");
	assert_error(*state, "%/half", "broke off");
	assert_error(*state, "%/garbage", "failed: ");
	assert_error(*state, "%/slow --timeout 0.05", "after 50 ms");
}

static void test_cancel(void **state)
{
	struct world *world = *state;
	struct kept kept = { 0 }, other = { 0 };
	struct slm_http_call *call = send_to(world, "%/slow", &kept);
	struct slm_http_call *early = send_to(world, "%/slow", &other);

	slm_http_cancel(early);
	while (!strchr(slm_process_output(world->server, NULL, NULL), '\n'))
		uv_run(&world->loop, UV_RUN_ONCE);
	assert_false(kept.done);
	slm_http_cancel(call);
	/* The server sees it: one connection is gone. */
	for (bool seen = false; !seen;) {
		struct kept gone;

		ask(world, "%/gone", &gone);
		seen = atoi(gone.body.data) >= 1;
		slm_buf_deinit(&gone.body);
	}
	assert_false(kept.done);
	assert_false(other.done);
}

/* What is under way when all is freed ends, and says nothing. */
static void test_free_under_way(void **state)
{
	struct world *world = *state;
	struct kept kept[3] = { 0 };

	for (int i = 0; i < 3; i++)
		send_to(world, "%/slow", &kept[i]);
	while (!strchr(slm_process_output(world->server, NULL, NULL), '\n'))
		uv_run(&world->loop, UV_RUN_ONCE);
	slm_http_free(world->http);
	assert_int_equal(slm_http_new(&world->loop, &world->http, NULL),
			 SQLOOM_OK);
	for (int i = 0; i < 3; i++)
		assert_false(kept[i].done);
}

static void test_side_by_side(void **state)
{
	struct kept kept[40] = { 0 };

	for (int i = 0; i < 40; i++)
		send_to(*state, i % 2 ? "%/served" : "%/chunked", &kept[i]);
	for (int i = 0; i < 40; i++) {
		wait_for(*state, &kept[i]);
		assert_string_equal(kept[i].body.data,
				    i % 2 ? "1" : "abc\ndefg");
		slm_buf_deinit(&kept[i].body);
	}
}

/* Starts another one when it is done. */
struct chain {
	struct world *world;
	struct kept kept;
	int left;
};

static void go_on(void *userdata, const struct slm_http_answer *answer)
{
	struct chain *chain = userdata;

	assert_int_equal(answer->status, 200);
	if (--chain->left == 0) {
		keep(&chain->kept, answer);
		return;
	}
	assert_int_equal(slm_http_start(chain->world->http,
					read_at(chain->world, "%/served"),
					go_on, chain, NULL, NULL),
			 SQLOOM_OK);
}

static void test_chain(void **state)
{
	struct chain chain = { .world = *state, .left = 5 };

	assert_int_equal(slm_http_start(chain.world->http,
					read_at(chain.world, "%/served"), go_on,
					&chain, NULL, NULL),
			 SQLOOM_OK);
	wait_for(chain.world, &chain.kept);
	slm_buf_deinit(&chain.kept.body);
}

static void test_many(void **state)
{
	for (int i = 0; i < RUNS; i++) {
		struct world *world = *state;
		struct kept kept = { 0 }, never = { 0 };
		struct slm_http_call *call = send_to(world, "%/slow", &never);

		send_to(world, "%/served", &kept);
		wait_for(world, &kept);
		slm_http_cancel(call);
		assert_string_equal(kept.body.data, "1");
		slm_buf_deinit(&kept.body);
		slm_arena_clear(&world->arena);
		slm_process_forget_output(world->server);
	}
}

/* Our allocations fail one after another: an error, or an answer whose body is
 * cut, but always an end. */
static void test_memory(void **state)
{
	struct world *world = *state;
	struct slm_http_request *request = read_at(world, "%/json a=b");
	bool complete = false;

	for (uint64_t n = 1; !complete; n++) {
		struct kept kept = { 0 };
		enum sqloom_status status;

		slm_alloc_fail_from(n);
		status = slm_http_start(world->http, request, keep, &kept, NULL,
					NULL);
		if (status == SQLOOM_OK)
			wait_for(world, &kept);
		else
			assert_int_equal(status, SQLOOM_NOMEM);
		slm_alloc_fail_from(0);
		complete = status == SQLOOM_OK && kept.body.size > 0;
		if (status == SQLOOM_OK && !complete)
			assert_true(kept.cut || *kept.error);
		slm_buf_deinit(&kept.body);
		assert_true(n < 100);
	}
	/* And then it works as before. */
	assert_body(world, "%/served", "1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(titles),	      TEST(bad_texts),	  TEST(text_limits),
		TEST(text_memory),    TEST(get),	  TEST(form),
		TEST(json),	      TEST(data),	  TEST(headers),
		TEST(file),	      TEST(upload),	  TEST(no_file),
		TEST(no_proxy),	      TEST(fresh),	  TEST(status),
		TEST(page),	      TEST(redirect),	  TEST(follow),
		TEST(bodies),	      TEST(failures),	  TEST(cancel),
		TEST(free_under_way), TEST(side_by_side), TEST(chain),
		TEST(many),	      TEST(memory),

	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
