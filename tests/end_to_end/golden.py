"""Write what must not change while the code is moved and renamed: hashes of all that is seeded.

    python tests/end_to_end/golden.py > tests/end_to_end/golden.json

Records carry these hashes, so a change of one makes published records strangers. Run it only
together with a new version of the protocol, or to add a sequence or a strategy.
"""

import hashlib
import json
import sys
from typing import Any

from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.suite.data import load_pool
from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import GRADING, PROTOCOL, TUNING
from driftboard.suite.rng import stream
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.splits import make_splits


def golden() -> dict[str, Any]:
    """Return everything that is compared, as plain data."""
    sequences = registered()
    pool = load_pool("digits", None)
    digits = [one for one in sequences.values() if one.source == "digits"]
    strategies = {name: load_strategy(name).stamp for name in BUILTIN | FURTHER}
    return {
        "protocols": {one.name: one.stamp().hash for one in (PROTOCOL, GRADING, TUNING)},
        "sequences": {name: one.hash() for name, one in sequences.items()},
        "strategies": {
            name: {"parameters": one.parameters, "source": one.source_hash}
            for name, one in strategies.items()
        },
        "data": {"digits": pool.fingerprint},
        "splits": {
            f"{one.name} {purpose} {seed}": _digest(make_splits(one, pool, PROTOCOL, seed, purpose))
            for one in digits
            for purpose, seed in (("test", 0), ("test", 4), ("validation", 1000))
        },
        "streams": {
            str(seed): stream("golden", seed).integers(2**62, size=4).tolist() for seed in (0, 1)
        },
    }


def _digest(splits: Any) -> str:
    """Return the digest of the positions, images' changes and classes of every task."""
    found = hashlib.sha256()
    for recipe in splits:
        for field in sorted(recipe.__dataclass_fields__):
            value = getattr(recipe, field)
            if field == "transformation" and value is None:
                continue  # a field that came later, and that none of these has
            found.update(field.encode())
            found.update(value.tobytes() if hasattr(value, "tobytes") else repr(value).encode())
    return found.hexdigest()


if __name__ == "__main__":
    json.dump(golden(), sys.stdout, indent=1)
    print()
