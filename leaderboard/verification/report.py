"""The report on a submission: what each check found, and the badge that follows."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from driftboard.suite.errors import one_line

Severity = Literal["ok", "warning", "FAILED"]
RECORDS_CHECKED = "records checked"
AGAIN = "run `driftboard submit` again, which mends it"
"""The advice where the submission was not put together as the command does it."""

_SHOWN = 4
_LONGEST = 120
_LONGEST_FOUND = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report: which check, what it found, and what to do about it.

    ``trace`` is what a program printed that failed; it is in no report.

    >>> print(Finding("warning", "learning", "no cell is better than guessing", "check it").line())
    warning  learning         no cell is better than guessing; check it
    """

    level: Severity
    check: str
    found: str
    advice: str = ""
    trace: str = field(default="", compare=False)

    def line(self) -> str:
        """Return it as one line of plain text, whatever text of others it holds."""
        found = one_line(self.found)
        if len(found) > _LONGEST_FOUND:
            found = f"{found[:_LONGEST_FOUND]}..."
        text = f"{self.level:8} {self.check:16} {found}"
        return f"{text}; {self.advice}" if self.advice else text


def shorten(items: Iterable[object]) -> str:
    """Return the first few items as text, long ones cut, and how many more there are.

    >>> shorten(range(6))
    '0, 1, 2, 3 and 2 more'
    """
    words = [one_line(str(item)) for item in items]
    shown = [word if len(word) <= _LONGEST else f"{word[:_LONGEST]}..." for word in words[:_SHOWN]]
    more = len(words) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def describe(problems: Mapping[str, Collection[object]]) -> str:
    """Return the problems that there are, each with its first items; empty if there are none.

    >>> describe({"left out": ["digits-split"], "unknown": []})
    'left out: digits-split'
    """
    return "; ".join(f"{what}: {shorten(items)}" for what, items in problems.items() if items)


def has_failed(findings: Sequence[Finding]) -> bool:
    """Return whether any check failed."""
    return any(finding.level == "FAILED" for finding in findings)


def badge(findings: Sequence[Finding]) -> str | None:
    """Return the badge for records that pass all checks; None if a check failed."""
    return None if has_failed(findings) else RECORDS_CHECKED


def report_lines(findings: Sequence[Finding], rerun: str | None = None) -> list[str]:
    """Return the report: a line for each finding, the badge last.

    ``rerun`` is the badge of a re-run, which replaces that of checked records.
    """
    earned = rerun or badge(findings)
    last = f"badge: {earned}" if earned else "no badge: a check failed"
    return [*(finding.line() for finding in findings), last]


def _without_trace(finding: Finding) -> dict[str, str]:
    return {name: text for name, text in asdict(finding).items() if name != "trace"}


def report_json(findings: Sequence[Finding], digest: str | None, rerun: str | None = None) -> bytes:
    """Return the report for programs; ``digest`` is the SHA-256 of ``submission.json``."""
    content = {
        "schema": 1,
        "submission": digest,
        "badge": rerun or badge(findings),
        "findings": [_without_trace(finding) for finding in findings],
    }
    return json.dumps(content, indent=1).encode() + b"\n"
