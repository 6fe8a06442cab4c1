"""One learner after another: does one leave something behind, and what does each carry over?"""

from itertools import pairwise
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Memory
from driftboard.suite.checks.kept import differences, kept
from driftboard.suite.checks.result import Result
from driftboard.suite.checks.subject import Subject
from driftboard.suite.checks.tiny import NETWORKS, tiny_cohort
from driftboard.suite.checks.training import TaskEnd, learn, told
from driftboard.suite.checks.trees import same, tensors
from driftboard.suite.errors import StrategyError
from driftboard.suite.wording import counted


def learner_results(subject: Subject) -> list[Result]:
    """Check that learners are independent, that nothing is hidden, and what the memory is."""
    subject = subject.fresh()
    before = kept(subject.strategy, subject.module)
    independent, ends = _independent(subject)
    hidden = differences(before, kept(subject.strategy, subject.module))
    results = [independent, _hidden(hidden)]
    return [*results, *(_memory(ends) if ends else [])]


def _independent(subject: Subject) -> tuple[Result, list[TaskEnd]]:
    """Train learner A, then B, then A again; return also what the first A ended tasks with."""
    first: list[TaskEnd] = []
    for network in NETWORKS:

        def trained(seed: int, subject: Subject = subject, network: str = network) -> list[TaskEnd]:
            return learn(tiny_cohort(network, (seed,)), subject.strategy, "loop")

        try:
            one, other, again = trained(0), trained(1), trained(0)
            alone = trained(1, subject.fresh())
        except StrategyError as error:
            line = f"one learner after another: {told(error, subject.file)} [{network}]"
            return Result("learners", "FAILED", line), first
        first = first or one
        if not _equal(one, again) or not _equal(other, alone):
            return Result(
                "learners",
                "FAILED",
                f"a learner ends elsewhere when others were trained before it [{network}]; "
                "keep what a hook needs later in the memory that it returns",
            ), first
    return Result("learners", "ok", "none leaves anything behind for the next"), first


def _equal(one: list[TaskEnd], other: list[TaskEnd]) -> bool:
    return all(same(a.of_seed(0), b.of_seed(0)) for a, b in zip(one, other, strict=True))


def _hidden(names: list[str]) -> Result:
    if names:
        line = f"{', '.join(names)} changed while learners were trained; {ADVICE}"
        return Result("hidden memory", "FAILED", line)
    return Result("hidden memory", "ok", "nothing is kept on the object, its class or its module")


ADVICE = "what is carried over belongs into the memory, which is counted and is each learner's own"


def _memory(ends: list[TaskEnd]) -> list[Result]:
    for number, (earlier, later) in enumerate(pairwise(end.memory for end in ends), start=2):
        if problem := _changed(earlier, later):
            return [
                Result(
                    "memory",
                    "FAILED",
                    f"task {number} leaves {problem}; "
                    "what is carried over keeps its names, dtypes and dimensions",
                )
            ]
    sizes = [_bytes(end.memory) for end in ends]
    if not sizes[-1]:
        return [Result("memory", "ok", "carries nothing over")]
    ratio = sizes[-1] / _bytes(ends[-1].parameters)
    growth = (
        f"GROWS with every task: {', '.join(f'{size:,}' for size in sizes)}"
        if sizes[-1] > sizes[-2]
        else "does not grow with the tasks"
    )
    line = f"{sizes[-1]:,} bytes here, {ratio:.2f} times the parameters; {growth}"
    return [Result("memory", "ok", line)]


def _changed(earlier: Memory, later: Memory) -> str | None:
    """Tell what is gone or of another kind; more of the first dimension, and more names, are fine.

    Only what a task adds is new then, as in a rule with one penalty per task.
    """
    now = dict(pytree.tree_flatten_with_path(later)[0])
    for path, old in pytree.tree_flatten_with_path(earlier)[0]:
        name = "memory" + pytree.keystr(path)
        if path not in now:
            return f"no {name} any more"
        if _kind(now[path]) != _kind(old):
            return f"{name} as {_kind(now[path])}, which was {_kind(old)}"
    return None


def _kind(value: Tensor) -> str:
    """Return in words what of a memory's tensor may not change; each has a leading seed."""
    return f"{str(value.dtype).removeprefix('torch.')} of {counted(value.ndim - 1, 'dimension')}"


def _bytes(tree: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(tree))
