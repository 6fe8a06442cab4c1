"""The list of all checks of records, in the order of a report."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from driftboard.leaderboard.verification.comparison import (
    check_above_joint,
    check_copies,
    check_copies_of_others,
    check_learning,
    check_untrained,
)
from driftboard.leaderboard.verification.contents import (
    check_cost,
    check_divergence,
    check_norms,
    check_test_sets,
    check_variance,
)
from driftboard.leaderboard.verification.identity import (
    check_environment,
    check_protocol,
    check_seeds,
    check_sequences,
    check_strategy,
    check_tuning,
)
from driftboard.leaderboard.verification.report import Finding
from driftboard.leaderboard.verification.submission import SubmissionData, load_submission
from driftboard.suite.records import AnyRecord

Check = Callable[[SubmissionData], Finding | list[Finding]]

IDENTITY: tuple[Check, ...] = (
    check_protocol,
    check_sequences,
    check_strategy,
    check_seeds,
    check_environment,
)
FORENSIC: tuple[Check, ...] = (
    check_divergence,
    check_test_sets,
    check_norms,
    check_cost,
    check_copies,
    check_copies_of_others,
    check_variance,
    check_untrained,
    check_learning,
    check_above_joint,
)
ALL: tuple[Check, ...] = (*IDENTITY, *FORENSIC, check_tuning)


def examine(data: SubmissionData, checks: Sequence[Check] = ALL) -> list[Finding]:
    """Return the findings of the checks, in their order."""
    findings: list[Finding] = []
    for check in checks:
        found = check(data)
        findings += found if isinstance(found, list) else [found]
    return findings


def examine_folder(
    folder: Path, against: Sequence[Path] = (), published: Iterable[AnyRecord] = ()
) -> tuple[SubmissionData | None, list[Finding]]:
    """Return what a submission's folder holds and what all checks find.

    The data are None without a valid ``submission.json``. They are compared with the results
    folders ``against`` and with ``published`` records.

    Raises:
        RecordError: a folder of ``against`` has no records, or a broken one.
    """
    data, findings = load_submission(folder, against, published)
    if data is not None and data.records:
        findings += examine(data)
    return data, findings
