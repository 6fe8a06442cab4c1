"""Cost against the number of tasks, of classes and of records."""

from dataclasses import replace

from leaderboard_speed import leaderboard_seconds
from resume_speed import resume_seconds
from scale import DIGITS, Scale, workloads
from timing import Spread, in_turn, ratios, show, spread
from workloads import cohort_of, whole_run

from driftboard.strategies.ewc import Ewc
from driftboard.strategies.sgd import Sgd


def tasks_table(scale: Scale, device: str, repeats: int) -> list[str]:
    """Return the cost of a sequence of so many tasks, all of which are tested after each."""
    base = workloads(scale, [DIGITS])[0]
    seeds = min(10, max(scale.seeds))
    works = {count: replace(base, tasks=count, tested=50) for count in scale.tasks}
    parts: dict[int, list[tuple[float, float]]] = {count: [] for count in works}

    def timed(count: int) -> float:
        parts[count].append(whole_run(works[count], seeds, device, Sgd()))
        return sum(parts[count][-1])

    in_turn({count: lambda count=count: timed(count) for count in works}, repeats)
    cohort_of.cache_clear()
    lines = [
        f"### Tasks: `{base.network}`, {seeds} seeds stacked, 50 test images a task",
        "",
        "| tasks | training, ms a task | tests, ms a task trained | tests' share of all |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for count, seconds in parts.items():
        train, test = zip(*seconds[1:], strict=True)  # the first was to warm up
        share = spread([t / (t + s) for s, t in seconds[1:]])
        lines.append(
            f"| {count} | {1e3 * spread(list(train)).median / count:.1f} "
            f"| {1e3 * spread(list(test)).median / count:.1f} | {100 * share.median:.0f} % |"
        )
    return [*lines, ""]


def classes_table(scale: Scale, device: str, repeats: int) -> list[str]:
    """Return the cost of a task of so many classes, relative to the fewest."""
    base = workloads(scale, [DIGITS])[0]
    seeds = min(10, max(scale.seeds))
    strategies = (Sgd(), Ewc())

    def timed(units: int, number: int) -> float:
        return whole_run(replace(base, units=units), seeds, device, strategies[number])[0]

    keys = [(units, number) for units in scale.classes for number in range(len(strategies))]
    found = in_turn({key: lambda key=key: timed(*key) for key in keys}, repeats)
    cohort_of.cache_clear()
    fewest = scale.classes[0]
    lines = [
        f"### Classes: `{base.network}`, {seeds} seeds stacked, one task; "
        f"time relative to {fewest} classes",
        "",
        "| classes | `sgd` | `ewc`, exact Fisher | `ewc` over `sgd` |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for units in scale.classes:
        sgd, ewc = found[units, 0], found[units, 1]
        lines.append(
            f"| {units} | {ratios(sgd, found[fewest, 0])} | {ratios(ewc, found[fewest, 1])} "
            f"| {ratios(ewc, sgd)} |"
        )
    return [*lines, ""]


def records_table(scale: Scale, repeats: int) -> tuple[list[str], dict[int, Spread]]:
    """Return what reading many records costs, and the seconds of finding that nothing is left."""
    lines = [
        "### Records: seconds of a new process, its imports included",
        "",
        "| records | `driftboard leaderboard`, Markdown and CSV | to know that nothing is left |",
        "| ---: | ---: | ---: |",
    ]
    resumed = {}
    for count in scale.records:
        show(f"{count} records")
        resumed[count] = spread(resume_seconds(count, repeats))
        board = spread(leaderboard_seconds(count, repeats))
        lines.append(f"| {count:,} | {board} | {resumed[count]} |")
    show("")
    return [*lines, ""], resumed
