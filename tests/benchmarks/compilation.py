"""What compiling would gain on a CPU: its cost, its gain, and when it has paid."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from scale import Scale, workloads
from timing import Spread, in_turn, ratios, spread
from torch import Tensor
from torch._inductor.exc import InductorError
from torch.nn import functional as F
from workloads import Workload, cohort_of

from driftboard.strategies.base import Examples

Way = Callable[[], object]


def compilation_table(scale: Scale, repeats: int, names: list[str]) -> list[str]:
    """Return the loss and gradient of a batch, written and compiled, of every network."""
    lines = [
        "### Compiled: loss and gradient of a batch by `torch.compile`, on a CPU",
        "",
        "| network | seeds | to compile, s | times as fast as written | steps until it has paid |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for work in workloads(scale, names):
        stacked = work.network.startswith("mlp")
        seeds = min(10, max(scale.seeds)) if stacked else 1
        written, compiled = _ways(work, seeds)
        try:
            cost = _seconds_of_first(compiled)
        except InductorError as error:
            return [*lines[:2], f"Not measured: {str(error).strip().splitlines()[0]}", ""]
        found = in_turn(
            {
                "written": lambda w=written: _rate(w, scale),
                "compiled": lambda c=compiled: _rate(c, scale),
            },
            repeats,
        )
        gain = ratios(found["compiled"], found["written"])
        lines.append(f"| `{work.network}` | {seeds} | {cost:.0f} | {gain} | {_paid(cost, found)} |")
    cohort_of.cache_clear()
    return [*lines, ""]


def _ways(work: Workload, seeds: int) -> tuple[Way, Way]:
    """Return a step's loss and gradient as the engine computes them, and the same compiled."""
    cohort = cohort_of(work, seeds, "cpu")
    data, size = cohort.train[0], work.training.batch_size
    images = cohort.scaling(data.images[:, :size], cohort.dtype)
    labels, allowed = data.labels[:, :size], data.active[:, :size]
    if cohort.network.stacked is not None:
        batch = Examples(images, labels, allowed)
        form = cohort.network.stacked.losses_and_gradient
        quick = torch.compile(form)
        return (
            lambda: form(cohort.initial, batch, cohort.initial),
            lambda: quick(cohort.initial, batch, cohort.initial),
        )
    leaves = {name: value[0].clone().requires_grad_() for name, value in cohort.initial.items()}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(cohort.network.logits(parameters, images[0]), labels[0])

    quick_loss = torch.compile(loss)
    values = list(leaves.values())
    return (
        lambda: torch.autograd.grad(loss(leaves), values),
        lambda: torch.autograd.grad(quick_loss(leaves), values),
    )


def _seconds_of_first(way: Way) -> float:
    began = time.perf_counter()
    with _without_caches():
        way()
    return time.perf_counter() - began


def _without_caches() -> AbstractContextManager[None]:
    """Compile anew, whatever earlier runs have left on the disk."""
    context: AbstractContextManager[None] = torch.compiler.config.patch(force_disable_caches=True)
    return context


def _rate(way: Way, scale: Scale) -> float:
    """Return steps per second."""
    began = time.perf_counter()
    steps = 0
    while not steps or time.perf_counter() - began < scale.at_least:
        way()
        steps += 1
    return steps / (time.perf_counter() - began)


def _paid(cost: float, found: dict[str, list[float]]) -> str:
    """Return after how many steps the time to compile is won back, at the median rates."""
    saved: Spread = spread(
        [
            1 / one - 1 / other
            for one, other in zip(found["written"], found["compiled"], strict=True)
        ]
    )
    return f"{cost / saved.median:,.0f}" if saved.median > 0 else "never"
