"""The figures that the project aims at, beside what a run has measured of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rates import Row
from timing import Spread


@dataclass(frozen=True)
class Aim:
    """A figure to reach; ``value`` is None where it could not be measured."""

    what: str
    needed: float
    value: float | None
    at_most: bool = False

    def __str__(self) -> str:
        """Return one line."""
        sign = "<=" if self.at_most else ">="
        if self.value is None:
            return f"- open: {self.what} {sign} {self.needed:g} (not measured in this run)"
        met = self.value <= self.needed if self.at_most else self.value >= self.needed
        return (
            f"- {'met' if met else 'MISSED'}: {self.what} {sign} {self.needed:g}: {self.value:.2f}"
        )


def aims(found: Sequence[Row], resumed: Mapping[int, Spread]) -> list[Aim]:
    """Return the project's figures, as far as a run's rows and resumed folders measure them."""
    on_cpu = _ratios(found, "cpu", "resnet9")
    ours = max((ratio for (kind, _, _), ratio in on_cpu.items() if kind != "plain loop"), default=0)
    plain = max(
        (ratio for (kind, _, _), ratio in on_cpu.items() if kind == "plain loop"), default=0
    )
    listed = [Aim("CPU, ResNet: the best way over the best of plain loops", 1, _over(ours, plain))]
    for network in ("mlp-128x2", "mlp-256x2"):
        ratio = _ratios(found, "cuda", network)
        hundred, ten, one = (ratio.get(("stacked", seeds, 1), 0) for seeds in (100, 10, 1))
        listed += [
            Aim(f"CUDA, {network}: 100 seeds over the plain loop", 100, hundred or None),
            Aim(f"CUDA, {network}: time of 10 seeds over 1", 2, _over(10 * one, ten), True),
            Aim(f"CUDA, {network}: time of 100 seeds over 10", 2, _over(10 * ten, hundred), True),
        ]
    ten = _ratios(found, "cuda", "resnet9").get(("stacked", 10, 1))
    known = resumed[10_000].median if 10_000 in resumed else None
    return [
        *listed,
        Aim("CUDA, ResNet: 10 seeds over the plain loop", 5, ten),
        Aim("seconds to know that nothing is left of 10,000 cells", 3, known, True),
    ]


def _ratios(found: Sequence[Row], device: str, network: str) -> dict[tuple[str, int, int], float]:
    """Return (kind, seeds, processes) -> median ratio to the plain loop."""
    return {
        (row.case.kind, row.case.seeds, row.case.processes): row.ratio.median
        for row in found
        if row.case.device == device
        and row.case.usual
        and row.case.work.network.startswith(network)
    }


def _over(one: float, other: float) -> float | None:
    return one / other if one and other else None
