"""How far apart two honest runs of the same cells lie, and how often one of them is blamed.

    python tests/studies/rerun_noise.py --data DIR --out FOLDER

trains cells of the published sets again as each of ``VARIATIONS`` does: on this processor with this
version of torch, with other vector instructions and kernels, in the other lane. Every difference
from the published record of the cell is noise. ``--write FILE`` writes what ``driftboard
reproduce`` expects of an honest re-run (``baselines/rerun_noise.json``). Every re-run is also
judged as ``driftboard verify --rerun`` judges it, one cell at a time and all cells of a strategy
together: every blame is a false alarm. Stopped, it goes on where it was.
"""

import argparse
import json
import lzma
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import structs

from driftboard.baselines.published import published_records, published_set
from driftboard.baselines.rerun_noise import MeasuredNoise, Pair, measure_noise
from driftboard.leaderboard.analysis.statistics import clopper_pearson
from driftboard.leaderboard.verification.rerun import Noise, compare, noise_over_seeds, score
from driftboard.suite import records


@dataclass(frozen=True)
class Variation:
    """What differs from the usual run on this machine."""

    environment: dict[str, str] = field(default_factory=dict)
    one_by_one: bool = False  # no seeds stacked: the loop in place of vmap
    threads: int = 1


def _processor(torch: str, mkl: str, onednn: str) -> dict[str, str]:
    return {"ATEN_CPU_CAPABILITY": torch, "MKL_CBWR": mkl, "ONEDNN_MAX_CPU_ISA": onednn}


# Instructions of older processors, in torch's own kernels, MKL's products, oneDNN's convolutions
VARIATIONS = {
    "this machine": Variation(),
    "AVX2 processor": Variation(_processor("avx2", "AVX2", "AVX2")),
    "SSE processor": Variation(_processor("default", "COMPATIBLE", "SSE41")),
    "one by one": Variation(one_by_one=True),
    "two threads": Variation({"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "2"}, threads=2),
}


@dataclass(frozen=True)
class Part:
    """Cells of a published set that are trained again; no strategies are all."""

    published: str
    sequences: tuple[str, ...]
    strategies: tuple[str, ...]
    seeds: int
    variations: tuple[str, ...]


ROOT = Path(__file__).resolve().parents[2]
EARLIER = {
    "quick": "b33466660d989d914a22b17ea07fc5665f916cba",
    "core-fashion": "b33466660d989d914a22b17ea07fc5665f916cba",
    "core-cifar10": "c44147fc2b5bc66bef1209e2162ca42403a55bf9",
}
"""Commits whose published records of ewc are another run of the same cells."""
RESULTS = ("correct", "correct_untrained", "status", "diverged_at")
RESULTS += ("update_norms", "solution_norms", "drift_norms")

COMMAND = "python tests/studies/rerun_noise.py --data DIR --out FOLDER --write FILE"
FEW = ("sgd", "ewc", "hybrid-scalar", "constrained-0.1")
FASHION = ("split", "permuted", "rotated-15", "overlap-25", "corrupted-3", "relabelled-5")
FASHION += ("mixed", "repeat", "fewshot-rotated-30", "fewshot-overlap-50")
PARTS = {
    "digits": Part("quick", (), (), 5, ("this machine", "SSE processor")),
    "digits-few": Part(
        "quick", (), (*FEW, "algorithm-1", "joint"), 5, ("one by one", "two threads")
    ),
    "fashion": Part(
        "core-fashion",
        tuple(f"fashion-{name}" for name in FASHION),
        FEW,
        3,
        ("this machine", "SSE processor"),
    ),
    "cifar10": Part("core-cifar10", (), FEW, 1, ("this machine", "AVX2 processor")),
    "cifar10-few": Part("core-cifar10", ("cifar10-split",), FEW, 1, ("two threads",)),
}


def names_of(part: Part) -> tuple[list[str], list[str]]:
    """Return the sequences and strategies of a part."""
    known = list(published_records(part.published))
    sequences = dict.fromkeys(record.sequence.name for record in known)
    strategies = dict.fromkeys(record.strategy.name for record in known)
    return list(part.sequences or sequences), list(part.strategies or strategies)


def train(part: Part, name: str, data: Path | None, out: Path) -> None:
    """Train the cells of a part in this process, whose environment is that of the variation."""
    import torch

    from driftboard.suite.loading import load_sequences, load_strategy
    from driftboard.suite.runs import cells
    from driftboard.suite.runs.request import Request
    from driftboard.suite.training.networks import choose_mode

    sequences, strategies = names_of(part)
    specifications = published_set(part.published).specifications
    request = Request(
        sequences=tuple(load_sequences()[one] for one in sequences),
        strategies=tuple(load_strategy(specifications[one]) for one in strategies),
        seed_count=part.seeds,
        results=out,
        data=data,
        device="cpu",
    )
    one_by_one = VARIATIONS[name].one_by_one
    cells.choose_mode = (lambda *_: "loop") if one_by_one else choose_mode
    torch.set_num_threads(VARIATIONS[name].threads)
    for job in cells.plan(request):
        for seeds in [(seed,) for seed in job.seeds] if one_by_one else [job.seeds]:
            part_of_it = replace(job, seeds=seeds)
            part_of_it.keep(part_of_it.measure())


def start(part: str, name: str, data: Path | None, out: Path) -> None:
    """Train the cells of a part in a process of its own, as a variation."""
    command = [sys.executable, __file__, "--part", part, "--as", name, "--out", str(out)]
    command += ["--data", str(data)] if data else []
    subprocess.run(command, env=os.environ | VARIATIONS[name].environment, check=True)


def pairs(part: Part, out: Path) -> list[Pair]:
    """Return every cell that was run again below a folder, after its published record."""
    cells = {_cell(record): record for record in published_records(part.published)}
    again = map(records.read_record, records.record_paths(out))
    return [(cells[_cell(record)], record) for record in again]


def earlier_pairs(published: str) -> list[Pair]:
    """Return the cells that a set was published with before, after their present records.

    Only strategies that were run again since then, from the commit before that: another version of
    torch on another processor, and a Fisher that is equal but for rounding. Needs the history.
    """
    file = f"{EARLIER[published]}:baselines/records/{published}.jsonl.xz"
    done = subprocess.run(["git", "show", file], cwd=ROOT, capture_output=True, check=True)
    earlier = map(json.loads, lzma.decompress(done.stdout).splitlines())
    cells = {
        (one["sequence"]["name"], one["strategy"]["name"], one["seed"]): one for one in earlier
    }
    return [
        (record, _with_results_of(cells[_cell(record)], record))
        for record in published_records(published)
        if record.strategy.name.startswith("ewc") and _cell(record) in cells
    ]


def _with_results_of(earlier: dict[str, Any], record: records.AnyRecord) -> records.AnyRecord:
    """Return a present record with the results and the machine of one of an older schema."""
    plain = msgspec.to_builtins(record) | {name: earlier[name] for name in RESULTS}
    plain["diverged_by"] = None if earlier["diverged_at"] is None else "not finite"
    plain["environment"] |= {name: earlier["environment"][name] for name in ("torch", "device")}
    return msgspec.convert(plain, type(record))


def _cell(record: records.AnyRecord) -> tuple[str, str, int]:
    return record.sequence.name, record.strategy.name, record.seed


def report(name: str, published: str, found: Sequence[Pair]) -> Counter[str]:
    """Print how re-runs were judged and how they differ; return how often each level was given.

    The published records of a strategy are judged as if they had been submitted.
    """
    print(f"{name}: {len(found)} re-runs")
    submitted: dict[tuple[str, str], list[records.AnyRecord]] = {}
    for record in published_records(published):
        submitted.setdefault((record.sequence.name, record.strategy.name), []).append(record)
    unequal = sum(_counts(one).tolist() != _counts(again).tolist() for one, again in found)
    _print_share("other results", unequal, len(found))
    cells, whole = Counter[str](), Counter[str]()
    ratios = []
    for strategy in dict.fromkeys(one.strategy.name for one, _ in found):
        pairs = [pair for pair in found if pair[0].strategy.name == strategy]
        noise = {
            name: noise_over_seeds(submitted[name, strategy])
            for name in {one.sequence.name for one, _ in pairs}
        }
        cells.update(compare([pair], noise)[0].level for pair in pairs)
        whole[compare(pairs, noise)[0].level] += 1
        ratios += [
            _deviations(pair, size)
            for pair in pairs
            if (size := noise[pair[0].sequence.name]) is not None
        ]
    for level in ("FAILED", "warning"):
        _print_share(f"{level}, one cell", cells[level], len(found))
        _print_share(f"{level}, all cells of a strategy", whole[level], whole.total())
    scores = np.array([score(one) - score(again) for one, again in found])
    print(f"  score off by {_size(scores)}")
    print(f"  in deviations over seeds {_size(np.array(ratios))}")
    counts = np.concatenate([_off(one, again) for one, again in found])
    print(f"  counts off by {_spread(counts)}")
    norms = np.concatenate([_relative(one, again) for one, again in found])
    print(f"  norms off by {_spread(norms)} of themselves")
    untrained = sum(_untrained(one) != _untrained(again) for one, again in found)
    print(f"  untrained networks that answer otherwise: {untrained}", flush=True)
    return cells


def _print_share(what: str, count: int, of: int) -> None:
    share = clopper_pearson(count, of)
    print(f"  {what}: {count} of {of} [{100 * share.low:.1f} %, {100 * share.high:.1f} %]")


def _deviations(pair: Pair, noise: Noise) -> float:
    """Return a difference of scores in units of their deviation over seeds."""
    return (score(pair[0]) - score(pair[1])) / (noise.size / math.sqrt(2.0))


def _size(values: np.ndarray) -> str:
    return (
        f"{np.sqrt(np.mean(values**2)):.4f} (root mean square), {np.abs(values).max():.4f} at most"
    )


def _counts(record: records.AnyRecord) -> np.ndarray:
    return np.array(record.correct if isinstance(record, records.Record) else record.losses)


def _untrained(record: records.AnyRecord) -> tuple[float, ...]:
    if isinstance(record, records.Record):
        return record.correct_untrained
    return record.losses_untrained


def _off(one: records.AnyRecord, again: records.AnyRecord) -> np.ndarray:
    return np.abs(_counts(one) - _counts(again)).ravel()


def _relative(one: records.AnyRecord, again: records.AnyRecord) -> np.ndarray:
    """Return by how much norms of updates, solutions and drift differ, relative to the larger."""
    both = [
        np.array([each.update_norms, each.solution_norms, each.drift_norms]).ravel()
        for each in (one, again)
    ]
    larger = np.maximum(*both)
    return np.abs(both[0] - both[1])[larger > 0] / larger[larger > 0]


def _spread(values: np.ndarray) -> str:
    parts = np.quantile(values, [0.5, 0.9, 0.99, 1.0], method="higher")
    words = ", ".join(f"{part:.2g}" for part in parts)
    return f"0 in {100 * np.mean(values == 0):.0f} %, {words} (50, 90, 99, 100 %)"


def results_folder(out: Path, part: str, name: str) -> Path:
    """Return where the records of a part lie, trained again as a variation."""
    return out / part / name.replace(" ", "-")


def noise_page(found: Sequence[Pair], hardware: str) -> str:
    """Return the content of ``baselines/rerun_noise.json``."""
    rows = measure_noise(found)
    rounded = tuple(
        structs.replace(row, differences={m: round(v, 6) for m, v in row.differences.items()})
        for row in rows
    )
    content = msgspec.json.encode(MeasuredNoise(COMMAND, hardware, rounded))
    return msgspec.json.format(content).decode() + "\n"


def main() -> None:
    """Train cells again, print a report for each variation, and write the noise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="by default all")
    parser.add_argument("--data", type=Path, help="the data folder (default: Driftboard's own)")
    parser.add_argument("--out", type=Path, required=True, help="keep the records here")
    parser.add_argument("--write", type=Path, help="the file of the noise")
    parser.add_argument("--hardware", default="", help="what this machine is, for that file")
    parser.add_argument("--as", dest="playing", choices=VARIATIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = options.part or list(PARTS)
    if options.playing:
        train(PARTS[chosen[0]], options.playing, options.data, options.out)
        return
    every: list[Pair] = []
    levels = Counter[str]()
    for part in chosen:
        for name in PARTS[part].variations:
            folder = results_folder(options.out, part, name)
            start(part, name, options.data, folder)
            found = pairs(PARTS[part], folder)
            levels += report(f"{part}, {name}", PARTS[part].published, found)
            every += found
    for published in dict.fromkeys(PARTS[part].published for part in chosen):
        found = earlier_pairs(published)
        levels += report(f"{published}, as published before", published, found)
        every += found
    print("all re-runs:")
    for level in ("FAILED", "warning"):
        _print_share(level, levels[level], levels.total())
    if options.write:
        options.write.write_text(noise_page(every, options.hardware))


if __name__ == "__main__":
    main()
