"""Whether a training step becomes a CUDA graph here, and if not, why; and where its time goes.

    python tests/benchmarks/step_probe.py

A run takes a step eagerly when it cannot be recorded, and says nothing about it. This script
trains single tasks with the engine's own runner and reports what happened, as one line of JSON per
question, printed at once. An error is part of the answer and does not stop later questions.

Fields: ``recorded``, and otherwise ``reason`` and ``waits_at``, the lines of the call that made
the host wait; ``eager_ms``, ``record_ms`` and ``replay_ms``; ``kernels`` of one replay with
``kernels_ms``, their time, and ``longest``, the longest of them with count and milliseconds. On a
CPU nothing can be recorded, so only the eager step is timed.
"""

import argparse
import json
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from ceilings import bandwidth, product_rate, timed
from scale import CIFAR10, DIGITS, FASHION, NETWORKS, SMALL, Scale, workloads
from torch import Tensor
from workloads import Case, Workload, cohort_of, trained

from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite.runs.worker import prepare_process
from driftboard.suite.training import engine, evaluation
from driftboard.suite.training.cuda_graph import (
    WARM_UP,
    GraphRunner,
    StepFunction,
    graph_runner_on,
)
from driftboard.suite.training.memory_plan import resolve_device

Answer = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """A question and the function that answers it."""

    text: str
    answer: Callable[[], Answer]


def questions(device: str, *, small: bool) -> Iterator[Question]:
    """Yield all questions, in order of what they are worth."""
    works = dict(zip(NETWORKS, workloads(SMALL if small else Scale(), NETWORKS), strict=True))
    many, ten = (2, 2) if small else (100, 10)
    yield Question("machine", partial(machine, device))
    for name, seeds in ((CIFAR10, ten), (FASHION, many), (DIGITS, many)):
        text = f"step of {name}, sgd, {seeds} seeds"
        yield Question(text, partial(step, works[name], seeds, "sgd", device, profiled=True))
        yield Question(f"plain loop on {name}", partial(plain_loop, works[name], device))
    for strategy in ("ewc", "hybrid", "algorithm-1"):
        text = f"step of {FASHION}, {strategy}, {ten} seeds"
        yield Question(text, partial(step, works[FASHION], ten, strategy, device))
    yield Question(
        f"step of {CIFAR10}, sgd, 1 seed", partial(step, works[CIFAR10], 1, "sgd", device)
    )
    yield Question("ceilings", partial(ceilings, device, small=small))
    for name, strategy in ((FASHION, "sgd"), (CIFAR10, "sgd"), (CIFAR10, "ewc")):
        work = replace(works[name], tasks=2 if small else 5, units=2, tested=10 if small else 500)
        for at_once in (evaluation.TESTED_AT_ONCE, 4 * evaluation.TESTED_AT_ONCE):
            text = f"all of {name}, {strategy}, {ten} seeds, tested {at_once} images at once"
            yield Question(text, partial(whole_run, work, ten, strategy, device, at_once))


def machine(device: str) -> Answer:
    """Return versions, and what the GPU is."""
    found: Answer = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        found |= {"gpu": gpu.name, "gpu_mib": gpu.total_memory / 2**20}
        found |= {"multiprocessors": gpu.multi_processor_count}
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return found


def plain_loop(work: Workload, device: str) -> Answer:
    """Time a step of one seed as one would write it by hand, after one training to warm up."""
    case = Case(work, "plain loop", 1, device)
    trained(case)
    return {"eager_ms": 1e3 * trained(case)[0] / work.steps}


def step(
    work: Workload, seeds: int, strategy: str, device: str, *, profiled: bool = False
) -> Answer:
    """Train one task of a cohort, and report how its steps were recorded and replayed."""
    cohort = cohort_of(work, seeds, device)
    # Enough steps for a recording.
    longer = replace(cohort.training, minimum_steps=WARM_UP + 2)
    observed = ObservedRunner(graph_runner_on(cohort.device), device, profiled=profiled)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    engine.train_task(
        replace(cohort, training=longer),
        BUILTIN[strategy],
        0,
        dict(cohort.initial),
        {},
        "vmap",
        GraphRunner(observed.record, observed.synchronizes),
    )
    if device == "cuda":
        observed.found["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return observed.found


class ObservedRunner:
    """Does what the engine's runner does, times it, and keeps in ``found`` what happened."""

    def __init__(self, real: GraphRunner | None, device: str, *, profiled: bool) -> None:
        self.found: Answer = {"recorded": False}
        self._real = real
        self._device = device
        self._profiled = profiled

    def synchronizes(self, step: StepFunction, order: Tensor) -> bool:
        """Take steps eagerly and time them; tell whether they wait for the GPU."""
        waits = self._real is not None and self._real.synchronizes(step, order)
        if waits:
            self.found["reason"] = "the host waits for the GPU"
            self.found["waits_at"] = waiting_lines(step, order)
        self.found["eager_ms"] = 1e3 * timed(lambda: step(order), self._device, 5)
        return waits

    def record(self, step: StepFunction, place: Tensor) -> Callable[[], None]:
        """Record a step and time both the recording and its replay."""
        if self._real is None:
            self.found["reason"] = "this is not a GPU"
            return partial(step, place)
        torch.cuda.synchronize()
        began = time.perf_counter()
        try:
            replay = self._real.record(step, place)
        except Exception as error:
            self.found["reason"] = described(error)
            raise
        torch.cuda.synchronize()
        self.found["record_ms"] = 1e3 * (time.perf_counter() - began)
        self.found["recorded"] = True
        self.found["replay_ms"] = 1e3 * timed(replay, self._device, 30)
        if self._profiled:
            self.found |= kernels_of(replay)
        return replay


def waiting_lines(step: StepFunction, order: Tensor) -> list[str]:
    """Return the innermost lines of the call that makes the host wait."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(order)
    except RuntimeError as error:
        return innermost_lines(error)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return []


def kernels_of(replay: Callable[[], None], times: int = 3) -> Answer:
    """Return how many kernels a replay runs, and the count and milliseconds of the longest."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(times):
            replay()
        torch.cuda.synchronize()
    rows = [row for row in profiler.key_averages() if row.self_device_time_total > 0]
    rows.sort(key=lambda row: row.self_device_time_total, reverse=True)

    def milliseconds(microseconds: float) -> float:
        return round(microseconds / times / 1e3, 4)

    return {
        "kernels": sum(row.count for row in rows) // times,
        "kernels_ms": milliseconds(sum(row.self_device_time_total for row in rows)),
        "longest": {
            row.key[:70]: [row.count // times, milliseconds(row.self_device_time_total)]
            for row in rows[:12]
        },
    }


def whole_run(work: Workload, seeds: int, strategy: str, device: str, at_once: int) -> Answer:
    """Train and test a cohort on all tasks, as one job of a run does, after a run to warm up."""
    cohort = cohort_of(work, seeds, device)
    usual, evaluation.TESTED_AT_ONCE = evaluation.TESTED_AT_ONCE, at_once
    try:
        engine.run(cohort, BUILTIN[strategy], "vmap")
        outcome = engine.run(cohort, BUILTIN[strategy], "vmap")
    finally:
        evaluation.TESTED_AT_ONCE = usual
    # The engine copies results to the host after each task, so these times are complete.
    tasks = [round(seconds, 3) for seconds in outcome.seconds]
    return {"training_s": sum(tasks), "tests_s": outcome.evaluation_seconds, "tasks_s": tasks}


def ceilings(device: str, *, small: bool) -> Answer:
    """Measure the bandwidth of a copy, and the rate of a matrix product with and without TF32."""
    side, size = (64, 2**16) if small else (None, None)
    found: Answer = {"copy_gb_per_s": bandwidth(device, size) / 1e9}
    usual = torch.backends.cuda.matmul.allow_tf32
    try:
        for name, allowed in (("float32", False), ("tf32", True)):
            torch.backends.cuda.matmul.allow_tf32 = allowed
            found[f"{name}_tflop_per_s"] = product_rate(device, side) / 1e12
    finally:
        torch.backends.cuda.matmul.allow_tf32 = usual
    return found


def answered(question: Question) -> Answer:
    """Return the answer, or the error that came instead, with the warnings raised on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = question.answer()
        except Exception as error:  # whatever it is, the next question is to be asked
            found = {"failed": described(error), "at": innermost_lines(error)}
    # torch says with every use of the sync debug mode that it is a prototype.
    texts = {str(each.message)[:200] for each in caught}
    texts = {text for text in texts if "prototype" not in text}
    rounded = {key: round(v, 4) if isinstance(v, float) else v for key, v in found.items()}
    return {"question": question.text, **rounded, **({"warnings": sorted(texts)} if texts else {})}


def described(error: Exception) -> str:
    """Return type and message of an error, shortened."""
    return f"{type(error).__name__}: {error}"[:600]


def innermost_lines(error: Exception, count: int = 6) -> list[str]:
    """Return the last lines of an error's traceback as "file.py:number"."""
    frames = traceback.extract_tb(error.__traceback__)[-count:]
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames]


def main() -> None:
    """Answer all questions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--small", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args()
    device = resolve_device(options.device)
    prepare_process(device)
    began = time.monotonic()
    for question in questions(device, small=options.small):
        line = answered(question) | {"seconds_so_far": round(time.monotonic() - began, 1)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
