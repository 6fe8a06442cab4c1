"""The penalty on two layers' moves: its gradient is that of the penalty as it is written."""

from pathlib import Path

import torch
from torch import nn
from torch.func import grad

from driftboard.strategies.layers import layer_of, matrix
from driftboard.suite.loading import load_strategy

FILE = Path(__file__).parent / "hybrid_product.py"


def test_the_slopes_are_the_gradient_of_the_penalty(make_task):
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 4))
    first, second = (
        make_task(module, shape=(3,), units=4, index=index, seed=index) for index in (0, 1)
    )
    strategy = load_strategy(f"{FILE},weight=0.7").strategy
    start = first.initial
    _, memory = strategy.finish(first, start, {})
    _, memory = strategy.begin(second, start, memory)

    def penalty(parameters):
        moves = {}
        for name in memory["layers"]:
            layer = layer_of(second, name)
            moves[name] = matrix(name, layer, parameters) - matrix(name, layer, start)
        total = 0.0
        for name, after in (("0", "2"), ("2", "4")):
            kept = memory["layers"][name]["inputs"]
            a = (kept["vectors"] * kept["values"]) @ kept["vectors"].T / memory["weight"]
            shift = moves[after][:, :-1] @ moves[name]
            total = total + 0.35 * torch.trace(shift @ a @ shift.T)
        return total

    wanted = grad(penalty)(second.initial)
    found = strategy.slopes(second, second.initial, memory)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)
