# SPDX-License-Identifier: Apache-2.0
"""Specs of PostgreSQL's isolation suite, explored without their permutations.

Used by dev/isolation-suite. Each spec of the table is run in every order of
its steps. docs/isolation-suite.md says for each what its authors wrote, which
counts follow from that, which were only measured, and where our verdict is
another and why.
"""

import collections
import json
import pathlib
import re
import subprocess

DATABASE = "explored_test"
TIME_LIMIT = 60  # seconds for one exploration
GRACE = 30  # more, until it is killed
VERDICTS = {0: "holds", 1: "broken", 4: "inconclusive"}

# What is replaced in the text of a spec. s3 is the session that only reads.
WRITTEN = "as written"
SNAPSHOT = "repeatable read"
VARIANTS = {
    WRITTEN: (),
    SNAPSHOT: (r"(ISOLATION LEVEL) SERIALIZABLE", r"\1 REPEATABLE READ"),
    "s3 read write": (r", READ ONLY;", ";"),
    "s3 read only": (r"(session s3\nsetup.*SERIALIZABLE);", r"\1, READ ONLY;"),
}

# Schedules, of them wrong, of them with an error that asks to be retried.
# None: not compared, as nothing says how many there must be.
Counts = collections.namedtuple("Counts", "schedules wrong retries")

# "any overlap must cause a failure": all but the serial schedules, at
# serializable with an error, at repeatable read wrong.
OVERLAP = {
    "simple-write-skew": (6, 2),
    "total-cash": (20, 2),
    "referential-integrity": (35, 2),
    "ri-trigger": (10, 2),
    "partial-index": (20, 2),
    "project-manager": (20, 2),
    "classroom-scheduling": (20, 2),
    "temporal-range-integrity": (20, 2),
    "index-only-scan": (6, 2),
    # BEGIN is a step: it takes no snapshot, overlapping there is none.
    "predicate-lock-hot-tuple": (70, 10),
    # The same of two of three sessions; the third rolls back.
    "update-conflict-out": (1680, 168),
}

EXPECTED = {
    (name, variant): Counts(total, wrong, total - serial - wrong)
    for name, (total, serial) in OVERLAP.items()
    for variant, wrong in ((WRITTEN, 0), (SNAPSHOT, total - serial))
}
EXPECTED.update({
    ("receipt-report", WRITTEN): Counts(210, 0, 6),
    ("receipt-report", SNAPSHOT): Counts(210, 6, 0),
    ("receipt-report", "s3 read write"): Counts(210, 0, 6 + 42),
    ("two-ids", WRITTEN): Counts(90, 0, 4 + 12),
    ("two-ids", SNAPSHOT): Counts(90, 0, 0),
    ("two-ids", "s3 read only"): Counts(90, 0, 4),
    ("read-only-anomaly", WRITTEN): Counts(1260, 77, 0),
    ("read-only-anomaly-2", WRITTEN): Counts(1260, 0, None),
    ("read-only-anomaly-2", SNAPSHOT): Counts(1260, 77, 0),
    ("read-only-anomaly-3", SNAPSHOT): Counts(1260, 77, 0),
    ("serializable-parallel", WRITTEN): Counts(1260, 0, None),
    ("serializable-parallel", SNAPSHOT): Counts(1260, 77, 0),
    ("serializable-parallel-2", WRITTEN): Counts(10, 0, 0),
    ("serializable-parallel-2", SNAPSHOT): Counts(10, 0, 0),
    ("read-write-unique", WRITTEN): Counts(14, 0, 12),
    ("read-write-unique", SNAPSHOT): Counts(14, 0, 0),
    ("read-write-unique-2", WRITTEN): Counts(14, 0, 12),
    ("read-write-unique-2", SNAPSHOT): Counts(14, 0, 0),
    ("read-write-unique-3", WRITTEN): Counts(4, 0, 2),
    ("read-write-unique-3", SNAPSHOT): Counts(4, 2, 0),
    ("read-write-unique-4", WRITTEN): Counts(14, 0, 12),
    ("read-write-unique-4", SNAPSHOT): Counts(14, 0, 0),
    ("deadlock-simple", WRITTEN): Counts(12, 8, 0),
    # How many there are depends on its deadlock_timeout of 10 ms.
    ("deadlock-soft", WRITTEN): Counts(None, 0, 0),
    ("multixact-no-deadlock", WRITTEN): Counts(81, 0, 0),
    ("delete-abort-savept", WRITTEN): Counts(6, 0, 0),
    ("insert-conflict-do-nothing", WRITTEN): Counts(10, 0, 0),
    ("insert-conflict-do-update", WRITTEN): Counts(10, 0, 0),
    ("insert-conflict-do-update-2", WRITTEN): Counts(10, 0, 0),
    ("insert-conflict-do-update-3", WRITTEN): Counts(5, 1, 0),
    ("update-locked-tuple", WRITTEN): Counts(35, 0, 0),
    ("lock-committed-update", WRITTEN): Counts(1116, 0, 0),
    ("lock-committed-keyupdate", WRITTEN): Counts(753, 0, 363),
    ("lock-update-traversal", WRITTEN): Counts(600, 8, 300),
    ("nowait", WRITTEN): Counts(6, 0, 4),
    ("nowait-2", WRITTEN): Counts(10, 0, 6),
    ("nowait-3", WRITTEN): Counts(48, 0, 30),
    ("skip-locked", WRITTEN): Counts(20, 18, 0),
    ("skip-locked-2", WRITTEN): Counts(10, 6, 0),
    ("skip-locked-3", WRITTEN): Counts(48, 30, 0),
})


def write_variant(text, variant, path):
    if VARIANTS[variant]:
        pattern, replacement = VARIANTS[variant]
        text, number = re.subn(pattern, replacement, text)
        if number == 0:
            raise ValueError(f"{path.name}: nothing to replace")
    path.write_text(text)


def explore(server, path, sqloom):
    """The report of one exploration; None: it said none."""
    command = [sqloom, "explore", str(path), "--db", f"dbname={DATABASE}",
               "--all-schedules", "--joint", "--max-time", str(TIME_LIMIT),
               "--json"]
    server.create_database(DATABASE)
    try:
        done = subprocess.run(command, env=server.environment(), text=True,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=TIME_LIMIT + GRACE)
        said, text = done.stdout, done.stderr.strip()
        if done.returncode in VERDICTS:
            report = json.loads(said)
            if report["verdict"] == VERDICTS[done.returncode]:
                return report, ""
            text = f"exit code {done.returncode} for {report['verdict']}"
        return None, text or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        return None, "did not end in time"
    finally:
        server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def judge(expected, report):
    """What is not as expected, in words; '' is fine."""
    verdict = "broken" if expected.wrong else "holds"
    if report["verdict"] != verdict or not report["complete"]:
        return f"must be: {verdict} ({report['reason'] or 'complete'})"
    counts = Counts(report["explored"], report["wrong"],
                    report["classes"]["retry"])
    wrong = [f"{name} must be {wanted}" for name, wanted, got
             in zip(Counts._fields, expected, counts)
             if wanted is not None and wanted != got]
    return ", ".join(wrong)


def run_explored(server, source, sqloom, directory, names):
    """Explores the specs of the table, or those in names; True: all agree."""
    folder = pathlib.Path(source) / "src/test/isolation/specs"
    chosen = [key for key in EXPECTED if not names or key[0] in names]
    good = 0
    for name, variant in chosen:
        path = directory / f"{name}-{variant.replace(' ', '-')}.spec"
        write_variant((folder / f"{name}.spec").read_text(), variant, path)
        report, text = explore(server, path, sqloom)
        said = f"  {name}, {variant}: "
        if report:
            said += (f"{report['verdict']}; {report['explored']} schedules, "
                     f"{report['wrong']} wrong, "
                     f"{report['classes']['retry']} to be retried")
            text = judge(EXPECTED[name, variant], report)
        good += not text
        print(f"{said}: DIFFERENT, {text}" if text else said, flush=True)
    if chosen:
        print(f"explored: {good} of {len(chosen)} agree, of "
              f"{len({name for name, _ in chosen})} specs")
    return good == len(chosen)
