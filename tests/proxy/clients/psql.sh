#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# psql as a client: its script, its way of describing tables, its \copy and \g.
# What it writes is on standard output, errors included; numbers that differ
# from run to run are written as N.
set -u
{
	psql -X -a -v VERBOSITY=verbose -v SHOW_CONTEXT=errors \
		-f "$(dirname "$0")/psql.sql" 2>&1
	echo "exit $?"
} | sed -E 's/lo_import [0-9]+/lo_import N/; s/PID [0-9]+/PID N/
	s/server (at|on socket) "[^"]*"(, port [0-9]+)?/server/
	s/^psql:[^:]*psql.sql:/psql.sql:/'
