"""Time until `driftboard run` knows that nothing is left to do in a folder of many records.

    python tests/benchmarks/resume_speed.py --records 10000

fills a temporary folder with valid records of cells of the core suite (26 sequences, ten seeds, as
many strengths of `constrained` as it takes), asks for exactly these cells, and prints the wall time
of a new process, everything it imports included, until it says that they are all there already. The
board, which it makes next, is measured by `leaderboard_speed.py`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from leaderboard_speed import made_up_record
from msgspec.structs import replace

from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import cell_path
from driftboard.suite.sealing import sealed
from driftboard.suite.sequences.registry import registered

SUITE = "core"
SAID = "all there already"


def write_grid(folder: Path, count: int) -> list[str]:
    """Write at least ``count`` records below ``folder``; return the options that ask for them."""
    sequences = [each for each in registered().values() if each.tier == SUITE]
    seeds = PROTOCOL.seeds_of(SUITE)
    strategies = -(-count // (len(sequences) * len(seeds)))
    specifications = [f"constrained,share=0.{number:04d}" for number in range(1, strategies + 1)]
    for specification in specifications:
        stamp = load_strategy(specification).stamp
        for sequence in sequences:
            model = made_up_record(0, 1, 0)
            model = replace(
                model,
                protocol=PROTOCOL.stamp(),
                sequence=replace(model.sequence, name=sequence.name, hash=sequence.hash()),
                strategy=stamp,
            )
            for seed in seeds:
                path = cell_path(folder, sequence.name, stamp.name, seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                # without fsync, which is not what is timed here
                content = sealed(replace(model, seed=seed))
                path.write_bytes(msgspec.json.format(content, indent=1))
    chosen = [word for text in specifications for word in ("--strategy", text)]
    reference = load_strategy(specifications[0]).stamp.name
    return ["--suite", SUITE, *chosen, "--reference", reference, "--out", str(folder)]


def seconds_until_known(options: list[str]) -> float:
    """Return the wall time until a new process says that all cells are there; then end it.

    Raises:
        SystemExit: it ends without having said so.
    """
    program = "from driftboard.suite.cli.main import main; main()"
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program, "run", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if SAID in line:
                seconds = time.perf_counter() - began
                process.kill()
                return seconds
    raise SystemExit("driftboard run found something left to do, or failed")


def resume_seconds(count: int, repeats: int) -> list[float]:
    """Return the wall times for a folder of at least so many records, after one to warm up."""
    with tempfile.TemporaryDirectory() as name:
        options = write_grid(Path(name), count)
        return [seconds_until_known(options) for _ in range(repeats + 1)][1:]


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    seconds = resume_seconds(options.records, options.repeats)
    print(f"at least {options.records} records: " + ", ".join(f"{each:.2f} s" for each in seconds))


if __name__ == "__main__":
    main()
