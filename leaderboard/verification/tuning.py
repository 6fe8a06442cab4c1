"""Was the setting chosen as all others are: in as many trials, and never on what is reported?"""

import math
from collections.abc import Iterator

from driftboard.leaderboard.verification.findings import Finding
from driftboard.leaderboard.verification.material import Material
from driftboard.suite.protocol import PROTOCOL, TUNING
from driftboard.suite.records import StrategyStamp
from driftboard.suite.sequences.registry import registered
from driftboard.suite.tuning import TuningRecord

RATE = "rate"
RATE_PRECISION = 0.01  # a rate is written with three digits
SCORE_PRECISION = 1e-9


def check_tuning(material: Material) -> Finding:
    """The tuning record is one of this protocol, and its best trial is what was submitted."""
    if not material.tuning:
        found = "no tuning record: the setting was not chosen by trials that all get alike"
        return Finding("warning", "tuning", found, "add one with `driftboard tune` and --tuning")
    if len(material.tuning) > 1:
        found = f"{len(material.tuning)} tuning records"
        return Finding("FAILED", "tuning", found, "leave only that of the strategy")
    record = material.tuning[0]
    problem = next(_problems(record, material.submission.strategy), None)
    if problem:
        return Finding("FAILED", "tuning", problem, "tune again with `driftboard tune`")
    own = material.submission.strategy
    if record.trials[record.chosen].strategy.source_hash != own.source_hash:
        found = "tuned with another version of the source"
        return Finding("warning", "tuning", found, "tune again if more than comments changed")
    found = f"the best of {len(record.trials)} trials on {len(record.sequences)} sequences"
    return Finding("ok", "tuning", found)


def _problems(record: TuningRecord, strategy: StrategyStamp) -> Iterator[str]:
    """Yield what is wrong with a tuning record, the gravest first."""
    if record.protocol != PROTOCOL.stamp() or record.tuning != TUNING.stamp():
        yield "it is of another protocol"
    if record.seeds != PROTOCOL.tuning_seeds:
        yield f"it used the seeds {list(record.seeds)[:10]}, not the tuning seeds"
    known = {name: sequence.hash() for name, sequence in registered().items()}
    changed = [name for name, digest in record.sequences.items() if known.get(name) != digest]
    if changed or not record.sequences:
        yield f"its sequences are not the registry's: {', '.join(sorted(changed)[:4]) or 'none'}"
    if len(record.trials) != TUNING.trials:
        yield f"it has {len(record.trials)} trials, not {TUNING.trials}"
        return
    if len({trial.strategy.source_hash for trial in record.trials}) > 1:
        yield "its trials are of several sources"
    if not _rates_are_haltons(record):
        yield "its learning rates are not those of the trials that every strategy gets"
    scores = [trial.avg_acc for trial in record.trials]
    if not all(0.0 <= score <= 1.0 for score in scores):
        yield "a trial's Avg.Acc is not between 0 and 1"
    if record.chosen >= len(scores) or scores[record.chosen] < max(scores) - SCORE_PRECISION:
        yield "the chosen trial is not the best"
        return
    chosen = record.trials[record.chosen].strategy.parameters
    if {RATE: 1.0, **chosen} != {RATE: 1.0, **strategy.parameters}:
        yield f"its best trial has {chosen}, the submission {strategy.parameters}"


def halton_rates() -> list[float]:
    """Return the learning rates of all trials but the first: a Halton sequence in base 2."""
    low, high = TUNING.lowest_rate, TUNING.highest_rate
    places = [_mirrored(number) for number in range(1, TUNING.trials)]
    return [low * math.pow(high / low, place) for place in places]


def _mirrored(number: int) -> float:
    """Return a number's binary digits mirrored at the point, in (0, 1)."""
    digits = f"{number:b}"
    return math.ldexp(int(digits[::-1], 2), -len(digits))


def _rates_are_haltons(record: TuningRecord) -> bool:
    first, *others = [trial.strategy.parameters.get(RATE) for trial in record.trials]
    return first is None and all(
        isinstance(rate, float) and abs(rate - wanted) <= RATE_PRECISION * wanted
        for rate, wanted in zip(others, halton_rates(), strict=True)
    )
