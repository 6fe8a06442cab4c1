"""Running cells again: which ones, and whether what comes out agrees with what was submitted.

Only the drawing and the comparison, as pure functions. The cells are drawn from the digest of
``submission.json``, so anybody can draw them again, and from a salt that whoever checks chooses
after the submission: without one, a submitter could word the title until the draw is convenient.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from driftboard.leaderboard.cells import matrix_of
from driftboard.leaderboard.verification.findings import Finding, counted, some
from driftboard.leaderboard.verification.material import cell_name
from driftboard.suite.metrics import average_accuracy, average_loss
from driftboard.suite.records import AnyRecord, LossRecord, Record

SPOT = "spot re-run"
FULL = "fully re-run"
LEVEL = 0.05

Cell = tuple[str, int]
"""Sequence and seed."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How far Avg.Acc of one cell lies apart when it is run twice on two machines.

    ``size`` is ``sqrt(mean d^2)`` over ``pairs`` differences d, in [0, 1].
    """

    size: float
    pairs: int


def measured_noise(differences: Sequence[float]) -> Noise:
    """Return the noise that differences of Avg.Acc between same-seed runs show.

    Raises:
        ValueError: there is no difference.
    """
    if not differences:
        raise ValueError("noise needs at least one pair of runs")
    mean_square = math.fsum(d * d for d in differences) / len(differences)
    return Noise(math.sqrt(mean_square), len(differences))


def draw_cells(cells: Iterable[Cell], count: int, digest: str, salt: str = "") -> tuple[Cell, ...]:
    """Return ``count`` of the cells, or all if there are fewer; the order given does not matter.

    Every subset is equally likely over salts, and with more cells drawn the first ones stay.
    """

    def lot(cell: Cell) -> str:
        name, seed = cell
        return hashlib.sha256("\n".join((digest, salt, name, str(seed))).encode()).hexdigest()

    return tuple(sorted(set(cells), key=lot)[:count])


def same_machine(one: AnyRecord, other: AnyRecord) -> bool:
    """Tell whether two runs of a cell must agree in every count: same versions, device, cohort."""
    a, b = one.environment, other.environment
    return (a.torch, a.device, a.lane, a.cohort) == (b.torch, b.device, b.lane, b.cohort)


def compare(
    pairs: Sequence[tuple[AnyRecord, AnyRecord]], noise: Noise | None, level: float = LEVEL
) -> list[Finding]:
    """Compare submitted cells with the same cells run again.

    Where versions, device and cohort are the same, results must be equal. Elsewhere the
    difference d of Avg.Acc (of the mean loss in linear sequences) is held against the noise of
    same-seed runs across machines, ``s`` of r pairs: of m cells one fails if
    ``|d| > t(1 - level / 2m, r) s``, and all together if ``|mean d| > t(1 - level / 2, r) s /
    sqrt(m)``. Without measured noise unequal cells are only named.
    """
    unequal = [cell_name(one) for one, again in pairs if _contradicts(one, again)]
    apart = [(one, again) for one, again in pairs if not same_machine(one, again)]
    differences = {cell_name(one): score(one) - score(again) for one, again in apart}
    findings = []
    if unequal:
        found = f"not the results of the same run on the same machine: {some(unequal)}"
        findings.append(Finding("FAILED", "re-run", found, "submit what the runs gave"))
    if noise is not None:
        findings += _beyond_noise(differences, noise, level)
    elif any(differences.values()):
        found = f"other results on another machine: {_named(differences)}"
        advice = "re-run on the machine named, or measure the noise"
        findings.append(Finding("warning", "re-run", found, advice))
    found = f"{counted(len(pairs), 'cell')}, {len(pairs) - len(apart)} on the same machine"
    return findings or [Finding("ok", "re-run", found)]


def _contradicts(one: AnyRecord, again: AnyRecord) -> bool:
    return same_machine(one, again) and _results(one) != _results(again)


def _beyond_noise(differences: Mapping[str, float], noise: Noise, level: float) -> list[Finding]:
    if not differences:
        return []
    count = len(differences)
    each = float(stdtrit(noise.pairs, 1.0 - level / (2 * count))) * noise.size
    together = float(stdtrit(noise.pairs, 1.0 - level / 2)) * noise.size / math.sqrt(count)
    far = {name: d for name, d in differences.items() if abs(d) > each}
    mean = math.fsum(differences.values()) / count
    findings = []
    if far:
        found = f"farther from the re-run than {each:.4f}: {_named(far)}"
        findings.append(Finding("FAILED", "re-run", found, "submit what the runs gave"))
    if abs(mean) > together:
        found = f"{mean:+.4f} from the re-runs on average, more than {together:.4f}"
        findings.append(Finding("FAILED", "re-run", found, "submit what the runs gave"))
    return findings


def _named(differences: Mapping[str, float]) -> str:
    return some(f"{name} ({d:+.4f})" for name, d in differences.items())


def score(record: AnyRecord) -> float:
    """Return what two runs of a cell are compared by: Avg.Acc, or the mean loss."""
    mean = average_loss if isinstance(record, LossRecord) else average_accuracy
    return mean(matrix_of(record))


def _results(record: AnyRecord) -> tuple[object, ...]:
    if isinstance(record, Record):
        return (record.correct, record.correct_untrained, record.test_sizes, record.classes)
    return (record.losses, record.losses_untrained, record.draws)


def rerun_badge(findings: Sequence[Finding], run_again: int, cells: int) -> str | None:
    """Return the badge of ``run_again`` of all ``cells``, None if one failed or none was run."""
    if not run_again or any(finding.level == "FAILED" for finding in findings):
        return None
    return FULL if run_again >= cells else SPOT
