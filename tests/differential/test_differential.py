# SPDX-License-Identifier: Apache-2.0
"""Exploration against an independent brute force on real database files.

The scenarios are random, from fixed seeds; DIFFERENTIAL_SEEDS=from:to runs
others. A failure names the seed and shows the spec.
"""

import json
import os
import pathlib
import subprocess
import sys
from collections import Counter

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import differential_reference as reference  # noqa: E402
from differential_scenarios import Maker  # noqa: E402
from differential_sqlite import LIB  # noqa: E402

# Fails in every run, so that each outcome is told with its number of runs.
ALWAYS = 'check "always" { SELECT 1 }'
OUTCOMES_TOLD = 64
CLASSES = ("contents", "result", "error", "retry", "benign", "serial")


class Sqloom:
    """Runs the command on a scenario."""

    def __init__(self, command, folder):
        self.command, self.folder = command, folder

    def write(self, scenario, check=None):
        path = self.folder / "scenario.spec"
        path.write_text(reference.spec_text(scenario, check))
        return path

    def call(self, *arguments):
        return subprocess.run(
            [self.command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def trace(self, *arguments):
        """The trace of a run of the command: its bytes and its objects."""
        path = self.folder / "run.trace"
        done = self.call(*arguments, "--trace", path, "-q")
        assert done.returncode in (0, 1, 4), done.stderr
        text = path.read_text()
        return text, [json.loads(line) for line in text.splitlines()]


def findings(lines):
    """The findings of a trace, each with its events."""
    found = []
    for line in lines:
        if line["type"] == "finding":
            found.append(dict(line, events=[]))
        elif line["type"] == "event":
            found[-1]["events"].append(line)
    return found


def plain(row):
    return tuple(tuple(v.items()) if isinstance(v, dict) else v for v in row)


def told_events(finding):
    """Events of a finding, by call, in the form of normal_events()."""
    calls = {}
    for event in finding["events"]:
        results = [
            (
                () if "code" in r else tuple(r.get("columns", ())),
                () if "code" in r else tuple(map(plain, r.get("rows", ()))),
                r.get("changes"),
                r.get("code"),
            )
            for r in event.get("results", ())
        ]
        calls.setdefault(event["call"], []).append(
            (
                event["kind"],
                event.get("step"),
                event.get("choice", False),
                event.get("ok", False) if event["kind"] == "end" else None,
                tuple(results),
            )
        )
    return calls


def normal_events(run):
    calls = {}
    for event in run.events:
        results = [
            (
                tuple(r.columns),
                tuple(r.rows),
                r.changes,
                r.code,
            )
            for r in event.results
        ]
        calls.setdefault("abc"[event.call], []).append(
            (event.kind, event.step, event.choice, event.ok, tuple(results))
        )
    return calls


def told_contents(outcome):
    return {
        table["name"]: Counter(plain(row) for row in table.get("rows", ()))
        for table in outcome["tables"]
    }


def seeds(count, start=0):
    given = os.environ.get("DIFFERENTIAL_SEEDS")
    if given:
        first, last = map(int, given.split(":"))
        return list(range(first, last))
    return list(range(start, start + count))


@pytest.fixture
def command(sqloom, tmp_path):
    if LIB is None:
        pytest.skip("there is no shared library of SQLite")
    return Sqloom(sqloom, tmp_path)


def fail(scenario, message):
    pytest.fail(
        f"{scenario.name}: {message}\n{reference.spec_text(scenario)}", pytrace=False
    )


def expect(scenario, what, got, want):
    if got != want:
        fail(scenario, f"{what}: sqloom has\n  {got}\nbut the reference\n  {want}")


class Comparison:
    """One scenario, run by the reference and ready to be compared."""

    def __init__(self, command, scenario):
        self.command, self.scenario = command, scenario
        self.reference = reference.Reference(scenario, command.folder)
        self.runs = {run.letters: run for run in self.reference.all_runs()}
        self.views = {k: self.reference.view(r) for k, r in self.runs.items()}
        self.classes = {
            k: self.reference.classify(view) for k, view in self.views.items()
        }

    def expect(self, what, got, want):
        expect(self.scenario, what, got, want)

    def explore(self, *options, check=None):
        path = self.command.write(self.scenario, check)
        return self.command.trace("explore", path, *options)

    def check_classes(self):
        _, lines = self.explore()
        verdict = lines[-1]
        self.expect("schedules", verdict["explored"], len(self.runs))
        self.expect("complete", verdict.get("complete"), True)
        want = Counter(self.classes.values())
        got = Counter({k: v for k, v in verdict["classes"].items() if v})
        self.expect("classes", dict(got), dict(want))
        broken = sum(want[k] for k in ("contents", "result", "error"))
        self.expect("wrong", verdict["wrong"], broken)
        self.check_findings(lines)

    def class_of(self, finding):
        """What the reference says to the schedule of a finding."""
        letters = finding["schedule"]
        members = frozenset(ord(c) - ord("a") for c in finding["outcome"]["members"])
        if len(members) == len(self.scenario.sessions):
            return self.classes.get(letters, "no such schedule")
        for run in self.reference.all_runs(members):
            if run.letters == letters:
                return self.reference.classify(self.reference.view(run))
        return "no such schedule"

    def check_findings(self, lines):
        for finding in findings(lines):
            self.expect(f"class of {finding['schedule']}", finding["class"],
                        self.class_of(finding))

    def check_outcomes(self):
        """Every outcome there is, what led to it, and how often."""
        _, lines = self.explore(check=ALWAYS)
        want = Counter(view.key for view in self.views.values())
        told = findings(lines)
        if len(want) < OUTCOMES_TOLD:
            self.expect("distinct outcomes", len(told), len(want))
        for finding in told:
            letters = finding["schedule"]
            if len(finding["outcome"]["members"]) < len(self.scenario.sessions):
                continue  # made smaller
            if letters not in self.runs:
                fail(self.scenario, f"there is no schedule {letters}")
            run = self.runs[letters]
            got, known = told_events(finding), normal_events(run)
            for call in known:
                self.expect(f"events of {call} in {letters}", got.get(call),
                            known[call])
            self.expect(f"switches of {letters}", finding["switches"], run.switches)
            contents = {
                table: Counter(rows) for table, (_, rows) in run.contents.items()
            }
            for table, rows in told_contents(finding["outcome"]).items():
                self.expect(f"{table} after {letters}", rows, contents[table])
            count = want[self.views[letters].key]
            self.expect(f"runs that end as {letters}", finding["count"], count)


@pytest.mark.parametrize("seed", seeds(200))
def test_exact(command, seed):
    comparison = Comparison(command, Maker(seed).make())
    comparison.check_classes()
    comparison.check_outcomes()


@pytest.mark.parametrize("seed", seeds(80, 10000))
def test_waiting(command, seed):
    """Locks are waited for, for as long as it takes."""
    comparison = Comparison(command, Maker(seed, busy_timeout=1000).make())
    comparison.check_classes()
    comparison.check_outcomes()


@pytest.mark.parametrize("seed", seeds(60, 20000))
def test_generated_keys(command, seed):
    """Outcomes that differ by the values of made-up keys only are equal."""
    Comparison(command, Maker(seed, generated=True).make()).check_classes()


@pytest.mark.parametrize("seed", seeds(40, 30000))
def test_bounds_and_samples(command, seed):
    """Fewer schedules: exactly those within the bound, or some of all."""
    comparison = Comparison(command, Maker(seed).make())
    for bound in (0, 1, 2):
        _, lines = comparison.explore("--preemptions", bound)
        within = [k for k, r in comparison.runs.items() if r.switches <= bound]
        comparison.expect(f"within {bound}", lines[-1]["explored"], len(within))
        want = Counter(comparison.classes[k] for k in within)
        got = {k: v for k, v in lines[-1]["classes"].items() if v}
        comparison.expect(f"classes within {bound}", got, dict(want))
    for strategy in ("random", "uniform", "pct"):
        options = ("--strategy", strategy, "--max-runs", 40, "--seed", seed)
        text, lines = comparison.explore(*options)
        comparison.expect(f"runs of {strategy}", lines[-1]["explored"], 40)
        comparison.check_findings(lines)
        comparison.expect(f"{strategy} again", comparison.explore(*options)[0], text)


@pytest.mark.parametrize("seed", seeds(40, 72120))
def test_one_truth(command, seed):
    """Stores and rollback journals do not matter, nor does a second time, and
    tokens lead to what they stand for."""
    scenario = Maker(seed, busy_timeout=seed % 2 * 500, generated=seed % 4 > 1).make()
    path = command.write(scenario)
    text, lines = command.trace("explore", path)
    expect(scenario, "second time", command.trace("explore", path)[0], text)
    others = [("--store", "file")]
    if scenario.journal in ("delete", "truncate", "persist"):
        others += [("--journal", j) for j in ("delete", "truncate", "persist")]
    for options in others:
        _, other = command.trace("explore", path, *options)
        expect(scenario, " ".join(options), other[1:], lines[1:])
    for finding in findings(lines)[:4]:
        _, again = command.trace("replay", path, finding["token"])
        for key in ("class", "schedule", "outcome"):
            what = f"{key} of {finding['token']}"
            expect(scenario, what, findings(again)[0][key], finding[key])
