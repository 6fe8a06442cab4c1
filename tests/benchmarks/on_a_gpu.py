"""All that a CUDA GPU is to show, the most important first, within a given time.

    python tests/benchmarks/on_a_gpu.py --data DIR --minutes 30 --out gpu

Every part is a command that can be run alone; what it prints goes to a file of its own below
``--out``. A part that fails, or is not through when its time is over, does not hold up the others,
and ``summary.md`` says what became of each. The same command again goes on: it leaves out the
parts that have ended well, and a training part continues where it was stopped.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
PROGRAMS = {
    "python": (sys.executable,),
    "driftboard": (sys.executable, "-c", "from driftboard.suite.cli.main import main; main()"),
}
GRACE_SECONDS = 20.0
"""How long a part that is told to stop may take to end by itself."""


@dataclass(frozen=True)
class Part:
    """A command, and how many minutes it may take."""

    name: str
    shows: str
    command: tuple[str, ...]  # the first word is one of PROGRAMS
    minutes: float


def parts(out: Path, data: Path | None, small: bool) -> list[Part]:
    """Return all parts in order; ``small`` ones run anywhere and show only that they do."""
    device = ("--device", "cpu" if small else "cuda")
    where = (*device, "--data", str(data)) if data else device
    tiny = ("--small", "--repeats", "1", "--seeds", "1") if small else ()
    few = ("--sequence", "digits-repeat", "--strategy", "sgd", "--seeds", "2") if small else ()
    benchmarks = TESTS / "benchmarks"

    def reproduced(published: str) -> Part:
        words = ("driftboard", "reproduce", published, *where, "--out", str(out / published), *few)
        return Part(published, "whether a GPU tells what a CPU's records tell", words, 20)

    tests = ("python", "-m", "pytest", "-q", str(TESTS / "suite" / "training" / "test_cuda.py"))
    ways = ("python", str(benchmarks / "gpu_ways.py"), *device, *tiny)
    exact = ("python", str(benchmarks / "fisher_ways.py"), *device, *tiny)
    speed = ("python", str(benchmarks / "throughput.py"), *device, *tiny)
    found = [
        Part("tests", "recorded steps, repetitions, memory, errors", tests, 5),
        Part("ways", "which way to take a step", ways, 5),
        Part("ways-tf32", "the same with TF32", (*ways, "--tf32"), 5),
        Part("speed", "speed and its aims", speed, 15),
        Part("fisher", "the form of the exact Fisher of convolutions", exact, 5),
        reproduced("quick"),
    ]
    if small or data is None:
        return found
    van_de_ven = (
        *("driftboard", "run", "--suite", "full", "--sequence", "cifar10-split-van-de-ven"),
        *("--strategy", "sgd", "--strategy", "ewc", *where, "--out", str(out / "van-de-ven")),
    )
    return [
        *found,
        reproduced("core-cifar10"),
        reproduced("core-fashion"),
        Part("van-de-ven", "Split CIFAR-10 as van de Ven 2025 trained it", van_de_ven, 60),
    ]


def do(part: Part, out: Path, seconds: float) -> str:
    """Run a part for at most so many seconds and return in words how it ended.

    Nothing that it has started stays, which would hold memory of the GPU while others measure.
    """
    first, *rest = part.command
    with (out / f"{part.name}.txt").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*PROGRAMS[first], *rest], stdout=log, stderr=log, start_new_session=True
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
    return "done" if code == 0 else f"failed with {code}"


def work_off(
    chosen: list[Part], out: Path, minutes: float, now: Callable[[], float] = time.monotonic
) -> dict[str, str]:
    """Do all parts that are not done yet and return how each has ended.

    Args:
        chosen: in order.
        out: where files go, and what was done before is found.
        minutes: for all together.
        now: the time in seconds.
    """
    out.mkdir(parents=True, exist_ok=True)
    memory = out / "ended.json"
    ended: dict[str, str] = json.loads(memory.read_text()) if memory.exists() else {}
    began = now()
    for part in chosen:
        left = 60 * minutes - (now() - began)
        if ended.get(part.name) == "done" or left <= 0:
            continue
        print(f"{part.name}: {part.shows}", flush=True)
        before = now()
        ended[part.name] = do(part, out, min(left, 60 * part.minutes))
        print(f"  {ended[part.name]} after {(now() - before) / 60:.1f} minutes", flush=True)
        memory.write_text(json.dumps(ended, indent=2) + "\n")
        (out / "summary.md").write_text(summary(chosen, ended))
    return ended


def summary(chosen: list[Part], ended: dict[str, str]) -> str:
    """Return what became of every part as a page."""
    lines = ["| part | what it shows | how it ended | command |", "| --- | --- | --- | --- |"]
    for part in chosen:
        command = " ".join(part.command)
        how = ended.get(part.name, "not begun")
        lines.append(f"| [{part.name}]({part.name}.txt) | {part.shows} | {how} | `{command}` |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Do all parts and leave with 1 unless all have ended well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="the folder for all files")
    parser.add_argument("--data", type=Path, help="the data folder; without it no core suite")
    parser.add_argument("--minutes", type=float, default=120.0, help="for all parts together")
    parser.add_argument("--part", nargs="+", help="only these")
    parser.add_argument("--small", action="store_true", help="tiny, on a CPU, to see that it runs")
    options = parser.parse_args()
    known = parts(options.out, options.data, options.small)
    names = [part.name for part in known]
    if unknown := set(options.part or ()) - set(names):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [part for part in known if part.name in (options.part or names)]
    ended = work_off(chosen, options.out, options.minutes)
    print(summary(chosen, ended))
    sys.exit(any(ended.get(part.name) != "done" for part in chosen))


if __name__ == "__main__":
    main()
