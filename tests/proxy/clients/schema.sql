-- SPDX-License-Identifier: Apache-2.0
-- What the clients work on; every exercise begins with it.

SET client_min_messages = warning;
DROP TABLE IF EXISTS item, line, log, big CASCADE;
DROP FUNCTION IF EXISTS notes, fails CASCADE;
DROP PROCEDURE IF EXISTS commits CASCADE;

CREATE TABLE item (
    id     integer PRIMARY KEY,
    name   text NOT NULL,
    price  numeric(10, 2),
    made   timestamptz,
    tags   text[],
    doc    jsonb,
    data   bytea
);
INSERT INTO item VALUES
    (1, 'apple', 1.50, '2026-01-01 12:00:00+00', '{red,round}',
     '{"kg": 0.2}', '\x00ff10'),
    (2, 'pear', 2.25, '2026-01-02 12:00:00+00', '{}', NULL, ''),
    (3, 'größe ☃', NULL, NULL, NULL, '[1, null, "x"]', NULL);

CREATE TABLE line (
    id   integer UNIQUE DEFERRABLE INITIALLY DEFERRED,
    item integer REFERENCES item
);
INSERT INTO line VALUES (1, 1);

CREATE TABLE log (
    id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    txt text
);
CREATE TABLE big (id integer PRIMARY KEY, txt text);

-- Tells n notices, then gives n back.
CREATE FUNCTION notes(n integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        RAISE NOTICE 'note % of %', i, n USING DETAIL = 'a detail',
            HINT = 'a hint';
    END LOOP;
    RETURN n;
END $$;

-- An error with all that an error can carry.
CREATE FUNCTION fails(why text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', why USING ERRCODE = 'SL001', DETAIL = 'a detail',
        HINT = 'a hint', COLUMN = 'col', CONSTRAINT = 'con',
        DATATYPE = 'typ', TABLE = 'tab', SCHEMA = 'sch';
END $$;

-- Must stay outside of a transaction block.
CREATE PROCEDURE commits(how_many integer) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..how_many LOOP
        INSERT INTO log (txt) VALUES ('commit ' || i);
        COMMIT;
    END LOOP;
END $$;
