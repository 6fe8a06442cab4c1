"""Running drawn cells of a submission again, in a limited process, and comparing what comes out.

The whole cohort of a drawn cell is trained, for how learners are stacked may change the last bits
of a result. The strategy's code runs inside the engine's own process there: the limits guard the
machine, they do not stop a strategy that deceives the engine. Read its source for that.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from driftboard.leaderboard.verification.findings import Finding, some
from driftboard.leaderboard.verification.material import Material
from driftboard.leaderboard.verification.rerun import (
    Cell,
    compare,
    draw_cells,
    noise_over_seeds,
    rerun_badge,
)
from driftboard.suite.errors import RecordError, counted
from driftboard.suite.records import AnyRecord, cell_path, read_record
from driftboard.suite.sandbox.process import Finished, run_sandboxed

CHECK = "re-run"


def run_again(
    folder: Path,
    material: Material,
    cells: int,
    salt: str,
    seconds: float,
    memory_bytes: int,
    data: Path | None = None,
) -> tuple[list[Finding], str | None]:
    """Run ``cells`` cells again, drawn by chance, and return what was found and the badge.

    ``folder`` is the submission's, whose files have been checked. ``seconds`` and
    ``memory_bytes`` bound the whole of it.
    """
    by_cell = {(one.sequence.name, one.seed): one for one in material.records}
    drawn = draw_cells(by_cell, cells, material.digest, salt)
    with tempfile.TemporaryDirectory(prefix="driftboard-") as name:
        place = Path(name)
        shutil.copyfile(folder / material.submission.source, place / material.submission.source)
        finished = run_sandboxed(
            _program(material, drawn), place, seconds, memory_bytes, _environment(data)
        )
        if problem := _problem(finished):
            return [Finding("FAILED", CHECK, problem, "mend the strategy, or allow it more")], None
        pairs, missing = _pairs(place / "out", material, drawn)
    noise = {name: noise_over_seeds(own) for name, own in material.by_sequence.items()}
    findings = [*_missing(missing), *compare(pairs, noise), _about(drawn, finished)]
    return findings, rerun_badge(findings, len(drawn), len(by_cell))


def _program(material: Material, drawn: Sequence[Cell]) -> list[str]:
    names = list(dict.fromkeys(name for name, _ in drawn))
    seeds = max(len(material.by_sequence[name]) for name in names)
    program = [sys.executable, "-m", "driftboard.suite.sandbox.run_cells"]
    return [*program, material.submission.specification, "out", str(seeds), *names]


def _environment(data: Path | None) -> dict[str, str]:
    # Splits that are made already are read where they are; it cannot write there.
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return {"XDG_CACHE_HOME": cache} | ({"DRIFTBOARD_DATA": str(data.resolve())} if data else {})


def _problem(finished: Finished) -> str | None:
    """Return in words why a process did not do its work, None if it did."""
    last = finished.output.strip().splitlines()[-1:]
    if finished.stopped:
        return f"it was stopped: {finished.stopped}"
    if finished.code:
        return f"it ended with code {finished.code}: {some(last) or 'without a word'}"
    return None


def _pairs(
    out: Path, material: Material, drawn: Sequence[Cell]
) -> tuple[list[tuple[AnyRecord, AnyRecord]], list[str]]:
    """Return the drawn cells beside those run again, and the names of those without a record."""
    pairs: list[tuple[AnyRecord, AnyRecord]] = []
    missing: list[str] = []
    by_cell = {(one.sequence.name, one.seed): one for one in material.records}
    for name, seed in drawn:
        try:
            again = read_record(cell_path(out, name, material.submission.strategy.name, seed))
        except RecordError:
            missing.append(f"{name} seed {seed}")
            continue
        pairs.append((by_cell[name, seed], again))
    return pairs, missing


def _missing(names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    found = f"the re-run left no record of {some(names)}"
    return [Finding("FAILED", CHECK, found, "mend the strategy, or submit it anew")]


def _about(drawn: Sequence[Cell], finished: Finished) -> Finding:
    cells = some(f"{name} seed {seed}" for name, seed in drawn)
    text = f"{counted(len(drawn), 'cell')} in {finished.seconds:.0f} s: {cells}"
    if finished.confined:
        return Finding("ok", "drawn", text)
    advice = "run it in a container: this kernel has no Landlock, so its writes were not confined"
    return Finding("warning", "drawn", text, advice)
