"""A strategy of your own: an example that works, to be changed step by step.

It pulls every parameter towards the last task's solution. Put your idea into the hooks; those
that you don't need can go. ``driftboard.strategies.Strategy`` says what each gets and returns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies import Memory, Parameters, Range, Strategy, Task, UpdatePlan


@dataclass(frozen=True)
class MyMethod(Strategy):
    """Train everything, with ``strength / 2 * |theta - theta*|^2`` added to the loss.

    Say here what is taken from where. The fields are the hyper-parameters, each with a default.

    Parameters:
        strength: of the pull, at least 0; 0 is plain training.
    """

    strength: float = 0.01

    name: ClassVar[str] = "my-method"
    summary: ClassVar[str] = "Every block trains, pulled towards the last solution."
    literature: ClassVar[str] = "An example"
    # What `driftboard tune` tries: fields of type float, and the values worth trying.
    search: ClassVar[Mapping[str, Range]] = {"strength": Range(0.001, 1.0, logarithmic=True)}

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Say how far each block may move on the task that begins.

        ``task.examples`` are its training data, ``task.gradient(parameters)`` the gradient on
        all of them, ``task.index`` is 0 for the first task.
        """
        # Your idea: e.g. UpdatePlan(0.1 * plan.share, plan.restart) for a tenth of every step.
        return task.everything(), memory

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Change the gradient of every step. Memory is empty during the first task."""
        if not memory:
            return gradient
        # Your idea: instead of the same pull on every parameter, one for each.
        return {
            name: value + self.strength * (parameters[name] - memory["solution"][name])
            for name, value in gradient.items()
        }

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Remember what the next task will need: a dict of tensors, {} before the first."""
        # Your idea: e.g. how much each parameter mattered here, beside the solution.
        return parameters, {"solution": parameters}
