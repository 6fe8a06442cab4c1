"""Running drawn cells again in a limited process, and comparing them with what was submitted.

The cells are drawn from the digest of ``submission.json``, so anybody can draw them again, and
from a salt that the reviewer chooses after the submission: without one, a submitter could change
the title until the draw is convenient.

The whole cohort of a drawn cell is trained, because how learners are stacked may change the last
bits of a result. The strategy's code runs in the engine's own process: the limits protect the
machine, they do not stop a strategy that deceives the engine. Read its source for that.
"""

import hashlib
import math
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import ArrayLike

from driftboard.leaderboard.analysis.cells import matrix_of, passed
from driftboard.leaderboard.analysis.statistics import t_interval
from driftboard.leaderboard.verification.comparison import same_machine
from driftboard.leaderboard.verification.contents import NORM_TOLERANCE
from driftboard.leaderboard.verification.report import Finding, has_failed, shorten
from driftboard.leaderboard.verification.submission import SubmissionData, cell_name
from driftboard.suite.errors import RecordError, counted
from driftboard.suite.metrics import average_accuracy, average_loss
from driftboard.suite.places import cache_folder, find_data_folder
from driftboard.suite.records import AnyRecord, LossRecord, Record, cell_path, read_record
from driftboard.suite.sandbox.process import Finished, run_sandboxed

CHECK = "re-run"
SPOT = "spot re-run"
FULL = "fully re-run"
LEVEL = 0.05

PASSED_ROUNDING = 1e-4
"""How far rounding alone may move what passes of a gradient, which has six digits in a record."""

ADVICE = "submit what the runs gave"

Cell = tuple[str, int]
"""Sequence and seed."""


def run_again(
    submitted: SubmissionData,
    cells: int,
    salt: str,
    seconds: float,
    memory_bytes: int,
    data: Path | None = None,
) -> tuple[list[Finding], str | None]:
    """Run ``cells`` cells again, drawn by chance, and return what was found and the badge.

    Args:
        submitted: what the submission holds, whose files have been checked.
        cells: how many; at least 1.
        salt: what the draw depends on besides the submission.
        seconds: the limit for all cells together.
        memory_bytes: likewise.
        data: the folder of the data sets.
    """
    by_cell = {(one.sequence.name, one.seed): one for one in submitted.records}
    drawn = [by_cell[cell] for cell in draw_cells(by_cell, cells, submitted.digest, salt)]
    with tempfile.TemporaryDirectory(prefix="driftboard-") as name:
        place = Path(name)
        for file, content in submitted.sources.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_bytes(content)
        program, environment = _program(submitted, drawn), _environment(data)
        finished = run_sandboxed(program, place, seconds, memory_bytes, environment)
        if problem := _problem(finished):
            advice = "mend the strategy, or allow it more"
            return [Finding("FAILED", CHECK, problem, advice, finished.output)], None
        pairs, missing = _pairs(place / "out", drawn)
    findings = []
    if missing:
        found = f"the re-run left no record of {shorten(map(cell_name, missing))}"
        findings.append(Finding("FAILED", CHECK, found, "mend the strategy, or submit it anew"))
    noise = {name: noise_over_seeds(own) for name, own in submitted.by_sequence.items()}
    of_passed = {name: noise_of_passed(own) for name, own in submitted.by_sequence.items()}
    findings += [*compare(pairs, noise, of_passed), _about(drawn, finished)]
    return findings, rerun_badge(findings, len(drawn), len(by_cell))


def _program(submitted: SubmissionData, drawn: Sequence[AnyRecord]) -> list[str]:
    names = list(dict.fromkeys(record.sequence.name for record in drawn))
    seeds = max(len(submitted.by_sequence[name]) for name in names)
    program = [sys.executable, "-m", "driftboard.suite.sandbox.run_cells"]
    # A folder may have the name of a built-in strategy.
    return [*program, f"./{submitted.submission.specification}", "out", str(seeds), *names]


def _environment(data: Path | None) -> dict[str, str]:
    # Splits that have been made are read from the cache, where the process cannot write.
    cache = cache_folder()
    kept = {"XDG_CACHE_HOME": str(cache.parent)} if cache else {}
    return kept | ({"DRIFTBOARD_DATA": str(find_data_folder(data).resolve())} if data else {})


def _problem(finished: Finished) -> str | None:
    """Return why a process did not do its work, None if it did."""
    last = finished.output.strip().splitlines()[-1:]
    if finished.stopped:
        return f"it was stopped: {finished.stopped}"
    if finished.code:
        return f"it ended with code {finished.code}: {shorten(last) or 'without a word'}"
    return None


def _pairs(
    out: Path, drawn: Sequence[AnyRecord]
) -> tuple[list[tuple[AnyRecord, AnyRecord]], list[AnyRecord]]:
    """Return the drawn records beside those run again, and those that were not run again."""
    pairs: list[tuple[AnyRecord, AnyRecord]] = []
    missing: list[AnyRecord] = []
    for one in drawn:
        try:
            path = cell_path(out, one.sequence.name, one.strategy.name, one.seed)
            pairs.append((one, read_record(path)))
        except RecordError:
            missing.append(one)
    return pairs, missing


def _about(drawn: Sequence[AnyRecord], finished: Finished) -> Finding:
    cells = shorten(map(cell_name, drawn))
    text = f"{counted(len(drawn), 'cell')} in {finished.seconds:.0f} s: {cells}"
    if finished.confined:
        return Finding("ok", "drawn", text)
    advice = "run it in a container: this kernel has no Landlock, so its writes were not confined"
    return Finding("warning", "drawn", text, advice)


@dataclass(frozen=True, slots=True)
class Noise:
    """The largest difference of two honest runs of a cell, as a standard deviation.

    ``size`` is in the units of ``score``, known from ``freedom`` degrees of freedom.
    """

    size: float
    freedom: int


class _Difference(NamedTuple):
    """A cell that was run again, perhaps elsewhere; ``difference`` is submitted minus re-run."""

    name: str
    difference: float
    noise: Noise | None


def noise_over_seeds(own: Sequence[AnyRecord]) -> Noise | None:
    """Return the noise of re-runs of one sequence, None if there is but one seed.

    Different rounding may lead a training as far as another order of its batches would, but no
    farther: two such runs differ by at most the square root of 2 times the deviation over seeds,
    which differ in data, classes and initial weights as well. For cells at the ceiling it is no
    less than one test image. Measured noise is a fifth of this with MLPs and two thirds with a
    small ResNet: see docs/studies/verification.md.
    """
    if len(own) < 2:
        return None
    one_image = [
        1 / (min(record.test_sizes) * record.tasks) for record in own if isinstance(record, Record)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        size = math.sqrt(2.0) * float(np.std([score(record) for record in own], ddof=1))
    return Noise(max([size, *one_image]), len(own) - 1)


def noise_of_passed(own: Sequence[AnyRecord]) -> Noise | None:
    """Return the noise of what passes of the gradient on one sequence, as ``noise_over_seeds``.

    None if fewer than two finished seeds tell it. It is no less than what rounding may do.
    """
    values = [one for one in map(passed, own) if one is not None and math.isfinite(one)]
    if len(values) < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        size = math.sqrt(2.0) * float(np.std(values, ddof=1))
    return Noise(max(size, PASSED_ROUNDING), len(values) - 1)


def draw_cells(cells: Iterable[Cell], count: int, digest: str, salt: str = "") -> tuple[Cell, ...]:
    """Return ``count`` of the cells, or all if there are fewer, whatever the order given.

    Over salts every subset is equally likely. A larger ``count`` adds cells to those of a smaller.

    >>> draw_cells([("digits-split", 0), ("digits-split", 1)], 1, "", "salt")
    (('digits-split', 1),)
    """

    def lot(cell: Cell) -> str:
        name, seed = cell
        return hashlib.sha256("\n".join((digest, salt, name, str(seed))).encode()).hexdigest()

    return tuple(sorted(set(cells), key=lot)[:count])


def compare(
    pairs: Sequence[tuple[AnyRecord, AnyRecord]],
    noise: Mapping[str, Noise | None],
    of_passed: Mapping[str, Noise | None] = MappingProxyType({}),
    level: float = LEVEL,
) -> list[Finding]:
    """Compare submitted cells with the same cells run again.

    Where machine and cohort are the same, results must be equal, and where the package is the
    same, too, plans, norms, memory, operations and what passes of the gradient. Elsewhere the
    difference d of Avg.Acc (of the mean loss in linear sequences) is held against the noise of its
    sequence, s on r degrees of freedom: of m cells one fails if ``|d| > t(1 - level / 2m, r) s``,
    and all together if ``|sum d| > t(1 - level / 2, least r) sqrt(sum s^2)``. Unequal cells of
    sequences without a noise are only named. What passes of the gradient is compared in the same
    way, with the noise ``of_passed`` and the same level again. Only a strategy that corrects
    gradients tells what passes.
    """
    unequal = [
        cell_name(one)
        for one, again in pairs
        if _must_agree(one, again) and _results(one) != _results(again)
    ]
    differences = [
        _Difference(cell_name(one), score(one) - score(again), noise.get(one.sequence.name))
        for one, again in pairs
        if not _must_agree(one, again)
    ]
    findings = []
    if others := [cell_name(one) for one, again in pairs if one.strategy != again.strategy]:
        found = f"told of another strategy than the one that was run again: {shorten(others)}"
        findings.append(Finding("FAILED", CHECK, found, ADVICE))
    if unequal:
        found = f"not the results of the same run on the same machine: {shorten(unequal)}"
        findings.append(Finding("FAILED", CHECK, found, ADVICE))
    findings += _details(pairs)
    findings += _beyond_noise(differences, level)
    passing = _passed_differences(pairs, of_passed)
    findings += _beyond_noise(passing, level, "what passes of the gradient: ")
    if unknown := [one for one in differences if one.noise is None and one.difference]:
        found = f"other results, perhaps of another processor: {_named(unknown)}"
        findings.append(Finding("warning", CHECK, found, "re-run on the machine named"))
    return [*(findings or [Finding("ok", CHECK, _agreement(pairs))]), *_telling(pairs)]


def _agreement(pairs: Sequence[tuple[AnyRecord, AnyRecord]]) -> str:
    off = [
        abs(score(one) - score(again)) for one, again in pairs if _results(one) != _results(again)
    ]
    text = f"{counted(len(pairs), 'cell')}, {len(pairs) - len(off)} with equal results"
    return f"{text}, the others off by {max(off):.4f} at most" if off else text


def _must_agree(one: AnyRecord, other: AnyRecord) -> bool:
    a, b = one.environment, other.environment
    return same_machine(a, b) and a.cohort == b.cohort


def _agree_in_all(one: AnyRecord, other: AnyRecord) -> bool:
    """Return whether not only results must agree, but all that a training gives."""
    return _must_agree(one, other) and one.environment.package == other.environment.package


def _details(pairs: Sequence[tuple[AnyRecord, AnyRecord]]) -> list[Finding]:
    """Return a finding if cells with the right results tell something else about their training."""
    other = [
        f"{cell_name(one)} ({', '.join(names)})"
        for one, again in pairs
        if _agree_in_all(one, again)
        and _results(one) == _results(again)
        and (names := _other_parts(one, again))
    ]
    if not other:
        return []
    found = f"the results of the same run on the same machine, but not all else: {shorten(other)}"
    return [Finding("FAILED", CHECK, found, ADVICE)]


def _other_parts(one: AnyRecord, other: AnyRecord) -> list[str]:
    """Return the names of the parts in which two records differ, norms by more than rounding."""

    def divergence(record: AnyRecord) -> tuple[object, ...]:
        return record.status, record.diverged_at, record.diverged_by

    a, b = ((x.update_norms, x.solution_norms, x.drift_norms) for x in (one, other))
    equal = {
        "plans": one.plans == other.plans,
        "norms": _close(a, b, NORM_TOLERANCE * float(np.max(b))),
        "memory": one.memory_bytes == other.memory_bytes,
        "operations": one.operations == other.operations,
        "divergence": divergence(one) == divergence(other),
    }
    if isinstance(one, Record) and isinstance(other, Record):
        p, q = one.passed or None, other.passed or None
        equal["passed"] = p == q if p is None or q is None else _close(p, q, PASSED_ROUNDING)
    return [name for name, is_equal in equal.items() if not is_equal]


def _close(one: ArrayLike, other: ArrayLike, most: float) -> bool:
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return a.shape == b.shape and bool((np.abs(a - b) <= most).all())


def _telling(pairs: Sequence[tuple[AnyRecord, AnyRecord]]) -> list[Finding]:
    """Return a finding if only one side tells what passes of the gradient."""
    told = any(_tells(one) for one, _ in pairs)
    again = any(_tells(one) for _, one in pairs)
    if told and not again:
        found = "records tell what passes of a gradient, but the strategy corrects none"
        return [Finding("FAILED", CHECK, found, ADVICE)]
    if again and not told:
        found = "records do not tell what passes of the gradient, which the strategy corrects"
        return [Finding("warning", CHECK, found, "fine if an older version made them")]
    return []


def _tells(record: AnyRecord) -> bool:
    return isinstance(record, Record) and record.passed is not UNSET


def _passed_differences(
    pairs: Sequence[tuple[AnyRecord, AnyRecord]], noise: Mapping[str, Noise | None]
) -> list[_Difference]:
    """Return how far apart means of what passes are, of finished cells with a noise."""
    differences = []
    for one, again in pairs:
        a, b, own = passed(one), passed(again), noise.get(one.sequence.name)
        if own is not None and a is not None and b is not None and not _agree_in_all(one, again):
            differences.append(_Difference(cell_name(one), a - b, own))
    return [one for one in differences if not math.isnan(one.difference)]


def _beyond_noise(
    differences: Sequence[_Difference], level: float, what: str = ""
) -> list[Finding]:
    """Return a finding for single cells that noise does not explain, and one for all together.

    ``what`` begins the text where it is not about Avg.Acc.
    """
    known = [(one, one.noise) for one in differences if one.noise is not None]
    if not known:
        return []
    findings = []
    share = level / len(known)
    if far := [one for one, noise in known if abs(one.difference) > _limit(noise, share)]:
        found = f"{what}farther from the re-run than another seed would be: {_named(far)}"
        findings.append(Finding("FAILED", CHECK, found, ADVICE))
    size = math.hypot(*(noise.size for _, noise in known))
    limit = _limit(Noise(size, min(noise.freedom for _, noise in known)), level)
    total = sum(one.difference for one, _ in known)
    if abs(total) > limit:
        mean, most = total / len(known), limit / len(known)
        found = f"{what}{mean:+.4f} from the re-runs on average, more than {most:.4f}"
        findings.append(Finding("FAILED", CHECK, found, ADVICE))
    return findings


def _limit(noise: Noise, level: float) -> float:
    return t_interval(0.0, noise.size, noise.freedom, 1.0 - level)[1]


def _named(cells: Sequence[_Difference]) -> str:
    return shorten(f"{one.name} ({one.difference:+.4f})" for one in cells)


def score(record: AnyRecord) -> float:
    """Return what two runs of a cell are compared by: Avg.Acc, or the mean loss."""
    mean = average_loss if isinstance(record, LossRecord) else average_accuracy
    with np.errstate(over="ignore"):  # losses may be as large as numbers go
        return mean(matrix_of(record))


def _results(record: AnyRecord) -> tuple[object, ...]:
    if isinstance(record, Record):
        counts = (record.correct, record.correct_untrained)
        return (*counts, record.test_sizes, record.classes, record.seen)
    return (record.losses, record.losses_untrained, record.draws)


def rerun_badge(findings: Sequence[Finding], drawn: int, cells: int) -> str | None:
    """Return the badge for ``drawn`` of all ``cells``; None if one failed or none was drawn."""
    if not drawn or has_failed(findings):
        return None
    return FULL if drawn >= cells else SPOT
