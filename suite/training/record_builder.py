"""What every record says of a training: its plans, norms and cost, and where it ran."""

import platform
import resource
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from driftboard.suite.package import package_digest
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    Cost,
    Divergence,
    Environment,
    PlanStamp,
    SequenceStamp,
    StrategyStamp,
)
from driftboard.suite.training.cohort import Cohort, Setting
from driftboard.suite.training.networks import LANES, Mode

CPU_INFO = Path("/proc/cpuinfo")

Rows = Iterable[torch.Tensor]  # one per task, shape (blocks,)


@dataclass(frozen=True)
class RecordBuilder:
    """What the records of one cohort have in common."""

    setting: Setting
    strategy: StrategyStamp
    sequence: SequenceStamp
    environment: Environment

    def fields(
        self,
        position: int,
        *,
        divergence: Sequence[Divergence | None],
        update_norms: Rows,
        solution_norms: Rows,
        drift_norms: Rows,
        operations: tuple[int, ...] | None,
        share: Rows,
        restart: Rows,
        memory_bytes: Iterable[int],
        seconds: Iterable[float],
        evaluation_seconds: float = 0.0,
    ) -> dict[str, Any]:
        """Return the fields that records of accuracies and of losses share, for one seed.

        Args:
            position: of the seed in the cohort.
            divergence: per task, by what the seed had diverged at its end, None if it had not. From
                the first task on where it had, norms are zeros, since JSON knows no NaN.
            update_norms: per task and block; so are the next four.
            solution_norms: of the parameters after the task.
            drift_norms: of the distance to the solution of the first task.
            operations: per task, of the seed's training; None if they were not counted.
            share: of the plans.
            restart: of the plans, bool.
            memory_bytes: what the strategy carries over after each task.
            seconds: of training per task, of the whole cohort.
            evaluation_seconds: of all tests, of the whole cohort.
        """

        def rows(values: Rows) -> tuple[tuple[float, ...], ...]:
            return tuple(
                tuple(row.tolist() if cause is None else [0.0] * len(row))
                for row, cause in zip(values, divergence, strict=True)
            )

        learners = len(self.setting.seeds)
        fine = divergence.count(None)
        diverged_by = None if fine == len(divergence) else divergence[fine]
        return {
            "schema": 3,
            "protocol": PROTOCOL.stamp(),
            "sequence": self.sequence,
            "strategy": self.strategy,
            "seed": self.setting.seeds[position],
            "split": self.setting.purpose,
            "update_norms": rows(update_norms),
            "solution_norms": rows(solution_norms),
            "drift_norms": rows(drift_norms),
            "plans": tuple(
                PlanStamp(tuple(round(value, 6) for value in one.tolist()), tuple(other.tolist()))
                for one, other in zip(share, restart, strict=True)
            ),
            "memory_bytes": tuple(memory_bytes),
            "status": "finished" if diverged_by is None else "diverged",
            "diverged_at": None if diverged_by is None else fine,
            "diverged_by": diverged_by,
            "operations": operations,
            "cost": Cost(
                seconds=tuple(round(value / learners, 6) for value in seconds),
                evaluation_seconds=round(evaluation_seconds / learners, 6),
                peak_memory_bytes=peak_memory(torch.device(self.setting.device)),
            ),
            "environment": self.environment,
        }


def environment(device: torch.device, mode: Mode, seeds: tuple[int, ...]) -> Environment:
    """Return versions and device of this process, for a cohort of some seeds."""
    return Environment(
        driftboard=version("driftboard"),
        package=package_digest(),
        python=platform.python_version(),
        torch=str(torch.__version__),
        device=device_name(device),
        lane=LANES[mode],
        cohort=seeds,
    )


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the processor, instruction set and threads of a CPU.

    The last bits of a sum depend on the processor: on its vector instructions, and on the code that
    libraries choose for it. So a record names a CPU as precisely as the system does.

    >>> "CPU" in device_name(torch.device("cpu"))
    True
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = _processor(CPU_INFO.read_text(errors="replace")) if CPU_INFO.exists() else None
    instructions = torch.backends.cpu.get_cpu_capability()
    detail = f" ({processor}, {instructions})" if processor else ""
    return f"{platform.machine()} CPU{detail}, {torch.get_num_threads()} thread(s)"


def _processor(info: str) -> str | None:
    """Return name, family and model from the text of Linux's ``cpuinfo``, if it has them.

    Virtual machines give one name to several processors; family and model tell them apart.
    """
    pairs = (line.partition(":") for line in info.splitlines())
    found: dict[str, str] = {}
    for field, _, value in pairs:
        found.setdefault(field.strip(), " ".join(value.split()))
    names = ("model name", "cpu family", "model")
    if not all(found.get(name) for name in names):
        return None
    name, family, model = (found[name][:100] for name in names)
    return f"{name}, family {family}, model {model}"


def sizes_and_classes(cohort: Cohort, position: int) -> tuple[list[int], list[int]]:
    """Return, per task, one seed's number of test images and of classes."""
    sizes = [int((data.labels[position] >= 0).sum()) for data in cohort.test]
    return sizes, [int(active[position].sum()) for active in cohort.classes]


def numbers_seen(cohort: Cohort, position: int) -> tuple[int, ...] | None:
    """Return one seed's number of classes seen after each task, None if it decides no answer."""
    if not cohort.class_incremental:
        return None
    return tuple(int(cohort.seen(task + 1)[position].sum()) for task in range(len(cohort.classes)))


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that were in use: by this process, or on a CUDA device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else 1024 * peak
