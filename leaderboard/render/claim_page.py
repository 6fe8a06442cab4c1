"""The answer to the paper's claim: a page of Markdown, and its numbers as CSV.

The columns of the CSV file are an interface that docs/reference/columns.md promises.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version

from driftboard.leaderboard.analysis.statistics import PairedDifference
from driftboard.leaderboard.claim.fit import (
    FEWEST_FAMILIES,
    FEWEST_RANKED,
    FEWEST_SEQUENCES,
    Fitted,
    Trend,
)
from driftboard.leaderboard.claim.trend import (
    CONTRASTS,
    GROUPS,
    PAPER,
    Claim,
    Contrast,
    ContrastPoint,
    ContrastResult,
    Group,
)
from driftboard.leaderboard.column import Value
from driftboard.leaderboard.formatting import (
    CROSSING,
    LOW_RELIABILITY,
    NOTHING,
    distance_text,
    estimate_text,
    graded_text,
    interval_text,
)
from driftboard.leaderboard.render.csv import csv_text
from driftboard.leaderboard.render.markdown import markdown_cell, markdown_table, note_lists
from driftboard.leaderboard.words import caveats, collection_notes, extent
from driftboard.suite.errors import counted

COLUMNS: tuple[str, ...] = ("contrast", "metric", "data", "what", "sequence", "other")
COLUMNS += ("distance", "distance_low", "distance_high", "grade", "value", "low", "high", "n")
COLUMNS += ("diverged", "finished", "finished_low", "finished_high", "reliability")
COLUMNS += ("seeds_low", "seeds_high", "seeds")


def claim_page(claim: Claim, command: str, figure: str, further: Sequence[str] = ()) -> str:
    """Return the whole page.

    Args:
        claim: what it is about.
        command: printed in the legend as the way to make it again.
        figure: the path of the picture that it shows.
        further: parts that stand before the legend.
    """
    parts = ["# Does a small distance favour freezing?", _summary(claim), *answer(claim)]
    parts += note_lists(collection_notes(claim.source))
    parts.append(f"![Difference against distance]({figure})")
    parts += left_out(claim, markdown_cell)
    for contrast in CONTRASTS:
        parts += _contrast(claim, contrast)
    parts += [*further, _legend(claim, command)]
    return "\n\n".join(parts) + "\n"


def answer(claim: Claim) -> list[str]:
    """Return a paragraph for each group of sequences on the paper's claim, from its numbers."""
    return [
        " ".join([_about(group, claim), *map(_sentence, results)])
        for group in GROUPS
        if (results := claim.of(PAPER, group)) and results[0].points
    ]


def left_out(claim: Claim, escape: Callable[[str], str] = str) -> list[str]:
    """Return a line for each reason for which sequences are in no fit.

    ``escape`` makes names and reasons harmless for the format that they are shown in.
    """
    lines = []
    if claim.unusable:
        listed = "; ".join(escape(f"{name} ({why})") for name, why in claim.unusable.items())
        lines.append(f"Without a usable distance, so in no fit: {listed}.")
    if claim.absent:
        lines.append(f"Graded, but without records here: {', '.join(map(escape, claim.absent))}.")
    unreliable = {
        point.sequence: point.grade.reliability
        for result in claim.of(PAPER)
        for point in result.points
        if point.grade is not None and point.grade.is_unreliable
    }
    if unreliable:
        listed = "; ".join(escape(f"{name} ({of:.2f})") for name, of in unreliable.items())
        lines.append(f"Distances of low reliability: {listed}.")
    return [*lines, *_diverged(claim)]


def _diverged(claim: Claim) -> list[str]:
    """Return how many runs of the strategies that are compared diverged, if any did."""
    compared = {name for one in CONTRASTS for name in (one.first, *one.others)}
    cells = [cell for cell in claim.source.cells if cell.strategy in compared]
    diverged = Counter(cell.strategy for cell in cells if not cell.has_finished)
    if not diverged:
        return []
    runs = Counter(cell.strategy for cell in cells)
    listed = ", ".join(f"`{name}` {count} of {runs[name]}" for name, count in diverged.items())
    as_what = "accuracy of chance" if claim.metrics[0].is_share else "losses in their records"
    return [
        f"Diverged runs, which count with the {as_what} in differences and fits: {listed}; "
        "differences after `finished` are without them."
    ]


def _summary(claim: Claim) -> str:
    return (
        "The claim of arXiv 2602.20796: where tasks lie close together in parameter space, "
        "frozen training does better than initialized training. Tested on "
        f"{extent(claim.source)}{caveats(claim.source)}"
    )


def _about(group: Group, claim: Claim) -> str:
    result = claim.of(PAPER, group)[0]
    trend = result.trend
    if trend is None:
        return f"**{GROUPS[group].capitalize()}** ({counted(len(result.points), 'sequence')})."
    sequences, seeds = counted(trend.sequences, "sequence"), counted(trend.seeds, "seed")
    return (
        f"**{GROUPS[group].capitalize()}** ({sequences} at distances {trend.nearest:z.2f} to "
        f"{trend.farthest:z.2f}, {seeds}; differences in {_unit(claim)}; the first interval is "
        f"over {_units(trend)} and decides, the second over seeds)."
    )


def _units(trend: Trend) -> str:
    if trend.families is None:
        return "sequences"
    return f"{counted(trend.families, 'family', 'families')} of sequences"


def _sentence(result: ContrastResult) -> str:
    """Return what one result says about 'a small distance favours the first strategy'."""
    first, other = result.contrast.first, result.contrast.others[0]
    title, trend = result.metric.title, result.trend
    if trend is None:
        return f"{title}: cannot be said, {result.no_trend}."
    change = {
        "falls": f"the advantage of {first} falls as the distance grows",
        "rises": f"the advantage of {first} rises with the distance",
        "unclear": f"the advantage of {first} has no clear trend with the distance",
    }[result.change]
    ahead = {
        "first": f"{first} is ahead at the smallest distance",
        "other": f"{other} is ahead at the smallest distance",
        "neither": "neither is clearly ahead at the smallest distance",
    }[result.ahead]
    verdict = "holds" if result.holds else "does not hold"
    text = (
        f"{title}: the claim **{verdict}**; {change} (slope {_fitted(result, trend.slope)}, "
        f"Spearman {fitted_text(trend.spearman, sign='+')}), and {ahead} "
        f"({_fitted(result, trend.at_nearest)})"
    )
    if trend.crossover is not None:
        text += f"; the fitted line crosses zero at {fitted_text(trend.crossover)}"
    return f"{text}."


def _contrast(claim: Claim, contrast: Contrast) -> list[str]:
    results = claim.of(contrast)
    parts = [f"## {contrast.title[:1].upper()}{contrast.title[1:]}"]
    strategies = {cell.strategy for cell in claim.source.cells}
    absent = [name for name in (contrast.first, *contrast.others) if name not in strategies]
    if absent:
        return [*parts, f"There are no records of {_listed(absent)}."]
    if len(contrast.others) > 1:
        parts.append(
            "The best is chosen for each sequence and metric by the mean over the same seeds. "
            "That flatters it: it profits from luck, so an equally good strategy comes out behind."
        )
    missing = sorted({name for result in results for name in result.missing})
    if missing:
        parts.append(f"Not compared, because the strategies share no seed: {_listed(missing)}.")
    groups = [group for group in GROUPS if claim.of(contrast, group)[0].points]
    if groups:
        trends = [_trend_row(result) for group in groups for result in claim.of(contrast, group)]
        parts.append(markdown_table(trends, left=("Data", "Metric")))
        rows = [row for group in groups for row in _point_rows(claim, contrast, group)]
        parts.append(markdown_table(rows, left=("Data", "Sequence", "Grade")))
    return parts


def _trend_row(result: ContrastResult) -> dict[str, str]:
    trend = result.trend
    cells = {"Data": GROUPS[result.group], "Metric": result.metric.title}
    if trend is None:
        names = ("Sequences", "Seeds", "Spearman", "Slope", "At the smallest", "Crossover")
        return {**cells, **dict.fromkeys(names, NOTHING), "Favoured near": result.no_trend}
    return {
        **cells,
        "Sequences": str(trend.sequences),
        "Seeds": str(trend.seeds),
        "Spearman": fitted_text(trend.spearman, sign="+"),
        "Slope": _fitted(result, trend.slope),
        "At the smallest": _fitted(result, trend.at_nearest),
        "Crossover": "none" if trend.crossover is None else fitted_text(trend.crossover),
        "Favoured near": "yes" if result.holds else "no",
    }


def _point_rows(claim: Claim, contrast: Contrast, group: Group) -> list[dict[str, str]]:
    """Return a row per sequence; all metrics have the same points."""
    results = claim.of(contrast, group)
    rows = []
    for points in zip(*(result.points for result in results), strict=True):
        row = {"Data": GROUPS[group], **_place(points[0])}
        for result, point in zip(results, points, strict=True):
            text = _difference(result, point.difference)
            best = f" ({point.other})" if len(contrast.others) > 1 else ""
            if point.diverged:
                best += f"; finished {_difference(result, point.finished)}"
            row[result.metric.title] = text + best
        diverged = max(point.diverged for point in points)
        seeds = f"{points[0].difference.n}"
        row["Seeds"] = f"{seeds}, {diverged} diverged" if diverged else seeds
        rows.append(row)
    return rows


def _place(point: ContrastPoint) -> dict[str, str]:
    grade = point.grade
    return {
        "Sequence": f"`{point.sequence}`",
        "Distance": NOTHING if grade is None else graded_text(grade),
        "Grade": NOTHING if grade is None else str(grade.level),
    }


def _difference(result: ContrastResult, found: PairedDifference) -> str:
    return interval_text(found, result.metric.is_share, sign="+")


def _fitted(result: ContrastResult, fitted: Fitted) -> str:
    """Return a number in the metric's unit with both intervals, that over sequences first."""
    texts = [
        estimate_text(one.value, one.low, one.high, result.metric.is_share, sign="+")
        for one in fitted
    ]
    return _both(*texts)


def fitted_text(fitted: Fitted, sign: str = "") -> str:
    """Return a number without a unit, with both intervals, that over sequences first."""
    return _both(*(distance_text(one, sign=sign) for one in fitted))


def _both(over_sequences: str, over_seeds: str) -> str:
    _, bracket, bounds = over_seeds.partition("[")
    return f"{over_sequences}, seeds {bracket}{bounds}" if bracket else over_sequences


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _unit(claim: Claim) -> str:
    return "points of percent" if claim.metrics[0].is_share else "excess loss"


def _legend(claim: Claim, command: str) -> str:
    protocol = claim.source.protocol
    lower = [metric.title for metric in claim.metrics if metric.lower_is_better]
    points = [
        f"Differences, slopes (per unit of distance) and values of the fit are in {_unit(claim)}. "
        f"Lower is better in {', '.join(lower)}: there a negative difference is an advantage of "
        "the first strategy.",
        "Sequence: the mean difference over the seeds that its strategies share, with its 95 % "
        "paired t interval. Distance: the measured parameter distance, with its 95 % jackknife "
        f"interval over the grading's seeds; `{CROSSING}`: the interval contains a cut-off "
        f"between grades; `{LOW_RELIABILITY}`: its reliability is low.",
        "Fit: over the graded sequences of a group and the seeds that all of them share; at "
        f"least {FEWEST_SEQUENCES} sequences. The first interval of a number is over new "
        "sequences, which is what a statement about distances is about; the second, after "
        "*seeds*, over new seeds on these sequences. Distances count as known, so the uncertainty "
        "of a distance is in neither, and nothing is corrected for the number of intervals.",
        f"Line over sequences: with at least {FEWEST_FAMILIES} families (one kind of sequence, "
        "such as rotations, by its name) by jackknife over families; else t intervals, for the "
        "crossover Fieller's, from the sequences' scatter around it, with two degrees of freedom "
        "less than sequences.",
        "Slope: of the least-squares line through the sequences' mean differences. At the "
        "smallest: height of that line at the smallest distance. Over seeds: t intervals over the "
        "lines of each seed.",
        "Spearman: rank correlation of mean difference and distance. Over sequences: Fisher's "
        f"transformation, from {FEWEST_RANKED} sequences on. Over seeds: jackknife; it moves in "
        "steps, so an interval of width zero only says that no single seed changes the order.",
        "Crossover: where the line is zero. Over seeds: jackknife. None if the slope's interval "
        "over sequences contains zero or the line has no zero within the measured distances.",
        "Favoured near, or 'the claim holds': the intervals over sequences of slope and Spearman "
        "both say that the first strategy's advantage falls with distance, and that of the line "
        "says that it is ahead at the smallest distance.",
        "Few samples in later tasks: sequences with `fewshot` in their name.",
        f"Protocol: `{protocol.name}` version {protocol.version}, hash `{protocol.hash}`.",
        f"Made with: driftboard {version('driftboard')}, scipy {version('scipy')}.",
        f"Command: <code>{markdown_cell(command)}</code>",
    ]
    return "## Legend\n\n" + "\n".join(f"- {point}" for point in points)


def claim_csv(claim: Claim) -> str:
    """Return one row per difference on a sequence and per number of a fit, raw and unrounded."""
    return csv_text(COLUMNS, (line for result in claim.results for line in _lines(result)))


def _lines(result: ContrastResult) -> Iterator[dict[str, Value]]:
    about: dict[str, Value] = {
        "contrast": result.contrast.title,
        "metric": result.metric.name,
        "data": result.group,
    }
    for point in result.points:
        found = point.difference
        interval: dict[str, Value] = {
            "value": found.mean,
            "low": found.low,
            "high": found.high,
            "n": found.n,
            "diverged": point.diverged,
        }
        if point.diverged:
            without = point.finished.mean, point.finished.low, point.finished.high
            names = ("finished", "finished_low", "finished_high")
            interval |= dict(zip(names, without, strict=True))
        yield about | {"what": "difference"} | _columns_of(point) | interval
    trend = result.trend
    if trend is None:
        return
    numbers: dict[str, Fitted | None] = {
        "slope": trend.slope,
        "intercept": trend.intercept,
        "at-nearest": trend.at_nearest,
        "spearman": trend.spearman,
        "crossover": trend.crossover,
    }
    for what, fitted in numbers.items():
        if fitted is not None:
            one, seeds = fitted
            of_seeds: dict[str, Value] = {
                "seeds_low": seeds.low,
                "seeds_high": seeds.high,
                "seeds": seeds.n,
            }
            over_sequences: dict[str, Value] = {
                "value": one.value,
                "low": one.low,
                "high": one.high,
                "n": one.n,
            }
            yield about | {"what": what} | over_sequences | of_seeds


def _columns_of(point: ContrastPoint) -> dict[str, Value]:
    place: dict[str, Value] = {"sequence": point.sequence, "other": point.other}
    if point.grade is None:
        return place
    distance = point.grade.distance
    return place | {
        "distance": distance.value,
        "distance_low": distance.low,
        "distance_high": distance.high,
        "grade": point.grade.level,
        "reliability": point.grade.reliability,
    }
