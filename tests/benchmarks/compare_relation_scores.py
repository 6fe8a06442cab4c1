"""Which score of two tasks' gradients ranks sequences as their measured distance does?

    python tests/benchmarks/compare_relation_scores.py --data DIR

For every graded sequence of the chosen pattern, and for each consecutive pair of its tasks, a
score of two gradients of the training loss over all blocks but the head is averaged over the
tuning seeds. Unless it says otherwise it is their cosine:

- ``initial``: both gradients at the seeded initialisation;
- ``initial, split halves``: the same, from disjoint halves of each task's images, divided by
  the root of the product of each task's own cosine between halves;
- ``head warm-up``: both at parameters whose head alone was trained on the earlier task;
- ``current``: both at the parameters trained on the earlier task;
- ``algorithm 1``: the later task's at the parameters trained on the earlier one, the earlier
  task's at its own start, the literal reading of arXiv 2602.20796;
- ``initial, all earlier``: as ``initial``, the earlier gradient summed over all earlier tasks;
- ``initial, <block>``: one block alone; ``initial, mean of blocks``: the mean of these;
- ``initial, inner product``: the inner product across halves, relative to the mean squared norm
  of both gradients, found across halves too, so that the noise of both is removed: one minus
  half the cross-validated distance of the gradients;
- ``initial, unit distance``: minus the Euclidean distance of the gradients scaled to length 1;
- ``initial, signs``: the share of parameters whose gradients have the same sign;
- ``best fraction``: the fraction of the later task's update after which the sum of both losses
  is least, were both quadratic with one curvature: ``(1 + <g_1, g_2> / <g_2, g_2>) / 2`` at the
  parameters trained on the earlier task, inner products across halves, not clipped.

Printed is Spearman's rank correlation between the negative score and the measured distance of
the sequences, over all of them and within each ladder. Scores never see test images, and the
distances come with the package.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from driftboard.strategies.base import Examples, Parameters, Strategy, Task, UpdatePlan
from driftboard.strategies.sgd import Sgd
from driftboard.suite.data import convert_originals
from driftboard.suite.distance.grades import grade_of, shipped_records
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.task_sequence import find_sequences
from driftboard.suite.training.cohort import Cohort, Setting, prepare
from driftboard.suite.training.engine import train_task
from driftboard.suite.training.networks import Mode

LADDERS = ("rotated", "overlap", "corrupted", "permuted")


class HeadOnly(Strategy):
    """Train the head and nothing else."""

    def begin(self, task: Task, parameters: Parameters, memory: dict) -> tuple[UpdatePlan, dict]:
        """Freeze all blocks but the last."""
        plan = task.everything()
        return UpdatePlan(task.last_blocks(1).to(plan.share.dtype), plan.restart), memory


def gradient(
    cohort: Cohort, task: int, seed: int, point: Parameters, half: int | None
) -> list[Tensor]:
    """Return the gradients of one seed on a task, or on half of it, one vector per block."""
    data = cohort.train[task]
    rows = slice(None) if half is None else slice(half, None, 2)
    examples = Examples(
        cohort.scaling(data.images[seed, rows]), data.labels[seed, rows], data.active[seed, rows]
    )
    shape = cohort.classes[task][seed]
    here = Task(
        index=task,
        network=cohort.network,
        examples=examples,
        classes=shape,
        units=shape.nonzero()[:, 0],
        answers=shape.nonzero()[:, 0],
        initial=point,
        noise=torch.zeros(len(examples.labels)),
    ).gradient(point)
    blocks = cohort.network.blocks[:-1]
    return [torch.cat([here[name].flatten() for name in block.parameters]) for block in blocks]


def cosine(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the cosine between gradients, all blocks together."""
    return torch.cosine_similarity(torch.cat(one), torch.cat(other), dim=0).item()


def product(one: list[list[Tensor]], other: list[list[Tensor]]) -> float:
    """Return the inner product of two gradients, each given by both halves, without their noise."""
    first, second = ([torch.cat(half) for half in halves] for halves in (one, other))
    return float(first[0] @ second[1] + first[1] @ second[0]) / 2


def scores_of_pair(
    cohort: Cohort, task: int, seed: int, trained: Parameters, warm: Parameters
) -> dict[str, float]:
    """Return all scores of a task and the one after it, for one seed."""

    def at(point: Parameters, index: int, half: int | None = None) -> list[Tensor]:
        own = {name: value[seed] for name, value in point.items()}
        return gradient(cohort, index, seed, own, half)

    def in_halves(point: Parameters) -> list[list[list[Tensor]]]:
        return [[at(point, index, half) for half in (0, 1)] for index in (task, task + 1)]

    *earlier, first, second = (at(cohort.initial, index) for index in range(task + 2))
    summed = [torch.stack(parts).sum(dim=0) for parts in zip(first, *earlier, strict=True)]
    halves, later = in_halves(cohort.initial), in_halves(trained)
    across = (cosine(halves[0][0], halves[1][1]) + cosine(halves[0][1], halves[1][0])) / 2
    own = cosine(*halves[0]) * cosine(*halves[1])
    both = (product(halves[0], halves[0]) + product(halves[1], halves[1])) / 2
    by_block = [cosine([one], [other]) for one, other in zip(first, second, strict=True)]
    found = {
        "initial": cosine(first, second),
        "initial, split halves": across / np.sqrt(max(own, 1e-6)),
        "initial, all earlier": cosine(summed, second),
        "initial, mean of blocks": float(np.mean(by_block)),
        "initial, inner product": product(*halves) / both,
        "initial, unit distance": -np.sqrt(max(2 - 2 * cosine(first, second), 0.0)),
        "initial, signs": sign_agreement(first, second),
        "best fraction": (1 + product(*later) / product(later[1], later[1])) / 2,
        "head warm-up": cosine(at(warm, task), at(warm, task + 1)),
        "current": cosine(at(trained, task), at(trained, task + 1)),
        "algorithm 1": cosine(at(cohort.initial, task), at(trained, task + 1)),
    }
    for block, value in zip(cohort.network.blocks[:-1], by_block, strict=True):
        if len(cohort.network.blocks) <= 4:
            found[f"initial, {block.name}"] = value
    return found


def sign_agreement(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the share of parameters that both gradients move in the same direction.

    Where one gradient is 0, as behind a dead unit or a black pixel, there is no direction.
    """
    signs = torch.cat(one).sign() * torch.cat(other).sign()
    return float((signs > 0).sum() / (signs != 0).sum())


def sequence_scores(name: str, data: Path | None, seeds: tuple[int, ...]) -> dict[str, float]:
    """Return every score of a sequence, the mean over seeds and consecutive tasks."""
    convert_originals(registered()[name].source, data)
    setting = Setting(registered()[name], seeds, "validation", data, "cpu")
    cohort = prepare(setting).cohort
    mode: Mode = "vmap"
    collected: dict[str, list[float]] = defaultdict(list)
    for task in range(len(cohort.train) - 1):
        trained = train_task(cohort, Sgd(), task, cohort.initial, {}, mode).parameters
        warm = train_task(cohort, HeadOnly(), task, cohort.initial, {}, mode).parameters
        for seed in range(len(seeds)):
            for score, value in scores_of_pair(cohort, task, seed, trained, warm).items():
                collected[score].append(value)
    return {score: float(np.mean(values)) for score, values in collected.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the data folder")
    parser.add_argument("--sequence", action="append", help="pattern; default digits-*, fashion-*")
    parser.add_argument("--seeds", type=int, default=2, help="of the tuning seeds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    distances = {r.sequence.name: grade_of(r).distance.value for r in shipped_records()}
    patterns = arguments.sequence or ["digits-*", "fashion-*"]
    names = [
        n for n in find_sequences(patterns, registered()) if n in distances and "fewshot" not in n
    ]
    seeds = PROTOCOL.tuning_seeds[: arguments.seeds]
    scores = {name: sequence_scores(name, arguments.data, seeds) for name in names}
    kinds = list(next(iter(scores.values())))
    ladders = {"all": names} | {
        ladder: [name for name in names if f"-{ladder}-" in name] for ladder in LADDERS
    }
    ladders = {ladder: members for ladder, members in ladders.items() if len(members) > 2}
    print("| score | " + " | ".join(f"{k} ({len(v)})" for k, v in ladders.items()) + " |")
    print("| --- |" + " ---: |" * len(ladders))
    for kind in kinds:
        cells = [
            spearmanr(
                [-scores[n][kind] for n in members], [distances[n] for n in members]
            ).statistic
            for members in ladders.values()
        ]
        print(f"| {kind} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    print("\n| sequence | distance | " + " | ".join(kinds) + " |")
    print("| --- | ---: |" + " ---: |" * len(kinds))
    for name in sorted(names, key=distances.__getitem__):
        row = " | ".join(f"{scores[name][kind]:.2f}" for kind in kinds)
        print(f"| `{name}` | {distances[name]:.2f} | {row} |")


if __name__ == "__main__":
    main()
