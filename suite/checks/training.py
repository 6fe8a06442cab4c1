"""Training on the tiny sequence, and what goes wrong there in the words of one line."""

import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Memory, Parameters, Strategy
from driftboard.suite.errors import StrategyError, one_line
from driftboard.suite.training.cuda_graph import GraphRunner
from driftboard.suite.training.engine import Cohort, train_task
from driftboard.suite.training.networks import Mode


@dataclass(frozen=True)
class TaskEnd:
    """What is there when a task ends; every tensor's first dimension is the seed."""

    share: Tensor
    restart: Tensor
    parameters: Parameters
    memory: Memory
    seconds: float

    def of_seed(self, place: int) -> Any:
        """Return all tensors of one seed as a tree, the first dimension kept."""
        tree = (self.share, self.restart, self.parameters, self.memory)
        return pytree.tree_map(lambda value: value[place : place + 1], tree)


def learn(
    cohort: Cohort, strategy: Strategy, mode: Mode, runner: GraphRunner | None = None
) -> list[TaskEnd]:
    """Train a cohort through its tasks, steps recorded as for ``engine.train_task``.

    Raises:
        StrategyError: a hook raised or returned what stops training.
    """
    parameters = {name: value.clone() for name, value in cohort.initial.items()}
    memory: Memory = {}
    ends = []
    for index in range(len(cohort.train)):
        began = time.perf_counter()
        try:
            parameters, memory, plan, _ = train_task(
                cohort, strategy, index, parameters, memory, mode, runner
            )
        except StrategyError:
            raise
        except Exception as error:  # what somebody else's code returned may stop the engine
            cause = one_line(str(error).strip().splitlines()[0] if str(error).strip() else "")
            raise StrategyError(
                f"what a hook returned stops training: {type(error).__name__}: {cause} "
                f"(task {index + 1})"
            ) from error
        seconds = time.perf_counter() - began
        ends.append(TaskEnd(plan.share, plan.restart, parameters, memory, seconds))
    return ends


def told(error: StrategyError, file: Path) -> str:
    """Return an error's one line, with the line of the user's file that it comes from."""
    text = str(error)
    if error.__cause__ is None:
        return text
    frames = traceback.extract_tb(error.__cause__.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == file]
    if not own:
        return text
    return f"{text}; {file.name}, line {own[-1].lineno}: {own[-1].line}"
