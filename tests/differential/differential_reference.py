# SPDX-License-Identifier: Apache-2.0
"""The reference: every order by brute force, and a plain oracle.

Written from docs/spec-language.md alone. Each schedule is executed from its
first step on, on a fresh copy of a real database file, with one real SQLite
connection per session. Waiting for locks is real, too: a session that waits
has a thread of its own, which stands in SQLite's busy handler.
"""

import os
import shutil
import threading
from collections import Counter, namedtuple

from differential_sqlite import BUSY_HANDLER, Connection, Error

# sql; the table whose key the database makes up for the row it inserts.
Statement = namedtuple("Statement", "sql generates", defaults=(None,))
Step = namedtuple("Step", "name statements when unobserved local")
Session = namedtuple("Session", "name setup steps teardown")
Scenario = namedtuple(
    "Scenario", "name setup sessions journal busy_timeout local_begin on_error tables"
)
# What one statement of a step gave.
Result = namedtuple("Result", "columns rows changes code retry")
# kind as in traces: step, blocked, resumed, skipped, end.
Event = namedtuple("Event", "kind call step choice results ok")
Run = namedtuple("Run", "members letters switches events contents keys")

CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
DML = ("INSERT", "UPDATE", "DELETE", "REPLACE")


def spec_text(scenario, check=None):
    """The scenario in sqloom's language."""

    def block(statements):
        return "{ " + "; ".join(s.sql for s in statements) + " }"

    lines = [f"option journal {scenario.journal}"]
    if scenario.busy_timeout:
        lines.append(f"option busy_timeout {scenario.busy_timeout}")
    if scenario.local_begin:
        lines.append("option local_begin on")
    if scenario.on_error != "stop":
        lines.append(f"option on_error {scenario.on_error}")
    lines.append("setup { " + ";\n  ".join(scenario.setup) + " }")
    for session in scenario.sessions:
        lines.append(f"session {session.name}")
        if session.setup:
            lines.append("setup " + block(session.setup))
        for step in session.steps:
            words = [f"step {step.name}"]
            words += ["unobserved"] if step.unobserved else []
            words += ["when { " + step.when + " }"] if step.when else []
            lines.append(" ".join(words + [block(step.statements)]))
        if session.teardown:
            lines.append("teardown " + block(session.teardown))
    if check:
        lines.append(check)
    return "\n".join(lines) + "\n"


# ---- Sessions ----------------------------------------------------------------


class Worker(threading.Thread):
    """A thread that runs one job at a time, up to its end or to a wait."""

    def __init__(self):
        super().__init__(daemon=True)
        self.go = threading.Semaphore(0)
        self.settled = threading.Semaphore(0)
        self.state = "idle"
        self.start()

    def run(self):
        while True:
            self.go.acquire()
            self.value = self.job()
            self.state = "done"
            self.settled.release()

    def begin(self, job):
        self.job = job
        return self.proceed()

    def proceed(self):
        """Lets it run on; True when the job is done, False if it waits."""
        self.go.release()
        self.settled.acquire()
        return self.state == "done"

    def wait(self):
        """In the busy handler: until somebody says to ask again."""
        self.state = "blocked"
        self.settled.release()
        self.go.acquire()
        return 1


class Player:
    """One session in one run."""

    def __init__(self, index, session, path, scenario, worker):
        self.index, self.session, self.worker = index, session, worker
        self.on_error = scenario.on_error
        busy = BUSY_HANDLER(lambda _, count: worker.wait()) if worker else None
        self.db = Connection(path)
        self.db.execute("PRAGMA synchronous=off")
        self.db.execute(f"PRAGMA journal_mode={scenario.journal}")
        for statement in session.setup:
            self.db.execute(statement.sql)
        self.db.execute("SELECT count(*) FROM sqlite_schema")
        if busy:
            self.db.set_busy(busy)
        self.values, self.position, self.phase = {}, 0, "steps"
        self.failed = self.stopped = self.finished = self.waits = False
        self.keys = []  # (table, key), in the order in which they were made

    def statements(self):
        if self.phase == "rollback":
            return [Statement("ROLLBACK")]
        if self.phase == "teardown":
            return self.session.teardown
        return self.session.steps[self.position].statements

    def number(self):
        count = len(self.session.steps)
        if self.phase == "rollback":
            return count
        return count + 1 if self.phase == "teardown" else self.position

    def one(self, statement):
        columns, rows, code, retry = [], [], None, False
        changes = None
        try:
            columns, rows = self.db.execute(statement.sql, self.values)
            if statement.sql.startswith(DML):
                changes = self.db.changes()
                if statement.generates and changes:
                    self.keys.append((statement.generates, self.db.last_rowid()))
            self.capture(columns, rows[0] if rows else None)
        except Error as error:
            code, retry = error.code, error.retry
            self.capture(error.columns, error.first)
        return Result(columns, rows, changes, code, retry)

    def capture(self, columns, first):
        for i, column in enumerate(columns):
            self.values[column] = first[i] if first else None

    def play(self):
        results = []
        for statement in self.statements():
            results.append(self.one(statement))
            if results[-1].code:
                break
        return results

    def wants(self, step):
        _, rows = self.db.execute(f"SELECT ({step.when}) IS TRUE", self.values)
        return bool(rows[0][0])


class Game:
    """One run: executes what it is told, and says who may go on."""

    def __init__(self, scenario, path, members, workers):
        self.events, self.letters, self.switches = [], "", 0
        self.players = {
            i: Player(i, session, path, scenario, workers and workers[i])
            for i, session in enumerate(scenario.sessions)
            if i in members
        }
        self.path, self.scenario = path, scenario
        self.blocked, self.previous, self.keys = [], None, {}
        for player in self.players.values():
            self.arrive(player)

    def enabled(self):
        return [
            i for i, p in self.players.items() if not p.finished and not p.waits
        ]

    def note(self, kind, player, choice=False, results=(), step=None, ok=None):
        if kind == "end":
            number = None
        else:
            number = player.number() if step is None else step
        self.events.append(
            Event(kind, player.index, number, choice, list(results), ok)
        )

    def roll_back(self, player):
        """At once, as a step that is no choice."""
        if player.db.in_transaction():
            player.db.execute("ROLLBACK")
            ok = Result([], [], None, None, False)
            self.note("step", player, False, [ok], len(player.session.steps))

    def arrive(self, player):
        """The player goes on to its next choice point, or to its end."""
        steps = player.session.steps
        while player.phase == "steps":
            if player.stopped or player.position == len(steps):
                if not player.session.teardown:
                    return self.finish(player)
                player.phase = "teardown"
                return None
            step = steps[player.position]
            if step.when and not player.wants(step):
                self.note("skipped", player)
                player.position += 1
            elif step.local or (step.local is None and self.scenario.local_begin):
                # None: local only if a plain BEGIN is.
                results = player.play()
                self.note("step", player, False, results)
                self.settle(player, results)
            else:
                return None
        return None

    def finish(self, player):
        self.roll_back(player)
        player.finished = True
        self.note("end", player, ok=not player.failed)

    def settle(self, player, results):
        """The player's step is over; where does that leave it?"""
        error = bool(results[-1:] and results[-1].code)
        if player.phase == "rollback":
            player.phase = "steps"
        elif player.phase == "teardown":
            player.failed |= error and player.db.in_transaction()
            player.phase = "over"
            self.finish(player)
        else:
            if error:
                player.failed = True
                if player.on_error == "stop":
                    player.stopped = True
                    if player.db.in_transaction():
                        if player.position + 1 < len(player.session.steps):
                            player.phase = "rollback"
                        else:
                            self.roll_back(player)
            player.position += 1

    def choose(self, index):
        player = self.players[index]
        if self.previous in self.enabled() and self.previous != index:
            self.switches += 1
        self.previous = index
        self.letters += "abcdefgh"[index]
        if not player.worker:
            self.done(player, "step", True, player.play())
        elif player.worker.begin(player.play):
            self.done(player, "step", True, player.worker.value)
        else:
            player.waits = True
            self.blocked.append(player)
            self.note("blocked", player, True)
        while self.wake_one():
            pass

    def done(self, player, kind, choice, results):
        self.note(kind, player, choice, results)
        for table, key in player.keys:
            self.keys.setdefault((table, key), []).append(player.index)
        player.keys = []
        self.settle(player, results)
        self.arrive(player)

    def wake_one(self):
        """Those that wait ask again, in the order in which they began."""
        for player in self.blocked:
            if player.worker.proceed():
                self.blocked.remove(player)
                player.waits = False
                self.done(player, "resumed", False, player.worker.value)
                return True
        return False

    def end(self):
        assert not self.blocked, "nobody can go on"
        for player in self.players.values():
            player.db.close()
        db = Connection(self.path)
        contents = {
            table: db.execute(f"SELECT * FROM {table}")
            for table in self.scenario.tables
        }
        db.close()
        return Run(
            frozenset(self.players),
            self.letters,
            self.switches,
            self.events,
            contents,
            self.keys,
        )


# ---- All orders --------------------------------------------------------------


class Reference:
    """Runs a scenario in a folder of its own."""

    workers = []

    def __init__(self, scenario, folder):
        self.scenario, self.folder = scenario, str(folder)
        self.template = os.path.join(self.folder, "template.db")
        self.path = os.path.join(self.folder, "run.db")
        self.remove(self.template)
        db = Connection(self.template)
        db.execute("PRAGMA synchronous=off")
        db.execute(f"PRAGMA journal_mode={scenario.journal}")
        for sql in scenario.setup:
            db.execute(sql)
        db.close()
        while scenario.busy_timeout and len(self.workers) < len(scenario.sessions):
            self.workers.append(Worker())
        self.groups = {}
        # What is compared of a run.
        self.form = rename_keys if "part" in scenario.tables else lambda run: run

    def remove(self, path):
        for tail in ("", "-journal", "-wal", "-shm"):
            if os.path.exists(path + tail):
                os.remove(path + tail)

    def game(self, members=None):
        self.remove(self.path)
        shutil.copyfile(self.template, self.path)
        everybody = range(len(self.scenario.sessions))
        return Game(
            self.scenario,
            self.path,
            everybody if members is None else members,
            self.workers if self.scenario.busy_timeout else None,
        )

    def all_runs(self, members=None):
        """Every schedule once, depth first."""
        pending = [()]
        while pending:
            prefix = pending.pop()
            game = self.game(members)
            path = []
            while True:
                enabled = game.enabled()
                if not enabled:
                    break
                if len(path) < len(prefix):
                    pick = prefix[len(path)]
                else:
                    pick = enabled[0]
                    pending += [tuple(path) + (other,) for other in enabled[1:]]
                path.append(pick)
                game.choose(pick)
            yield game.end()

    def serial_runs(self, members):
        def orders(rest):
            if not rest:
                yield ()
            for first in sorted(rest):
                for order in orders(rest - {first}):
                    yield (first,) + order

        for order in orders(frozenset(members)):
            game = self.game(members)
            while game.enabled():
                game.choose(next(i for i in order if i in game.enabled()))
            yield game.end()

    def group(self, members):
        if members not in self.groups:
            views = [self.view(run) for run in self.serial_runs(members)]
            self.groups[members] = Group(self.scenario, members, views)
        return self.groups[members]

    def view(self, run):
        return View(self.scenario, self.form(run))

    def classify(self, view):
        group = self.group(view.survivors)
        # Calls that failed and left nothing behind: their error is the news.
        rest = self.group(frozenset(c for c in view.run.members if view.ok[c]))
        return group.classify(view, group.leaves(view) or rest.leaves(view))


def rename_keys(run):
    """The run without the values of keys that the database made up: an item is
    its value, and a part is named by the item that it refers to."""
    made = {key for table, key in run.keys if table == "item"}
    columns, items = run.contents["item"]
    values = {row[0]: row[1] for row in items}
    events = [
        e._replace(
            results=[
                r._replace(rows=[("key",)]) if r.columns == ["item"] and r.rows else r
                for r in e.results
            ]
        )
        for e in run.events
    ]
    items = [("key" if k in made else k, v) for k, v in items]
    parts = []
    for key, item, n in run.contents["part"][1]:
        assert ("part", key) in run.keys
        if item in made:
            item = ("item", values[item]) if item in values else "lost"
        parts.append((item, n))
    contents = dict(run.contents, item=(columns, items), part=(["item", "n"], parts))
    return run._replace(events=events, contents=contents)


# ---- The oracle --------------------------------------------------------------


def multiset(rows):
    return frozenset(Counter(rows).items())


class Taken:
    """What became of one step of one call."""

    def __init__(self, scenario, event):
        steps = scenario.sessions[event.call].steps
        teardown = event.step > len(steps)
        step = None if teardown else steps[event.step]
        sqls = [
            s.sql
            for s in (
                scenario.sessions[event.call].teardown if teardown else step.statements
            )
        ]
        self.step = event.step
        self.skipped = event.kind == "skipped"
        self.observed = teardown or not step.unobserved
        self.error = next((r for r in event.results if r.code), None)
        counts = [r.changes for r in event.results if r.changes is not None]
        self.wrote = any(counts)
        returned = any(r.rows for r in event.results)
        self.idle = bool(counts) and not self.wrote and not returned
        control = bool(sqls) and all(s.startswith(CONTROL) for s in sqls)
        self.effect = (
            self.observed
            and not self.skipped
            and not self.error
            and not control
            and (self.wrote or not counts)
        )
        self.value = (
            tuple(
                (len(r.columns), multiset(r.rows), r.changes) for r in event.results
            )
            if self.observed
            else ()
        )
        code = self.error and self.error.code
        self.outcome = (self.step, self.skipped, self.value, code)


class View:
    """What can be observed of a run."""

    def __init__(self, scenario, run):
        self.run = run
        self.contents = frozenset(
            (table, multiset(rows)) for table, (_, rows) in run.contents.items()
        )
        self.taken = {call: [] for call in run.members}
        self.ok = {}
        for event in run.events:
            # What a teardown returns is not looked at, unless it fails.
            steps = len(scenario.sessions[event.call].steps)
            silent = event.step == steps or (
                event.step == steps + 1 and not any(r.code for r in event.results)
            )
            if event.kind == "end":
                self.ok[event.call] = event.ok
            elif event.kind != "blocked" and (event.kind == "skipped" or not silent):
                self.taken[event.call].append(Taken(scenario, event))
        self.error, self.calls, aborted = {}, {}, set()
        for call, taken in self.taken.items():
            errors = [t.error for t in taken if t.error]
            retries = [e for e in errors if e.retry]
            self.error[call] = (retries or errors or [None])[0]
            if retries and not self.ok[call]:
                aborted.add(call)
                self.calls[call] = ("aborted", self.error[call].code)
            else:
                self.calls[call] = (self.ok[call], tuple(t.outcome for t in taken))
        self.aborted = frozenset(aborted)
        self.survivors = run.members - self.aborted
        self.key = (self.contents, tuple(sorted(self.calls.items())))
        self.succeeded = sum(self.ok[call] for call in self.survivors)


class Group:
    """The serial runs of some of the calls, and what they have in common."""

    def __init__(self, scenario, members, serials):
        self.members, self.serials = members, serials
        self.most_ok = max(s.succeeded for s in serials)
        self.variable = {
            (call, number)
            for call in members
            for number in range(len(scenario.sessions[call].steps) + 2)
            if self.varies(call, number)
        }
        self.most_effects = max(self.effects(s) for s in serials)

    def varies(self, call, number):
        """Does the step take effect in some of the serial runs only?"""
        found = [
            next((t for t in s.taken[call] if t.step == number), None)
            for s in self.serials
        ]
        if any(t and not t.effect for t in found):
            return True
        return None in found and any(t and (t.wrote or t.idle) for t in found)

    def effects(self, view):
        return sum(
            t.effect and (call, t.step) in self.variable
            for call in self.members
            if view.ok[call]
            for t in view.taken[call]
        )

    def foreign(self, view):
        """Did a call that succeeded return what it returns in no serial run?"""
        for call in self.members:
            known = {
                (t.step, t.value)
                for s in self.serials
                for t in s.taken[call]
                if not t.skipped
            }
            for t in view.taken[call] if view.ok[call] else ():
                checked = t.observed and not (t.skipped or t.idle or t.error)
                if checked and (t.step, t.value) not in known:
                    return True
        return False

    def leaves(self, view):
        return any(s.contents == view.contents for s in self.serials)

    def classify(self, view, contents_known):
        if not contents_known:
            return "contents"
        if not view.aborted and any(s.key == view.key for s in self.serials):
            return "serial"
        if view.succeeded > self.most_ok or self.effects(view) > self.most_effects:
            return "result"
        if self.foreign(view):
            return "result"
        worst = "benign"
        for call, error in view.error.items():
            if not error or view.ok[call]:
                continue
            known = {s.error[call].code for s in self.serials
                     if call in s.error and s.error[call]}
            if error.retry:
                worst = "retry"
            elif error.code not in known:
                return "error"
        return worst
