"""A reproduction in words and tables: for the terminal, as Markdown and as CSV."""

import csv
import io
from collections.abc import Iterator

from driftboard.baselines.reproduction import Reproduced, Reproduction
from driftboard.baselines.verdict import Verdict
from driftboard.leaderboard.render.layout import estimate_text, number_text
from driftboard.leaderboard.render.markdown import markdown_table

VERDICTS: tuple[Verdict, ...] = ("REPRODUCED", "INCONCLUSIVE", "CONTRADICTED")
COLUMNS = (
    "sequence",
    "strategy",
    "metric",
    "verdict",
    "published",
    "found",
    "difference",
    "low",
    "high",
    "margin",
    "p_contradicted",
    "seeds",
    "paired",
    "identical",
    "seeds_needed",
)


def summary(reproduction: Reproduction) -> list[str]:
    """Return the verdicts in a few lines: how many of each, and what to look at."""
    rows = reproduction.rows
    counts = ", ".join(f"{reproduction.count(verdict)} {verdict}" for verdict in VERDICTS)
    identical = sum(row.judgement.difference.identical for row in rows)
    lines = [f"{len(rows)} numbers: {counts}; {identical} of them equal to the last digit"]
    if reproduction.changed:
        names = ", ".join(reproduction.changed)
        lines.append(f"source changed since the records were published: {names}")
    lines += [_in_words(row) for row in rows if row.judgement.verdict == "CONTRADICTED"]
    lines += [_in_words(row) for row in rows if row.judgement.verdict == "INCONCLUSIVE"]
    return lines


def reproduction_page(reproduction: Reproduction) -> str:
    """Return all verdicts as a page of Markdown."""
    parts = ["# Reproduction of the published baselines"]
    parts.append("\n".join(f"- {line}" for line in summary(reproduction)))
    parts.append(markdown_table([_cells(row) for row in reproduction.rows], left=_LEFT))
    parts.append(
        "Found minus published, with the 90 % t interval, paired by seed where the re-run used "
        "published seeds. REPRODUCED: the interval lies within the margin, twice the deviation "
        "over the published seeds and at least half a point. CONTRADICTED: the 95 % interval lies "
        "wholly outside it, with Holm's correction over all numbers. INCONCLUSIVE: neither."
    )
    return "\n\n".join(parts) + "\n"


def reproduction_csv(reproduction: Reproduction) -> str:
    """Return all verdicts with raw numbers; an empty cell means not defined."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_raw(row) for row in reproduction.rows)
    return file.getvalue()


_LEFT = ("Sequence", "Strategy", "Metric", "Verdict")


def _cells(row: Reproduced) -> dict[str, str]:
    is_share = row.metric.is_share
    found = row.judgement.difference
    scale = 100.0 if is_share else 1.0
    return {
        "Sequence": f"`{row.sequence}`",
        "Strategy": f"`{row.strategy}`",
        "Metric": row.metric.title,
        "Verdict": row.judgement.verdict,
        "Published": _one(row.published, is_share),
        "Found": _one(row.found, is_share),
        "Difference": estimate_text(found.mean, *found.interval(0.90), is_share, sign="+"),
        "Margin": number_text(scale * row.judgement.margin),
        "Seeds": str(found.n),
    }


def _one(value: float, is_share: bool) -> str:
    return estimate_text(value, value, value, is_share).partition(" ")[0]


def _raw(row: Reproduced) -> Iterator[str | int | float]:
    judgement = row.judgement
    found = judgement.difference
    low, high = found.interval(0.90)
    values = (row.published, row.found, found.mean, low, high, judgement.margin)
    yield from (row.sequence, row.strategy, row.metric.name, judgement.verdict)
    yield from ("" if value != value else value for value in (*values, judgement.p_contradicted))
    yield from (found.n, int(found.paired), int(found.identical))
    yield "" if judgement.seeds is None else judgement.seeds


def _in_words(row: Reproduced) -> str:
    """Return one verdict with its numbers, and what would settle it."""
    judgement = row.judgement
    is_share = row.metric.is_share
    found = judgement.difference
    scale = 100.0 if is_share else 1.0
    text = (
        f"{judgement.verdict}: {row.strategy} on {row.sequence}, {row.metric.title} "
        f"{_one(row.found, is_share)}, published {_one(row.published, is_share)}, difference "
        f"{estimate_text(found.mean, *found.interval(0.90), is_share, sign='+')} against a margin "
        f"of {number_text(scale * judgement.margin)}"
    )
    if judgement.verdict == "CONTRADICTED":
        return text
    if judgement.seeds is None:
        return f"{text}; run more seeds: these do not tell on which side it lies"
    return f"{text}; about {judgement.seeds} seeds would settle it"
