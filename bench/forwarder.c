/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bare byte forwarder for Unix sockets: what anything between a client and
 * the server costs, if it reads nothing of what passes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "postgres.h"

#define PLACE "/tmp/sqloom-bench-XXXXXX"
#define FILES_MAX 256
#define BUFFER 65536
#define BACKLOG 16

struct bench_forwarder {
	pid_t pid;
	char directory[sizeof(PLACE)];
	struct sockaddr_un front, server;
	char conninfo[1200];
};

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || fd >= FILES_MAX)
		bench_die("cannot make a socket: %s", strerror(errno));
	return fd;
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		_exit(1);
}

/* A connection to the server for one of a client. */
static void pair(const struct bench_forwarder *forwarder, int epoll, int front,
		 int *other)
{
	int client = accept(front, NULL, NULL), server = new_socket();

	if (client < 0 || client >= FILES_MAX ||
	    connect(server, (const struct sockaddr *)&forwarder->server,
		    sizeof(forwarder->server)) != 0)
		_exit(1);
	other[client] = server;
	other[server] = client;
	watch(epoll, client);
	watch(epoll, server);
}

static void pass(int from, int *other)
{
	static char buffer[BUFFER];
	int to = other[from];
	ssize_t size = recv(from, buffer, sizeof(buffer), 0), sent = 0;

	while (sent < size) {
		ssize_t n = send(to, buffer + sent, (size_t)(size - sent),
				 MSG_NOSIGNAL);

		if (n < 0)
			break;
		sent += n;
	}
	if (size > 0 && sent == size)
		return;
	other[from] = other[to] = -1; /* more may be told of them */
	close(from);
	close(to);
}

static void forward(const struct bench_forwarder *forwarder, int front)
{
	struct epoll_event events[FILES_MAX];
	int other[FILES_MAX], epoll = epoll_create1(EPOLL_CLOEXEC);

	watch(epoll, front);
	for (;;) {
		int n = epoll_wait(epoll, events, FILES_MAX, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == front)
				pair(forwarder, epoll, front, other);
			else if (other[fd] >= 0)
				pass(fd, other);
		}
	}
}

static void socket_name(struct sockaddr_un *address, const char *directory,
			const char *port)
{
	address->sun_family = AF_UNIX;
	if (snprintf(address->sun_path, sizeof(address->sun_path),
		     "%s/.s.PGSQL.%s", directory,
		     port) >= (int)sizeof(address->sun_path))
		bench_die("the path of the socket in %s is too long",
			  directory);
}

static void find_server(struct bench_forwarder *forwarder, const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	const char *host = NULL, *port = NULL;

	for (PQconninfoOption *at = options; at && at->keyword; at++) {
		if (strcmp(at->keyword, "host") == 0)
			host = at->val;
		if (strcmp(at->keyword, "port") == 0)
			port = at->val;
	}
	if (!host || !port)
		bench_die("the server's place is not in %s", conninfo);
	socket_name(&forwarder->server, host, port);
	socket_name(&forwarder->front, forwarder->directory, port);
	PQconninfoFree(options);
}

struct bench_forwarder *bench_forwarder_start(const char *conninfo)
{
	struct bench_forwarder *forwarder = calloc(1, sizeof(*forwarder));
	int front = new_socket();

	if (!forwarder)
		bench_die("out of memory");
	snprintf(forwarder->directory, sizeof(forwarder->directory), PLACE);
	if (!mkdtemp(forwarder->directory))
		bench_die("cannot make a directory in /tmp");
	find_server(forwarder, conninfo);
	/* Of two hosts, the later counts. */
	snprintf(forwarder->conninfo, sizeof(forwarder->conninfo), "%s host=%s",
		 conninfo, forwarder->directory);
	if (bind(front, (const struct sockaddr *)&forwarder->front,
		 sizeof(forwarder->front)) != 0 ||
	    listen(front, BACKLOG) != 0)
		bench_die("cannot listen in %s", forwarder->directory);
	forwarder->pid = fork();
	if (forwarder->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		forward(forwarder, front);
	}
	close(front);
	if (forwarder->pid < 0)
		bench_die("cannot fork");
	return forwarder;
}

const char *bench_forwarder_conninfo(const struct bench_forwarder *forwarder)
{
	return forwarder->conninfo;
}

void bench_forwarder_stop(struct bench_forwarder *forwarder)
{
	kill(forwarder->pid, SIGKILL);
	waitpid(forwarder->pid, NULL, 0);
	unlink(forwarder->front.sun_path);
	rmdir(forwarder->directory);
	free(forwarder);
}
