"""Which way to take a step of many learners is the fastest on a GPU, for the engine to choose by.

    python tests/benchmarks/gpu_ways.py

A step's loss and gradient can be had for all learners in one mapped call, for one learner after
another, for each on a stream of its own, with convolutions as matrix products, or compiled. Each
way is recorded as a CUDA graph and replayed, as the engine does it; on a CPU it is taken as it is
written. All is done once to warm up and then in turn; processes are ``throughput.py``'s.
"""

import argparse
import copy
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from ceilings import timed
from machine import circumstances
from scale import NETWORKS, SMALL, Scale, workloads
from timing import in_turn, ratios, spread
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from workloads import Workload, cohort_of

from driftboard.strategies.base import Examples, Parameters, masked, mean_cross_entropy
from driftboard.suite.errors import DriftboardError
from driftboard.suite.runs.worker import prepare_process
from driftboard.suite.training.cohort import Cohort
from driftboard.suite.training.cuda_graph import WARM_UP, graph_runner_on
from driftboard.suite.training.descent import Momentum
from driftboard.suite.training.memory_plan import resolve_device

Gradient = Callable[[Parameters, Examples], Parameters]
"""The gradient of every learner's loss; all tensors have a leading dimension S."""

STREAMS = (4, 10)
"""How many streams learners are dealt out to."""


def ways(cohort: Cohort, *, compiled: bool) -> dict[str, Gradient]:
    """Return the ways to compute the gradients of a cohort's learners, the engine's own first.

    Args:
        cohort: whose network and device decide which ways there are.
        compiled: whether to add those that can be compiled, which takes a minute or more.
    """
    module = cohort.network.module
    if cohort.network.stacked is not None:
        form = cohort.network.stacked.losses_and_gradient
        found: dict[str, Gradient] = {
            "in closed form": lambda parameters, batch: form(parameters, batch, parameters)[1]
        }
        return found | ({"compiled": torch.compile(found["in closed form"])} if compiled else {})
    found = {
        "mapped": mapped(module),
        "in turn": in_turn_over_learners(module, []),
        "as products, mapped": mapped(with_products(module)),
    }
    if cohort.device.type == "cuda":
        for count in sorted({min(count, cohort.size) for count in STREAMS} - {1}):
            streams = [torch.cuda.Stream() for _ in range(count)]
            found[f"on {count} streams"] = in_turn_over_learners(module, streams)
    if compiled:
        found["mapped, compiled"] = mapped_and_compiled(module)
        found["as products, compiled"] = mapped_and_compiled(with_products(module))
    return found


def loss_of(
    module: nn.Module, parameters: Parameters, images: Tensor, labels: Tensor, allowed: Tensor
) -> Tensor:
    """Return the mean cross-entropy of one learner."""
    logits = masked(functional_call(module, parameters, (images,)), allowed)
    return mean_cross_entropy(logits, labels)


def mapped(module: nn.Module) -> Gradient:
    """Map one learner's loss over all, which makes grouped convolutions of convolutions."""

    def gradient(parameters: Parameters, batch: Examples) -> Parameters:
        own = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        losses = vmap(partial(loss_of, module))(own, batch.images, batch.labels, batch.allowed)
        slopes = torch.autograd.grad(losses.sum(), list(own.values()))
        return dict(zip(own, slopes, strict=True))

    return gradient


def mapped_and_compiled(module: nn.Module) -> Gradient:
    """Map one learner's gradient over all, in the form that can be compiled as a whole."""
    each = torch.compile(vmap(grad(partial(loss_of, module))))

    def gradient(parameters: Parameters, batch: Examples) -> Parameters:
        found: Parameters = each(parameters, batch.images, batch.labels, batch.allowed)
        return found

    return gradient


def in_turn_over_learners(module: nn.Module, streams: list[torch.cuda.Stream]) -> Gradient:
    """Compute one learner's gradient after another, or on several streams at the same time."""

    def gradient(parameters: Parameters, batch: Examples) -> Parameters:
        each = []
        for number in range(batch.labels.shape[0]):
            with at(streams, number):
                own = {
                    name: value[number].detach().requires_grad_()
                    for name, value in parameters.items()
                }
                values = (batch.images[number], batch.labels[number], batch.allowed[number])
                each.append(torch.autograd.grad(loss_of(module, own, *values), list(own.values())))
        for stream in streams:
            torch.cuda.current_stream().wait_stream(stream)
        slopes = (torch.stack(of_all) for of_all in zip(*each, strict=True))
        return dict(zip(parameters, slopes, strict=True))

    return gradient


def at(streams: list[torch.cuda.Stream], number: int) -> torch.cuda.StreamContext:
    """Return the context of a learner's stream, which begins after what was asked for so far."""
    if not streams:
        return torch.cuda.stream(None)
    stream = streams[number % len(streams)]
    if number < len(streams):
        stream.wait_stream(torch.cuda.current_stream())
    return torch.cuda.stream(stream)


def with_products(module: nn.Module) -> nn.Module:
    """Return a copy whose convolutions are matrix products of unfolded images."""
    result = copy.deepcopy(module)
    for layer in result.modules():
        if isinstance(layer, nn.Conv2d):
            layer.forward = types.MethodType(convolve_by_product, layer)
    return result


def convolve_by_product(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """Return what the layer would, for layers without a bias, with groups or dilation of 1."""
    height, width = (
        (size + 2 * layer.padding[0] - layer.kernel_size[0]) // layer.stride[0] + 1
        for size in images.shape[-2:]
    )
    columns = F.unfold(images, layer.kernel_size, padding=layer.padding, stride=layer.stride)
    return (layer.weight.flatten(1) @ columns).unflatten(-1, (height, width))


def stepper(cohort: Cohort, gradient: Gradient) -> Callable[[], None]:
    """Return what takes a step of all learners on the same images again and again."""
    data, size = cohort.train[0], cohort.training.batch_size
    images = cohort.scaling(data.images[:, :size], cohort.dtype)
    batch = Examples(images, data.labels[:, :size], data.active[:, :size])
    trained = {name: value.clone() for name, value in cohort.initial.items()}
    scales = {name: torch.full_like(value, 1e-3) for name, value in trained.items()}
    optimiser = Momentum(cohort.training.momentum, trained)

    def step(_: Tensor) -> None:
        found = gradient(trained, batch)
        with torch.no_grad():
            optimiser.step(found, trained, scales)

    place = data.labels[:, :size]
    runner = graph_runner_on(cohort.device)
    if runner is None:
        return lambda: step(place)
    for _ in range(WARM_UP):
        step(place)
    return runner.record(step, place)


def table(work: Workload, seeds: int, device: str, options: argparse.Namespace) -> list[str]:
    """Return the ways of one network and number of seeds as lines of Markdown."""
    cohort = cohort_of(work, seeds, device)
    known = ways(cohort, compiled=options.compiled)
    steps = {name: stepper(cohort, gradient) for name, gradient in known.items()}
    found = in_turn(
        {
            name: lambda step=step: timed(step, device, options.steps)
            for name, step in steps.items()
        },
        options.repeats,
    )
    first, *_ = found
    return [
        f"### {work.title}: `{work.network}`, {seeds} seeds",
        "",
        f"| way | ms a step of all | times as fast as {first} |",
        "| --- | ---: | ---: |",
        *(
            f"| {name} | {1e3 * spread(seconds).median:.3f} | {ratios(found[first], seconds)} |"
            for name, seconds in found.items()
        ),
        "",
    ]


def arguments() -> argparse.Namespace:
    """Return the command line's options, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--network", choices=NETWORKS, nargs="+", default=NETWORKS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--steps", type=int, default=50, help="timed in one go")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compiled", action="store_true", help="add compiled ways")
    parser.add_argument("--tf32", action="store_true", help="let matrix products round to TF32")
    parser.add_argument("--small", action="store_true", help="tiny, to see that it runs")
    parser.add_argument("--out", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    if min(options.steps, options.repeats, *options.seeds) < 1:
        parser.error("--seeds, --steps and --repeats must be at least 1")
    return options


def main() -> None:
    """Measure, print the page and write it."""
    options = arguments()
    try:
        device = resolve_device(options.device)
    except DriftboardError as error:
        sys.exit(f"error: {error}")
    prepare_process(device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
    lines = [f"# {' '.join(['python tests/benchmarks/gpu_ways.py', *sys.argv[1:]])}", ""]
    around = circumstances(torch.get_num_threads(), options.repeats)
    lines += [*(f"- {name}: {value}" for name, value in around.items()), ""]
    for work in workloads(SMALL if options.small else Scale(), options.network):
        for seeds in options.seeds:
            lines += table(work, seeds, device, options)
            cohort_of.cache_clear()
    page = "\n".join(lines)
    print(page)
    if options.out:
        options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
