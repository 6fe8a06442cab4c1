"""Running cells again: which ones, and whether what comes out agrees with what was submitted.

Only the drawing and the comparison, as pure functions. The cells are drawn from the digest of
``submission.json``, so anybody can draw them again, and from a salt that whoever checks chooses
after the submission: without one, a submitter could word the title until the draw is convenient.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from driftboard.leaderboard.analysis.cells import matrix_of
from driftboard.leaderboard.verification.findings import Finding, some
from driftboard.leaderboard.verification.machine import same_machine
from driftboard.leaderboard.verification.material import cell_name
from driftboard.suite.errors import counted
from driftboard.suite.metrics import average_accuracy, average_loss
from driftboard.suite.records import AnyRecord, LossRecord, Record

SPOT = "spot re-run"
FULL = "fully re-run"
LEVEL = 0.05

Cell = tuple[str, int]
"""Sequence and seed."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How far apart two honest runs of a cell lie at most, as a standard deviation.

    ``size`` is in the units of ``score``, known from ``freedom`` degrees of freedom.
    """

    size: float
    freedom: int


@dataclass(frozen=True, slots=True)
class _Apart:
    """A cell that was run again on another machine: submitted minus re-run."""

    name: str
    difference: float
    noise: Noise | None

    def is_beyond(self, level: float) -> bool:
        """Tell whether the noise is no explanation, at a two-sided level."""
        return self.noise is not None and abs(self.difference) > _limit(self.noise, level)


def noise_over_seeds(own: Sequence[AnyRecord]) -> Noise | None:
    """Return the noise of re-runs of one sequence, None if there is but one seed.

    Rounding of another kind may lead a training anywhere that another order of its batches would
    lead it, but no farther: two such runs differ by the square root of 2 times the deviation over
    seeds, which have other data, classes and initial weights besides. It is no less than one test
    image, for cells at the ceiling. Measured noise is a fifth of this: see the room's README.
    """
    if len(own) < 2:
        return None
    one_image = [
        1 / (min(record.test_sizes) * record.tasks) for record in own if isinstance(record, Record)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        size = math.sqrt(2.0) * float(np.std([score(record) for record in own], ddof=1))
    return Noise(max([size, *one_image]), len(own) - 1)


def draw_cells(cells: Iterable[Cell], count: int, digest: str, salt: str = "") -> tuple[Cell, ...]:
    """Return ``count`` of the cells, or all if there are fewer; the order given does not matter.

    Every subset is equally likely over salts, and with more cells drawn the first ones stay.
    """

    def lot(cell: Cell) -> str:
        name, seed = cell
        return hashlib.sha256("\n".join((digest, salt, name, str(seed))).encode()).hexdigest()

    return tuple(sorted(set(cells), key=lot)[:count])


def compare(
    pairs: Sequence[tuple[AnyRecord, AnyRecord]],
    noise: Mapping[str, Noise | None],
    level: float = LEVEL,
) -> list[Finding]:
    """Compare submitted cells with the same cells run again.

    Where machine and cohort are the same, results must be equal. Elsewhere the difference d of
    Avg.Acc (of the mean loss in linear sequences) is held against the noise of its sequence, s on
    r degrees of freedom: of m cells one fails if ``|d| > t(1 - level / 2m, r) s``, and all
    together if ``|sum d| > t(1 - level / 2, least r) sqrt(sum s^2)``. Unequal cells of sequences
    without a noise are only named.
    """
    unequal = [cell_name(one) for one, again in pairs if _contradicts(one, again)]
    apart = [
        _Apart(cell_name(one), score(one) - score(again), noise.get(one.sequence.name))
        for one, again in pairs
        if not _must_agree(one, again)
    ]
    findings = []
    if unequal:
        found = f"not the results of the same run on the same machine: {some(unequal)}"
        findings.append(Finding("FAILED", "re-run", found, "submit what the runs gave"))
    findings += _beyond_noise([one for one in apart if one.noise is not None], level)
    if unknown := [one for one in apart if one.noise is None and one.difference]:
        found = f"other results, perhaps of another processor: {_named(unknown)}"
        findings.append(Finding("warning", "re-run", found, "re-run on the machine named"))
    return findings or [Finding("ok", "re-run", _agreement(pairs))]


def _agreement(pairs: Sequence[tuple[AnyRecord, AnyRecord]]) -> str:
    off = [
        abs(score(one) - score(again)) for one, again in pairs if _results(one) != _results(again)
    ]
    text = f"{counted(len(pairs), 'cell')}, {len(pairs) - len(off)} with equal results"
    return f"{text}, the others off by {max(off):.4f} at most" if off else text


def _must_agree(one: AnyRecord, other: AnyRecord) -> bool:
    a, b = one.environment, other.environment
    return same_machine(a, b) and a.cohort == b.cohort


def _contradicts(one: AnyRecord, again: AnyRecord) -> bool:
    return _must_agree(one, again) and _results(one) != _results(again)


def _beyond_noise(apart: Sequence[_Apart], level: float) -> list[Finding]:
    if not apart:
        return []
    findings = []
    if far := [one for one in apart if one.is_beyond(level / len(apart))]:
        found = f"farther from the re-run than another seed would be: {_named(far)}"
        findings.append(Finding("FAILED", "re-run", found, "submit what the runs gave"))
    noises = [one.noise for one in apart if one.noise is not None]
    every = Noise(math.hypot(*(one.size for one in noises)), min(one.freedom for one in noises))
    total = sum(one.difference for one in apart)
    if abs(total) > (limit := _limit(every, level)):
        mean, most = total / len(apart), limit / len(apart)
        found = f"{mean:+.4f} from the re-runs on average, more than {most:.4f}"
        findings.append(Finding("FAILED", "re-run", found, "submit what the runs gave"))
    return findings


def _limit(noise: Noise, level: float) -> float:
    return float(stdtrit(noise.freedom, 1.0 - level / 2)) * noise.size


def _named(cells: Sequence[_Apart]) -> str:
    return some(f"{one.name} ({one.difference:+.4f})" for one in cells)


def score(record: AnyRecord) -> float:
    """Return what two runs of a cell are compared by: Avg.Acc, or the mean loss."""
    mean = average_loss if isinstance(record, LossRecord) else average_accuracy
    with np.errstate(over="ignore"):  # losses may be as large as numbers go
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
