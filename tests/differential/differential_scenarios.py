# SPDX-License-Identifier: Apache-2.0
"""Random scenarios from a seed: sessions of SQL steps over a few tables."""

import math
import random

from differential_reference import Scenario, Session, Statement, Step

SCHEDULES_MAX = 300

# Each piece: its tables, the statements of the setup, and what steps may do.
# {k} is a small key, {v} a value, {x} a value from an earlier step or a number.
ACCOUNT = (
    ["account"],
    [
        "CREATE TABLE account (id INTEGER PRIMARY KEY, v INTEGER CHECK (v < 500),"
        " w INTEGER NOT NULL DEFAULT 0)",
        "INSERT INTO account (id, v) VALUES (1, 10), (2, 20)",
    ],
    [
        "SELECT v FROM account WHERE id = {k}",
        "SELECT v AS x, w FROM account WHERE id = {k}",
        "SELECT sum(v) AS x, count(*) AS n FROM account",
        "SELECT id AS x FROM account WHERE v > 12 ORDER BY id DESC",
        "UPDATE account SET v = {x} + 1 WHERE id = {k}",
        "UPDATE account SET v = {x} - 5 WHERE id = {k}",
        "UPDATE account SET v = v + 1 WHERE id = {k}",
        "UPDATE account SET v = v * 2",
        "UPDATE account SET v = v * 3 WHERE id = {k} RETURNING v",
        "UPDATE account SET w = w + 1 WHERE v = {x}",
        "UPDATE account SET v = 7 WHERE id = {k} AND v = {x}",
        "UPDATE account SET w = NULL WHERE v < {x}",
        "INSERT INTO account (id, v) VALUES ({k}, {x})",
        "INSERT OR REPLACE INTO account (id, v) VALUES ({k}, {x})",
        "INSERT INTO account (id, v) VALUES ({k}, {v})"
        " ON CONFLICT (id) DO UPDATE SET v = excluded.v + v RETURNING v AS x",
        "DELETE FROM account WHERE id = {k}",
    ],
)
LIST = (
    ["list"],
    ["CREATE TABLE list (g INTEGER, v INTEGER)"],
    [
        "SELECT count(*) AS n FROM list",
        "SELECT count(*) AS x, max(v) AS v FROM list WHERE g = {k}",
        "SELECT v, g FROM list ORDER BY v",
        "INSERT INTO list VALUES ({k}, {x})",
        "INSERT INTO list SELECT {k}, count(*) FROM list",
        "INSERT INTO list SELECT {k}, {v}"
        " WHERE NOT EXISTS (SELECT 1 FROM list WHERE g = {k})",
        "INSERT INTO list VALUES (1, {v}), (2, {v})",
        "UPDATE list SET v = v + {v} WHERE g = {k}",
        "DELETE FROM list WHERE g = {k}",
        "DELETE FROM list RETURNING v",
    ],
)
UNIQUE = (
    ["person"],
    [
        "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT UNIQUE,"
        " n INTEGER DEFAULT 0)",
        "INSERT INTO person VALUES (1, 'ann', 1)",
    ],
    [
        "SELECT count(*) AS n FROM person WHERE name = '{name}'",
        "SELECT id AS x FROM person WHERE name = '{name}'",
        "INSERT INTO person (id, name) VALUES ({k}, '{name}')",
        "INSERT OR IGNORE INTO person (id, name, n) VALUES ({k}, '{name}', {x})",
        "INSERT OR REPLACE INTO person (id, name, n) VALUES ({k}, '{name}', 2)",
        "INSERT OR ROLLBACK INTO person (id, name) VALUES ({k}, '{name}')",
        "INSERT OR FAIL INTO person (id, name) VALUES (4, 'cyd'), ({k}, '{name}')",
        "INSERT INTO person (id, name) VALUES ({k}, '{name}')"
        " ON CONFLICT (name) DO UPDATE SET n = n + 1",
        "INSERT INTO person (id, name) VALUES ({k}, '{name}') ON CONFLICT DO NOTHING",
        "UPDATE person SET name = '{name}' WHERE id = {k}",
        "UPDATE OR IGNORE person SET id = id + 1 RETURNING id",
        "DELETE FROM person WHERE name = '{name}'",
    ],
)
PAIR = (
    ["pair"],
    [
        "CREATE TABLE pair (a INTEGER, b TEXT, c INTEGER, PRIMARY KEY (a, b))"
        " WITHOUT ROWID",
        "INSERT INTO pair VALUES (1, 'ann', 5)",
    ],
    [
        "SELECT c AS x FROM pair WHERE a = {k}",
        "INSERT INTO pair VALUES ({k}, '{name}', {x})",
        "REPLACE INTO pair VALUES ({k}, '{name}', {v})",
        "UPDATE pair SET c = c + {x}",
        "UPDATE pair SET a = {k} WHERE b = '{name}'",
        "DELETE FROM pair WHERE a = {k}",
    ],
)
CHILD = [
    "SELECT count(*) AS n FROM child",
    "SELECT p AS x FROM child ORDER BY id",
    "INSERT INTO child VALUES ({id}, {k}, {x})",
    "INSERT INTO child VALUES ({id}, {k}, {v}) RETURNING p AS x",
    "UPDATE child SET p = {k}",
    "UPDATE child SET v = v + 1 WHERE p = {k}",
    "DELETE FROM child WHERE p = {k}",
    "DELETE FROM account WHERE id = {k}",
    "UPDATE account SET id = 3 WHERE id = {k}",
]
REFERENCES = [
    "ON DELETE CASCADE ON UPDATE CASCADE",
    "ON DELETE SET NULL",
    "ON DELETE RESTRICT",
    "",
    "DEFERRABLE INITIALLY DEFERRED",
]
TRIGGERS = [
    "CREATE TRIGGER t1 AFTER UPDATE ON account BEGIN"
    " INSERT INTO log VALUES ('update', new.v - old.v); END",
    "CREATE TRIGGER t1 AFTER DELETE ON account BEGIN"
    " INSERT INTO log SELECT 'delete', count(*) FROM account; END",
    "CREATE TRIGGER t1 BEFORE INSERT ON account WHEN new.v > 15 BEGIN"
    " SELECT raise(ABORT, 'too much'); END",
    "CREATE TRIGGER t1 AFTER INSERT ON log BEGIN"
    " UPDATE account SET w = w + 1 WHERE id = 1; END",
]
LOG = [
    "SELECT count(*) AS n, sum(n) AS x FROM log",
    "INSERT INTO log VALUES ('step', {x})",
    "DELETE FROM log WHERE n = {v}",
]
# Keys that the database makes up.
GENERATED = (
    ["item", "part"],
    [
        "CREATE TABLE item (id INTEGER PRIMARY KEY{auto}, v INTEGER)",
        "CREATE TABLE part (id INTEGER PRIMARY KEY, item INTEGER"
        " REFERENCES item (id), n INTEGER)",
        "INSERT INTO item VALUES (1, 100)",
    ],
    [
        "SELECT count(*) AS n FROM item",
        "SELECT sum(v) AS x FROM item",
        "UPDATE item SET v = v + 1 WHERE v = {v}",
        "DELETE FROM item WHERE v = {v}",
        "SELECT count(*) AS n FROM part WHERE n = {v}",
    ],
)


class Maker:
    """Makes one scenario."""

    def __init__(self, seed, busy_timeout=0, generated=False):
        self.rng = random.Random(seed)
        self.seed, self.busy_timeout, self.generated = seed, busy_timeout, generated
        self.chance = lambda p: self.rng.random() < p

    def pieces(self):
        rng = self.rng
        chosen = rng.sample([ACCOUNT, LIST, UNIQUE, PAIR], rng.choice([1, 1, 2, 2, 3]))
        special = rng.choice(["", "", "child", "log"])
        if self.generated:
            chosen, special = rng.sample([ACCOUNT, LIST], rng.choice([0, 0, 1])), ""
        if special and ACCOUNT not in chosen:
            chosen[0] = ACCOUNT
        self.tables, self.setup, self.pool = [], [], []
        for tables, setup, pool in chosen:
            self.tables += tables
            self.setup += setup
            self.pool += rng.sample(pool, min(len(pool), rng.choice([3, 4, 6, 8])))
        self.foreign_keys = special == "child" or (self.generated and self.chance(0.5))
        if special == "child":
            self.tables.append("child")
            self.setup += [
                "CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER"
                f" REFERENCES account (id) {rng.choice(REFERENCES)}, v INTEGER)",
                "INSERT INTO child VALUES (1, 1, 5)",
            ]
            self.pool += CHILD
        if special == "log":
            self.tables.append("log")
            self.setup += ["CREATE TABLE log (what TEXT, n INTEGER)"]
            self.setup.append(rng.choice(TRIGGERS))
            self.pool += LOG
        if self.generated:
            tables, setup, pool = GENERATED
            auto = rng.choice(["", " AUTOINCREMENT"])
            self.tables += tables
            self.setup += [s.format(auto=auto) for s in setup]
            self.pool += pool

    def number(self):
        known = sorted(self.known & {"x", "v", "n", "w"})
        if known and self.chance(0.75):
            return ":" + self.rng.choice(known)
        return str(self.rng.randint(0, 30))

    def learn(self, sql):
        for word in ("x", "v", "n", "w"):
            returned = sql.split("RETURNING")[-1] if "RETURNING" in sql else sql
            if "RETURNING" not in sql and not sql.startswith("SELECT"):
                continue
            head = returned.split(" FROM ")[0]
            if f"AS {word}" in head or f" {word}," in head or head.endswith(f" {word}"):
                self.learnt.add(word)

    def make_key(self):
        """A statement for whose row the database makes up a key."""
        choice = self.rng.randrange(5)
        v = self.rng.randint(1, 3)
        if choice == 0:
            return Statement(f"INSERT INTO item (v) VALUES ({v})", "item")
        if choice == 1:
            return Statement(f"INSERT INTO item VALUES (NULL, {v})", "item")
        if choice == 2:
            self.learnt.add("item")
            sql = f"INSERT INTO item (v) VALUES ({self.number()}) RETURNING id AS item"
            return Statement(sql, "item")
        item = ":item" if "item" in self.known else "1"
        return Statement(f"INSERT INTO part (item, n) VALUES ({item}, {v})", "part")

    def statement(self, only=""):
        rng = self.rng
        if only:
            pool = [sql for sql in self.pool if sql.startswith(only)]
        else:
            pool = self.pool
        if self.chance(0.08) or not pool:
            self.learnt.add("x")
            sql = f"SELECT {self.number()} + 1 AS x"
            return Statement(sql + rng.choice(["", f" WHERE {self.number()} > 9"]))
        if self.generated and not only and self.chance(0.6):
            return self.make_key()
        sql = rng.choice(pool).format(
            k=rng.choice([1, 1, 1, 2, 2, 3]),
            v=rng.randint(1, 3),
            x=self.number(),
            id=rng.randint(1, 4),
            name=rng.choice(["ann", "bob", "bob"]),
        )
        self.learn(sql)
        return Statement(sql)

    def step(self, statements, when=True):
        self.count += 1
        condition = None
        known = sorted(self.known & {"x", "v", "n", "w"})
        control = statements and statements[0].sql.split()[0] in (
            "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE",
        )  # fmt: skip
        if when and known and not control and self.chance(0.3):
            condition = f":{self.rng.choice(known)} " + self.rng.choice(
                ["= 0", "> 0", ">= 10", "< 2", "IS NULL", "% 2"]
            )
        local = all(
            s.sql.startswith("SELECT") and " FROM " not in s.sql for s in statements
        )
        begins = [
            s.sql in ("BEGIN", "BEGIN DEFERRED") or s.sql.startswith("SAVEPOINT")
            for s in statements
        ]
        rest = [
            s
            for s, begin in zip(statements, begins)
            if not begin and (not s.sql.startswith("SELECT") or " FROM " in s.sql)
        ]
        if not local and not rest:
            local = None
        self.known |= self.learnt
        return Step(
            f"s{self.count}", statements, condition, self.chance(0.1), local
        )

    def body(self, count):
        steps = []
        for _ in range(count):
            self.learnt = set()
            length = self.rng.choice([1, 1, 1, 2])
            statements = [self.statement() for _ in range(length)]
            if self.chance(0.02):
                statements, self.learnt = [], set()
            steps.append(self.step(statements))
        return steps

    def control(self, sql):
        self.learnt = set()
        return self.step([Statement(sql)])

    def steps(self, most):
        rng = self.rng
        self.known, self.learnt = set(), set()
        shape = rng.choice(
            ["auto", "auto", "transaction", "transaction", "transaction",
             "block", "savepoint", "wild"]
        )  # fmt: skip
        begin = rng.choice(
            ["BEGIN", "BEGIN", "BEGIN DEFERRED", "BEGIN IMMEDIATE", "BEGIN IMMEDIATE",
             "BEGIN EXCLUSIVE"]
        )  # fmt: skip
        end = rng.choice(["COMMIT"] * 5 + ["ROLLBACK"])
        if shape == "auto" or most < 3:
            return self.body(rng.randint(1, most))
        if shape == "transaction" and most > 3 and self.chance(0.5):
            # Read, then write: what snapshots and lock upgrades are about.
            steps = [self.control(begin)]
            for only in ("SELECT", ("UPDATE", "INSERT", "DELETE")):
                self.learnt = set()
                steps.append(self.step([self.statement(only)], when=False))
            return steps + [self.control(end)]
        if shape == "transaction":
            steps = [self.control(begin)] + self.body(rng.randint(1, most - 2))
            return steps + ([self.control(end)] if self.chance(0.9) else [])
        if shape == "block":
            before = self.body(rng.randint(0, most - 2))
            self.learnt = set()
            inner = [self.statement() for _ in range(rng.randint(1, 2))]
            block = [Statement(begin)] + inner + [Statement(end)]
            return before + [self.step(block)] + self.body(rng.randint(0, 1))
        if shape == "savepoint" and most > 3:
            steps = [self.control(rng.choice([begin, "SAVEPOINT p"]))]
            steps += self.body(rng.randint(0, most - 3))
            inner = rng.choice(
                ["SAVEPOINT q", "ROLLBACK TO p", "RELEASE p", "RELEASE q"]
            )
            return steps + [self.control(inner)] + self.body(1)
        steps = []
        for _ in range(rng.randint(1, most)):
            if self.chance(0.35):
                words = [begin, "COMMIT", "ROLLBACK", "SAVEPOINT p", "RELEASE p"]
                steps.append(self.control(rng.choice(words)))
            else:
                steps += self.body(1)
        return steps

    def session(self, name, most):
        setup, teardown = [], []
        if self.foreign_keys:
            setup = [Statement("PRAGMA foreign_keys = on")]
        steps = self.steps(most)
        if self.chance(0.06) and not self.generated:
            self.learnt = set()
            teardown = [Statement(s) for s in (
                self.rng.choice(["ROLLBACK", "COMMIT", "SELECT count(*) FROM "
                                 + self.tables[0], "DELETE FROM " + self.tables[0]]),
            )]  # fmt: skip
        return Session(name, setup, steps, teardown)

    def make(self):
        rng = self.rng
        while True:
            self.pieces()
            self.count = 0
            count = rng.choice([2, 2, 2, 3])
            most = 5 if count == 2 else 3
            sessions = [self.session(n, most) for n in ("ann", "bob", "cyd")[:count]]
            local = self.chance(0.2)
            lengths = [
                sum(
                    not (s.local or (s.local is None and local))
                    for s in session.steps
                )
                + len(session.teardown)
                for session in sessions
            ]
            total = math.factorial(sum(lengths))
            for length in lengths:
                total //= math.factorial(length)
            if 1 < total <= SCHEDULES_MAX:
                break
        return Scenario(
            f"seed {self.seed}",
            self.setup,
            sessions,
            rng.choice(["delete", "wal"] * 2 + ["truncate", "persist", "memory"]),
            self.busy_timeout,
            local,
            "continue" if self.chance(0.12) else "stop",
            self.tables,
        )
