"""Names chosen by patterns such as ``fashion-*``."""

import difflib
import fnmatch
from collections.abc import Collection, Iterable

from driftboard.suite.errors import DriftboardError


def matching(patterns: Iterable[str] | None, known: Collection[str], what: str) -> set[str]:
    """Return the names that match any of the patterns; None matches all.

    Every pattern must match something: what is left out silently looks as if it were there.

    >>> sorted(matching(["e*", "sgd"], ["sgd", "ewc", "hybrid"], "there is no strategy"))
    ['ewc', 'sgd']

    Raises:
        DriftboardError: one matches nothing; ``what`` begins the message.
    """
    if patterns is None:
        return set(known)
    found: set[str] = set()
    for pattern in patterns:
        matches = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
        if not matches:
            raise DriftboardError(no_match(pattern, known, what))
        found.update(matches)
    return found


def no_match(name: str, known: Collection[str], what: str) -> str:
    """Return a message that begins with ``what`` and says which names are near, or that there are.

    >>> no_match("egc", ["sgd", "ewc"], "there is no strategy")
    "there is no strategy 'egc'; did you mean ewc?"
    """
    near = difflib.get_close_matches(name, sorted(known), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
    return f"{what} '{name}'; {hint}"
