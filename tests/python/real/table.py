# SPDX-License-Identifier: Apache-2.0
"""python -m real.table <LINES: the tables of docs/real-bugs.md, from lines that
`python -m real.run --first` printed, for any number of databases and versions.
"""

import json
import sys

from real.case import BROKEN, LOCKED, numbers

CELLS = ("postgresql", "sqlite")


def ordinal(number):
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number in (11, 12, 13) else ending}"


def cell(told):
    """What came out on one database."""
    if told is None:
        return "-"
    if told["outcome"] in BROKEN:
        return (f"{told['outcome']}, {ordinal(told['first'])} of "
                f"{told['explored']}, {told['seconds']:.1f} s")
    text = f"holds, {told['explored']}, {told['seconds']:.1f} s"
    if told["outcome"] == LOCKED:
        text += f" ({told['retries']} locked)"
    return text


def row(*cells):
    print("| " + " | ".join(cells) + " |")


def key(group):
    told = next(iter(group.values()))
    return told["package"], told["case"], numbers(told["version"])


def is_broken(group):
    return any(each["outcome"] in BROKEN for each in group.values())


def holds_in(group, groups):
    """The first later version that holds on all databases."""
    for other in groups:
        if key(other)[:2] == key(group)[:2] and key(other) > key(group) \
                and not is_broken(other):
            return next(iter(other.values()))["version"]
    return "-"


def print_found(groups):
    row("package", "version", "called twice", "what goes wrong", "PostgreSQL",
        "SQLite", "holds in")
    row(*["---"] * 7)
    for group in filter(is_broken, groups):
        told = next(iter(group.values()))
        row(told["package"], told["version"],
            told["case"].partition(": ")[2], told["what"].rstrip("."),
            *(cell(group.get(database)) for database in CELLS),
            holds_in(group, groups))
    print()


def print_holding(groups):
    row("package", "version", "called twice", "PostgreSQL", "SQLite")
    row(*["---"] * 5)
    for group in groups:
        if is_broken(group):
            continue
        told = next(iter(group.values()))
        row(told["package"], told["version"],
            told["case"].partition(": ")[2],
            *(cell(group.get(database)) for database in CELLS))


def main():
    groups = {}
    for line in sys.stdin:
        told = json.loads(line)
        name = told["case"], told["version"]
        groups.setdefault(name, {})[told["database"]] = told
    groups = sorted(groups.values(), key=key)
    print_found(groups)
    print_holding(groups)


main()
