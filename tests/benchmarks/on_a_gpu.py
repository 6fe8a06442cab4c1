"""The plan of a trip to a machine with a CUDA GPU: all that it is to show, in order of its worth.

    python tests/benchmarks/on_a_gpu.py --data DIR --out gpu --seconds 540
    python tests/benchmarks/on_a_gpu.py --data DIR --out gpu --minutes 120

``--seconds`` is for a short trip: parts are cut to what answers a question in a minute or two.
``--minutes`` is for a long one: whole tables, and whole suites of sequences. Every part is a
command that also runs alone, in processes of its own, with a limit of its own. A part that fails
or runs out of time does not stop the others.

``--out`` gets at most five files, so that they are quick to bring back: ``probe.txt``,
``tests.txt``, ``output.txt`` with what all other parts print, ``cells.tar.xz`` with the results
folders of all runs, and ``summary.md``, which says what became of each part. Runs write to the
folder ``--work``. The same command again continues: it leaves out the parts that are done.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
PROGRAMS = {
    "python": (sys.executable,),
    "driftboard": (sys.executable, "-c", "from driftboard.suite.cli.main import main; main()"),
}
GRACE_SECONDS = 5.0
"""How long a part may take to end by itself after it was told to stop."""

LEAST_SECONDS = 5.0
"""A part does not begin with less time than this; importing torch alone takes as long."""

PACKING_SECONDS = 10.0
"""Set aside at the end of a short trip to pack the results."""

LARGEST_FILE = 8 * 2**20
"""Bytes; a longer file of output is cut, since machines send back small files only."""


@dataclass(frozen=True)
class Part:
    """A command, what it shows, the file for its output, and how many seconds it may take."""

    name: str
    shows: str
    command: tuple[str, ...]  # the first word is one of PROGRAMS
    seconds: float
    file: str = "output.txt"


@dataclass(frozen=True)
class Plan:
    """Makes the parts of a trip; ``small`` ones run on any CPU and only show that they work."""

    data: Path | None
    work: Path
    small: bool

    @property
    def device(self) -> tuple[str, ...]:
        """The option that every program takes."""
        return ("--device", "cpu" if self.small else "cuda")

    def short(self) -> list[Part]:
        """Return the parts of a trip of some minutes, the most valuable first."""
        parts = [
            self.probe(100),
            self.tests(120, processes=1 if self.small else 6),
            self.steps("cifar10", 10, 60),
            self.speed("fashion", (1, 10, 100), 60),
            self.cells("fashion-split", ("sgd", "ewc", "hybrid"), 70),
            self.speed("cifar10", (1, 10), 60),
            self.cells("cifar10-split", ("sgd", "ewc"), 80),
            self.steps("cifar10", 10, 45, "--tf32"),
            self.steps("fashion", 100, 90, "--compiled"),
            self.fisher(60, "--seeds", "10", "--at-once", "64", "256", "--repeats", "1"),
            self.speed("digits", (1, 10, 100), 60),
            self.reproduced("quick", 120),
            self.steps("fashion", 100, 30, "--tf32"),
            self.steps("cifar10", 10, 120, "--compiled"),
        ]
        return [part for part in parts if part is not None]

    def long(self) -> list[Part]:
        """Return the parts of a trip of hours: whole tables, and every core sequence."""
        ways = ("python", str(TESTS / "benchmarks" / "gpu_ways.py"), *self.device)
        ways += ("--repeats", "1", "--seeds", "1", "--small") if self.small else ()
        speed = ("python", str(TESTS / "benchmarks" / "throughput.py"), *self.device)
        speed += ("--repeats", "1", "--seeds", "1", "--small") if self.small else ()
        parts = [
            self.probe(300),
            self.tests(300),
            Part("ways", "which way to take a step", ways, 300),
            Part("ways-tf32", "the same with TF32", (*ways, "--tf32"), 300),
            Part("speed", "speed and its aims", speed, 900),
            self.fisher(300),
            self.reproduced("quick", 1200),
        ]
        if not self.small and self.data:
            parts += [
                self.reproduced("core-cifar10", 1200),
                self.reproduced("core-fashion", 1200),
                self.cells("cifar10-split-van-de-ven", ("sgd", "ewc"), 3600, suite="full"),
            ]
        return [part for part in parts if part is not None]

    def probe(self, seconds: float) -> Part:
        """Return the part to be read first."""
        words = ("python", str(TESTS / "benchmarks" / "step_probe.py"), *self.device)
        words += ("--small",) if self.small else ()
        shows = "whether steps become CUDA graphs, if not why, and what they cost"
        return Part("probe", shows, words, seconds, "probe.txt")

    def tests(self, seconds: float, processes: int = 1) -> Part:
        """Return the tests that need a GPU; in processes, if pytest-xdist is to share them out."""
        folder = TESTS / "suite" / "training"
        words = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfEs")
        # A warning of a GPU's driver or library is shown, and is no failure of a test.
        words += ("-W", "default::UserWarning", "-W", "default::DeprecationWarning")
        words += ("-n", str(processes)) if processes > 1 else ()
        words += (str(folder / "test_cuda.py"),)
        words += (str(folder / "test_stacked_mlp.py"),) if self.small else ()
        shows = "recorded steps, repetitions, memory, errors"
        return Part("tests", shows, words, seconds, "tests.txt")

    def steps(self, network: str, seeds: int, seconds: float, *more: str) -> Part:
        """Return the comparison of ways to take a step of one network."""
        name = "-".join(["ways", network, *(word.strip("-") for word in more)])
        shows = f"which way to take a step of {network} {' '.join(more)}".strip()
        numbers = ("--seeds", str(seeds), "--steps", "20", "--repeats", "2")
        if self.small:
            numbers = ("--seeds", "1", "--steps", "1", "--repeats", "1", "--small")
            more = tuple(word for word in more if word != "--compiled")  # takes minutes on a CPU
        words = ("python", str(TESTS / "benchmarks" / "gpu_ways.py"), *self.device)
        return Part(name, shows, (*words, "--network", network, *numbers, *more), seconds)

    def speed(self, network: str, seeds: Sequence[int], seconds: float) -> Part:
        """Return the speed of one network beside a plain loop."""
        numbers = ("1",) if self.small else tuple(map(str, seeds))
        words = ("python", str(TESTS / "benchmarks" / "throughput.py"), *self.device)
        words += ("--part", "throughput", "--processes", "1", "--network", network)
        words += ("--repeats", "1", "--small") if self.small else ("--repeats", "2")
        return Part(
            f"speed-{network}", f"speed of {network}", (*words, "--seeds", *numbers), seconds
        )

    def fisher(self, seconds: float, *more: str) -> Part:
        """Return the comparison of forms of the exact Fisher."""
        words = ("python", str(TESTS / "benchmarks" / "fisher_ways.py"), *self.device)
        if self.small:
            more = ("--seeds", "1", "--at-once", "4", "--repeats", "1", "--small")
        return Part(
            "fisher", "the form of the exact Fisher of convolutions", (*words, *more), seconds
        )

    def cells(
        self, sequence: str, strategies: Sequence[str], seconds: float, suite: str = "core"
    ) -> Part | None:
        """Return a run of some cells; nothing without data. A small one takes digits."""
        if self.data is None:
            return None
        name = f"cells-{sequence}"
        words = ("driftboard", "run", "--suite", suite, "--sequence", sequence)
        words += tuple(word for each in strategies for word in ("--strategy", each))
        if self.small:
            words = ("driftboard", "run", "--suite", "quick", "--sequence", "digits-repeat")
            words += ("--strategy", "sgd", "--seeds", "1")
        words += (*self.device, "--data", str(self.data), "--out", str(self.work / name))
        return Part(name, f"{sequence} with {', '.join(strategies)}", words, seconds)

    def reproduced(self, published: str, seconds: float) -> Part:
        """Return the comparison with published records."""
        words = ("driftboard", "reproduce", published, *self.device)
        words += ("--data", str(self.data)) if self.data else ()
        words += ("--out", str(self.work / published))
        if self.small:
            words += ("--sequence", "digits-repeat", "--strategy", "sgd", "--seeds", "2")
        return Part(published, "whether a GPU tells what a CPU's records tell", words, seconds)


def do(part: Part, out: Path, seconds: float) -> str:
    """Run a part for at most so many seconds and return in words how it ended.

    No process that it started survives, since that would hold memory of the GPU while other
    parts measure.
    """
    first, *rest = part.command
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "160"}
    with (out / part.file).open("a", encoding="utf-8") as log:
        log.write(f"===== {part.name}: {' '.join(part.command)}\n")
        log.flush()
        process = subprocess.Popen(
            [*PROGRAMS[first], *rest],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE_SECONDS)
            return "stopped: out of time"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if os.fstat(log.fileno()).st_size > LARGEST_FILE:
                os.truncate(log.fileno(), LARGEST_FILE)
    return "done" if code == 0 else f"failed with {code}"


def work_off(
    chosen: list[Part],
    out: Path,
    work: Path,
    seconds: float,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, str]:
    """Do all parts that are not done yet and return how each has ended.

    Args:
        chosen: in order.
        out: the folder of all output.
        work: the folder of results, and of the note of what was done before.
        seconds: for all together.
        now: the time in seconds.
    """
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    note = work / "ended.json"
    ended: dict[str, str] = json.loads(note.read_text()) if note.exists() else {}
    took: dict[str, float] = {}
    began = now()
    for part in chosen:
        left = seconds - (now() - began)
        if ended.get(part.name) == "done" or left < LEAST_SECONDS:
            continue
        print(f"{part.name}: {part.shows}", flush=True)
        before = now()
        ended[part.name] = do(part, out, min(left, part.seconds))
        took[part.name] = now() - before
        print(f"  {ended[part.name]} after {took[part.name]:.0f} s", flush=True)
        print(*last_lines(part, out), sep="\n", flush=True)
        note.write_text(json.dumps(ended, indent=2) + "\n")
        pack(work, out / "cells.tar.xz")
        (out / "summary.md").write_text(summary(chosen, ended, took))
    return ended


def last_lines(part: Part, out: Path, count: int = 8, width: int = 200) -> list[str]:
    """Return the last lines that a part has printed, without empty ones, indented and cut."""
    text = (out / part.file).read_text(encoding="utf-8", errors="replace")
    own = text.rpartition(f"===== {part.name}: ")[2].splitlines()[1:]
    return [f"    {line[:width]}" for line in own if line.strip()][-count:]


def pack(work: Path, archive: Path) -> None:
    """Pack the results folders of all runs into one file; write nothing if there are none."""
    folders = sorted(path for path in work.iterdir() if path.is_dir())
    if folders:
        with tarfile.open(archive, "w:xz", preset=1) as file:
            for folder in folders:
                file.add(folder, folder.name)


def summary(chosen: list[Part], ended: dict[str, str], took: dict[str, float]) -> str:
    """Return what became of every part as a page of Markdown."""
    lines = [
        "| part | what it shows | how it ended | seconds | file | command |",
        "| --- | --- | --- | ---: | --- | --- |",
    ]
    for part in chosen:
        how = ended.get(part.name, "not begun")
        seconds = f"{took[part.name]:.0f}" if part.name in took else ""
        cells = (part.name, part.shows, how, seconds, part.file, f"`{' '.join(part.command)}`")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Do all parts and leave with 1 unless all have ended well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="the folder for all files")
    parser.add_argument("--work", type=Path, help="the folder runs write to (OUT-work)")
    parser.add_argument("--data", type=Path, help="the data folder; without it no core suite")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--seconds", type=float, help="a short trip: for all parts together")
    limits.add_argument("--minutes", type=float, default=120.0, help="a long trip: the same")
    parser.add_argument("--part", nargs="+", help="only these")
    parser.add_argument("--small", action="store_true", help="tiny, on a CPU, to see that it runs")
    options = parser.parse_args()
    out = options.out.resolve()
    work = (options.work or out.with_name(f"{out.name}-work")).resolve()
    plan = Plan(options.data, work, options.small)
    if options.seconds is None:
        known, seconds = plan.long(), 60 * options.minutes
    else:
        known, seconds = plan.short(), options.seconds - PACKING_SECONDS
    names = [part.name for part in known]
    if unknown := set(options.part or ()) - set(names):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [part for part in known if part.name in (options.part or names)]
    ended = work_off(chosen, out, work, seconds)
    print((out / "summary.md").read_text() if ended else "nothing was begun")
    sys.exit(any(ended.get(part.name) != "done" for part in chosen))


if __name__ == "__main__":
    main()
