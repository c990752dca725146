/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going back after a run: whatever a session wrote, the tables come back with
 * the same rows in the same physical order, as superuser and as a plain role;
 * what a sqloom that was killed left is put right by the next.
 */
#include "postgres_help.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/postgres_keep.h"

static struct slm_pg writer;
static struct pg_watch watch;
static struct sqloom_spec *spec;
static const char *role; /* NULL: superuser */
static bool granted;	 /* the role may switch triggers off */

/* ---- Helpers ----------------------------------------------------------- */

static void must(enum sqloom_status status)
{
	if (status)
		fail_msg("%s", f.err.message);
}

static void on(struct slm_pg *pg, const char *sql)
{
	if (slm_pg_exec(pg, "prepare a test", sql, NULL, &f.err))
		fail_msg("%s\n%s", f.err.message, sql);
}

static void open_one(struct slm_pg *pg, const char *name)
{
	char sql[80];

	must(slm_pg_open(pg, slm_pg_server_conninfo(server), NULL, name,
			 &f.err));
	on(pg, "SET client_min_messages = error");
	if (role) {
		snprintf(sql, sizeof(sql), "SET SESSION AUTHORIZATION %s",
			 role);
		on(pg, sql);
	}
}

static void read_spec(const char *text)
{
	must(sqloom_spec_parse(text, strlen(text), "test", &spec, &f.err));
	f.db.spec = spec;
}

/* The way postgres.c opens a database, without its sessions. */
static void begin(const char *schema, const char *setup)
{
	const char *cleaned;

	if (role)
		execute("CREATE ROLE plain; GRANT CREATE ON DATABASE "
			"sqloom_test TO plain; GRANT ALL ON SCHEMA public TO "
			"plain");
	if (granted)
		execute("GRANT SET ON PARAMETER session_replication_role TO "
			"plain");
	if (role)
		execute("SET SESSION AUTHORIZATION plain");
	f.db.superuser = !role;
	f.db.may_replica = !role || granted;
	if (schema)
		execute(schema);
	read_spec("setup { SELECT 1 }\nsession s\nstep a { SELECT 1; }\n");
	must(slm_pgsnap_begin(&f.db, &cleaned, &f.err));
	must(slm_pgsnap_setup_begins(&f.db, &f.err));
	if (setup)
		execute(setup);
	must(slm_pgsnap_setup_ended(&f.db, &f.err));
	load(NULL);
	must(slm_pgsnap_sequences(&f.db, &f.err));
	open_one(&f.db.monitor, "the monitor");
	open_one(&writer, "the writer");
	watch = (struct pg_watch){ .pid = writer.pid };
}

static int open_test(void **state)
{
	role = NULL;
	granted = false;
	spec = NULL;
	memset(&writer, 0, sizeof(writer));
	return open_all(state);
}

static int close_test(void **state)
{
	slm_pg_close(&writer);
	slm_pg_close(&f.db.monitor);
	slm_pgrestore_free(&f.db);
	if (f.db.admin.conn)
		(void)slm_pg_exec(&f.db.admin, "end a test",
				  "ROLLBACK; RESET SESSION AUTHORIZATION; "
				  "SET session_replication_role = origin; "
				  "DROP SCHEMA IF EXISTS sqloom CASCADE",
				  NULL, NULL);
	return close_all(state);
}

/* One transaction of the session, asked about before it ends. */
static void transaction(const char *sql)
{
	on(&writer, "BEGIN");
	on(&writer, sql);
	must(slm_pgsnap_ask(&f.db, &watch, &f.err));
	on(&writer, "COMMIT");
}

/* All rows of all tables as they lie on the pages, and all sequences. */
static char *everything(void)
{
	struct slm_buf sql;
	PGresult *result;
	char *text;

	slm_buf_init(&sql);
	slm_buf_puts(&sql, "SELECT ''");
	for (uint32_t i = 0; i < f.db.catalogue.ntables; i++)
		if (f.db.catalogue.tables[i].kind == 'r')
			slm_buf_printf(
				&sql,
				"|| E'\\n%s: ' || coalesce((SELECT string_agg("
				"t::text, ' ' ORDER BY ctid) FROM ONLY %s AS "
				"t), '')",
				f.db.catalogue.tables[i].name,
				f.db.catalogue.tables[i].quoted);
	for (uint32_t i = 0; i < f.db.catalogue.nsequences; i++)
		slm_buf_printf(&sql,
			       "|| E'\\n' || (SELECT last_value || "
			       "is_called::text FROM %s)",
			       f.db.catalogue.sequences[i].quoted);
	must(slm_pg_exec(&f.db.admin, "read everything", sql.data, &result,
			 &f.err));
	text = slm_strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	slm_buf_deinit(&sql);
	return text;
}

/* After a transaction and going back, all is as it was. */
static void comes_back(const char *sql)
{
	char *before = everything(), *after;

	transaction(sql);
	must(slm_pgrestore(&f.db, true, &f.err));
	after = everything();
	if (strcmp(before, after) != 0)
		fail_msg("after %s\nbefore:%s\nafter:%s", sql, before, after);
	slm_free(before);
	slm_free(after);
}

static long long number(const char *sql)
{
	PGresult *result;
	long long value;

	must(slm_pg_exec(&f.db.admin, "read a number", sql, &result, &f.err));
	value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return value;
}

#define TWO_TABLES                                                              \
	"CREATE TABLE a (id serial PRIMARY KEY, name text UNIQUE, n int);"      \
	"CREATE TABLE b (id serial PRIMARY KEY, n int, a_id int REFERENCES a);" \
	"INSERT INTO a (name, n) SELECT 'row ' || i, i FROM "                   \
	"generate_series(1, 10) AS i;"                                          \
	"INSERT INTO b (n, a_id) SELECT i, 11 - i FROM "                        \
	"generate_series(1, 10) AS i;"

/* ---- Rows, order, pages ------------------------------------------------ */

static void rows_order_and_sequences(void **state)
{
	(void)state;
	begin(TWO_TABLES, NULL);
	comes_back("UPDATE a SET n = n + 1 WHERE id = 3");
	comes_back("DELETE FROM b WHERE id < 4; INSERT INTO b (n) VALUES (7)");
	comes_back("DELETE FROM b; DELETE FROM a");
	comes_back("SELECT nextval('a_id_seq')");
	comes_back("SELECT setval('b_id_seq', 1000)");
	watch.goes_back = true;
	comes_back("SAVEPOINT s; UPDATE a SET n = 0; ROLLBACK TO s");
	comes_back("SELECT 1");
	assert_false(f.db.ddl_seen);
}

/* Memory is never taken for a lost connection, and the next attempt is whole. */
static void memory_is_out(void **state)
{
	enum sqloom_status status = SQLOOM_NOMEM;
	char *before;

	(void)state;
	begin(TWO_TABLES, NULL);
	before = everything();
	for (uint64_t n = 1; status; n++) {
		char *after;

		transaction("UPDATE a SET n = n + 1; DELETE FROM b");
		/* All pages are emptied. */
		for (uint32_t i = 0; f.db.plan && i < f.db.plan->ntables; i++)
			f.db.plan->tables[i].restores =
				f.db.plan->tables[i].room;
		slm_alloc_fail_from(n);
		status = slm_pgrestore(&f.db, true, &f.err);
		slm_alloc_fail_from(0);
		if (status && status != SQLOOM_NOMEM)
			fail_msg("%d: %s", (int)n, f.err.message);
		if (status)
			must(slm_pgrestore(&f.db, true, &f.err));
		after = everything();
		assert_string_equal(before, after);
		slm_free(after);
		assert_true(!status || n < 1000);
	}
	slm_free(before);
}

static void many_cycles_keep_order_and_size(void **state)
{
	char *before;

	(void)state;
	begin(TWO_TABLES, NULL);
	before = everything();
	for (unsigned i = 0; i < 2000; i++) {
		char *after;

		transaction("UPDATE a SET n = n + 1 WHERE id = 1 OR id = 5;"
			    "DELETE FROM b WHERE id = 2;"
			    "INSERT INTO b (n, a_id) VALUES (1, 2)");
		must(slm_pgrestore(&f.db, false, &f.err));
		/* Reading prunes pages, as sessions do. */
		if (i % 3)
			continue;
		after = everything();
		assert_string_equal(before, after);
		slm_free(after);
		assert_int_equal(number("SELECT max((ctid::text::point)[0]) "
					"FROM a"),
				 0);
		assert_true(number("SELECT pg_relation_size('a') + "
				   "pg_relation_size('b')") <= 4 * 8192);
	}
	assert_true(number("SELECT pg_indexes_size('a')") <= 8 * 8192);
	/* What the planner knows is what it knew. */
	assert_int_equal(number("SELECT reltuples FROM pg_class WHERE relname "
				"= 'a'"),
			 -1);
	slm_free(before);
}

static void a_table_of_several_pages(void **state)
{
	(void)state;
	begin("CREATE TABLE a (id int PRIMARY KEY, x text);"
	      "INSERT INTO a SELECT i * 7919 % 500, repeat('x', 100) FROM "
	      "generate_series(0, 499) AS i",
	      NULL);
	for (unsigned i = 0; i < 5; i++) {
		comes_back("UPDATE a SET x = 'y' WHERE id % 100 = 3");
		comes_back("DELETE FROM a WHERE id < 300");
	}
	assert_true(number("SELECT pg_relation_size('a')") <= 16 * 8192);
}

static void a_large_table_by_rows(void **state)
{
	long long sum;

	(void)state;
	begin("CREATE TABLE a (id int PRIMARY KEY, x text);"
	      "INSERT INTO a SELECT i, 'x' || i FROM "
	      "generate_series(1, 3000) AS i",
	      NULL);
	sum = number("SELECT sum(hashtext(a::text)) FROM a");
	for (unsigned i = 0; i < 50; i++) {
		transaction("UPDATE a SET x = 'y' WHERE id % 1000 = 3;"
			    "UPDATE a SET id = -id WHERE id % 1000 = 5;"
			    "DELETE FROM a WHERE id % 1000 = 4;"
			    "INSERT INTO a VALUES (0, 'new')");
		must(slm_pgrestore(&f.db, true, &f.err));
		assert_int_equal(number("SELECT sum(hashtext(a::text)) FROM a"),
				 sum);
		assert_int_equal(f.db.contents.tables[0].nrows, 2998);
	}
	assert_true(number("SELECT pg_relation_size('a')") <= 40 * 8192);
}

/* ---- What can be written ----------------------------------------------- */

static void kinds_of_writes(void **state)
{
	(void)state;
	begin(TWO_TABLES
	      "CREATE TABLE c (id int PRIMARY KEY REFERENCES a ON DELETE "
	      "CASCADE ON UPDATE CASCADE); INSERT INTO c VALUES (7), (3);"
	      "CREATE TABLE d (a_id int REFERENCES c ON DELETE SET NULL);"
	      "INSERT INTO d VALUES (3), (3), (NULL);"
	      "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'INSERT INTO "
	      "b (n) VALUES (99)';"
	      "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS "
	      "'BEGIN INSERT INTO d VALUES (NULL); RETURN NEW; END';"
	      "CREATE TRIGGER t AFTER UPDATE ON b FOR EACH ROW EXECUTE "
	      "FUNCTION t();"
	      "CREATE TABLE p (k int, v text) PARTITION BY RANGE (k);"
	      "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
	      "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);"
	      "INSERT INTO p SELECT i, 'p' FROM generate_series(0, 19) AS i;"
	      "CREATE TABLE i1 () INHERITS (a); INSERT INTO i1 VALUES "
	      "(50, 'child', 1)",
	      NULL);
	comes_back("DELETE FROM b; DELETE FROM a WHERE id = 3");
	comes_back("DELETE FROM b; UPDATE a SET id = 33 WHERE id = 7");
	comes_back("SELECT f()");
	comes_back("UPDATE b SET n = 0 WHERE id = 5");
	comes_back("UPDATE p SET k = k + 10 WHERE k < 3");
	comes_back("DELETE FROM p1");
	comes_back("UPDATE a SET n = 0");
	assert_false(f.db.ddl_seen);
	must(slm_pgsnap_take_all(&f.db, &f.err));
	watch.locks_tables = true;
	comes_back("TRUNCATE a CASCADE");
	comes_back("TRUNCATE b RESTART IDENTITY");
	comes_back("LOCK TABLE a; UPDATE a SET n = 1");
	assert_false(f.db.ddl_seen);
}

static void kinds_of_columns(void **state)
{
	(void)state;
	begin("CREATE DOMAIN \"odd dom\" AS int CHECK (VALUE > 0);"
	      "CREATE TYPE mood AS ENUM ('sad', 'happy');"
	      "CREATE TABLE \"odd \"\"t\" (id int GENERATED ALWAYS AS IDENTITY "
	      "PRIMARY KEY, gone int, o bigint, c1 text, \"A b\"\"c\" \"odd "
	      "dom\", twice bigint GENERATED ALWAYS AS (o * 2) STORED, "
	      "big text, raw bytea, j json, m mood, list int[], EXCLUDE "
	      "USING gist (box(point(o, o), point(o, o)) WITH &&));"
	      "ALTER TABLE \"odd \"\"t\" DROP COLUMN gone;"
	      "INSERT INTO \"odd \"\"t\" (o, c1, \"A b\"\"c\", big, raw, j, m, "
	      "list) SELECT i, 'x', i, (SELECT string_agg(md5(k::text), '') "
	      "FROM generate_series(1, 400) AS k), '\\x00ff', '{\"a\": 1}', "
	      "'happy', '{1,NULL}' FROM generate_series(1, 5) AS i;"
	      "CREATE TABLE empty (id int); CREATE TABLE nopk (v json);"
	      "INSERT INTO nopk VALUES ('1'), ('1'), (NULL);"
	      "CREATE TABLE x (id int PRIMARY KEY, next int REFERENCES x "
	      "DEFERRABLE INITIALLY DEFERRED); INSERT INTO x VALUES (1, 2), "
	      "(2, 1)",
	      NULL);
	comes_back("UPDATE \"odd \"\"t\" SET big = 'small', o = o + 100");
	comes_back("DELETE FROM \"odd \"\"t\" WHERE id = 2; INSERT INTO "
		   "\"odd \"\"t\" (o) VALUES (77)");
	comes_back("INSERT INTO empty VALUES (1); DELETE FROM nopk");
	comes_back("DELETE FROM x");
	comes_back("INSERT INTO empty SELECT generate_series(1, 2000)");
	assert_false(f.db.ddl_seen);
}

static void triggers_that_always_fire(void **state)
{
	(void)state;
	begin(TWO_TABLES
	      "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS "
	      "'BEGIN IF TG_OP = ''DELETE'' THEN RETURN NULL; END IF; "
	      "NEW.n := -1; RETURN NEW; END';"
	      "CREATE TRIGGER t BEFORE INSERT OR DELETE ON b FOR EACH ROW "
	      "EXECUTE FUNCTION t(); ALTER TABLE b ENABLE ALWAYS TRIGGER t",
	      NULL);
	comes_back("UPDATE b SET n = 0 WHERE id = 5; INSERT INTO b (n) VALUES "
		   "(1)");
	assert_int_equal(number("SELECT count(*) FROM pg_trigger WHERE "
				"tgname = 't' AND tgenabled = 'A'"),
			 1);
}

/* ---- A plain role ------------------------------------------------------ */

static void sorted_comes_back(const char *sql)
{
	static const char *const tables[] = { "a", "b", "c", "d", "nopk" };
	char before[5][4000], query[200];
	PGresult *result;

	for (unsigned round = 0; round < 2; round++) {
		if (round) {
			transaction(sql);
			must(slm_pgrestore(&f.db, true, &f.err));
		}
		for (unsigned i = 0; i < 5; i++) {
			snprintf(query, sizeof(query),
				 "SELECT string_agg(t::text, ' ' ORDER BY "
				 "t::text) FROM %s AS t",
				 tables[i]);
			must(slm_pg_exec(&f.db.admin, "read", query, &result,
					 &f.err));
			if (round)
				assert_string_equal(before[i],
						    PQgetvalue(result, 0, 0));
			else
				snprintf(before[i], sizeof(before[i]), "%s",
					 PQgetvalue(result, 0, 0));
			PQclear(result);
		}
	}
}

static void as_a_plain_role(void **state)
{
	(void)state;
	role = "plain";
	begin(TWO_TABLES
	      "CREATE TABLE c (id int PRIMARY KEY REFERENCES a ON DELETE "
	      "CASCADE ON UPDATE CASCADE, v int); INSERT INTO c VALUES (7), "
	      "(3); CREATE TABLE d (c_id int REFERENCES c ON DELETE SET NULL);"
	      "INSERT INTO d VALUES (3), (3), (NULL);"
	      "CREATE TABLE nopk (v json); INSERT INTO nopk VALUES ('1'), "
	      "('1');"
	      "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS "
	      "'BEGIN INSERT INTO nopk VALUES (NULL); RETURN NEW; END';"
	      "CREATE TRIGGER t AFTER INSERT OR UPDATE ON b FOR EACH ROW "
	      "EXECUTE FUNCTION t()",
	      NULL);
	sorted_comes_back("UPDATE a SET n = n + 1 WHERE id = 3");
	sorted_comes_back("UPDATE b SET n = 0");
	sorted_comes_back("DELETE FROM b; DELETE FROM a WHERE id = 3");
	sorted_comes_back("DELETE FROM b; UPDATE a SET id = 33 WHERE id = 7");
	sorted_comes_back("DELETE FROM b; DELETE FROM c; DELETE FROM a");
	sorted_comes_back("INSERT INTO a (name) VALUES ('new'); INSERT INTO c "
			  "SELECT max(id) FROM a; INSERT INTO d SELECT max(id) "
			  "FROM a");
	sorted_comes_back("DELETE FROM b; UPDATE a SET name = 'taken' WHERE id "
			  "= 1; INSERT INTO a (name) VALUES ('row 1')");
	sorted_comes_back("SELECT nextval('a_id_seq'); DELETE FROM nopk");
	for (unsigned i = 0; i < 200; i++)
		sorted_comes_back("UPDATE a SET n = n + 1");
	assert_true(number("SELECT pg_relation_size('a')") <= 8 * 8192);
	must(slm_pgsnap_end(&f.db, &f.err));
	execute("RESET SESSION AUTHORIZATION; DROP OWNED BY plain CASCADE; "
		"DROP ROLE plain");
}

static void as_a_role_with_the_grant(void **state)
{
	(void)state;
	role = "plain";
	granted = true;
	begin(TWO_TABLES, NULL);
	for (unsigned i = 0; i < 100; i++) {
		comes_back("UPDATE a SET n = n + 1 WHERE id = 3");
		comes_back("DELETE FROM b WHERE id < 4; INSERT INTO b (n) "
			   "VALUES (7)");
	}
	assert_true(number("SELECT pg_relation_size('a')") <= 2 * 8192);
	must(slm_pgsnap_end(&f.db, &f.err));
	execute("RESET SESSION AUTHORIZATION; DROP OWNED BY plain CASCADE; "
		"DROP ROLE plain");
}

/* ---- What a transaction did -------------------------------------------- */

static void asked(const char *sql, bool ddl)
{
	f.db.ddl_seen = false;
	on(&writer, "BEGIN");
	on(&writer, sql);
	must(slm_pgsnap_ask(&f.db, &watch, &f.err));
	on(&writer, "ROLLBACK");
	if (f.db.ddl_seen != ddl)
		fail_msg("%s: %s", ddl ? "not seen" : "seen", sql);
}

static void changes_of_the_schema_are_seen(void **state)
{
	(void)state;
	begin(TWO_TABLES "CREATE MATERIALIZED VIEW m AS SELECT * FROM a;"
			 "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS "
			 "'SELECT 1'",
	      NULL);
	asked("SELECT 1", false);
	asked("INSERT INTO b (n) VALUES (1)", false);
	asked("CREATE TEMP TABLE x (id int PRIMARY KEY); INSERT INTO x VALUES "
	      "(1); DROP TABLE x",
	      false);
	asked("CREATE TEMP TABLE x (id serial)", false);
	asked("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS "
	      "'SELECT 1'; DROP FUNCTION pg_temp.f()",
	      false);
	asked("SELECT * FROM a FOR UPDATE", false);
	asked("NOTIFY x", false);
	asked("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT * FROM a; "
	      "UPDATE b SET n = 1",
	      false);
	asked("LOCK TABLE a IN SHARE MODE", false);
	asked("CREATE TABLE x ()", true);
	asked("ALTER TABLE a ADD x int", true);
	asked("DROP TABLE b", true);
	asked("DROP FUNCTION f()", true);
	asked("CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1'",
	      true);
	asked("CREATE TYPE e AS ENUM ('x')", true);
	asked("CREATE VIEW v AS SELECT 1", true);
	asked("CREATE INDEX ON a (n)", true);
	asked("REFRESH MATERIALIZED VIEW m", true);
	asked("SELECT lo_put(lo_create(0), 0, 'x')", true);
	/* No snapshot can be taken any more. */
	asked("TRUNCATE b", true);
}

static void contents_are_those_of_the_run(void **state)
{
	uint64_t clean;

	(void)state;
	begin(TWO_TABLES, NULL);
	for (uint32_t i = 0; i < f.db.catalogue.ntables; i++)
		f.db.catalogue.tables[i].written = true;
	must(slm_pgrestore(&f.db, true, &f.err));
	clean = f.db.image;
	transaction("DELETE FROM b WHERE id > 3");
	must(slm_pgrestore(&f.db, true, &f.err));
	assert_int_equal(f.db.contents.ntables, 2);
	assert_int_equal(f.db.contents.tables[0].nrows, 10);
	assert_int_equal(f.db.contents.tables[1].nrows, 3);
	assert_true(clean != f.db.image);
	must(slm_pgrestore(&f.db, true, &f.err));
	assert_int_equal(f.db.contents.tables[1].nrows, 10);
	assert_true(clean == f.db.image);
	f.db.all_dirty = true;
	must(slm_pgsnap_take_all(&f.db, &f.err));
	on(&writer, "DELETE FROM b");
	must(slm_pgrestore(&f.db, true, &f.err));
	assert_int_equal(f.db.contents.tables[1].nrows, 0);
	assert_int_equal(number("SELECT count(*) FROM b"), 10);
}

/* ---- The schema's life ------------------------------------------------- */

#define SETUP                                                                  \
	"CREATE TABLE made (id serial PRIMARY KEY); INSERT INTO made DEFAULT " \
	"VALUES; CREATE SCHEMA other; CREATE TYPE other.kind AS ENUM ('x');"   \
	"CREATE VIEW other.v AS SELECT * FROM a; CREATE FUNCTION f(int) "      \
	"RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE INDEX more ON a (n);"  \
	"CREATE DOMAIN d AS int; UPDATE a SET n = 0; INSERT INTO a (name) "    \
	"VALUES ('of the setup'); DELETE FROM b WHERE id = 1;"                 \
	"ALTER TABLE b ADD CONSTRAINT positive CHECK (n > 0)"

/* Numbers of objects of the user's, and of rows that are as they were. */
#define STATE                                                                 \
	"SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = "         \
	"'public'::regnamespace) * 1000000 + (SELECT count(*) FROM pg_proc "  \
	"WHERE oid > 16384) * 100000 + (SELECT count(*) FROM pg_namespace "   \
	"WHERE nspname !~ '^pg_') * 10000 + (SELECT sum(n) FROM a) * 100 + "  \
	"(SELECT count(*) FROM b) + (SELECT last_value FROM a_id_seq) + "     \
	"(SELECT count(*) FROM pg_constraint) * 10000000 + (SELECT count(*) " \
	"FROM pg_type WHERE oid > 16384) * 100000000"

static void the_end_leaves_nothing(void **state)
{
	long long before;

	(void)state;
	execute(TWO_TABLES);
	before = number(STATE);
	begin(NULL, SETUP);
	comes_back("DELETE FROM made; UPDATE a SET n = 5; DELETE FROM b");
	must(slm_pgsnap_teardown_begins(&f.db, &f.err));
	must(slm_pgsnap_end(&f.db, &f.err));
	assert_int_equal(number(STATE), before);
}

static void a_setup_that_fails(void **state)
{
	const char *cleaned;
	long long before;

	(void)state;
	execute(TWO_TABLES);
	before = number(STATE);
	f.db.superuser = f.db.may_replica = true;
	read_spec("setup { SELECT 1 }\nsession s\nstep a { SELECT 1; }\n");
	must(slm_pgsnap_begin(&f.db, &cleaned, &f.err));
	must(slm_pgsnap_setup_begins(&f.db, &f.err));
	execute(SETUP);
	assert_int_equal(slm_pg_exec(&f.db.admin, "fail", "BEGIN; SELECT 1/0",
				     NULL, NULL),
			 SQLOOM_DATABASE);
	must(slm_pgsnap_teardown_begins(&f.db, &f.err));
	must(slm_pgsnap_end(&f.db, &f.err));
	assert_int_equal(number(STATE), before);
}

/* Without a setup nothing but what the runs wrote is kept. */
static void killed_without_a_setup(void **state)
{
	const char *cleaned;

	(void)state;
	begin(TWO_TABLES, NULL);
	sqloom_spec_free(spec);
	f.db.spec = NULL;
	read_spec("session s\nstep a { SELECT 1; }\n");
	execute("DELETE FROM sqloom.kept WHERE set = 'b'; DELETE FROM "
		"sqloom.position WHERE set = 'b'");
	transaction("DELETE FROM b; SELECT nextval('a_id_seq')");
	slm_pg_close(&f.db.admin);
	slm_pgrestore_free(&f.db);
	open_one(&f.db.admin, "the next");
	must(slm_pgsnap_begin(&f.db, &cleaned, &f.err));
	assert_non_null(strstr(cleaned, "1 table restored"));
	assert_int_equal(number("SELECT count(*) FROM b"), 10);
	assert_int_equal(number("SELECT last_value FROM a_id_seq"), 10);
}

/* Everything up to a committed transaction, and then the end. */
static void be_killed(bool in_setup)
{
	open_all(NULL);
	if (in_setup) {
		const char *cleaned;

		read_spec("setup { SELECT 1 }\nsession s\nstep a { SELECT 1; "
			  "}\n");
		f.db.superuser = f.db.may_replica = true;
		execute(TWO_TABLES);
		must(slm_pgsnap_begin(&f.db, &cleaned, &f.err));
		must(slm_pgsnap_setup_begins(&f.db, &f.err));
		execute(SETUP);
	} else {
		begin(TWO_TABLES, SETUP);
		transaction("DELETE FROM b; UPDATE a SET n = 77; INSERT INTO "
			    "made DEFAULT VALUES");
	}
	kill(getpid(), SIGKILL);
}

static void killed(bool in_setup)
{
	const char *cleaned = NULL;
	pid_t child = fork();
	int ended;

	if (child == 0) {
		be_killed(in_setup);
		_exit(1);
	}
	assert_int_equal(waitpid(child, &ended, 0), child);
	assert_true(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL);
	/* The server has noticed when the lock is free. */
	while (number("SELECT count(*) FROM pg_stat_activity WHERE "
		      "backend_type = 'client backend'") > 1)
		usleep(1000);
	assert_int_equal(number("SELECT count(*) FROM b"), in_setup ? 9 : 0);
	read_spec("setup { SELECT 1 }\nsession s\nstep a { SELECT 1; }\n");
	f.db.superuser = f.db.may_replica = true;
	must(slm_pgsnap_begin(&f.db, &cleaned, &f.err));
	assert_non_null(cleaned);
	assert_non_null(strstr(cleaned, "2 tables restored, 1 table and"));
	assert_int_equal(number("SELECT count(*) FROM b"), 10);
	assert_int_equal(number("SELECT sum(n) FROM a"), 55);
	assert_int_equal(number("SELECT last_value FROM a_id_seq"), 10);
	assert_int_equal(number("SELECT count(*) FROM pg_class WHERE relname "
				"IN ('made', 'v', 'more')"),
			 0);
	assert_int_equal(number("SELECT count(*) FROM pg_namespace WHERE "
				"nspname = 'other'"),
			 0);
	must(slm_pgsnap_setup_ended(&f.db, &f.err));
	must(slm_pgsnap_end(&f.db, &f.err));
	assert_int_equal(number("SELECT count(*) FROM pg_namespace WHERE "
				"nspname = 'sqloom'"),
			 0);
}

static void killed_in_a_run(void **state)
{
	(void)state;
	killed(false);
}

static void killed_in_the_setup(void **state)
{
	(void)state;
	killed(true);
}

static void refused(struct slm_pg *pg, const char *part)
{
	struct postgres other = { .admin = *pg, .spec = spec };
	struct sqloom_error err;
	const char *cleaned;

	assert_int_equal(slm_pgsnap_begin(&other, &cleaned, &err),
			 SQLOOM_DATABASE);
	assert_non_null(strstr(err.message, part));
	slm_pgrestore_free(&other);
}

static void somebody_else_is_at_work(void **state)
{
	(void)state;
	begin(TWO_TABLES, NULL);
	refused(&writer, "another sqloom explores database");
	must(slm_pgsnap_end(&f.db, &f.err));
	execute("CREATE SCHEMA sqloom");
	refused(&writer, "not of this tool's making");
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_test, close_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rows_order_and_sequences),
		TEST(memory_is_out),
		TEST(many_cycles_keep_order_and_size),
		TEST(a_table_of_several_pages),
		TEST(a_large_table_by_rows),
		TEST(kinds_of_writes),
		TEST(kinds_of_columns),
		TEST(triggers_that_always_fire),
		TEST(as_a_plain_role),
		TEST(as_a_role_with_the_grant),
		TEST(changes_of_the_schema_are_seen),
		TEST(contents_are_those_of_the_run),
		TEST(the_end_leaves_nothing),
		TEST(killed_in_a_run),
		TEST(killed_in_the_setup),
		TEST(killed_without_a_setup),
		TEST(a_setup_that_fails),
		TEST(somebody_else_is_at_work),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
