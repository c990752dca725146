/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the catalogue says of tables, keys and what a write reaches, and what a
 * step is resolved to.
 */
#include "postgres_help.h"

/* "a b": what a write to the table reaches. */
static const char *reaches(const char *shown)
{
	const struct pg_table *t = table(shown);

	return names_of(t->reaches, t->nreaches);
}

/* "id<-t_id_seq" or "-": the key, and its sequence. */
static const char *key(const char *shown)
{
	static char out[200];
	const struct pg_table *t = table(shown);

	if (t->key_column < 0) {
		assert_int_equal(t->sequence, -1);
		return "-";
	}
	snprintf(out, sizeof(out), "%s<-%s", t->columns[t->key_column].name,
		 f.db.catalogue.sequences[t->sequence].quoted);
	return out;
}

/* "parent>account reference>account" of a column. */
static const char *refers(const char *shown, const char *column)
{
	static char out[300];
	const struct pg_table *t = table(shown);

	for (uint32_t i = 0; i < t->ncolumns; i++) {
		const struct pg_column *c = &t->columns[i];

		if (strcmp(c->name, column))
			continue;
		snprintf(out, sizeof(out), "%s %s",
			 c->parent ?
				 f.db.catalogue.tables[c->parent - 1].shown :
				 "-",
			 c->reference ?
				 f.db.catalogue.tables[c->reference - 1].shown :
				 "-");
		return out;
	}
	fail_msg("no column %s", column);
	return NULL;
}

/* ---- Tables ------------------------------------------------------------ */

static void tables_are_known_by_their_names(void **state)
{
	(void)state;
	load("CREATE TABLE b (x int, gone int, \"y \"\"z\" text, s int"
	     " GENERATED ALWAYS AS (x * 2) STORED);"
	     " ALTER TABLE b DROP gone;"
	     " CREATE SCHEMA other; CREATE TABLE other.b (x int);"
	     " CREATE TABLE other.c (x int);"
	     " CREATE SCHEMA \"odd \"\"one\"; CREATE TABLE \"odd \"\"one\".\"T\" ();"
	     " CREATE TEMP TABLE hidden (x int);"
	     " CREATE SCHEMA sqloom; CREATE TABLE sqloom.hidden (x int);"
	     " CREATE VIEW a AS SELECT x FROM b");
	assert_int_equal(f.db.catalogue.ntables, 5);
	assert_string_equal(f.db.catalogue.tables[0].shown, "a");
	assert_string_equal(f.db.catalogue.tables[1].shown, "b");
	assert_string_equal(f.db.catalogue.tables[2].shown, "odd \"one.T");
	assert_string_equal(f.db.catalogue.tables[2].quoted,
			    "\"odd \"\"one\".\"T\"");
	assert_int_equal(f.db.catalogue.tables[2].ncolumns, 0);
	assert_string_equal(f.db.catalogue.tables[3].shown, "other.b");
	assert_int_equal(table("b")->ncolumns, 3);
	assert_string_equal(table("b")->columns[1].name, "y \"z");
	assert_int_equal(table("b")->columns[1].number, 3);
	assert_true(table("b")->columns[2].generated);
	assert_false(table("b")->columns[0].generated);
	assert_int_equal(table("a")->kind, 'v');
	assert_int_equal(slm_pgcat_find(&f.db, NULL, "b"), 1);
	assert_int_equal(slm_pgcat_find(&f.db, NULL, "c"), -1);
	assert_int_equal(slm_pgcat_find(&f.db, "other", "b"), 3);
	assert_int_equal(slm_pgcat_find(&f.db, "nowhere", "b"), -1);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(
			slm_pgcat_find_oid(&f.db.catalogue,
					   f.db.catalogue.tables[i].oid),
			(int)i);
	assert_int_equal(slm_pgcat_find_oid(&f.db.catalogue, 1), -1);
}

static void keys_are_what_sequences_generate(void **state)
{
	(void)state;
	load("CREATE TABLE serial (id serial PRIMARY KEY);"
	     " CREATE TABLE small (v int, id smallserial);"
	     " CREATE TABLE big (id bigserial);"
	     " CREATE TABLE ident (v int, id bigint GENERATED ALWAYS AS IDENTITY"
	     " (INCREMENT -5));"
	     " CREATE SEQUENCE free;"
	     " CREATE TABLE one (id int DEFAULT nextval('free'));"
	     " CREATE TABLE two (code text DEFAULT 'X' || nextval('free'),"
	     " n int DEFAULT nextval('free') + 1);"
	     " CREATE TABLE pair (no serial, id serial PRIMARY KEY);"
	     " CREATE TABLE uuid (id uuid PRIMARY KEY DEFAULT"
	     " gen_random_uuid());"
	     " CREATE TABLE twice (a serial, b int GENERATED ALWAYS AS"
	     " IDENTITY);"
	     " CREATE TABLE plain (id int PRIMARY KEY);"
	     " CREATE TABLE bytext (id int DEFAULT nextval('free'::text));"
	     " CREATE DOMAIN d AS int DEFAULT nextval('free');"
	     " CREATE TABLE bydomain (id d)");
	assert_string_equal(key("serial"), "id<-\"public\".\"serial_id_seq\"");
	assert_string_equal(key("small"), "id<-\"public\".\"small_id_seq\"");
	assert_string_equal(key("big"), "id<-\"public\".\"big_id_seq\"");
	assert_string_equal(key("ident"), "id<-\"public\".\"ident_id_seq\"");
	assert_true(table("ident")->columns[1].always);
	assert_int_equal(
		f.db.catalogue.sequences[table("ident")->sequence].increment,
		-5);
	assert_string_equal(key("one"), "id<-\"public\".\"free\"");
	assert_string_equal(key("two"), "-");
	assert_int_equal(table("two")->nsequences, 1);
	assert_string_equal(key("pair"), "id<-\"public\".\"pair_id_seq\"");
	assert_int_equal(table("pair")->nsequences, 2);
	assert_string_equal(key("twice"), "a<-\"public\".\"twice_a_seq\"");
	assert_string_equal(key("uuid"), "-");
	assert_string_equal(key("plain"), "-");
	/* The catalogue does not say which sequence these use. */
	assert_false(table("bytext")->certain);
	assert_false(table("bydomain")->certain);
	assert_true(table("one")->certain);
	for (uint32_t i = 0; i < f.db.catalogue.nsequences; i++) {
		const struct pg_sequence *s = &f.db.catalogue.sequences[i];
		bool is_no = strstr(s->quoted, "pair_no") ||
			     strstr(s->quoted, "twice_b");

		assert_int_equal(s->table < 0, is_no);
		if (strstr(s->quoted, "free"))
			assert_string_equal(
				f.db.catalogue.tables[s->table].shown, "one");
	}
}

static void the_primary_key_or_another_key_is_found(void **state)
{
	(void)state;
	load("CREATE TABLE p (x int, a int, b int, PRIMARY KEY (b, a)"
	     " INCLUDE (x), UNIQUE (x));"
	     " CREATE TABLE u (a int NOT NULL, b int UNIQUE, c int NOT NULL"
	     " UNIQUE); "
	     " CREATE TABLE n (a int UNIQUE, b int NOT NULL, c int NOT NULL);"
	     " CREATE UNIQUE INDEX ON n (b) WHERE c > 0;"
	     " CREATE UNIQUE INDEX ON n ((c + 1))");
	assert_int_equal(table("p")->nprimary, 2);
	assert_int_equal(table("p")->primary[0], 2);
	assert_int_equal(table("p")->primary[1], 1);
	assert_int_equal(table("u")->nprimary, 1);
	assert_int_equal(table("u")->primary[0], 2);
	assert_null(table("n")->primary);
}

static void references_are_known(void **state)
{
	(void)state;
	load("CREATE TABLE account (id serial PRIMARY KEY, code text UNIQUE,"
	     " a int, b int, UNIQUE (a, b));"
	     " CREATE TABLE o (acc int REFERENCES account, code text"
	     " REFERENCES account (code), a int, b int, FOREIGN KEY (a, b)"
	     " REFERENCES account (a, b), id serial PRIMARY KEY, parent int"
	     " REFERENCES o)");
	assert_string_equal(refers("o", "acc"), "account account");
	assert_string_equal(refers("o", "code"), "account -");
	assert_string_equal(refers("o", "a"), "account -");
	assert_string_equal(refers("o", "b"), "account -");
	assert_string_equal(refers("o", "parent"), "o o");
	assert_string_equal(refers("o", "id"), "- -");
}

/* ---- Reach ------------------------------------------------------------- */

static void actions_of_foreign_keys_are_followed(void **state)
{
	(void)state;
	load("CREATE TABLE a (id int PRIMARY KEY);"
	     " CREATE TABLE b (id int PRIMARY KEY REFERENCES a ON DELETE"
	     " CASCADE);"
	     " CREATE TABLE c (id int UNIQUE REFERENCES b ON UPDATE CASCADE);"
	     " CREATE TABLE d (id int REFERENCES c (id) ON DELETE SET NULL);"
	     " CREATE TABLE e (id int DEFAULT 1 REFERENCES c (id) ON DELETE SET"
	     " DEFAULT);"
	     " CREATE TABLE no (id int REFERENCES a);"
	     " CREATE TABLE self (id int PRIMARY KEY, up int REFERENCES self ON"
	     " DELETE CASCADE)");
	assert_string_equal(reaches("a"), "b c d e");
	assert_string_equal(reaches("b"), "c d e");
	assert_string_equal(reaches("d"), "");
	assert_string_equal(reaches("no"), "");
	assert_string_equal(reaches("self"), "");
	assert_true(table("a")->certain);
}

static void partitions_and_children_are_followed(void **state)
{
	(void)state;
	load("CREATE TABLE p (k int, id serial, PRIMARY KEY (k, id))"
	     " PARTITION BY RANGE (k);"
	     " CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
	     " CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)"
	     " PARTITION BY LIST (k);"
	     " CREATE TABLE p21 PARTITION OF p2 DEFAULT;"
	     " CREATE TABLE r (k int, id int, FOREIGN KEY (k, id) REFERENCES p"
	     " ON DELETE CASCADE);"
	     " CREATE TABLE i (k int, id int GENERATED ALWAYS AS IDENTITY)"
	     " PARTITION BY LIST (k);"
	     " CREATE TABLE i1 PARTITION OF i DEFAULT;"
	     " CREATE TABLE city (n text); CREATE TABLE capital (s text)"
	     " INHERITS (city)");
	assert_string_equal(reaches("p"), "p1 p2 p21 r");
	assert_string_equal(reaches("p1"), "r");
	assert_string_equal(reaches("p2"), "p21 r");
	assert_string_equal(reaches("city"), "capital");
	assert_string_equal(reaches("capital"), "");
	assert_string_equal(f.db.catalogue.tables[table("p21")->root].shown,
			    "p");
	assert_string_equal(f.db.catalogue.tables[table("capital")->root].shown,
			    "capital");
	assert_string_equal(key("p21"), "id<-\"public\".\"p_id_seq\"");
	/* Its own column is no identity. */
	assert_string_equal(key("i1"), "id<-\"public\".\"i_id_seq\"");
	/* Not a partition's copy of the foreign key. */
	assert_string_equal(refers("r", "k"), "p -");
}

static void views_and_rules_are_followed(void **state)
{
	(void)state;
	load("CREATE TABLE a (id int); CREATE TABLE b (id int);"
	     " CREATE TABLE log (id int);"
	     " CREATE VIEW v AS SELECT id FROM a WHERE EXISTS (SELECT FROM b);"
	     " CREATE VIEW vv AS SELECT id FROM v;"
	     " CREATE MATERIALIZED VIEW m AS SELECT id FROM a;"
	     " CREATE TABLE ruled (id int);"
	     " CREATE RULE r AS ON INSERT TO ruled DO ALSO INSERT INTO log"
	     " VALUES (1)");
	assert_string_equal(reaches("vv"), "a b v");
	assert_true(table("vv")->certain);
	assert_string_equal(reaches("m"), "");
	assert_string_equal(reaches("ruled"), "log");
	assert_true(table("ruled")->triggers);
	assert_false(table("ruled")->certain);
}

#define TRIGGER_FUNCTION                                                   \
	"CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN " \
	"RETURN new; END';"

static void triggers_make_writes_uncertain(void **state)
{
	(void)state;
	load(TRIGGER_FUNCTION
	     " CREATE TABLE a (id int PRIMARY KEY, t tsvector, x text);"
	     " CREATE TABLE b (id int REFERENCES a ON DELETE CASCADE);"
	     " CREATE TABLE c (id int); CREATE TABLE off (id int);"
	     " CREATE VIEW v AS SELECT id FROM c;"
	     " CREATE TABLE p (id int) PARTITION BY LIST (id);"
	     " CREATE TABLE p1 PARTITION OF p DEFAULT;"
	     " CREATE TRIGGER t BEFORE INSERT ON b FOR EACH ROW EXECUTE"
	     " FUNCTION tr();"
	     " CREATE TRIGGER t INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE"
	     " FUNCTION tr();"
	     " CREATE TRIGGER t AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION"
	     " tr();"
	     " CREATE TRIGGER t BEFORE INSERT ON off FOR EACH ROW EXECUTE"
	     " FUNCTION tr(); ALTER TABLE off DISABLE TRIGGER t;"
	     " CREATE TRIGGER t BEFORE INSERT ON c FOR EACH ROW EXECUTE"
	     " FUNCTION suppress_redundant_updates_trigger()");
	assert_true(table("b")->triggers);
	assert_false(table("b")->certain);
	assert_false(table("a")->triggers);
	assert_false(table("a")->certain); /* it reaches b */
	assert_false(table("v")->certain);
	assert_false(table("p")->certain);
	assert_false(table("p1")->certain);
	assert_string_equal(resolved("INSERT INTO b VALUES (1)"), "|b|b||");
	assert_string_equal(resolved("INSERT INTO a VALUES (1)"),
			    "|a|a||certain");
	assert_string_equal(resolved("DELETE FROM a"), "a|a, b|a b||");
	assert_true(table("off")->certain);
	assert_true(table("c")->certain);
	/* A trigger's function cannot be called by a statement. */
	assert_true(f.db.catalogue.simple);
}

static void functions_are_noted_where_they_are_called(void **state)
{
	(void)state;
	load("CREATE TABLE a (id int)");
	assert_true(f.db.catalogue.simple);
	assert_true(f.db.catalogue.quiet);
	load("CREATE FUNCTION pure(int) RETURNS int IMMUTABLE LANGUAGE sql AS"
	     " 'SELECT $1'");
	assert_true(f.db.catalogue.simple);
	load("CREATE FUNCTION zap() RETURNS int LANGUAGE sql AS 'DELETE FROM a;"
	     " SELECT 1'; CREATE FUNCTION fn(int) RETURNS int STABLE LANGUAGE"
	     " plpgsql AS 'BEGIN RETURN 1; END';"
	     " CREATE TABLE d (id int DEFAULT zap());"
	     " CREATE TABLE c (id int CHECK (fn(id) > 0));"
	     " CREATE TABLE l (id int); CREATE POLICY p ON l USING (zap() > 0);"
	     " CREATE VIEW v AS SELECT zap() FROM a;"
	     " CREATE TABLE n (id int CHECK (pure(id) > 0))");
	assert_false(f.db.catalogue.simple);
	assert_true(f.db.catalogue.quiet);
	assert_int_equal(f.db.catalogue.nfunctions, 2);
	assert_string_equal(f.db.catalogue.functions[0], "fn");
	assert_string_equal(f.db.catalogue.functions[1], "zap");
	assert_true(table("a")->certain);
	assert_true(table("n")->certain);
	assert_false(table("d")->certain);
	assert_false(table("c")->certain);
	assert_false(table("l")->certain);
	assert_false(table("v")->certain);
	load("CREATE FUNCTION plus(int, int) RETURNS int LANGUAGE sql AS"
	     " 'SELECT zap()'; CREATE OPERATOR <+> (leftarg = int, rightarg ="
	     " int, function = plus)");
	assert_false(f.db.catalogue.quiet);
	assert_false(table("a")->certain);
	load("DROP OPERATOR <+> (int, int)");
	assert_true(f.db.catalogue.quiet);
	load("CREATE AGGREGATE ag (int) (sfunc = plus, stype = int)");
	assert_false(f.db.catalogue.quiet);
}

static void harmless_extensions_do_no_harm(void **state)
{
	PGresult *found = PQexec(f.db.admin.conn,
				 "SELECT FROM pg_available_extensions WHERE "
				 "name = 'pgcrypto'");
	int count = PQntuples(found);

	(void)state;
	PQclear(found);
	if (!count)
		skip();
	load("CREATE EXTENSION pgcrypto; CREATE TABLE a (id int)");
	assert_true(f.db.catalogue.simple);
	load("ALTER EXTENSION pgcrypto DROP FUNCTION gen_salt(text)");
	assert_false(f.db.catalogue.simple);
	execute("ALTER EXTENSION pgcrypto ADD FUNCTION gen_salt(text);"
		" DROP EXTENSION pgcrypto");
}

static void what_is_known_is_kept(void **state)
{
	(void)state;
	load("CREATE TABLE m (id serial); CREATE TABLE z (id serial)");
	table("m")->snapshot = table("m")->written = true;
	table("m")->rows = 7;
	f.db.catalogue.sequences[table("z")->sequence].last_value = 41;
	f.db.catalogue.sequences[table("z")->sequence].is_called = true;
	assert_true(slm_pggenerated_add(&f.db, 1, 1, 42));
	assert_true(slm_pggenerated_add(&f.db, 0, 0, 9));
	load("CREATE TABLE a (id serial); CREATE TABLE n (x int);"
	     " ALTER TABLE m RENAME TO new");
	assert_int_equal(f.db.catalogue.version, 2);
	assert_true(table("new")->snapshot);
	assert_true(table("new")->written);
	assert_int_equal(table("new")->rows, 7);
	assert_false(table("a")->snapshot);
	assert_int_equal(
		f.db.catalogue.sequences[table("z")->sequence].last_value, 41);
	assert_non_null(slm_pggenerated_find(&f.db, 3, 42));
	assert_null(slm_pggenerated_find(&f.db, 1, 42));
	load("DROP TABLE z");
	assert_int_equal(f.db.ngenerated, 1);
}

static void an_error_leaves_the_old_catalogue(void **state)
{
	struct sqloom_error err;

	(void)state;
	load("CREATE TABLE a (id int)");
	execute("BEGIN");
	assert_int_equal(slm_pg_exec(&f.db.admin, "fail", "SELECT 1 / 0", NULL,
				     &err),
			 SQLOOM_DATABASE);
	assert_int_equal(slm_pgcat_load(&f.db, &err), SQLOOM_DATABASE);
	assert_string_equal(err.sqlstate, "25P02");
	assert_non_null(strstr(err.message, "cannot read the catalogue"));
	assert_int_equal(f.db.catalogue.version, 1);
	assert_int_equal(table("a")->kind, 'r');
	execute("ROLLBACK");
}

/* ---- Steps ------------------------------------------------------------- */

static void steps_are_resolved(void **state)
{
	(void)state;
	load("CREATE TABLE a (id int PRIMARY KEY);"
	     " CREATE TABLE b (id int REFERENCES a ON DELETE CASCADE);"
	     " CREATE TABLE s (id serial, x int);"
	     " CREATE VIEW v AS SELECT id FROM a WHERE EXISTS (SELECT FROM s);"
	     " CREATE SCHEMA other; CREATE TABLE other.t (id int)");
	assert_string_equal(resolved("SELECT * FROM a"), "a||||certain");
	assert_string_equal(resolved("SELECT * FROM v, other.t"),
			    "a, other.t, s||||certain");
	assert_string_equal(resolved("SELECT * FROM a FOR UPDATE"),
			    "a||||certain");
	assert_string_equal(resolved("DELETE FROM a WHERE id = 1"),
			    "a|a, b|a b||certain");
	assert_string_equal(resolved("INSERT INTO a VALUES (1)"),
			    "|a|a||certain");
	assert_string_equal(
		resolved("INSERT INTO a VALUES (1) ON CONFLICT (id) DO UPDATE"
			 " SET id = 2"),
		"a|a, b|a b||certain");
	assert_string_equal(
		resolved("WITH d AS (DELETE FROM a RETURNING id) INSERT INTO"
			 " other.t SELECT id FROM d"),
		"a|a, b, other.t|a b other.t||certain");
	assert_string_equal(resolved("INSERT INTO s (x) SELECT id FROM a"),
			    "a|s|s|\"public\".\"s_id_seq\"|certain");
	assert_string_equal(resolved("INSERT INTO v VALUES (1)"),
			    "|a, s|a s v|\"public\".\"s_id_seq\"|certain");
	assert_string_equal(resolved("INSERT INTO nowhere VALUES (1)"), "||||");
	assert_string_equal(resolved("SELECT * FROM nowhere"), "||||");
	assert_string_equal(resolved("SELECT relname FROM pg_class"),
			    "||||certain");
	assert_string_equal(resolved("CREATE TABLE x (id int)"), "||||");
	assert_string_equal(resolved("SELECT nextval('s_id_seq')"), "||||");
	assert_string_equal(resolved("syntax error"), "||||");
	assert_true(table("a")->written);
	assert_true(table("b")->written);
	assert_true(table("other.t")->written);
}

static void event_triggers_see_temporary_tables_made(void **state)
{
	(void)state;
	load("CREATE TABLE a (id int)");
	assert_string_equal(resolved("CREATE TEMP TABLE x (id int)"),
			    "||||certain");
	load("CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS"
	     " 'BEGIN DELETE FROM a; END';"
	     " CREATE EVENT TRIGGER ev ON ddl_command_end EXECUTE FUNCTION"
	     " ev()");
	assert_false(f.db.catalogue.simple);
	assert_string_equal(resolved("CREATE TEMP TABLE x (id int)"), "||||");
	assert_string_equal(resolved("DELETE FROM a"), "a|a|a||certain");
	execute("DROP EVENT TRIGGER ev");
}

static void truncate_cascade_reaches_all_that_refer(void **state)
{
	(void)state;
	load("CREATE TABLE a (id serial PRIMARY KEY);"
	     " CREATE TABLE b (id int PRIMARY KEY REFERENCES a);"
	     " CREATE TABLE c (id int REFERENCES b);"
	     " CREATE TABLE d (id int)");
	assert_string_equal(resolved("TRUNCATE d"), "|d|d||certain");
	assert_string_equal(resolved("TRUNCATE a CASCADE"),
			    "|a, b, c|a b c|\"public\".\"a_id_seq\"|certain");
}

static void steps_that_call_functions_are_not_certain(void **state)
{
	(void)state;
	load("CREATE TABLE a (id int); CREATE FUNCTION fn() RETURNS int"
	     " LANGUAGE sql AS 'DELETE FROM a; SELECT 1';"
	     " CREATE FUNCTION upper(text, int) RETURNS text LANGUAGE sql AS"
	     " 'DELETE FROM a; SELECT $1';"
	     " CREATE VIEW v AS SELECT fn() FROM a");
	assert_string_equal(resolved("SELECT fn()"), "||||");
	assert_string_equal(resolved("SELECT upper('x', 1)"), "||||");
	assert_string_equal(resolved("SELECT lower('x')"), "||||certain local");
	assert_string_equal(resolved("SELECT * FROM v"), "a||||");
	assert_string_equal(resolved("UPDATE a SET id = fn()"), "a|a|a||");
	assert_string_equal(resolved("UPDATE a SET id = 1"), "a|a|a||certain");
	assert_string_equal(resolved("DO 'BEGIN END'"), "||||");
}

static void partitions_are_shown_as_their_table(void **state)
{
	(void)state;
	load("CREATE TABLE p (k int) PARTITION BY RANGE (k);"
	     " CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
	     " CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)");
	assert_string_equal(resolved("INSERT INTO p VALUES (1)"),
			    "|p|p p1 p2||certain");
	assert_string_equal(resolved("INSERT INTO p1 VALUES (1)"),
			    "|p|p1||certain");
}

static void local_steps_matter_to_nobody(void **state)
{
	(void)state;
	load("CREATE TABLE a (id int)");
	assert_string_equal(resolved("SET work_mem = '1MB'"),
			    "||||certain local");
	assert_string_equal(resolved("SELECT 1"), "||||certain local");
	assert_string_equal(resolved("LISTEN x"), "||||certain");
	assert_string_equal(resolved("SAVEPOINT x"), "||||certain local");
	assert_string_equal(resolved("PREPARE x AS SELECT * FROM a"),
			    "a||||certain");
	assert_string_equal(resolved("DEALLOCATE x"), "||||certain local");
	assert_string_equal(resolved("BEGIN; SET LOCAL work_mem = '1MB'"),
			    "||||certain");
	assert_string_equal(resolved("BEGIN"), "||||certain");
	assert_string_equal(resolved("COMMIT"), "||||certain");
	assert_string_equal(resolved("ROLLBACK"), "||||certain");
	assert_string_equal(resolved("ROLLBACK TO x"), "||||certain");
	assert_string_equal(resolved("SET CONSTRAINTS ALL IMMEDIATE"),
			    "||||certain");
	assert_string_equal(resolved("SELECT pg_advisory_lock(1)"),
			    "||||certain");
	f.db.options.local_begin = true;
	assert_string_equal(resolved("BEGIN"), "||||certain local");
	assert_string_equal(resolved("COMMIT"), "||||certain");
	/* At another level the first statement makes the snapshot. */
	f.db.nsessions = 1;
	f.db.sessions = (struct pg_session[]){ { 0 } };
	f.db.options.isolation[0] = "repeatable read";
	load(NULL);
	assert_string_equal(resolved("SELECT 1"), "||||certain");
	assert_string_equal(resolved("SHOW work_mem"), "||||certain local");
	f.db.nsessions = 0;
}

static void the_search_path_may_be_set_by_a_step(void **state)
{
	struct pg_step step = { .text = "SET search_path = other" };
	struct pg_session session = { .steps = &step, .nsteps = 1 };

	(void)state;
	load("CREATE SCHEMA other; CREATE TABLE other.t (id int);"
	     " CREATE TABLE t (id int)");
	assert_string_equal(resolved("DELETE FROM t"), "t|t|t||certain");
	f.db.sessions = &session;
	f.db.nsessions = 1;
	load(NULL);
	assert_string_equal(resolved("DELETE FROM t"),
			    "other.t, t|other.t, t|other.t t||certain");
	f.db.nsessions = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tables_are_known_by_their_names),
		TEST(keys_are_what_sequences_generate),
		TEST(the_primary_key_or_another_key_is_found),
		TEST(references_are_known),
		TEST(actions_of_foreign_keys_are_followed),
		TEST(partitions_and_children_are_followed),
		TEST(views_and_rules_are_followed),
		TEST(triggers_make_writes_uncertain),
		TEST(functions_are_noted_where_they_are_called),
		TEST(harmless_extensions_do_no_harm),
		TEST(what_is_known_is_kept),
		TEST(an_error_leaves_the_old_catalogue),
		TEST(steps_are_resolved),
		TEST(event_triggers_see_temporary_tables_made),
		TEST(truncate_cascade_reaches_all_that_refer),
		TEST(steps_that_call_functions_are_not_certain),
		TEST(partitions_are_shown_as_their_table),
		TEST(local_steps_matter_to_nobody),
		TEST(the_search_path_may_be_set_by_a_step),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
