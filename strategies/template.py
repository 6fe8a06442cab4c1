"""A strategy of your own: copy this file, rename the class and its ``name``, change the rest.

What it does now is an example: it pulls every parameter towards the last task's solution. Each
hook that you don't need can go; ``base.py`` says what each of them gets and returns.
"""

from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies import Memory, Parameters, Strategy, Task, UpdatePlan


@dataclass(frozen=True)
class MyMethod(Strategy):
    """Train everything, with ``strength / 2 * |theta - theta*|^2`` added to the loss.

    Say here what is taken from where. The fields are the hyper-parameters, each with a default.
    """

    strength: float = 0.01

    name: ClassVar[str] = "my-method"
    summary: ClassVar[str] = "Every block trains, pulled towards the last solution."
    literature: ClassVar[str] = "An example"

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Say how far each block may move; an ``UpdatePlan`` of your own goes here."""
        return task.everything(), memory

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Change the gradient of every step. Memory is empty during the first task."""
        if not memory:
            return gradient
        return {
            name: value + self.strength * (parameters[name] - memory["solution"][name])
            for name, value in gradient.items()
        }

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Remember what the next task will need: a dict of tensors."""
        return parameters, {"solution": parameters}
