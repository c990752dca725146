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


def key(told):
    return told["package"], told["case"], numbers(told["version"])


def print_table(title, groups):
    row(*title)
    row(*["---"] * len(title))
    for group in groups:
        any_ = next(iter(group.values()))
        operation = any_["case"].partition(": ")[2]
        more = [any_["what"]] if "goes wrong" in title[3] else []
        row(any_["package"], any_["version"], operation, *more,
            *(cell(group.get(database)) for database in CELLS))
    print()


def main():
    groups = {}
    for line in sys.stdin:
        told = json.loads(line)
        groups.setdefault(str(key(told)), {})[told["database"]] = told
    groups = sorted(groups.values(),
                    key=lambda group: key(next(iter(group.values()))))
    broken = [group for group in groups
              if any(each["outcome"] in BROKEN for each in group.values())]
    head = ("package", "version", "called twice")
    print_table((*head, "what goes wrong", "PostgreSQL", "SQLite"), broken)
    print_table((*head, "PostgreSQL", "SQLite"),
                [group for group in groups if group not in broken])


main()
