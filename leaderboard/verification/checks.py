"""The list of all checks of records, in the order of a report."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from driftboard.leaderboard.verification import comparison, contents, identity
from driftboard.leaderboard.verification.report import Finding
from driftboard.leaderboard.verification.submission import SubmissionData, load_submission
from driftboard.suite.records import AnyRecord

Check = Callable[[SubmissionData], Finding | list[Finding]]

IDENTITY: tuple[Check, ...] = (
    identity.check_protocol,
    identity.check_sequences,
    identity.check_strategy,
    identity.check_seeds,
    identity.check_environment,
)
FORENSIC: tuple[Check, ...] = (
    contents.check_divergence,
    contents.check_test_sets,
    contents.check_norms,
    contents.check_cost,
    comparison.check_copies,
    comparison.check_copies_of_others,
    contents.check_variance,
    comparison.check_untrained,
    comparison.check_learning,
    comparison.check_above_joint,
)
ALL: tuple[Check, ...] = (*IDENTITY, *FORENSIC, identity.check_tuning)


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
