"""How fast Driftboard trains: by network, lane and seeds, beside a plain loop and the hardware.

    python tests/benchmarks/throughput.py --out docs/studies/speed.md

One command, on a CPU or a CUDA GPU, with no data at hand: the images are drawn at random, shapes
and settings are the protocol's. Everything is done once to warm up and then in turn, so many
times; every ratio is of the same repeat, and a table shows its median with the range.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from aims import aims
from compilation import compilation_table
from machine import circumstances
from rates import Row, cases, ceilings_line, measured, rows, throughput_table
from scale import NETWORKS, SMALL, Scale, workloads
from scaling import classes_table, records_table, tasks_table
from timing import Spread, cores, places

from driftboard.suite.errors import DriftboardError
from driftboard.suite.runs.worker import prepare_process
from driftboard.suite.training.memory_plan import resolve_device

HEAD = """\
# Speed

Made by `{command}`. All of it is one run: everything was done
once to warm up and then in turn, {repeats} times; a ratio is of the same repeat, and its median
is shown with the least and the greatest value. Other work on the machine moves rates more than
ratios.

{circumstances}

How to read it:

- *plain loop*: one seed as one would write it by hand, an `nn.Module` in eager mode, autograd and
  `torch.optim.SGD`, on tensors that lie on the device. *solo* and *stacked* are Driftboard's
  lanes. Images are random bytes in the shape of the data set, everything else is the protocol's;
  training is timed, without tests. On a GPU a step is recorded as a CUDA graph and replayed;
  *as written* is the same without. On a CPU Driftboard's processes keep the memory that they
  free (`device.py`); the plain loop's give it back, as any process does, and so do those of *memory
  given back*.
- *processes*: so many do the same at once, on a CPU with one thread each.
- *of a large product*: the step's operations per second as a share of those of a large float32
  matrix product. *of the layers' own*: the time that the same products take at the layers' own
  shapes with nothing between them, as a share of the step (matrices of all seeds in one batched
  product, convolutions one seed after the other). *of a copy*: the least bytes that the step
  moves, per second, as a share of a copy's bandwidth; caches can lift it above 100 %. On a CPU
  all three are of one thread.

"""


def report(options: argparse.Namespace, scale: Scale, device: str) -> str:
    """Measure and return the page."""
    before = os.getloadavg()[0]
    lines: list[str] = []
    found: list[Row] = []
    resumed: dict[int, Spread] = {}
    count = options.processes
    if "throughput" in options.part:
        for work in workloads(scale, options.network):
            chosen = cases(work, device, scale, count)
            # new ones for every network: they keep its images
            with places({1, count}, device) as where:
                times, ceilings = measured(chosen, scale, options.repeats, where)
            here = rows(times, ceilings)
            found += here
            lines += [*throughput_table(here), ceilings_line(ceilings), ""]
    if "compilation" in options.part and device == "cpu":
        lines += compilation_table(scale, options.repeats, options.network)
    if "scaling" in options.part:
        lines += tasks_table(scale, device, options.repeats)
        lines += classes_table(scale, device, options.repeats)
    if "records" in options.part:
        table, resumed = records_table(scale, options.repeats)
        lines += table
    around = circumstances(torch.get_num_threads(), options.repeats)
    around["processes waiting for a core when it began"] = f"{before:.1f} (0: nothing else ran)"
    head = HEAD.format(
        command=" ".join(["python tests/benchmarks/throughput.py", *sys.argv[1:]]),
        repeats=options.repeats,
        circumstances="\n".join(f"- {name}: {value}" for name, value in around.items()),
    )
    aimed = ["### What the project aims at", "", *map(str, aims(found, resumed)), ""]
    return "\n".join([head, *lines, *aimed])


def arguments() -> argparse.Namespace:
    """Return the command line's options, checked."""
    parts = ("throughput", "compilation", "scaling", "records")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--network", choices=NETWORKS, nargs="+", default=NETWORKS)
    parser.add_argument("--part", choices=parts, nargs="+", default=parts)
    parser.add_argument("--seeds", type=int, nargs="+", help="how many seeds to stack")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processes", type=int, default=cores(), help="how many at once")
    parser.add_argument("--small", action="store_true", help="tiny, to see that it runs")
    parser.add_argument("--out", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    if min(options.repeats, options.processes, *(options.seeds or [1])) < 1:
        parser.error("--seeds, --repeats and --processes must be at least 1")
    return options


def main() -> None:
    """Measure, print the page and write it."""
    options = arguments()
    scale = SMALL if options.small else Scale()
    if options.seeds:
        scale = replace(scale, seeds=tuple(sorted(set(options.seeds))))
    try:
        device = resolve_device(options.device)
        prepare_process(device)
        page = report(options, scale, device)
    except DriftboardError as error:
        sys.exit(f"error: {error}")
    print(page)
    if options.out:
        options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
