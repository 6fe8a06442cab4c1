"""The answer to the paper's claim in Markdown: a paragraph in words, and every number behind it."""

from collections.abc import Callable, Sequence
from importlib.metadata import version

from driftboard.leaderboard.analysis.statistics import Interval, PairedDifference
from driftboard.leaderboard.claim.claim import (
    CONTRASTS,
    FEWEST_SEQUENCES,
    GROUPS,
    PAPER,
    Claim,
    Contrast,
    Finding,
    Group,
    Point,
)
from driftboard.leaderboard.render.layout import CROSSING, NOTHING, distance_text, estimate_text
from driftboard.leaderboard.render.legend import caveats
from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.leaderboard.render.text import markdown_cell
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.wording import counted


def claim_page(claim: Claim, command: str, figure: str) -> str:
    """Return the whole page; ``figure`` is the path of the picture that it shows."""
    parts = ["# Does a small distance favour freezing?", _summary(claim), *answer(claim)]
    parts.append(f"![Difference against distance]({figure})")
    parts += left_out(claim, markdown_cell)
    for contrast in CONTRASTS:
        parts += _contrast(claim, contrast)
    parts.append(_legend(claim, command))
    return "\n\n".join(parts) + "\n"


def answer(claim: Claim) -> list[str]:
    """Return a paragraph for each group of sequences on the paper's claim, from its numbers."""
    return [
        " ".join([_about(group, claim), *map(_sentence, findings)])
        for group in GROUPS
        if (findings := claim.of(PAPER, group)) and findings[0].points
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
    return lines


def _summary(claim: Claim) -> str:
    collection = claim.source
    seeds = {cell.seed for cell in collection.cells}
    text = (
        f"The claim of arXiv 2602.20796: where tasks lie close together in parameter space, "
        f"frozen training does better than initialized training. Tested on "
        f"{counted(len(collection.sequences), 'sequence')} with {counted(len(seeds), 'seed')}, "
        f"{counted(len(collection.cells), 'record')}, {collection.split} split."
    )
    return text + caveats(collection)


def _about(group: Group, claim: Claim) -> str:
    finding = claim.of(PAPER, group)[0]
    trend = finding.trend
    if trend is None:
        return f"**{GROUPS[group].capitalize()}** ({counted(len(finding.points), 'sequence')})."
    sequences, seeds = counted(trend.sequences, "sequence"), counted(trend.seeds, "seed")
    return (
        f"**{GROUPS[group].capitalize()}** ({sequences} at distances {trend.nearest:z.2f} to "
        f"{trend.farthest:z.2f}, {seeds}; differences in {_unit(claim)})."
    )


def _sentence(finding: Finding) -> str:
    """Return what one finding says of 'a small distance favours the first strategy'."""
    first, other = finding.contrast.first, finding.contrast.others[0]
    title, trend = finding.metric.title, finding.trend
    if trend is None:
        return f"{title}: cannot be said, {finding.no_trend}."
    change = {
        "falls": f"the advantage of {first} falls as the distance grows",
        "rises": f"the advantage of {first} rises with the distance",
        "unclear": f"the advantage of {first} has no clear trend with the distance",
    }[finding.change]
    ahead = {
        "first": f"{first} is ahead at the smallest distance",
        "other": f"{other} is ahead at the smallest distance",
        "neither": "neither is clearly ahead at the smallest distance",
    }[finding.ahead]
    verdict = "holds" if finding.holds else "does not hold"
    text = (
        f"{title}: the claim **{verdict}**; {change} (slope {_difference(finding, trend.slope)}, "
        f"Spearman {_ranks(trend.spearman)}), and {ahead} "
        f"({_difference(finding, trend.at_nearest)})"
    )
    if trend.crossover is not None:
        text += f"; the fitted line crosses zero at {distance_text(trend.crossover)}"
    return f"{text}."


def _contrast(claim: Claim, contrast: Contrast) -> list[str]:
    findings = claim.of(contrast)
    parts = [f"## {_heading(contrast)}"]
    strategies = {cell.strategy for cell in claim.source.cells}
    absent = [name for name in (contrast.first, *contrast.others) if name not in strategies]
    if absent:
        return [*parts, f"There are no records of {_listed(absent)}."]
    if len(contrast.others) > 1:
        parts.append(
            "The best is chosen for each sequence and metric by the mean over the same seeds. "
            "That flatters it: it profits from luck, so an equally good strategy comes out behind."
        )
    missing = sorted({name for finding in findings for name in finding.missing})
    if missing:
        parts.append(f"Not compared, because the strategies share no seed: {_listed(missing)}.")
    groups = [group for group in GROUPS if claim.of(contrast, group)[0].points]
    if groups:
        trends = [_trend_row(finding) for group in groups for finding in claim.of(contrast, group)]
        parts.append(markdown_table(trends, left=("Data", "Metric")))
        rows = [row for group in groups for row in _point_rows(claim, contrast, group)]
        parts.append(markdown_table(rows, left=("Data", "Sequence", "Grade")))
    return parts


def _heading(contrast: Contrast) -> str:
    return contrast.title[:1].upper() + contrast.title[1:]


def _trend_row(finding: Finding) -> dict[str, str]:
    trend = finding.trend
    cells = {"Data": GROUPS[finding.group], "Metric": finding.metric.title}
    if trend is None:
        names = ("Sequences", "Seeds", "Spearman", "Slope", "At the smallest", "Crossover")
        return {**cells, **dict.fromkeys(names, NOTHING), "Favoured near": finding.no_trend}
    return {
        **cells,
        "Sequences": str(trend.sequences),
        "Seeds": str(trend.seeds),
        "Spearman": _ranks(trend.spearman),
        "Slope": _difference(finding, trend.slope),
        "At the smallest": _difference(finding, trend.at_nearest),
        "Crossover": "none" if trend.crossover is None else distance_text(trend.crossover),
        "Favoured near": "yes" if finding.holds else "no",
    }


def _point_rows(claim: Claim, contrast: Contrast, group: Group) -> list[dict[str, str]]:
    """Return a row per sequence; all metrics have the same points."""
    findings = claim.of(contrast, group)
    rows = []
    for points in zip(*(finding.points for finding in findings), strict=True):
        row = {"Data": GROUPS[group], **_place(points[0])}
        for finding, point in zip(findings, points, strict=True):
            text = _difference(finding, point.difference)
            best = f" ({point.other})" if len(contrast.others) > 1 else ""
            row[finding.metric.title] = text + best
        row["Seeds"] = str(points[0].difference.n)
        rows.append(row)
    return rows


def _place(point: Point) -> dict[str, str]:
    grade = point.grade
    return {
        "Sequence": f"`{point.sequence}`",
        "Distance": NOTHING if grade is None else distance_text(grade.distance, grade.crosses),
        "Grade": NOTHING if grade is None else str(grade.level),
    }


def _difference(finding: Finding, found: Interval | PairedDifference) -> str:
    return estimate_text(found.mean, found.low, found.high, finding.metric.is_share, sign="+")


def _ranks(found: Estimate) -> str:
    if found.value != found.value:
        return NOTHING
    if found.low != found.low:
        return f"{found.value:+z.2f}"
    return f"{found.value:+z.2f} [{found.low:+z.2f}, {found.high:+z.2f}]"


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
        "between grades.",
        "Fit: over the graded sequences of a group and the seeds that all of them share; at "
        f"least {FEWEST_SEQUENCES} sequences. Distances count as known, so the uncertainty of a "
        "distance is not in the intervals; they are over new seeds on these sequences, not over "
        "other sequences, and are not corrected for their number.",
        "Spearman: rank correlation of mean difference and distance, interval by jackknife over "
        "seeds; it moves in steps, so an interval of width zero only says that no single seed "
        "changes the order. Slope: mean of the slopes of lines fitted to each seed's differences, "
        "t interval. At the smallest: value of the line at the smallest distance.",
        "Crossover: where the mean line is zero, interval by jackknife over seeds; none if the "
        "slope's interval contains zero or the line has no zero within the measured distances.",
        "Favoured near, or 'the claim holds': the intervals of slope and Spearman both say that "
        "the first strategy's advantage falls with distance, and that of the line says that it is "
        "ahead at the smallest distance.",
        "Few samples in later tasks: sequences with `fewshot` in their name.",
        f"Protocol: `{protocol.name}` version {protocol.version}, hash `{protocol.hash}`.",
        f"Made with: driftboard {version('driftboard')}, scipy {version('scipy')}.",
        f"Command: <code>{markdown_cell(command)}</code>",
    ]
    return "## Legend\n\n" + "\n".join(f"- {point}" for point in points)
