/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals. The handlers do no more than POSIX allows in a handler: set a
 * flag, call signal(), write(), _exit().
 */
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "cli.h"

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };

#define NSTOP (sizeof(stop_signals) / sizeof(stop_signals[0]))

static volatile sig_atomic_t stopped;
static struct sigaction before[NSTOP];

/* Whoever asks twice does not want to wait. */
static void on_stop(int signal_number)
{
	(void)signal_number;
	stopped = 1;
	for (size_t i = 0; i < NSTOP; i++)
		signal(stop_signals[i], SIG_DFL);
}

static void on_abort(int signal_number)
{
	static const char text[] =
		"sqloom: internal error, this is a defect in sqloom; please "
		"report it with the spec and the lines above\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)signal_number;
	(void)written;
	_exit(SLM_CLI_EXIT_INTERNAL);
}

void slm_cli_signals_init(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGABRT, on_abort);
}

void slm_cli_signals_catch(void)
{
	struct sigaction action = { .sa_handler = on_stop,
				    .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < NSTOP; i++) {
		sigaction(stop_signals[i], NULL, &before[i]);
		/* A shell ignores SIGINT for what it runs in the background,
		 * nohup ignores SIGHUP; then so do we. */
		if (before[i].sa_handler != SIG_IGN)
			sigaction(stop_signals[i], &action, NULL);
	}
}

void slm_cli_signals_release(void)
{
	for (size_t i = 0; i < NSTOP; i++)
		sigaction(stop_signals[i], &before[i], NULL);
}

bool slm_cli_signals_stopped(void)
{
	return stopped != 0;
}
