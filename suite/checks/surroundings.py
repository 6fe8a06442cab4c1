"""What of the process a hook must leave alone: random states, and torch's modes."""

import pickle
import random
from dataclasses import dataclass, fields

import numpy as np
import torch


@dataclass(frozen=True)
class Surroundings:
    """The global state of a process that results could depend on."""

    torch_random: bytes
    numpy_random: bytes
    python_random: bytes
    default_dtype: torch.dtype
    grad_mode: bool

    def changed(self, before: "Surroundings") -> list[str]:
        """Return in words what is not as it was before."""
        return [
            WORDS[field.name]
            for field in fields(self)
            if getattr(self, field.name) != getattr(before, field.name)
        ]

    def restore(self) -> None:
        """Make the process's state this one again."""
        torch.set_rng_state(torch.frombuffer(bytearray(self.torch_random), dtype=torch.uint8))
        np.random.set_state(pickle.loads(self.numpy_random))
        random.setstate(pickle.loads(self.python_random))
        torch.set_default_dtype(self.default_dtype)
        torch.set_grad_enabled(self.grad_mode)


WORDS = {
    "torch_random": "torch's random state",
    "numpy_random": "NumPy's random state",
    "python_random": "Python's random state",
    "default_dtype": "torch's default dtype",
    "grad_mode": "torch's grad mode",
}


def surroundings() -> Surroundings:
    """Return the state as it is now."""
    return Surroundings(
        torch_random=torch.get_rng_state().numpy().tobytes(),
        numpy_random=pickle.dumps(np.random.get_state()),
        python_random=pickle.dumps(random.getstate()),
        default_dtype=torch.get_default_dtype(),
        grad_mode=torch.is_grad_enabled(),
    )
