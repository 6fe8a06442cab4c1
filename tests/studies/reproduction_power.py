"""Whether the verdicts of ``driftboard reproduce`` tell wrong re-runs from honest ones.

    python tests/studies/reproduction_power.py --reruns FOLDER --out docs/studies/reproduction.md

Wrong: one strategy's published records offered as another's re-run, for every ordered pair of a
published set. Honest: the re-runs that ``rerun_noise.py --out FOLDER`` left there, and the records
of an earlier commit; and made-up ones, whose differences are drawn from those of the real ones.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from statistics import median

import numpy as np
from rerun_noise import EARLIER, PARTS, earlier_pairs, pairs, results_folder

from driftboard.baselines.published import published_records
from driftboard.baselines.reproduction import Reproduced, Values, judge_values, values_of
from driftboard.baselines.rerun_noise import Pair, measured_noise
from driftboard.leaderboard.analysis.cells import METRICS
from driftboard.leaderboard.analysis.statistics import clopper_pearson, mean, seed_averages
from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.suite.records import write_atomically
from driftboard.suite.sequences.task_sequence import family_of

ACCURACIES = METRICS["accuracy"]
LEAST_GAP = 0.02  # of true overall means in Avg.Acc, from which on a wrong re-run has to be found
FEW_SEEDS = 3


def of_strategy(values: Values, strategy: str, name: str, seeds: Sequence[int]) -> Values:
    """Return one strategy's values on some seeds, under another name."""
    return {
        metric: {
            (sequence, name): {seed: by_seed[seed] for seed in seeds if seed in by_seed}
            for (sequence, one), by_seed in places.items()
            if one == strategy
        }
        for metric, places in values.items()
    }


def overall(values: Values, strategy: str) -> float:
    """Return the overall mean of Avg.Acc over all published seeds."""
    places = values["avg_acc"]
    return mean(list(seed_averages([v for p, v in places.items() if p[1] == strategy]).values()))


@dataclass
class Tally:
    """How re-runs were judged."""

    count: int = 0
    contradicted: int = 0  # in the overall mean of Avg.Acc
    contradicted_anywhere: int = 0
    reproduced: int = 0  # in the overall mean of Avg.Acc
    numbers: int = 0
    contradicted_numbers: int = 0
    reproduced_numbers: int = 0
    detectable: list[float] = field(default_factory=list)  # in the overall mean of Avg.Acc
    missed: list[dict[str, str]] = field(default_factory=list)  # contradicted nowhere

    def add(self, rows: Sequence[Reproduced], about: dict[str, str] | None = None) -> None:
        """Count one re-run; what is said ``about`` it is kept if no number is contradicted."""
        first = rows[0].judgement  # the overall mean of Avg.Acc
        verdict = first.verdict
        self.detectable.append(first.detectable)
        verdicts = [one.judgement.verdict for one in rows]
        self.count += 1
        self.contradicted += verdict == "CONTRADICTED"
        self.reproduced += verdict == "REPRODUCED"
        self.contradicted_anywhere += "CONTRADICTED" in verdicts
        self.numbers += len(verdicts)
        self.contradicted_numbers += verdicts.count("CONTRADICTED")
        self.reproduced_numbers += verdicts.count("REPRODUCED")
        if about and "CONTRADICTED" not in verdicts:
            self.missed.append(about)


def wrong_pairs(published: str, seeds: int | None) -> Tally:
    """Judge every strategy's records as a re-run of every other one's."""
    values, noise = values_of(published_records(published)), measured_noise().rows
    strategies = sorted({strategy for _, strategy in values["avg_acc"]})
    numbers = sorted({seed for one in values["avg_acc"].values() for seed in one})
    means = {strategy: overall(values, strategy) for strategy in strategies}
    tally = Tally()
    for name, other in permutations(strategies, 2):
        gap = means[other] - means[name]
        if abs(gap) >= LEAST_GAP:
            old = of_strategy(values, name, name, numbers)
            new = of_strategy(values, other, name, numbers[:seeds])
            rows = judge_values(old, new, ACCURACIES, noise)
            about = {
                "records": published,
                "seeds": str(seeds or "all"),
                "offered": other,
                "as": name,
            }
            tally.add(rows, about | {"true difference": f"{100 * gap:+.1f}"})
    return tally


def honest_reruns(folder: Path) -> dict[tuple[str, str], list[Pair]]:
    """Return the real re-runs by published set and what was different."""
    found = {
        (PARTS[part].published, name): pairs(PARTS[part], place)
        for part in PARTS
        for name in PARTS[part].variations
        if (place := results_folder(folder, part, name)).is_dir()
    }
    return found | {(one, "as published before"): earlier_pairs(one) for one in EARLIER}


def judge_honest(published: str, found: Iterable[Pair], seeds: int | None) -> Tally:
    """Judge each strategy's re-run, of all or the first seeds."""
    known, again = values_of(published_records(published)), values_of(one for _, one in found)
    tally = Tally()
    for strategy in sorted({strategy for _, strategy in again["avg_acc"]}):
        numbers = sorted(
            {seed for (_, one), by in again["avg_acc"].items() if one == strategy for seed in by}
        )
        old = of_strategy(known, strategy, strategy, range(100))
        new = of_strategy(again, strategy, strategy, numbers[:seeds])
        tally.add(judge_values(old, new, ACCURACIES, measured_noise().rows))
    return tally


def made_up(published: str, found: Sequence[Pair], seeds: int | None, count: int) -> Tally:
    """Judge re-runs whose differences are drawn from real ones of the same strategy and family.

    Each cell takes the differences of one real cell, all metrics together, with a random sign;
    of a family without one those of any cell of the set.
    """
    random = np.random.default_rng([len(published), seeds or 0])
    known = values_of(published_records(published))
    before, after = values_of(one for one, _ in found), values_of(one for _, one in found)
    pools: dict[tuple[str, str], list[dict[str, float]]] = {}
    for (sequence, strategy), by_seed in after["avg_acc"].items():
        for seed in by_seed:
            place = sequence, strategy
            off = {
                m.name: after[m.name][place][seed] - before[m.name][place][seed] for m in ACCURACIES
            }
            pools.setdefault((family_of(sequence), strategy), []).append(off)
    tally = Tally()
    strategies = sorted({strategy for _, strategy in pools})
    for number in range(count):
        strategy = strategies[number % len(strategies)]
        every = [off for (_, one), some in pools.items() if one == strategy for off in some]
        old = of_strategy(known, strategy, strategy, range(100))
        numbers = sorted(next(iter(old["avg_acc"].values())))[:seeds]
        new = of_strategy(known, strategy, strategy, numbers)
        for place in new["avg_acc"]:
            pool = pools.get((family_of(place[0]), strategy), every)
            for seed in numbers:
                off, sign = pool[random.integers(len(pool))], random.choice((-1.0, 1.0))
                for metric in ACCURACIES:
                    new[metric.name][place][seed] += sign * off[metric.name]
        tally.add(judge_values(old, new, ACCURACIES, measured_noise().rows))
    return tally


SETS = ("quick", "core-fashion", "core-cifar10")
WRONG_BAR, HONEST_BAR = 95.0, 1.0


def wrong_rows() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the table of wrong re-runs, and that of those that were missed."""
    rows, missed = [], []
    for published in SETS:
        for seeds in (None, FEW_SEEDS):
            tally = wrong_pairs(published, seeds)
            found = 100.0 * tally.contradicted_anywhere / tally.count
            holds = found >= WRONG_BAR and not tally.reproduced
            rows.append(
                {"records": published, "seeds": str(seeds or "all"), "pairs": str(tally.count)}
                | {
                    "contradicted, %": f"{found:.1f}",
                    "in overall Avg.Acc, %": f"{100.0 * tally.contradicted / tally.count:.1f}",
                    "detectable there": f"{100.0 * median(tally.detectable):.1f}",
                    "overall Avg.Acc REPRODUCED": str(tally.reproduced),
                    "at least 95 % and 0": "yes" if holds else "**no**",
                }
            )
            missed += tally.missed
    return rows, missed


def honest_rows(folder: Path, count: int) -> list[dict[str, str]]:
    """Return the table of honest re-runs, real and made up."""
    rows: list[dict[str, str]] = []
    real = honest_reruns(folder)
    for (published, what), found in real.items():
        has_more = len({one.seed for one, _ in found}) > FEW_SEEDS
        for seeds in (None, FEW_SEEDS) if has_more else (None,):
            rows.append(_honest_row(published, what, seeds, judge_honest(published, found, seeds)))
    for published in SETS:
        pool = [pair for (one, _), found in real.items() if one == published for pair in found]
        for seeds in (None, FEW_SEEDS):
            tally = made_up(published, pool, seeds, count)
            rows.append(_honest_row(published, "made up", seeds, tally))
    return rows


def _honest_row(published: str, what: str, seeds: int | None, tally: Tally) -> dict[str, str]:
    share = clopper_pearson(tally.contradicted_anywhere, tally.count)
    return {
        "records": published,
        "re-run": what,
        "seeds": str(seeds or "all"),
        "re-runs": str(tally.count),
        "contradicted": f"{tally.contradicted_anywhere} [{100 * share.low:.1f} %, "
        f"{100 * share.high:.1f} %]",
        "numbers": str(tally.numbers),
        "numbers contradicted": str(tally.contradicted_numbers),
        "numbers REPRODUCED, %": f"{100.0 * tally.reproduced_numbers / tally.numbers:.1f}",
    }


def noise_rows(of: str) -> list[dict[str, str]]:
    """Return the table of the noise by family or by strategy, in points."""
    return [
        {"network": row.network, row.of: row.name, "cells": str(row.cells)}
        | {metric.title: f"{100.0 * row.differences[metric.name]:.2f}" for metric in ACCURACIES}
        for row in measured_noise().rows
        if row.of == of
    ]


def page(folder: Path, count: int) -> str:
    """Return all tables in Markdown."""
    wrong, missed = wrong_rows()
    parts = ["### Wrong re-runs", markdown_table(wrong, left=("records",))]
    if missed:
        parts.append("Contradicted in no number (true differences of overall Avg.Acc in points):")
        parts.append(markdown_table(missed, left=("records", "offered", "as")))
    honest = honest_rows(folder, count)
    parts += ["### Honest re-runs", markdown_table(honest, left=("records", "re-run"))]
    parts.append("### The noise")
    for of in ("family", "strategy"):
        parts.append(markdown_table(noise_rows(of), left=("network", of)))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Print the tables, or write them to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reruns", type=Path, required=True, help="the folder of rerun_noise.py")
    parser.add_argument("--made-up", type=int, default=1000, help="made-up re-runs a row")
    parser.add_argument("--out", type=Path, help="the Markdown file to write")
    options = parser.parse_args()
    if not options.reruns.is_dir():
        sys.exit(f"{options.reruns} is no folder; make it with tests/studies/rerun_noise.py --out")
    text = page(options.reruns, options.made_up)
    if options.out is None:
        print(text, end="")
    else:
        write_atomically(options.out, text.encode())


if __name__ == "__main__":
    main()
