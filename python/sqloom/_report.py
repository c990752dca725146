# SPDX-License-Identifier: Apache-2.0
"""The report of an exploration as Python objects.

Made from the report of the C library alone: its JSON for what programs look
at, its text for people. Both are made when they are asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqloom.errors import in_python_report

if TYPE_CHECKING:
    from sqloom import _ext

__all__ = ["Difference", "Event", "Finding", "Report"]

WIDTH = 80  # columns of a report


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing that a run left or gave, and what serial runs leave or give.

    where: "account", or "alice: $.status". actual, expected: texts for people;
    None: nothing of the kind.
    """

    where: str
    actual: str | None
    expected: str | None


@dataclasses.dataclass(frozen=True)
class Event:
    """What happened in a run, in its order.

    kind: "step", "blocked" (it waits for a lock), "resumed" (it got it, and the
    step is done), "skipped", "stalled" (it waits in the program), or "end" (of
    the call). call: its name; letter: as in schedules. step: the name of the
    step ("s1"), "" if there is none. sql: the statement, or "-- point: name".
    params: its values as a text. blocked_by: letters. error: "" or the message.
    rows: what the statement returned; only the first ones are kept.
    """

    kind: str
    call: str
    letter: str
    step: str
    sql: str
    params: str
    blocked_by: str
    error: str
    rows: tuple[Mapping[str, Any], ...]
    ok: bool


@dataclasses.dataclass(frozen=True)
class Finding:
    """An outcome that no serial run has, told by the shortest run that ends so.

    token: replays it. cls: what is wrong, worst first: "check", "contents",
    "result", "error"; "retry" (an error that asks to be tried again) and
    "benign" (fewer successes, or a refusal at another place), which break
    nothing; class_text: the same in words. wrong: does it break the verdict?
    title: the name of the anomaly ("lost update (P4)"), or class_text. cause: in
    a sentence, or "". schedule: the order of the steps, as letters. switches:
    between calls. count: how many schedules end so. replay: the line to paste.
    differences, events: what is shown in the timeline. text: the report on
    this finding.
    """

    token: str
    cls: str
    class_text: str
    wrong: bool
    title: str
    cause: str
    check: str
    schedule: str
    switches: int
    count: int
    replay: str
    differences: tuple[Difference, ...]
    events: tuple[Event, ...]
    text: str = dataclasses.field(repr=False)

    def __str__(self) -> str:
        return self.text


def _rows(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    columns = result.get("columns", [])
    return [dict(zip(columns, row)) for row in result.get("rows", [])]


def _event(event: Mapping[str, Any]) -> Event:
    results = event.get("results", [])
    messages = [r["message"] for r in results if r.get("message")]
    return Event(
        kind=event["kind"],
        call=event["call_name"],
        letter=event["call"],
        step=event.get("step_name", ""),
        sql=event.get("sql", ""),
        params=event.get("params", ""),
        blocked_by=event.get("blocked_by", ""),
        error=messages[0] if messages else "",
        rows=tuple(row for result in results for row in _rows(result)),
        ok=event.get("ok", not messages),
    )


def _wrapped_note(note: str, width: int) -> str:
    return textwrap.fill(f"note: {note}", width, subsequent_indent=" " * 6) + "\n"


class Report:
    """What an exploration, or a replay, came to. Immutable.

    It is true if the verdict is "holds", so that `assert sqloom.explore(...)`
    means what it says.
    """

    def __init__(
        self,
        source: _ext.Report,
        *,
        trace: str | None = None,
        tracebacks: Mapping[str, Mapping[str, str]] | None = None,
        paste: Callable[[str], str] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._source = source
        self._trace = trace
        self._tracebacks = dict(tracebacks or {})
        self._paste = paste
        self._notes = notes

    def without_trace(self) -> Report:
        """The same, if the trace was thrown away."""
        return Report(
            self._source,
            tracebacks=self._tracebacks,
            paste=self._paste,
            notes=self._notes,
        )

    # ---- The verdict --------------------------------------------------------

    @functools.cached_property
    def json(self) -> dict[str, Any]:
        """All of it, as plain objects; docs/trace-format.md names the keys."""
        made: dict[str, Any] = json.loads(self._source.render(json=True))
        return made

    @property
    def verdict(self) -> str:
        """ "holds", "broken", or "inconclusive"."""
        return str(self.json["verdict"])

    @property
    def holds(self) -> bool:
        """All schedules within the bounds were run, and none ended wrong."""
        return self.verdict == "holds"

    @property
    def broken(self) -> bool:
        """At least one schedule ended wrong, and did so when it was run again."""
        return self.verdict == "broken"

    @property
    def inconclusive(self) -> bool:
        """Nothing wrong was seen, but not all was seen, or it did not go wrong
        again: reason says why."""
        return self.verdict == "inconclusive"

    @property
    def reason(self) -> str:
        """Why it is inconclusive; else ""."""
        return in_python_report(str(self.json["reason"]))

    @property
    def over_budget(self) -> bool:
        """Is it inconclusive only because max_runs or max_time ended it?"""
        said = str(self.json["reason"])
        return self.inconclusive and said.startswith(
            ("the budget of ", "the time is used up")
        )

    @property
    def explored(self) -> int:
        """How many schedules were run, without the serial ones."""
        return int(self.json["explored"])

    @property
    def total(self) -> int | None:
        """How many schedules there are within the bounds; None: not all were
        run, so nobody knows."""
        return self.explored if self.json["complete"] else None

    @property
    def wrong(self) -> int:
        """How many of the schedules ended wrong."""
        return int(self.json["wrong"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not compared, and what to think of."""
        said = [in_python_report(note) for note in self.json["notes"]]
        return (*said, *self._notes)

    @property
    def diverged(self) -> str:
        """Of a replay: where it left the recorded run; else ""."""
        divergence = self.json["divergence"]
        return str(divergence["what"]) if divergence else ""

    # ---- Findings -----------------------------------------------------------

    @functools.cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Those that are wrong, the worst first."""
        return tuple(finding for finding in self.outcomes if finding.wrong)

    @functools.cached_property
    def outcomes(self) -> tuple[Finding, ...]:
        """All outcomes that equal no serial run, also those that break nothing."""
        return tuple(self._finding(finding) for finding in self.json["findings"])

    def _finding(self, finding: Mapping[str, Any]) -> Finding:
        return Finding(
            token=finding["token"],
            cls=finding["class"],
            class_text=finding["class_text"],
            wrong=finding["wrong"],
            title=finding.get("name") or finding["class_text"],
            cause=finding.get("cause") or "",
            check=finding.get("check") or "",
            schedule=finding["schedule"],
            switches=finding["switches"],
            count=finding["count"],
            replay=self._python(finding["replay"]),
            differences=tuple(
                Difference(d["where"], d.get("actual"), d.get("expected"))
                for d in finding["differences"]
            ),
            events=tuple(_event(event) for event in finding["events"]),
            text=self.render(finding=finding["token"]),
        )

    @property
    def tracebacks(self) -> dict[str, dict[str, str]]:
        """Of the exceptions with which calls ended: by the name of the call, and
        then by what they say, as Python prints them."""
        return {call: dict(texts) for call, texts in self._tracebacks.items()}

    @property
    def trace(self) -> str | None:
        """The path of the trace that was written, for `sqloom show`."""
        return self._trace

    # ---- Texts --------------------------------------------------------------

    def _python(self, text: str) -> str:
        text = in_python_report(text)
        return self._paste(text) if self._paste else text

    def render(
        self,
        *,
        width: int = WIDTH,
        color: bool = False,
        ascii: bool = False,
        brief: bool = False,
        timing: bool = False,
        findings: int = 1,
        finding: str | None = None,
    ) -> str:
        """The report for people.

        width: columns, 40 to 1000. color: with ANSI colours. ascii: nothing
        beyond ASCII. brief: the line with the verdict only. timing: with how
        long it took. findings: how many are told at length. finding: the token
        of the one that is told.
        """
        text = self._python(
            self._source.render(
                width=width,
                color=color,
                ascii=ascii,
                brief=brief,
                timing=timing,
                findings=findings,
                finding=finding,
            )
        )
        for note in () if brief else self._notes:
            text = text.rstrip("\n") + "\n\n" + _wrapped_note(note, width)
        return text

    @property
    def text(self) -> str:
        """The report for people, with the worst finding at length."""
        return self.render()

    @property
    def summary(self) -> str:
        """The line with the verdict."""
        return " ".join(self.render(brief=True, width=1000).split())

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<sqloom.Report: {self.summary}>"

    def __bool__(self) -> bool:
        return self.holds
