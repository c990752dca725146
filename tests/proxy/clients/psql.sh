#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# psql as a client: its script, its way of describing tables, its \copy and \g.
# What it writes is on standard output, errors included; numbers that differ
# from run to run are written as N.
#
# With an argument it is a race, of which the test runs two: "insert" without a
# transaction; "update" in one; "locked" asks for the row first.
set -u
case ${1-} in
insert)
	exec psql -X -c "INSERT INTO log (txt) SELECT 'once' WHERE NOT EXISTS
		(SELECT FROM log WHERE txt = 'once')"
	;;
update | locked)
	[ "$1" = locked ] && lock='FOR UPDATE'
	exec psql -X <<END
BEGIN;
SELECT price + 1 AS price FROM item WHERE id = 1 ${lock-} \\gset
UPDATE item SET price = :price WHERE id = 1;
COMMIT;
END
	;;
esac
{
	psql -X -a -v VERBOSITY=verbose -v SHOW_CONTEXT=errors \
		-f "$(dirname "$0")/psql.sql" 2>&1
	echo "exit $?"
} | sed -E 's/lo_import [0-9]+/lo_import N/; s/PID [0-9]+/PID N/
	s/server (at|on socket) "[^"]*"(, port [0-9]+)?/server/
	s/^psql:[^:]*psql.sql:/psql.sql:/'
