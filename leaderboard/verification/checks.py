"""The list of all checks of records, in the order of a report."""

from collections.abc import Callable, Sequence

from driftboard.leaderboard.verification.comparison import (
    check_above_joint,
    check_learning,
    check_untrained,
)
from driftboard.leaderboard.verification.contents import (
    check_cost,
    check_divergence,
    check_norms,
    check_test_sets,
)
from driftboard.leaderboard.verification.copies import check_copies, check_copies_of_others
from driftboard.leaderboard.verification.findings import Finding
from driftboard.leaderboard.verification.identity import (
    check_environment,
    check_protocol,
    check_seeds,
    check_sequences,
    check_strategy,
)
from driftboard.leaderboard.verification.material import Material
from driftboard.leaderboard.verification.tuning import check_tuning
from driftboard.leaderboard.verification.variance import check_variance

Check = Callable[[Material], Finding | list[Finding]]

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


def examine(material: Material, checks: Sequence[Check] = ALL) -> list[Finding]:
    """Return what the checks find, in their order."""
    findings: list[Finding] = []
    for check in checks:
        found = check(material)
        findings += found if isinstance(found, list) else [found]
    return findings
