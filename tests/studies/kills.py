"""Kill commands at random moments, let them go on, and compare what they leave with what is right.

    python tests/studies/kills.py --kills 10

Each command runs twice to its end, then in new folders until ``--kills`` kills have struck: it is
killed with all its processes by SIGKILL at a moment drawn between its start and the time of the
faster of these runs, and started again. What then lies in the folder must be what the first run
left: every file of the same name and, times and versions of a record apart, of the same content. A
start that ended before its moment came is compared, too, but is no kill. Folders are in a temporary
place; the moments are drawn from ``--seed``.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PROGRAM = (sys.executable, "-c", "from driftboard.suite.cli.main import main; main()")
METHOD = '''"""A strategy for the study."""

from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies import Strategy


@dataclass(frozen=True)
class Tenth(Strategy):
    """Take a tenth of every step from the second task on."""

    name: ClassVar[str] = "tenth"

    def correct(self, task, gradient, parameters, memory):
        """Return the gradient to use."""
        return gradient if task.index == 0 else {name: 0.1 * g for name, g in gradient.items()}
'''
PAGE = "# Results\n\n<!-- driftboard:begin -->\n<!-- driftboard:end -->\n\nThe end.\n"
MOST_STARTS = 5
"""Starts for each kill, of which a busy machine may let many end too early."""

FEW = ("--sequence", "digits-repeat", "--seeds", "2")
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", *FEW, "--strategy", "sgd", "--strategy", "ewc", "--out", "out"),
    "tune": ("tune", "sgd", "--sequence", "digits-repeat", "--out", "out"),
    "grade": ("grade", "digits-repeat", "--out", "out"),
    "submit": (
        *("submit", "tenth.py", "--suite", "quick", "--out", "out", "--title", "Tenth"),
        *("--author", "A", "--licence", "MIT"),
    ),
    "leaderboard --update": ("leaderboard", "--published", "quick", "--update", "page.md"),
}


def prepared(folder: Path) -> Path:
    """Return a new folder with the files that the commands read."""
    folder.mkdir()
    (folder / "tenth.py").write_text(METHOD)
    (folder / "page.md").write_text(PAGE)
    return folder


def start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command in a folder, in a process group of its own."""
    return subprocess.Popen(
        [*PROGRAM, *command],
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(command: Sequence[str], folder: Path) -> float:
    """Run a command to its end and return the seconds that it took.

    Raises:
        SystemExit: it failed.
    """
    began = time.perf_counter()
    process = start(command, folder)
    error = process.communicate()[1].decode()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed in {folder}: {error}")
    return time.perf_counter() - began


def kill_after(command: Sequence[str], folder: Path, seconds: float) -> bool:
    """Start a command, kill all its processes after some time, tell whether it still ran."""
    process = start(command, folder)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def contents(folder: Path) -> dict[str, Any]:
    """Return what lies in a folder by path; of records, without what may differ between runs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content: Any = path.read_bytes()
            if path.suffix == ".json":
                content = comparable(json.loads(content))
            found[str(path.relative_to(folder))] = content
    return found


def comparable(value: Any) -> Any:
    """Return JSON without the fields that tell of time, memory or digests of such."""
    if isinstance(value, dict):
        left_out = {"cost", "environment", "digest", "files"}
        return {key: comparable(one) for key, one in value.items() if key not in left_out}
    return [comparable(one) for one in value] if isinstance(value, list) else value


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the paths that only one has, or that differ."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def main() -> None:
    """Print a line for every command; leave with 1 if anything differed or too few were killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="that strike each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", choices=list(COMMANDS), action="append")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    wrong = 0
    for name in options.command or COMMANDS:
        command, starts, killed, differing = COMMANDS[name], 0, 0, []
        with TemporaryDirectory() as place:
            right = prepared(Path(place) / "right")
            seconds = finish(command, right)
            wanted = contents(right)
            again = prepared(Path(place) / "again")
            seconds = min(seconds, finish(command, again))
            differing += differences(wanted, contents(again))
            while killed < options.kills and starts < MOST_STARTS * options.kills:
                folder = prepared(Path(place) / str(starts))
                starts += 1
                killed += kill_after(command, folder, draw.uniform(0.0, seconds))
                finish(command, folder)
                differing += differences(wanted, contents(folder))
        wrong += len(differing) + (killed < options.kills)
        said = f"{len(differing)} files differ: {differing[:3]}" if differing else "all equal"
        print(f"{name}: {seconds:.1f} s, {starts} starts, {killed} killed, {said}", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
