"""The speed tables by value: counted operations, equal work, ratios. No test looks at a time."""

import json
import re
import sys
import tarfile
import time
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from driftboard.strategies.base import Examples, Task
from driftboard.strategies.sgd import Sgd
from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import PROTOCOL, AdamTraining, Training
from driftboard.suite.runs.cells import survey
from driftboard.suite.runs.request import Request
from driftboard.suite.sequences.registry import registered
from driftboard.suite.training import engine
from driftboard.suite.training.cuda_graph import GraphRunner
from driftboard.suite.training.networks import initial_parameters

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def benchmarks_folder():
    """Let the scripts find each other, as they do when one of them is run."""
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def work():
    """Return a tiny network with two tasks of six batches."""
    from workloads import Workload

    training = Training(epochs=2, batch_size=4, learning_rate=0.1, minimum_steps=1)
    return Workload("tiny", "mlp-6x2", (1, 3, 4), 5, 12, training, tasks=2)


NETWORKS = [
    ("mlp-6x1", (1, 3, 4), 5),
    ("mlp-7x3", (3, 2, 2), 4),
    ("resnet9-w2", (1, 8, 8), 3),
    ("resnet9-w4", (3, 16, 16), 10),
]


# Operations and bytes.


@pytest.mark.parametrize(("network", "shape", "units"), NETWORKS)
def test_operations_are_those_that_torch_counts(network, shape, units):
    from operations import layers_of, step_operations

    module = initial_parameters(network, shape, units, 0)[0].module
    with FlopCounterMode(display=False) as counter:
        module(torch.rand(5, *shape)).sum().backward()
    assert step_operations(layers_of(network, shape, units), 5) == counter.get_total_flops()


@pytest.mark.parametrize(("network", "shape", "units"), NETWORKS)
def test_layers_have_all_weights_and_the_shapes_of_the_network(network, shape, units):
    from operations import layers_of

    module = initial_parameters(network, shape, units, 0)[0].module
    found = []

    def note(layer, arguments, output):
        found.append((layer.weight.numel(), arguments[0][0].numel(), output[0].numel()))

    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    for layer in module.modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(note)
    module(torch.rand(2, *shape))
    layers = layers_of(network, shape, units)
    assert sorted(found) == sorted((x.weights, x.values_in, x.values_out) for x in layers)


def test_bytes_of_two_layers_counted_by_hand():
    """Of 6 -> 4 -> 3 units with biases, so 24 + 4 + 12 + 3 parameters, and two images."""
    from operations import layers_of, step_bytes

    weights_forward, weights_backward = 43, 43 - 24
    gradients_and_update = 43 + 3 * 43 + 2 * 43
    forward = (6 + 4) + (4 + 3)
    # the first layer reads its inputs and its outputs' gradient; the second reads the gradient
    # twice and its inputs, and writes their gradient
    backward = (6 + 4) + (2 * 3 + 4 + 4)
    values = weights_forward + weights_backward + gradients_and_update + 2 * (forward + backward)
    assert step_bytes(layers_of("mlp-4x1", (1, 2, 3), 3), 43, 2) == 4 * values


@pytest.mark.parametrize(
    ("network", "shape"), [("timm:vit", (3, 8, 8)), ("resnet9-w4", (3, 12, 12))]
)
def test_other_networks_have_no_closed_form(network, shape):
    from operations import layers_of

    with pytest.raises(ValueError, match="no closed form"):
        layers_of(network, shape, 10)


@pytest.mark.parametrize(("network", "shape", "units"), NETWORKS)
def test_the_layers_own_products_are_the_operations_of_a_step(network, shape, units):
    from ceilings import own_products_seconds
    from operations import layers_of, step_operations

    layers = layers_of(network, shape, units)
    with FlopCounterMode(display=False) as counter:
        own_products_seconds(layers, 5, 1, "cpu", 2)
    calls = 1 + 2  # one to warm up
    assert counter.get_total_flops() == calls * step_operations(layers, 5)


# Equal work.


def check_all_ways_end_alike(work, ways, least_move):
    from workloads import Case, trained

    _, plain = trained(Case(work, "plain loop", 1, "cpu"))
    start = initial_parameters(work.network, work.shape, work.units, 0)[1]
    assert max((plain[name][0] - start[name]).abs().max() for name in start) > least_move
    for kind, seeds in ways:
        _, found = trained(Case(work, kind, seeds, "cpu"))
        for name, value in plain.items():
            assert found[name].shape[0] == seeds
            torch.testing.assert_close(found[name][0], value[0], rtol=1e-3, atol=1e-5)


def test_all_ways_end_at_the_weights_of_the_plain_loop(work):
    check_all_ways_end_alike(work, [("solo", 1), ("stacked", 1), ("stacked", 3)], 0.1)


def test_so_they_do_with_convolutions(work):
    training = replace(work.training, epochs=1, learning_rate=0.01)
    shape = (1, 16, 16)
    work = replace(work, network="resnet9-w4", shape=shape, images=8, training=training, tasks=1)
    check_all_ways_end_alike(work, [("solo", 1)], 0.01)


@pytest.mark.parametrize("network", ["mlp-6x2", "resnet9-w4"])
def test_all_ways_of_a_step_on_a_gpu_have_one_gradient(work, network):
    from gpu_ways import mapped, ways
    from workloads import cohort_of

    cohort = cohort_of(replace(work, network=network, shape=(1, 8, 8)), 3, "cpu")
    initial = {name: value.double() for name, value in cohort.initial.items()}
    cohort = replace(cohort, initial=initial)
    data = cohort.train[0]
    images = cohort.scaling(data.images, cohort.dtype)
    half = torch.arange(5) < 3
    batch = Examples(images, data.labels % 3, half.expand(data.active.shape))
    found = ways(cohort, compiled=False)
    assert len(found) == (1 if network.startswith("mlp") else 3)
    expected = mapped(cohort.network.module)(cohort.initial, batch)
    for gradient in found.values():
        torch.testing.assert_close(gradient(cohort.initial, batch), expected)
    task = Task(0, cohort.network, *[None] * 6)
    for seed in range(3):
        own = {name: value[seed].clone().requires_grad_() for name, value in cohort.initial.items()}
        part = Examples(*(value[seed] for value in (batch.images, batch.labels, batch.allowed)))
        slopes = torch.autograd.grad(task.loss(own, part), list(own.values()))
        for name, slope in zip(own, slopes, strict=True):
            torch.testing.assert_close(expected[name][seed], slope)


def test_a_step_of_every_way_trains(work, monkeypatch, tmp_path, capsys):
    import gpu_ways
    from workloads import cohort_of

    cohort = cohort_of(replace(work, network="resnet9-w4", shape=(1, 8, 8)), 2, "cpu")
    before = {name: value.clone() for name, value in cohort.initial.items()}
    seen = []

    def noted(parameters, batch):
        seen.append({name: value.clone() for name, value in parameters.items()})
        return gpu_ways.mapped(cohort.network.module)(parameters, batch)

    step = gpu_ways.stepper(cohort, noted)
    step()
    step()
    assert all(torch.equal(value, before[name]) for name, value in cohort.initial.items())
    slopes = gpu_ways.mapped(cohort.network.module)(before, batch_of(cohort))
    for name, value in seen[1].items():
        torch.testing.assert_close(value, before[name] - 1e-3 * slopes[name])

    page = tmp_path / "page.md"
    words = "--small --device cpu --network cifar10 --seeds 1 --steps 1 --repeats 1 --out"
    monkeypatch.setattr(sys, "argv", ["gpu_ways.py", *words.split(), str(page)])
    threads = torch.get_num_threads()
    gpu_ways.main()
    torch.set_num_threads(threads)
    assert capsys.readouterr().out == page.read_text() + "\n"
    rows = re.findall(r"^\| ([a-z, ]+) \| [\d.]+ \|", page.read_text(), re.MULTILINE)
    assert rows == ["mapped", "in turn", "as products, mapped"]


def test_the_fisher_is_the_same_in_every_form_and_however_many_gradients_are_held_at_once(
    tmp_path, monkeypatch, capsys
):
    import fisher_ways
    from scale import CIFAR10, SMALL, workloads
    from workloads import cohort_of

    from driftboard.strategies import fisher

    (work,) = workloads(SMALL, [CIFAR10])
    cohort = cohort_of(replace(work, units=2, images=5), 2, "cpu")
    sizes, changed = [], []
    original = fisher._general_squares

    def noted(task, parameters, labels, examples, noise):
        sizes.append(examples.labels.shape[0])
        return original(task, parameters, labels, examples, noise)

    def seen(name, function):
        monkeypatch.setattr(
            fisher_ways, name, lambda *given: changed.append(name) or function(*given)
        )

    monkeypatch.setattr(fisher, "_general_squares", noted)
    seen("every_label", fisher_ways.every_label)
    seen("with_products", fisher_ways.with_products)
    one = fisher_ways.fishers(cohort, fisher_ways.CHOSEN, 2)
    assert (sizes, changed) == ([2, 2, 1], [])
    assert all(bool((value >= 0).all()) for value in one.values())
    for form in fisher_ways.FORMS:
        torch.testing.assert_close(one, fisher_ways.fishers(cohort, form, 5))
    assert (sizes[3:], changed) == ([5, 5, 5], ["every_label", "with_products"])

    page = tmp_path / "page.md"
    words = "--small --device cpu --seeds 1 --at-once 4 8 --repeats 1 --out"
    monkeypatch.setattr(sys, "argv", ["fisher_ways.py", *words.split(), str(page)])
    threads = torch.get_num_threads()
    fisher_ways.main()
    torch.set_num_threads(threads)
    assert capsys.readouterr().out == page.read_text() + "\n"
    rows = re.findall(r"^\| ([a-z ]+) \| (\d+) \| [\d.]+ \| [\d.]+ \[", page.read_text(), re.M)
    first, second, third = fisher_ways.FORMS
    assert rows == [(first, "4"), (first, "8"), (second, "4"), (third, "4")]


def batch_of(cohort):
    """Return the first images of a cohort, as many as a step takes."""
    data, size = cohort.train[0], cohort.training.batch_size
    images = cohort.scaling(data.images[:, :size])
    return Examples(images, data.labels[:, :size], data.active[:, :size])


def test_steps_and_images_are_those_that_the_loop_takes(work):
    from plain_loop import descend, initial_module, solo_tasks
    from workloads import Case, cohort_of

    cohort = cohort_of(work, 1, "cpu")
    counted = descend(cohort, solo_tasks(cohort), initial_module(cohort))
    assert (work.steps, work.trained) == counted == (2 * 2 * 3, 2 * 2 * 12)
    assert Case(work, "stacked", 5, "cpu", processes=3).trained == 15 * 48


def test_short_work_is_repeated_until_it_takes_long_enough(work, monkeypatch):
    import workloads

    seconds = iter((0.2, 0.1, 0.4, 9.0))
    monkeypatch.setattr(workloads, "trained", lambda case: (next(seconds), {}))
    case = workloads.Case(work, "solo", 1, "cpu", at_least=0.5)
    assert workloads.measure(case) == pytest.approx(0.7 / 3)


def test_the_loop_with_adam_ends_where_the_engine_does_unless_it_keeps_the_averages(work):
    from literature_gap import final_accuracy
    from workloads import cohort_of

    training = AdamTraining(epochs=1, batch_size=5, learning_rate=0.02, minimum_steps=9)
    cohort = cohort_of(replace(work, training=training, tested=500), 1, "cpu")
    right = engine.run(cohort, Sgd(), "loop").correct[-1].sum().item()
    assert final_accuracy(cohort, keeps=False) == pytest.approx(100 * right / 1000)
    assert final_accuracy(cohort, keeps=True) != pytest.approx(100 * right / 1000)


# Ratios and tables.


def test_things_are_done_in_turn_after_one_round_to_warm_up():
    from timing import in_turn

    done = []
    things = {key: lambda key=key: done.append(key) or float(len(done)) for key in ("one", "other")}
    assert in_turn(things, 2) == {"one": [3.0, 5.0], "other": [4.0, 6.0]}
    assert done == ["one", "other"] * 3


def test_ratios_are_those_of_the_same_repeat():
    from timing import ratios

    found = ratios([1.0, 6.0, 10.0], [2.0, 2.0, 10.0])
    assert (found.median, found.least, found.greatest) == (1.0, 0.5, 3.0)
    assert str(found) == "1.00 [0.50, 3.00]"


def test_rows_follow_from_the_seconds(work):
    from operations import layers_of, step_bytes, step_operations
    from rates import COPY, PRODUCT, rows
    from workloads import Case

    plain = Case(work, "plain loop", 1, "cpu")
    two = Case(work, "stacked", 3, "cpu", processes=2)
    times = {plain: [1.0, 2.0, 4.0], two: [3.0, 3.0, 4.0]}
    ceilings = {PRODUCT: [1e6, 2e6, 1e6], COPY: [1e7] * 3, 1: [0.01] * 3, 3: [0.02, 0.04, 0.02]}
    first, second = rows(times, ceilings)
    assert (first.case, second.case) == (plain, two)
    assert (first.ratio.median, first.time.median) == (1.0, 1.0)
    assert first.rate.median == 48 / 2
    # six learners of 48 images each
    assert (second.rate.median, second.rate.least) == (6 * 48 / 3, 6 * 48 / 4)
    assert (second.ratio.median, second.ratio.least) == (6 * 2 / 3, 6 * 1 / 3)
    assert (second.time.median, second.time.greatest) == (1.5, 3.0)
    layers = layers_of("mlp-6x2", (1, 3, 4), 5)
    parameters = 12 * 6 + 6 + 6 * 6 + 6 + 6 * 5 + 5
    # one process: 12 steps of three learners
    done = [12 * 3 * step_operations(layers, 4) / s for s in (3.0, 3.0, 4.0)]
    moved = 12 * 3 * step_bytes(layers, parameters, 4) / 3.0
    assert second.of_product == pytest.approx(
        median(one / top for one, top in zip(done, (1e6, 2e6, 1e6), strict=True))
    )
    assert second.of_own == pytest.approx(median((12 * 0.02 / 3, 12 * 0.04 / 3, 12 * 0.02 / 4)))
    assert second.of_copy == pytest.approx(moved / 1e7)


def test_what_makes_a_lane_fast_is_also_left_out(work):
    from rates import cases
    from scale import Scale

    def ways(work, device):
        chosen = cases(work, device, Scale(seeds=(1, 10, 100)), 1)
        return [(case.how, case.seeds) for case in chosen]

    one = [("plain loop", 1), ("solo", 1), ("stacked", 1)]
    all_of_them = [*one, ("stacked", 10), ("stacked", 100)]
    assert ways(work, "cpu") == [*all_of_them, ("stacked, memory given back", 10)]
    assert ways(work, "cuda") == [*all_of_them, ("stacked, as written", 10)]
    convolutions = replace(work, network="resnet9-w4")
    assert ways(convolutions, "cpu") == [*one, ("solo, memory given back", 1)]


def test_the_plain_loop_does_not_run_in_a_process_like_a_worker(work):
    from rates import measured
    from scale import SMALL
    from timing import as_a_script, as_a_worker
    from workloads import Case, measure

    class Place:
        def __init__(self, seconds):
            self._seconds = seconds

        def seconds(self, function, case):
            assert function is measure
            return self._seconds

    where = {
        (as_a_worker, 1): Place(1.0),
        (as_a_worker, 2): Place(2.0),
        (as_a_script, 1): Place(10.0),
        (as_a_script, 2): Place(20.0),
    }
    expected = {
        Case(work, "plain loop", 1, "cpu"): [10.0],
        Case(work, "plain loop", 1, "cpu", processes=2): [20.0],
        Case(work, "stacked", 2, "cpu"): [1.0],
        Case(work, "stacked", 2, "cpu", keeps=False): [10.0],
        Case(work, "solo", 1, "cpu", processes=2): [2.0],
    }
    assert measured(list(expected), SMALL, 1, where)[0] == expected


def test_a_step_that_cannot_be_recorded_ends_the_measurement(work, monkeypatch):
    import workloads
    from workloads import Case, trained

    def refuse(step, place):
        raise RuntimeError("operation not permitted when stream is capturing")

    runner = GraphRunner(refuse)
    monkeypatch.setattr(workloads, "graph_runner_on", lambda device: runner)
    assert trained(Case(work, "stacked", 2, "cpu", recorded=False))[0] > 0
    with pytest.raises(SystemExit, match="cannot be recorded: operation not permitted"):
        trained(Case(work, "stacked", 2, "cpu"))
    runner.synchronizes = lambda step, order: True
    with pytest.raises(SystemExit, match="cannot be recorded: the host waits for the GPU"):
        trained(Case(work, "stacked", 2, "cpu"))


def row_of(work, network, device, kind, seeds, ratio, processes=1, **how):
    from rates import Row
    from timing import Spread
    from workloads import Case

    one = Spread(ratio, ratio, ratio)
    case = Case(replace(work, network=network), kind, seeds, device, processes, **how)
    return Row(case, one, one, one, 0.5, 0.5, 0.5)


def test_aims_are_met_missed_or_open(work):
    from aims import aims
    from timing import Spread

    found = [
        row_of(work, "resnet9-w16", "cpu", "plain loop", 1, 1.0),
        row_of(work, "resnet9-w16", "cpu", "plain loop", 1, 1.6, processes=2),
        row_of(work, "resnet9-w16", "cpu", "solo", 1, 1.2),
        row_of(work, "resnet9-w16", "cpu", "solo", 1, 2.0, processes=2),
        row_of(work, "resnet9-w16", "cpu", "solo", 1, 9.0, keeps=False),
        row_of(work, "mlp-256x2", "cuda", "stacked", 1, 2.0),
        row_of(work, "mlp-256x2", "cuda", "stacked", 10, 16.0),
        row_of(work, "mlp-256x2", "cuda", "stacked", 100, 64.0),
        row_of(work, "mlp-256x2", "cuda", "stacked", 100, 640.0, recorded=False),
    ]
    lines = [str(aim) for aim in aims(found, {10_000: Spread(3.5, 2.0, 4.0), 9: Spread(1, 1, 1)})]
    assert "- met: CPU, ResNet: the best way over the best of plain loops >= 1: 1.25" in lines
    assert "- MISSED: CUDA, mlp-256x2: 100 seeds over the plain loop >= 100: 64.00" in lines
    assert "- met: CUDA, mlp-256x2: time of 10 seeds over 1 <= 2: 1.25" in lines
    assert "- MISSED: CUDA, mlp-256x2: time of 100 seeds over 10 <= 2: 2.50" in lines
    assert "- MISSED: seconds to know that nothing is left of 10,000 cells <= 3: 3.50" in lines
    others = [line for line in lines if "mlp-128x2" in line or "10 seeds over the plain" in line]
    assert len(others) == 4
    assert all(line.startswith("- open: CUDA") for line in others)
    assert all(str(aim).startswith("- open: ") for aim in aims([], {}))


def test_the_command_writes_its_page(tmp_path, monkeypatch, capsys):
    """The smallest run, its numbers taken from the page again."""
    import throughput

    page = tmp_path / "SPEED.md"
    options = "--small --repeats 2 --device cpu --processes 1 --network digits --part throughput"
    monkeypatch.setattr(sys, "argv", ["throughput.py", *options.split(), "--out", str(page)])
    threads = torch.get_num_threads()
    throughput.main()
    torch.set_num_threads(threads)
    text = page.read_text()
    assert capsys.readouterr().out == text + "\n"
    assert f"throughput.py {options}" in text
    assert f"- torch: {torch.__version__}" in text
    operations = 2 * 50 * (2 * 64 * 128 + 3 * (128 * 128 + 128 * 10))
    assert f"26,122 parameters; a step of one seed is {operations / 1e6:.1f} million" in text
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| (plain|solo|stacked)", line)
    ]
    assert [(c[0], c[1], c[2]) for c in cells] == [
        ("plain loop", "1", "1"),
        ("solo", "1", "1"),
        ("stacked", "1", "1"),
        ("stacked", "1", "2"),
        ("stacked, memory given back", "1", "2"),
    ]
    assert cells[0][4:6] == ["1.00 [1.00, 1.00]", "1.00"]
    assert all(int(c[3].replace(",", "")) > 0 for c in cells)


# Compilation.


def test_what_is_compiled_is_timed_against_what_is_written(monkeypatch):
    import compilation
    from scale import SMALL
    from torch._inductor.exc import InductorError

    def no_compiler(function):
        def refused(*arguments):
            raise InductorError(RuntimeError("no C++ compiler\nsecond line"), None)

        return refused

    calls = []

    def counted(function):
        def quick(*arguments):
            calls.append(function)
            return function(*arguments)

        return quick

    monkeypatch.setattr(torch, "compile", counted)
    rates = iter([2.0, 9.0, 4.0, 12.0] * 2)  # to warm up, then the one that counts
    monkeypatch.setattr(compilation, "_rate", lambda way, scale: (way(), next(rates))[1])
    lines = compilation.compilation_table(SMALL, 1, ["digits", "cifar10"])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:-1]]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("`mlp-128x2`", "2", "3.00 [3.00, 3.00]"),
        ("`resnet9-w16`", "1", "3.00 [3.00, 3.00]"),
    ]
    assert len(calls) == 2 * (1 + 2)  # the compilation, and one for each rate
    monkeypatch.setattr(torch, "compile", no_compiler)
    lines = compilation.compilation_table(SMALL, 1, ["digits"])
    assert lines[2:] == ["Not measured: RuntimeError: no C++ compiler", ""]


def test_steps_until_compiling_has_paid():
    from compilation import _paid

    assert _paid(30.0, {"written": [10.0], "compiled": [20.0]}) == "600"  # saves .05 s a step
    assert _paid(30.0, {"written": [10.0], "compiled": [10.0]}) == "never"


# Records.


def test_a_made_up_grid_is_complete(tmp_path):
    from resume_speed import write_grid

    options = write_grid(tmp_path, 261)
    texts = [word for before, word in pairwise(options) if before == "--strategy"]
    assert len(texts) == 2
    core = tuple(each for each in registered().values() if each.tier == "core")
    strategies = tuple(map(load_strategy, texts))
    request = Request(sequences=core, strategies=strategies, results=tmp_path, device="cpu")
    assert request.cell_count() == 520
    assert survey(request).rows == {each.name: [] for each in core}


# All that a GPU is to show.


def gpu_part(name, program, seconds=60.0, file="output.txt"):
    from on_a_gpu import Part

    return Part(name, "something", ("python", "-c", program), seconds, file)


def both(folder):
    """Return the folder of all output and that of results."""
    return folder / "out", folder / "work"


def test_a_part_that_fails_or_takes_too_long_holds_up_no_other(tmp_path, capsys):
    from on_a_gpu import work_off

    chosen = [
        gpu_part("good", "print('found')", file="own.txt"),
        gpu_part("bad", "raise SystemExit(3)"),
        gpu_part("long", "print('begun'); import time; time.sleep(60)", 3),
        gpu_part("last", "import sys; print('also', file=sys.stderr)"),
    ]
    out = tmp_path / "out"
    ended = work_off(chosen, out, tmp_path / "work", 300)
    expected = ["done", "failed with 3", "stopped: out of time", "done"]
    assert list(ended.values()) == expected
    heads = {part.name: f"===== {part.name}: {' '.join(part.command)}\n" for part in chosen}
    assert (out / "own.txt").read_text() == heads["good"] + "found\n"
    others = heads["bad"] + heads["long"] + "begun\n" + heads["last"] + "also\n"
    assert (out / "output.txt").read_text() == others
    page = (out / "summary.md").read_text()
    assert [line.split(" | ")[2] for line in page.splitlines()[2:]] == expected
    said = capsys.readouterr().out
    assert "good: something" in said
    assert "    found\n" in said
    assert {path.name for path in out.iterdir()} == {"own.txt", "output.txt", "summary.md"}


@pytest.mark.parametrize("ends", [True, False])
def test_nothing_that_a_part_has_started_stays(tmp_path, ends, monkeypatch):
    import on_a_gpu

    monkeypatch.setattr(on_a_gpu, "GRACE_SECONDS", 1.0)
    mark = tmp_path / "child"
    child = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    program = (
        f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        f"open({str(mark)!r}, 'w').write(str(child.pid))"
    )
    waiting = "" if ends else "; child.wait()"
    ended = on_a_gpu.work_off([gpu_part("parent", program + waiting, 3)], *both(tmp_path), 300)
    assert ended == {"parent": "done" if ends else "stopped: out of time"}
    pid = int(mark.read_text())
    for _ in range(500):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    pytest.fail("the child lives on")


def test_what_has_ended_well_is_left_out_when_all_is_done_again(tmp_path):
    from on_a_gpu import work_off

    counter = tmp_path / "count"
    program = f"open({str(counter)!r}, 'a').write('x'); raise SystemExit({{}})"
    chosen = [gpu_part("a", program.format(0)), gpu_part("b", program.format(1))]
    work_off(chosen, *both(tmp_path), 300)
    assert counter.read_text() == "xx"
    chosen = [gpu_part("a", program.format(0)), gpu_part("b", program.format(0))]
    ended = work_off(chosen, *both(tmp_path), 300)
    assert counter.read_text() == "xxx"
    assert ended == {"a": "done", "b": "done"}


def test_no_part_begins_once_the_time_for_all_is_over(tmp_path):
    from on_a_gpu import work_off

    times = iter([0.0, 10.0, 20.0, 30.0, 56.0])
    chosen = [gpu_part("first", "pass"), gpu_part("second", "pass")]
    out, work = both(tmp_path)
    ended = work_off(chosen, out, work, 60.0, lambda: next(times))
    assert ended == {"first": "done"}
    assert "not begun" in (out / "summary.md").read_text()


def test_results_of_runs_come_back_in_one_file_and_long_output_is_cut(tmp_path, monkeypatch):
    import on_a_gpu

    out, work = both(tmp_path)
    monkeypatch.setattr(on_a_gpu, "LARGEST_FILE", 1000)
    writes = f"from pathlib import Path; folder = Path({str(work)!r}, 'cells'); folder.mkdir(); "
    writes += "(folder / 'record').write_text('x'); print('y' * 2000)"
    assert on_a_gpu.work_off([gpu_part("run", writes)], out, work, 300) == {"run": "done"}
    with tarfile.open(out / "cells.tar.xz") as archive:
        assert archive.getnames() == ["cells", "cells/record"]
    assert (out / "output.txt").stat().st_size == 1000


SHORT = ["probe", "tests", "ways-cifar10", "speed-fashion", "cells-fashion-split", "speed-cifar10"]
SHORT += ["cells-cifar10-split", "ways-cifar10-tf32", "ways-fashion-compiled", "fisher"]
SHORT += ["speed-digits", "quick", "ways-fashion-tf32", "ways-cifar10-compiled"]
LONG = ["probe", "tests", "ways", "ways-tf32", "speed", "fisher", "quick"]
OF_DATA = ["core-cifar10", "core-fashion", "cells-cifar10-split-van-de-ven"]


@pytest.mark.parametrize("data", [None, Path("data")])
@pytest.mark.parametrize("trip", ["short", "long"])
def test_every_part_names_a_command_that_is_there(tmp_path, data, trip):
    from on_a_gpu import Plan

    from driftboard.baselines.published import published_sets

    plan = Plan(data, tmp_path, False)
    found = {part.name: part for part in getattr(plan, trip)()}
    if trip == "short":
        expected = [name for name in SHORT if data or not name.startswith("cells")]
    else:
        expected = LONG + (OF_DATA if data else [])
    assert list(found) == expected
    assert len({part.file for part in found.values()}) <= 3
    for part in found.values():
        program, *words = part.command
        if program == "python":
            script = Path(next(word for word in words if word.endswith(".py")))
            assert script.is_file()
        elif words[0] == "reproduce":
            assert words[1] in published_sets()
            assert words[2:4] == ["--device", "cuda"]
        else:
            assert words[words.index("--sequence") + 1] in registered()
    assert all("cuda" in part.command for part in found.values() if part.name != "tests")
    small = {part.name: part.command for part in getattr(Plan(data, tmp_path, True), trip)()}
    assert set(small) == set(found) - (set(OF_DATA) if trip == "long" else set())
    assert not any("cuda" in command for command in small.values())


def test_the_first_parts_of_a_short_trip_fit_into_it(tmp_path):
    from on_a_gpu import PACKING_SECONDS, Plan

    seconds = [part.seconds for part in Plan(Path("data"), tmp_path, False).short()]
    assert sum(seconds[:6]) <= 540 - PACKING_SECONDS


# The probe of a step.


def test_a_step_that_is_recorded_is_timed_and_one_that_is_not_says_why(work, monkeypatch):
    import step_probe

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    order = torch.arange(2)
    for real, expected in (
        (GraphRunner(lambda step, place: lambda: step(place)), {"recorded": True}),
        (GraphRunner(refused), {"recorded": False, "reason": "RuntimeError: cannot be captured"}),
        (None, {"recorded": False, "reason": "this is not a GPU"}),
    ):
        taken = []
        observed = step_probe.ObservedRunner(real, "cpu", profiled=False)
        assert not observed.synchronizes(taken.append, order)
        assert len(taken) == 6 + (real is not None)  # one to warm up and five timed
        if "RuntimeError" in expected.get("reason", ""):
            with pytest.raises(RuntimeError):
                observed.record(taken.append, order)
        else:
            observed.record(taken.append, order)()
        found = {name: observed.found[name] for name in expected}
        assert found == expected
        assert ("replay_ms" in observed.found) == expected["recorded"]
        assert observed.found["eager_ms"] >= 0


def refused(step, place):
    raise RuntimeError("cannot be captured")


def test_an_error_is_an_answer_and_no_question_is_left_out(capsys, monkeypatch):
    import step_probe

    asked = [
        step_probe.Question("one", lambda: {"value": 1.23456}),
        step_probe.Question("two", lambda: 1 / 0),
        step_probe.Question("three", lambda: warnings.warn("beware", stacklevel=1) or {}),
    ]
    monkeypatch.setattr(step_probe, "questions", lambda device, small: asked)
    monkeypatch.setattr(step_probe, "prepare_process", lambda device: None)
    monkeypatch.setattr(sys, "argv", ["step_probe.py", "--device", "cpu", "--small"])
    step_probe.main()
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["question"], first["value"]) == ("one", 1.2346)
    assert second["failed"] == "ZeroDivisionError: division by zero"
    assert second["at"][-1].startswith("test_benchmarks.py:")
    assert third["warnings"] == ["beware"]


def test_every_question_about_a_step_has_an_answer_here(capsys):
    import step_probe

    small = list(step_probe.questions("cpu", small=True))
    texts = [question.text for question in small]
    assert texts[:2] == ["machine", "step of cifar10, sgd, 2 seeds"]
    assert len(set(texts)) == len(texts)
    for question in small:
        if question.text.startswith(("step of fashion", "all of fashion, sgd")):
            answer = step_probe.answered(question)
            assert answer.keys() & {"eager_ms", "training_s"}
            assert "failed" not in answer


# Against Avalanche.


@pytest.mark.parametrize(
    ("name", "images", "batch", "epochs", "steps"),
    [("mlp-256x2", 3000, 100, 3, 90), ("mlp-128x2", 240, 48, 12, 60)],
)
def test_batches_come_out_even_where_contestants_treat_the_rest_differently(
    name, images, batch, epochs, steps
):
    from compare_with_avalanche import evened

    training = PROTOCOL.training_of(name)
    found = evened(training, images)
    assert found == replace(training, batch_size=batch, epochs=epochs, minimum_steps=1)
    assert images % found.batch_size == 0
    assert found.epochs * images // found.batch_size == steps >= training.minimum_steps


def test_the_cost_of_a_strategy_stands_beside_that_of_plain_training(monkeypatch, capsys):
    import strategy_cost

    words = "sgd ewc --small --device cpu --repeats 1"
    monkeypatch.setattr(sys, "argv", ["strategy_cost.py", *words.split()])
    threads = torch.get_num_threads()
    strategy_cost.main()
    torch.set_num_threads(threads)
    rows = re.findall(
        r"^\| `(\w+)` +\| +[\d.]+ \S+ \S+ \| +([\d.]+) \| +([\d.]+) \|$",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert rows[0] == ("sgd", "1.00", "0.00")
    assert rows[1][0] == "ewc"
    assert float(rows[1][1]) > 1
    assert rows[1][2] == "2.00"  # the solution and its Fisher
