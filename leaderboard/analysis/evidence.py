"""How far the numbers of strategies were checked, and what their authors say of them."""

import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from driftboard.leaderboard.analysis.collect import PUBLISHED
from driftboard.leaderboard.analysis.join import Source
from driftboard.suite.errors import RecordError
from driftboard.suite.records import Digest, read_json
from driftboard.suite.submissions import SUBMISSION, Credits, Submission

Badge = Literal["published", "records checked", "spot re-run", "fully re-run"]
"""How far somebody has checked a strategy's numbers."""


class _Report(Struct):
    """The fields that matter here of a report by ``driftboard verify --json``."""

    schema: Literal[1]
    submission: Digest | None
    badge: Literal["records checked", "spot re-run", "fully re-run"] | None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submission among the results folders; ``digest`` is that of its ``submission.json``."""

    source: Source
    digest: str
    submission: Submission


def submitted_among(results: Iterable[Path]) -> list[Submitted]:
    """Return the submissions among results folders.

    Raises:
        RecordError: a ``submission.json`` is not sound.
    """
    found = []
    for folder in results:
        path = folder / SUBMISSION
        if not path.is_file():
            continue
        content = path.read_bytes()
        try:
            submission = msgspec.json.decode(content, type=Submission)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            command = f"driftboard verify {shlex.quote(str(folder))}"
            raise RecordError(f"{path} is not sound; see `{command}`") from error
        digest = hashlib.sha256(content).hexdigest()
        found.append(Submitted(Source(str(folder)), digest, submission))
    return found


Backing = Mapping[str, frozenset[Source]]
"""The sources of all of a strategy's records, see ``Collection``."""


def evidence(
    backing: Backing, submitted: Sequence[Submitted], reports: Sequence[Path]
) -> dict[str, Badge]:
    """Return the badge of each strategy that has one, which is of all of its records or of none.

    A report counts for the submission whose ``submission.json`` it was written of, told by its
    digest. Strategies of published sets are ``published``.

    Raises:
        RecordError: a report cannot be read, earned no badge, or is of none of the submissions.
    """
    found: dict[str, Badge] = {
        strategy: "published" for strategy, sources in backing.items() if PUBLISHED in sources
    }
    by_digest = {one.digest: one for one in submitted}
    for path in reports:
        report = read_json(path, _Report, "a report of `driftboard verify --json`", "verify again")
        if report.badge is None or report.submission is None:
            raise RecordError(f"{path} is of a submission that failed a check; leave it out")
        if report.submission not in by_digest:
            raise RecordError(
                f"{path} is of none of these submissions as they are now; name the folder that was "
                "verified, or verify it again"
            )
        one = by_digest[report.submission]
        if _is_backed(backing, one):
            found[one.submission.strategy.name] = report.badge
    return found


def credits_of(backing: Backing, submitted: Iterable[Submitted]) -> dict[str, Credits]:
    """Return what authors say of the strategies all of whose records they submitted, by name."""
    return {
        one.submission.strategy.name: one.submission
        for one in submitted
        if _is_backed(backing, one)
    }


def _is_backed(backing: Backing, one: Submitted) -> bool:
    return one.source in backing.get(one.submission.strategy.name, frozenset())
