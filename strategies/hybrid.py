"""The magnitude of an update, chosen for every direction of every layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan
from driftboard.strategies.layers import (
    layer_of,
    layers_applied_once,
    plus_product,
    times,
)
from driftboard.strategies.second_moments import (
    EXAMPLES,
    added_inputs,
    added_outputs,
    evenly_spaced,
    layer_moments,
)

LEAST_WEIGHT = 0.02  # of a task of which nothing was learned


@dataclass(frozen=True)
class Hybrid(Strategy):
    """Frozen where earlier tasks need a direction, free where they do not.

    The paper (arXiv 2602.20796) asks for an update magnitude between frozen and initialized
    training that follows the directions of gradients. Here every direction of a layer has a
    magnitude of its own. Let z = W h be a layer (h with a one appended for the bias), A_k and G_k
    the second moments of its inputs and of its output gradients on task k, divided by their mean
    eigenvalues, and ``A = sum_k w_k A_k``, ``G = sum_k w_k G_k``, ``K = sum_k w_k`` over earlier
    tasks. Along ``u_j v_i^T``, eigenvectors of G and A, earlier tasks have the curvature
    ``lambda_ij = a_i g_j / K``. From the second task on, with W* the last solution, the gradient
    D of every step becomes, in the basis of these directions,

        D'_ij = (D + pull lambda (W - W*))_ij / (1 + strength lambda_ij)

    - *Path*: of a step along a direction the share 1 / (1 + strength lambda) is taken.
    - *End*: where D' vanishes, a task of curvature c has moved by c / (c + pull lambda) of its
      own update: 0 (frozen) where earlier tasks need the direction, 1 (free) where they do not.
      With exact curvature and pull 1 that is the solution of all tasks together.

    The division bounds the pull by pull / strength of the distance moved, however large lambda
    is. Of A and G only leading eigenvectors are kept, and one mean eigenvalue for the rest. Along
    inputs outside those of A a step is scaled by the mean share, and not pulled back. What no
    layer's matrix holds, such as a norm's scale and shift, is frozen from the second task on.

    Where an answer may also name a class of an earlier task, as in class-incremental sequences, G
    gets a floor and the pull is larger. There the logits of new classes compete with those of old
    ones, which may move by more than lambda tells: G is taken at the head that a task ended with
    and A at its features, so neither sees what moves of both layers do together. A floor holds
    every output where earlier inputs lie, and a larger pull bounds how far each layer goes. This
    is a distinction of two cases, not one formula: see ``docs/results/hybrid.md`` for what either
    setting costs in the other case.

    The weight w_k is how much of task k was learned, ``1 - loss / log(classes)``, from 0.02 to 1:
    a solution that knows nothing needs no protection. In regression moments are neither divided
    nor weighted, but summed over examples, which makes lambda exact for a linear network.

    What is whose: NCL (Kao et al. 2021, arXiv 2106.08085) preconditions by the same product of
    Kronecker factors, with the pull; the factors are those of the Laplace approximation (Ritter
    et al. 2018, arXiv 1805.07810); OWM (Zeng et al. 2019, arXiv 1810.01256) and GPM (Saha et al.
    2021, arXiv 2103.09762) project by the inputs alone. Ours are the reading as a magnitude
    between frozen and initialized, moments of the logits that are normalised per task and layer,
    so that one strength serves all data, and the weight.

    Parameters:
        strength: how much less of a step is taken along a direction that earlier tasks need, >= 0.
        pull: weight of earlier tasks' curvature beside the new task's, >= 0.
        rank: number of eigenvectors of A that are kept for each layer, at least 1.
        output_rank: the same of G.
        floor: part of G, in [0, 1], that is spread evenly over all directions.
        seen_floor: ``floor`` where an answer may also name a class of an earlier task, in [0, 1].
        seen_pull: ``pull`` where an answer may also name a class of an earlier task, >= 0.
    """

    strength: float = 3.0
    pull: float = 0.1
    rank: int = 80
    output_rank: int = 20
    floor: float = 0.0
    seen_floor: float = 0.3
    seen_pull: float = 3.0

    name: ClassVar[str] = "hybrid"
    summary: ClassVar[str] = (
        "In every layer, directions that earlier tasks need are held, and all others are free."
    )
    search: ClassVar[Mapping[str, Range]] = {
        "strength": Range(0.3, 30.0, logarithmic=True),
        "pull": Range(0.01, 1.0, logarithmic=True),
    }
    literature: ClassVar[str] = "After He, Bai, Yang 2026, arXiv 2602.20796, and Kao et al. 2021"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in ("strength", "pull", "seen_pull"):
            if not 0 <= getattr(self, field) < math.inf:
                raise ValueError(f"{field} must be at least 0, not {getattr(self, field)}")
        for field in ("rank", "output_rank"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(self, field)}")
        for field in ("floor", "seen_floor"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} must be in [0, 1], not {getattr(self, field)}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Work out the shares of this task's steps from the curvature of earlier tasks."""
        if not memory:
            return task.everything(), memory
        held = {}
        for name, moments in memory["layers"].items():
            vectors = moments["inputs"]["vectors"]
            solution = times(name, layer_of(task, name), parameters, vectors)
            held[name] = self._held(task, moments, memory["weight"], solution)
        return task.everything(), memory | {"held": held}

    def _held(self, task: Task, moments: Memory, weight: Tensor, solution: Tensor) -> Memory:
        """Return what ``correct`` needs of a layer.

        Args:
            task: the task that begins.
            moments: of the layer.
            weight: K.
            solution: W* V, (outputs, r).

        Returns:
            The ``solution``, and the shares of the gradient and of the pull: ``share_rest``, a
            scalar, of inputs outside V; beside it ``share_v`` and ``pull_v``, (r,), of V where
            outputs are outside U; beside these ``share_uv`` and ``pull_uv``, (q, r), of both.
        """
        inputs, outputs = moments["inputs"], moments["outputs"]
        size, kept = outputs["vectors"].shape
        g = torch.cat([outputs["values"], outputs["rest"][None]])
        names_earlier = len(task.answers) > len(task.units)
        floor = self.seen_floor if names_earlier else self.floor
        g = (1 - floor) * g + floor * weight
        scale = weight * task.examples.labels.shape[0] if task.regression else weight
        curvature = g[:, None] * inputs["values"] / scale
        share = 1 / (1 + self.strength * curvature)
        pull = (self.seen_pull if names_earlier else self.pull) * curvature * share
        of_rest = 1 / (1 + self.strength * g * inputs["rest"] / scale)
        share_rest = (of_rest[:-1].sum() + (size - kept) * of_rest[-1]) / size
        return {
            "solution": solution,
            "share_rest": share_rest,
            "share_v": share[-1] - share_rest,
            "share_uv": share[:-1] - share[-1],
            "pull_v": pull[-1],
            "pull_uv": pull[:-1] - pull[-1],
        }

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Take of the gradient along every direction what earlier tasks leave free."""
        if "held" not in memory:
            return gradient
        of_layers: Parameters = {}
        for name, held in memory["held"].items():
            u, v = (memory["layers"][name][side]["vectors"] for side in ("outputs", "inputs"))
            layer = layer_of(task, name)
            along = times(name, layer, gradient, v)
            moved = times(name, layer, parameters, v) - held["solution"]
            part = held["share_v"] * along + held["pull_v"] * moved
            in_u = held["share_uv"] * (u.mT @ along) + held["pull_uv"] * (u.mT @ moved)
            # Not ``addmm``: under ``vmap`` it multiplies the sum by 1 first, which takes as long.
            part = part + u @ in_u
            of_layers |= plus_product(name, layer, gradient, held["share_rest"], part, v)
        return {
            name: of_layers[name] if name in of_layers else torch.zeros_like(value)
            for name, value in gradient.items()
        }

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Add the moments of the task at its solution to those of earlier tasks."""
        layers = layers_applied_once(task, parameters)
        weight = learned_weight(task, parameters)
        kept = {}
        for name, of_task in layer_moments(task, parameters, layers).items():
            scaled = of_task if task.regression else of_task.normalised()
            earlier = memory["layers"][name] if memory else {"inputs": None, "outputs": None}
            rows, outputs = weight.sqrt() * scaled.rows, weight * scaled.outputs
            kept[name] = {
                "inputs": added_inputs(earlier["inputs"], rows, self.rank),
                "outputs": added_outputs(earlier["outputs"], outputs, self.output_rank),
            }
        total = memory["weight"] + weight if memory else weight
        return parameters, {"layers": kept, "weight": total}


def learned_weight(task: Task, parameters: Parameters) -> Tensor:
    """Return how much of a task was learned, ``1 - loss / log(classes)`` from 0.02 to 1, a scalar.

    In regression it is the number of examples.
    """
    if task.regression:
        return task.noise.new_tensor(float(task.examples.labels.shape[0]))
    loss = task.loss(parameters, evenly_spaced(task.examples, EXAMPLES))
    return (1 - loss / math.log(max(2, len(task.answers)))).clamp(LEAST_WEIGHT, 1.0)
