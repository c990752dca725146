-- SPDX-License-Identifier: Apache-2.0
\pset pager off
\set LAST 'echo :SQLSTATE :ROW_COUNT :LAST_ERROR_MESSAGE'
\encoding
SELECT :'ENCODING' AS encoding, :SERVER_VERSION_NUM / 10000 AS version;
SELECT * FROM item ORDER BY id;
\d item
\d line
\df notes
\dt
SELECT id, name FROM item ORDER BY id \gdesc
SELECT id, name FROM item WHERE id = 1 \gset found_
\echo :found_id :found_name
SELECT format('SELECT %s', id) FROM item ORDER BY id \gexec
SELECT 1 \; SELECT 2 \; SELECT 3;
SELECT 1 \; SELECT 1 / 0 \; SELECT 3;
\echo :ERROR :SQLSTATE :LAST_ERROR_MESSAGE
SELECT i, i * i AS j, i + 1 AS k FROM generate_series(1, 3) AS i \crosstabview
INSERT INTO log (txt) VALUES ('psql') RETURNING id;
UPDATE log SET txt = 'changed';
DELETE FROM log;
\echo :ROW_COUNT
SELECT * FROM nowhere;
SELECT fails('by psql');
SELECT notes(2);
-- psql's own way to fetch in parts, and to go on behind an error
\set FETCH_COUNT 2
SELECT id, name FROM item ORDER BY id;
SELECT 1 / (3 - i) FROM generate_series(1, 4) AS i;
\unset FETCH_COUNT
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO item VALUES (9, 'nine');
INSERT INTO item VALUES (1, 'one');
SELECT count(*) FROM item;
ROLLBACK;
\unset ON_ERROR_ROLLBACK
\set AUTOCOMMIT off
INSERT INTO item VALUES (9, 'nine');
SELECT 1 / 0;
SELECT 'not heard';
COMMIT;
SELECT count(*) FROM item;
COMMIT;
\set AUTOCOMMIT on
COPY item (id, name) FROM STDIN;
20	twenty
21	twenty-one
\.
COPY item (id, name) FROM STDIN;
22	twenty-two
x	y
\.
\copy (SELECT id, name FROM item ORDER BY id) TO STDOUT CSV HEADER
COPY item TO STDOUT;
\copy item (id, name) FROM STDIN
30	thirty
\.
DELETE FROM item WHERE id >= 9;
BEGIN;
INSERT INTO line VALUES (1, 2);
COMMIT;
INSERT INTO line VALUES (1, 2);
LISTEN news;
SELECT pg_notify('news', 'told') \g /dev/null
CALL commits(2);
VACUUM log;
SELECT txt FROM log ORDER BY id;
TRUNCATE log;
SET statement_timeout = 50;
SELECT pg_sleep(600);
RESET statement_timeout;
-- What an exploration cannot undo.
\getenv controlled UNDER_CONTROL
\if :{?controlled}
\else
CREATE TEMP TABLE t (a int) \; INSERT INTO t VALUES (1) \; DROP TABLE t;
\lo_import /dev/null
SELECT lo_unlink(:LASTOID);
\endif
PREPARE p(int) AS SELECT name FROM item WHERE id = $1;
EXECUTE p(2);
DEALLOCATE p;
SET ROLE nobody_there;
\c
SELECT 'again';
\c sqloom_does_not_exist
