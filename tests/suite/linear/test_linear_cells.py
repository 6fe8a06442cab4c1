"""Which strategies run on linear sequences when none is named."""


def test_without_a_choice_linear_sequences_run_with_what_can_be_solved():
    from driftboard.strategies.catalogue import BUILTIN
    from driftboard.suite.linear.cells import default_strategies
    from driftboard.suite.sequences.registry import registered

    digits, linear = (registered()[name] for name in ("digits-split", "linear-few-50"))
    assert default_strategies([digits]) == tuple(BUILTIN)
    solved = default_strategies([digits, linear])
    assert {"sgd", "ewc", "hybrid", "l2", "joint"} <= set(solved)
    assert not {"er", "a-gem", "gdumb", "slda", "packnet", "si"} & set(solved)
