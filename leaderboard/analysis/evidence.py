"""What stands behind a strategy's numbers on a board: how far somebody has checked them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from driftboard.suite.errors import RecordError
from driftboard.suite.records import AnyRecord, Digest, read_json
from driftboard.suite.submissions import SUBMISSION, Submission

Badge = Literal["published", "records checked", "spot re-run", "fully re-run"]
PUBLISHED: Literal["published"] = "published"
_REPORT = "a report of `driftboard verify --json`"


class _Report(Struct):
    """Of a report that ``driftboard verify --json`` wrote, what matters here."""

    schema: Literal[1]
    submission: Digest | None
    badge: Literal["records checked", "spot re-run", "fully re-run"] | None


def evidence(
    results: Sequence[Path],
    reports: Sequence[Path],
    published: Mapping[str, Sequence[AnyRecord]],
) -> dict[str, Badge]:
    """Return the badge of each strategy that has one.

    A report counts for the submission among the results folders whose ``submission.json`` it
    was written of, told by its digest. Strategies of published sets are ``published``.

    Raises:
        RecordError: a report cannot be read, earned no badge, or is of none of the submissions.
    """
    found: dict[str, Badge] = {
        record.strategy.name: PUBLISHED for records in published.values() for record in records
    }
    submitted = dict(filter(None, map(_submitted, results)))
    for path in reports:
        report = read_json(path, _Report, _REPORT, "verify again")
        if report.badge is None or report.submission is None:
            raise RecordError(f"{path} is of a submission that failed a check; leave it out")
        if report.submission not in submitted:
            raise RecordError(
                f"{path} is of none of these submissions as they are now; name the folder that was "
                "verified, or verify it again"
            )
        found[submitted[report.submission]] = report.badge
    return found


def _submitted(folder: Path) -> tuple[str, str] | None:
    """Return the digest of a folder's ``submission.json`` and the strategy it is of."""
    path = folder / SUBMISSION
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        submission = msgspec.json.decode(content, type=Submission)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"{path} is not sound; see `driftboard verify {folder}`") from error
    return hashlib.sha256(content).hexdigest(), submission.strategy.name
