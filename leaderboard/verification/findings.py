"""What the checks of a submission found, and the badge that follows."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from driftboard.suite.errors import one_line

Level = Literal["ok", "warning", "FAILED"]
RECORDS_CHECKED = "records checked"

_SHOWN = 4
_LONGEST = 120
_LONGEST_FOUND = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report: which check, what it found, and what to do about it."""

    level: Level
    check: str
    found: str
    advice: str = ""

    def line(self) -> str:
        """Return it as one line of plain text; whatever others wrote cannot break it."""
        found = one_line(self.found)
        if len(found) > _LONGEST_FOUND:
            found = f"{found[:_LONGEST_FOUND]}..."
        text = f"{self.level:8} {self.check:16} {found}"
        return f"{text}; {self.advice}" if self.advice else text


def some(items: Iterable[object]) -> str:
    """Return the first few items as words, long ones cut, and how many more there are."""
    words = [one_line(str(item)) for item in items]
    shown = [word if len(word) <= _LONGEST else f"{word[:_LONGEST]}..." for word in words[:_SHOWN]]
    more = len(words) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def has_failed(findings: Sequence[Finding]) -> bool:
    """Tell whether any check failed."""
    return any(finding.level == "FAILED" for finding in findings)


def badge(findings: Sequence[Finding]) -> str | None:
    """Return the badge that the checks of records earn, None if one failed."""
    return None if has_failed(findings) else RECORDS_CHECKED


def report_lines(findings: Sequence[Finding], rerun: str | None = None) -> list[str]:
    """Return the report, a line for each finding and the badge last.

    ``rerun`` is the badge that a re-run has earned, which says more than that of records.
    """
    earned = rerun or badge(findings)
    last = f"badge: {earned}" if earned else "no badge: a check failed"
    return [*(finding.line() for finding in findings), last]


def report_json(findings: Sequence[Finding], digest: str | None, rerun: str | None = None) -> bytes:
    """Return the report for programs; ``digest`` is the SHA-256 of ``submission.json``."""
    content = {
        "schema": 1,
        "submission": digest,
        "badge": rerun or badge(findings),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(content, indent=1).encode() + b"\n"
