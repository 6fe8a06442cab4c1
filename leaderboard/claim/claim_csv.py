"""The claim's numbers as a tidy CSV file; its columns are promised in the README."""

from collections.abc import Iterator

from driftboard.leaderboard.analysis.statistics import Interval, PairedDifference
from driftboard.leaderboard.claim.claim import Claim, Finding, Point
from driftboard.leaderboard.render.csv_file import Value, csv_text
from driftboard.suite.distance.distance import Estimate

COLUMNS = (
    "contrast",
    "metric",
    "data",
    "what",
    "sequence",
    "other",
    "distance",
    "distance_low",
    "distance_high",
    "grade",
    "value",
    "low",
    "high",
    "n",
)


def claim_csv(claim: Claim) -> str:
    """Return one row per difference on a sequence and per number of a fit, raw and unrounded."""
    return csv_text(COLUMNS, (line for finding in claim.findings for line in _lines(finding)))


def _lines(finding: Finding) -> Iterator[dict[str, Value]]:
    about: dict[str, Value] = {
        "contrast": finding.contrast.title,
        "metric": finding.metric.name,
        "data": finding.group,
    }
    for point in finding.points:
        yield about | {"what": "difference"} | _place(point) | _interval(point.difference)
    trend = finding.trend
    if trend is None:
        return
    for what, interval in (
        ("slope", trend.slope),
        ("intercept", trend.intercept),
        ("at-nearest", trend.at_nearest),
    ):
        yield about | {"what": what} | _interval(interval)
    yield about | {"what": "spearman"} | _estimate(trend.spearman)
    if trend.crossover is not None:
        yield about | {"what": "crossover"} | _estimate(trend.crossover)


def _place(point: Point) -> dict[str, Value]:
    place: dict[str, Value] = {"sequence": point.sequence, "other": point.other}
    if point.grade is None:
        return place
    distance = point.grade.distance
    return place | {
        "distance": distance.value,
        "distance_low": distance.low,
        "distance_high": distance.high,
        "grade": point.grade.level,
    }


def _interval(found: Interval | PairedDifference) -> dict[str, Value]:
    return {"value": found.mean, "low": found.low, "high": found.high, "n": found.n}


def _estimate(found: Estimate) -> dict[str, Value]:
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
