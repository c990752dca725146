# SPDX-License-Identifier: Apache-2.0
"""An independent explorer, by brute force: the judge of sqloom's numbers.

Executes every feasible schedule of a spec for real, one after another, and
counts those whose outcome no serial order gives. It shares no code with
sqloom, reduces nothing, and restores by making everything anew. It reads the
part of the spec language that the specs here use.

    reference.py FILE --db CONNINFO [--isolation LEVEL] [--list]

Rules, as docs/spec-language.md has them: a call that waits for a lock cannot
be asked for its next step; BEGIN, COMMIT and ROLLBACK are steps; a statement
in autocommit that writes or locks is BEGIN and the statement, and its COMMIT
is a step of its own. The victim of a deadlock is the call that closes the
cycle. THE DATABASE'S SCHEMA public IS DROPPED.
"""

import argparse
import collections
import dataclasses
import itertools
import pathlib
import re
import select

import psycopg2
from psycopg2.extensions import (
    POLL_OK,
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INERROR,
    adapt,
)

SKIPPED = "skipped"


@dataclasses.dataclass
class Step:
    sql: str
    when: str = None
    unobserved: bool = False


@dataclasses.dataclass
class Spec:
    setup: list
    sessions: list  # of lists of Step
    checks: list
    allow: list
    joint: bool = False


def parse(text):
    """The subset: no permutations, no session setups and no teardowns."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    allow = re.findall(r'^option allow "?([^"\n]+)', text, re.M)
    spec = Spec([], [], [], allow)
    spec.joint = bool(re.search(r"^option results joint", text, re.M))
    block = r"\{((?:'[^'\n]*'|[^}'])*)\}"
    part = re.compile(
        rf"setup\s*{block}|session\s+(\w+)|"
        rf"(step)\s+\w+(\s+unobserved)?(?:\s+when\s*{block})?\s*{block}|"
        rf'check\s+"[^"]*"\s*{block}'
    )
    for setup, session, step, quiet, when, sql, check in part.findall(text):
        if session:
            spec.sessions.append([])
        elif step:
            spec.sessions[-1].append(Step(sql.strip(), when, bool(quiet)))
        elif check:
            spec.checks.append(check)
        else:
            spec.setup.append(setup)
    return spec


def is_split(sql):
    """Does it get a transaction and a COMMIT step of its own?"""
    word = re.match(r"\s*(\w*)", sql).group(1).upper()
    locks = re.search(r"\bFOR\s+(NO KEY |KEY )?(UPDATE|SHARE)\b", sql, re.I)
    return ";" not in sql.rstrip("; \n") and (
        word in ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "LOCK")
        or (word == "SELECT" and bool(locks))
    )


def writes(steps):
    return any(
        re.search(r"(?i)\b(INSERT|(?<!FOR )UPDATE|DELETE|MERGE)\b", step.sql)
        for step in steps
    )


class Call:
    """A session of the spec with its connection."""

    def __init__(self, conninfo, options):
        self.connection = psycopg2.connect(conninfo, options=options, async_=1)
        self.wait()
        self.pid = self.connection.get_backend_pid()
        self.cursor = self.connection.cursor()

    def wait(self):
        while self.connection.poll() != POLL_OK:
            select.select([self.connection], [], [], 0.05)

    def execute(self, sql):
        self.cursor.execute(sql)
        self.wait()

    def begin_run(self, steps):
        self.steps, self.at, self.values = steps, 0, {}
        self.blocked = self.splitting = self.failed = False
        self.results, self.error = [], None
        self.execute("DISCARD ALL")

    def status(self):
        return self.connection.get_transaction_status()

    def text(self, sql):
        return re.sub(
            r"(?<![:\w]):([A-Za-z_]\w*)",
            lambda m: adapt(self.values[m.group(1)]).getquoted().decode(),
            sql,
        )


class Explorer:
    def __init__(self, conninfo, spec, isolation=None):
        options = "-c deadlock_timeout=100s"
        if isolation:
            level = isolation.replace(" ", r"\ ")
            options += f" -c default_transaction_isolation={level}"
        self.spec = spec
        self.monitor = psycopg2.connect(conninfo)
        self.monitor.autocommit = True
        self.asks = self.monitor.cursor()
        self.asks.execute("SET client_min_messages = error")
        self.calls = [Call(conninfo, options) for _ in spec.sessions]
        self.serial_runs = {}

    def ask(self, sql, *arguments):
        self.asks.execute(sql, arguments or None)
        return self.asks.fetchall()

    def close(self):
        for each in self.calls:
            each.connection.close()
        self.monitor.close()

    def begin_run(self):
        self.asks.execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
            + ";".join(self.spec.setup)
        )
        for call, steps in zip(self.calls, self.spec.sessions):
            call.begin_run(steps)

    def skip(self, call):
        """Passes the steps whose `when` does not hold."""
        while call.at < len(call.steps) and not call.splitting:
            when = call.steps[call.at].when
            if not when or self.ask(f"SELECT ({call.text(when)})")[0][0]:
                return
            call.results.append(SKIPPED)
            call.at += 1

    def can_go(self, call):
        if call.blocked:
            return False
        if call.splitting or call.failed:
            return True
        self.skip(call)
        return call.at < len(call.steps)

    def take_step(self, call):
        if call.failed:
            call.failed = False
            call.execute("ROLLBACK")
            return
        if call.status() != TRANSACTION_STATUS_INERROR:
            closes = any(other.blocked for other in self.calls)
            call.execute(f"SET deadlock_timeout = {1 if closes else 100000}")
        if call.splitting:
            sql = "COMMIT"
        else:
            sql = call.text(call.steps[call.at].sql)
            if call.status() == TRANSACTION_STATUS_IDLE and is_split(sql):
                call.execute("BEGIN")
                call.splitting = True
                call.began = True
        call.cursor.execute(sql)
        call.blocked = True  # until settle() knows better

    def settle(self, call):
        """Waits until the answer is there, or the server says that the call
        waits for another one of ours. A deadlock is waited out: the server
        ends it."""
        while call.blocked:
            try:
                if call.connection.poll() == POLL_OK:
                    self.done(call)
                    return
            except psycopg2.Error as error:
                self.fail(call, error.pgcode or str(error))
                return
            found = self.waits_for([call.pid])
            if found and call.pid not in found:
                return
            select.select([call.connection], [], [], 0.001)

    def waits_for(self, pids):
        """Ours that these wait for, directly or through others."""
        reached = set()
        while pids:
            found = self.ask("SELECT DISTINCT unnest(pg_blocking_pids(pid)) "
                             "FROM unnest(%s) pid", pids)
            ours = {call.pid for call in self.calls} & {pid for pid, in found}
            pids = list(ours - reached)
            reached |= ours
        return reached

    def done(self, call):
        call.blocked = False
        if call.splitting and not call.began:
            call.splitting = False
            return
        call.began = False
        step = call.steps[call.at]
        call.at += 1
        result = call.cursor.rowcount
        if call.cursor.description:
            names = [column.name for column in call.cursor.description]
            rows = call.cursor.fetchall()
            call.values.update(zip(names, rows[0] if rows else [None] * 99))
            ordered = re.search(r"\bORDER\s+BY\b", step.sql, re.I)
            result = tuple(rows if ordered else sorted(rows, key=repr))
        call.results.append(None if step.unobserved else result)

    def fail(self, call, code):
        """The rest is not run; ROLLBACK takes the place of the next step."""
        call.blocked, call.error = False, code
        left = call.at + 1 < len(call.steps)
        split, call.splitting = call.splitting, False
        call.at = len(call.steps)
        if call.status() != TRANSACTION_STATUS_IDLE:
            if left and not split:
                call.failed = True
            else:
                call.execute("ROLLBACK")

    def run(self, choose):
        """One run; choose(those that can go) picks. Returns the outcome."""
        self.begin_run()
        while True:
            able = [i for i, c in enumerate(self.calls) if self.can_go(c)]
            if not able:
                stuck = [call for call in self.calls if call.blocked]
                assert not stuck, "a deadlock that the server does not end"
                break
            call = self.calls[choose(able)]
            self.take_step(call)
            while True:  # until nobody's state changes any more
                before = [each.blocked for each in self.calls]
                for each in [call] + self.calls:
                    self.settle(each)
                if before == [each.blocked for each in self.calls]:
                    break
            for each in self.calls:  # the end of a call closes its session
                if not each.blocked and not self.can_go(each):
                    each.execute("ROLLBACK")
        return self.outcome()

    def outcome(self):
        tables = self.ask("SELECT tablename FROM pg_tables WHERE "
                          "schemaname = 'public' ORDER BY tablename")
        contents = [sorted(self.ask(f'SELECT * FROM "{name}"'), key=repr)
                    for name, in tables]
        failures = tuple(tuple(self.ask(check)) for check in self.spec.checks)
        results = tuple(tuple(call.results) for call in self.calls)
        return contents, results, tuple(c.error for c in self.calls), failures

    def serial(self, members):
        """Outcomes of all serial orders of these calls."""
        if members not in self.serial_runs:
            self.serial_runs[members] = [
                self.run_serially(order)
                for order in itertools.permutations(members)
            ]
        return self.serial_runs[members]

    def run_serially(self, order):
        """Those that are not in the order do not run."""
        sessions = self.spec.sessions
        self.spec.sessions = [steps if i in order else []
                              for i, steps in enumerate(sessions)]
        outcome = self.run(lambda able: min(able, key=order.index))
        self.spec.sessions = sessions
        return outcome

    def judge(self, outcome):
        """"right", or what is wrong: the worst that applies."""
        contents, results, errors, failures = outcome
        everybody = range(len(self.calls))
        aborted = [i for i in everybody if errors[i] in ("40001", "40P01")]
        members = tuple(i for i in everybody if i not in aborted)
        undone = tuple(i for i in everybody if not errors[i])
        serial = self.serial(members)
        if any(failures):
            return "check"
        if contents not in [o[0] for o in serial + self.serial(undone)]:
            return "contents"
        for i in undone:
            theirs = [other[1][i] for other in serial if not other[2][i]]
            if writes(self.spec.sessions[i]):
                right = all(mine in column for mine, column in
                            itertools.zip_longest(results[i], zip(*theirs)))
            else:
                right = results[i] in theirs
            if not right:
                return "results"
        if self.spec.joint and not any(
                all(results[i] == o[1][i] for i in undone) for o in serial):
            return "joint results"
        codes = [(i, errors[i]) for i in everybody
                 if errors[i] and errors[i] not in self.spec.allow]
        for i, code in codes:
            if code != "40001" and code not in [o[2][i] for o in serial]:
                return f"error {code}"
        retry = any(code == "40001" for _, code in codes)
        return "retry 40001" if retry else "right"

    def explore(self):
        """Yields (schedule, verdict) of every feasible schedule. Of several
        calls that wait for one row PostgreSQL does not promise which one goes
        first: a run that went another way is repeated."""
        known, complete, agenda = set(), set(), [()]
        while agenda:
            prefix = agenda.pop()
            for _ in range(200):
                taken = []

                def choose(able):
                    wanted = prefix[len(taken):len(taken) + 1]
                    here = tuple(taken)
                    taken.extend(set(wanted) & set(able) or able[:1])
                    known.add(tuple(taken))
                    new = {here + (i,) for i in able} - known
                    known.update(new)
                    agenda.extend(new)
                    return taken[-1]

                outcome = self.run(choose)
                if tuple(taken) not in complete:
                    complete.add(tuple(taken))
                    letters = "".join("abcdefgh"[i] for i in taken)
                    yield letters, self.judge(outcome)
                if tuple(taken[:len(prefix)]) == prefix:
                    break
            else:
                raise RuntimeError(f"{prefix} did not happen again")


def count(conninfo, text, isolation=None, tell=lambda *_: None):
    """Counter of verdicts over all feasible schedules of a spec."""
    explorer = Explorer(conninfo, parse(text), isolation)
    counter = collections.Counter()
    try:
        for schedule, verdict in explorer.explore():
            counter[verdict] += 1
            tell(schedule, verdict)
        return counter
    finally:
        explorer.close()


def summary(counter):
    """(feasible, wrong). An error that asks to be retried is not wrong."""
    feasible = sum(counter.values())
    return feasible, feasible - counter["right"] - counter["retry 40001"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--db", required=True, metavar="CONNINFO")
    parser.add_argument("--isolation")
    parser.add_argument("--list", action="store_true", help="every schedule")
    arguments = parser.parse_args()
    for file in arguments.files:
        text = pathlib.Path(file).read_text(encoding="utf-8")
        counter = count(arguments.db, text, arguments.isolation,
                        print if arguments.list else lambda *_: None)
        feasible, wrong = summary(counter)
        print(f"{file}: {feasible} feasible, {wrong} wrong: {dict(counter)}",
              flush=True)


if __name__ == "__main__":
    main()
