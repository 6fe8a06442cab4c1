"""Throughput of one network: its cases, what they are measured beside, and the table of both."""

from dataclasses import dataclass, replace

from ceilings import bandwidth, own_products_seconds, product_rate
from operations import layers_of, step_bytes, step_operations
from scale import Scale
from timing import Places, Spread, as_a_script, as_a_worker, in_turn, ratios, spread
from workloads import Case, Workload, cohort_of, measure

PRODUCT, COPY = "large product", "copy"
Ceiling = str | int
"""PRODUCT, COPY, or the number of seeds whose own products are meant."""


@dataclass(frozen=True)
class Row:
    """A line of a throughput table. Shares are of one thread's ceilings on a CPU."""

    case: Case
    rate: Spread  # images per second, summed over seeds and processes
    ratio: Spread  # times the plain loop's
    time: Spread  # times the plain loop's
    of_product: float  # share of the rate of a large matrix product
    of_own: float  # share of the rate of the layers' own products
    of_copy: float  # share of the bandwidth of a copy


def is_convolutional(work: Workload) -> bool:
    """Tell whether a network has convolutions."""
    return not work.network.startswith("mlp")


def cases(work: Workload, device: str, scale: Scale, count: int) -> list[Case]:
    """Return the rows of a network's table; the first is the plain loop, which is compared with.

    With ``count`` > 1 some come again with as many processes at the same time.
    """
    seeds = scale.seeds
    if is_convolutional(work) and device == "cpu":
        seeds = tuple(number for number in seeds if number <= scale.convolution_seeds)
    together = max((number for number in seeds if number <= 10), default=1)
    single = [
        Case(work, "plain loop", 1, device),
        Case(work, "solo", 1, device),
        *(Case(work, "stacked", number, device) for number in seeds),
    ]
    if device == "cuda":
        single.append(Case(work, "stacked", together, device, recorded=False))
    elif is_convolutional(work):
        single.append(Case(work, "solo", 1, device, keeps=False))
    else:
        single.append(Case(work, "stacked", together, device, keeps=False))
    again = [*single[:2], Case(work, "stacked", together, device)] if count > 1 else []
    found = [*single, *(replace(case, processes=count) for case in again)]
    return [replace(case, at_least=scale.at_least) for case in found]


def measured(
    chosen: list[Case], scale: Scale, repeats: int, where: Places
) -> tuple[dict[Case, list[float]], dict[Ceiling, list[float]]]:
    """Return the seconds of every case, and the ceilings of the same repeats."""
    device, work = chosen[0].device, chosen[0].work
    layers = layers_of(work.network, work.shape, work.units)
    batch = work.training.batch_size

    def own(seeds: int) -> float:
        return own_products_seconds(layers, batch, seeds, device, scale.calls)

    def seconds(case: Case) -> float:
        by_hand = case.kind == "plain loop" or not case.keeps
        setup = as_a_script if by_hand else as_a_worker
        return where[setup, case.processes].seconds(measure, case)

    things = {
        **{case: lambda case=case: seconds(case) for case in chosen},
        PRODUCT: lambda: product_rate(device, scale.product_side),
        COPY: lambda: bandwidth(device, scale.copied),
        **{seeds: lambda seeds=seeds: own(seeds) for seeds in {case.seeds for case in chosen}},
    }
    found = in_turn(things, repeats)
    times = {case: found.pop(case) for case in chosen}
    return times, found


def rows(times: dict[Case, list[float]], ceilings: dict[Ceiling, list[float]]) -> list[Row]:
    """Return the lines of a table, in the order of the cases; the first case is the reference."""
    plain, *_ = times
    work = plain.work
    layers = layers_of(work.network, work.shape, work.units)
    batch = work.training.batch_size
    parameters = parameter_count(work)
    rates = {case: [case.trained / s for s in seconds] for case, seconds in times.items()}
    found = []
    for case, seconds in times.items():
        # of one process, for which the ceilings hold
        steps = [case.work.steps / s for s in seconds]
        done = [case.seeds * step_operations(layers, batch) * s for s in steps]
        moved = [case.seeds * step_bytes(layers, parameters, batch) * s for s in steps]
        by_themselves = [1 / s for s in ceilings[case.seeds]]
        found.append(
            Row(
                case,
                spread(rates[case]),
                ratios(rates[case], rates[plain]),
                ratios(seconds, times[plain]),
                ratios(done, ceilings[PRODUCT]).median,
                ratios(steps, by_themselves).median,
                ratios(moved, ceilings[COPY]).median,
            )
        )
    return found


def parameter_count(work: Workload) -> int:
    """Return the number of a network's parameters."""
    initial = cohort_of(replace(work, images=work.training.batch_size), 1, "cpu").initial
    return sum(value.numel() for value in initial.values())


def throughput_table(found: list[Row]) -> list[str]:
    """Return the rows as lines of Markdown, with the arithmetic they are counted from."""
    work = found[0].case.work
    layers = layers_of(work.network, work.shape, work.units)
    batch = work.training.batch_size
    count = parameter_count(work)
    return [
        f"### {work.title}: `{work.network}`, batches of {batch}",
        "",
        f"{count:,} parameters; a step of one seed is "
        f"{step_operations(layers, batch) / 1e6:,.1f} million operations and moves at least "
        f"{step_bytes(layers, count, batch) / 1e6:,.1f} MB.",
        "",
        "| how | processes | seeds each | images/s, all together | times the plain loop "
        "| time over its time | of a large product | of the layers' own | of a copy |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {row.case.how} | {row.case.processes} | {row.case.seeds} "
            f"| {row.rate.median:,.0f} | {row.ratio} | {row.time.median:.2f} "
            f"| {100 * row.of_product:.0f} % "
            f"| {100 * row.of_own:.0f} % | {100 * row.of_copy:.0f} % |"
            for row in found
        ),
        "",
    ]


def ceilings_line(ceilings: dict[Ceiling, list[float]]) -> str:
    """Return what was measured of the hardware beside a table."""
    product, copy = spread(ceilings[PRODUCT]), spread(ceilings[COPY])
    return (
        f"Ceilings beside it: large product {product.median / 1e9:,.1f} billion operations/s "
        f"[{product.least / 1e9:,.1f}, {product.greatest / 1e9:,.1f}], "
        f"copy {copy.median / 1e9:,.1f} GB/s [{copy.least / 1e9:,.1f}, {copy.greatest / 1e9:,.1f}]."
    )
