"""What a task sequence is: plain data, from which its tasks follow for every seed."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from msgspec import UNSET

from driftboard.suite.errors import DriftboardError
from driftboard.suite.protocol import PROTOCOL, FromOne, Protocol, Training, digest
from driftboard.suite.records import SequenceStamp
from driftboard.suite.sequences.network import AnyNetwork, Weights, name_of
from driftboard.suite.sequences.scenarios import Scenario, has_own_units

if TYPE_CHECKING:
    from driftboard.strategies.base import Block


Setting = Literal["task", "domain", "class"]

HASHED_AS = {"TaskSequence": "Sequence"}
"""What classes were called when the first records were published, whose hashes hold these names."""


@dataclass(frozen=True)
class TaskSequence:
    """One entry of the registry.

    Args:
        name: identifier, lower-case letters, digits, dots, hyphens and underscores.
        description: what its tasks are, in a sentence or two.
        tier: ``quick``, ``core``, ``full``, or ``own`` for a user's; decides the seeds.
        source: the data set, a name of ``driftboard data`` or ``folder:NAME``; or several, joined
            by ``+``, which are combined at the size of the first.
        scenario: how the data set becomes tasks.
        network: ``mlp-WIDTHxDEPTH``, ``resnet9-wWIDTH``, ``resnet18-wWIDTH`` or ``timm:MODEL``; or
            a network of your own, see ``NetworkDefinition``.
        train_per_class: training images of a class in a task; None takes all, cut to the
            smallest class so that every class and every seed has equally many.
        test_per_class: test images of a class in a task; None takes all.
        training: settings that differ from the protocol's for this network.
        balance: whether all classes have equally many training images. If not, each has all of
            its own, or ``train_per_class`` at the most, and ``test_per_class`` at the most.
        class_incremental: whether an answer is chosen from the classes of all tasks so far, in
            training and in tests. If not, it is chosen from those of the image's task.
        weights: pretrained weights of a network ``timm:MODEL``, of which the head alone is
            initialised by the seed. Images are scaled by the model's own mean and deviation.
    """

    name: str
    description: str
    source: str
    scenario: Scenario
    network: AnyNetwork
    tier: str = "own"
    train_per_class: FromOne | None = None
    test_per_class: FromOne | None = None
    training: Training | None = None
    balance: bool = True
    class_incremental: bool = False
    weights: Weights | None = None

    @property
    def network_name(self) -> str:
        """The name of the network, also where it is one of the user's own."""
        return name_of(self.network)

    @property
    def setting(self) -> Setting:
        """What a test tells, in the field's words.

        ``class``: nothing, and any class seen so far may be the answer; ``task``: of which task
        the image is, which decides the classes; ``domain``: nothing, all tasks have the same
        classes, or predict a number.
        """
        if self.class_incremental:
            return "class"
        return "task" if has_own_units(self.scenario) else "domain"

    def training_under(self, protocol: Protocol = PROTOCOL) -> Training:
        """Return the training settings that hold for this sequence."""
        return self.training or protocol.training_of(self.network_name)

    def hash(self, protocol: Protocol = PROTOCOL) -> str:
        """Return the digest of all that decides the sequence's results, its words left out."""
        plain = _plain(dataclasses.replace(self, training=self.training_under(protocol)))
        del plain["description"]
        # What all sequences were when the first records were published is not in their hashes.
        if self.balance:
            del plain["balance"]
        if not self.class_incremental:
            del plain["class_incremental"]
        if self.weights is None:
            del plain["weights"]
        else:
            del plain["weights"]["file"]  # the digest says which weights they are
        return digest(plain)

    def stamp(self, data: str, data_hash: str, blocks: "Iterable[Block]") -> SequenceStamp:
        """Return what records say of the sequence.

        Args:
            data: the title of the data that was read.
            data_hash: SHA-256 of the same, in hexadecimal.
            blocks: those of the network, from the input to the head.
        """
        names = tuple(block.name for block in blocks)
        weights = UNSET if self.weights is None else self.weights.sha256
        return SequenceStamp(self.name, self.hash(), self.tier, data, data_hash, names, weights)


def _plain(value: Any) -> Any:
    """Turn nested dataclasses into dicts that also carry the name of their class."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if not dataclasses.is_dataclass(value):
        return value
    kind = type(value)
    fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    # A user's own class is told apart by its code, too; see ``loading.add_sequence``.
    own = getattr(kind, "source_hash", None)
    source = {} if own is None else {"source": own}
    return {"class": HASHED_AS.get(kind.__name__, kind.__name__), **source, **fields}


def own_classes(sequence: TaskSequence) -> list[type]:
    """Return the classes of a user's own that decide what the tasks are, each once.

    These are the scenario, what it alters, transformations of images, and the network.
    """
    found: dict[type, None] = {}
    waiting: list[Any] = [sequence.network, sequence.scenario]
    while waiting:
        value = waiting.pop()
        if isinstance(value, tuple):
            waiting += value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            if not type(value).__module__.startswith("driftboard."):
                found[type(value)] = None
            waiting += [getattr(value, field.name) for field in dataclasses.fields(value)]
    return [*found]


def describe(sequence: TaskSequence, protocol: Protocol = PROTOCOL) -> dict[str, Any]:
    """Return all of a sequence as plain data, with its tasks, training and hash."""
    plain = _plain(dataclasses.replace(sequence, training=sequence.training_under(protocol)))
    return {**plain, "tasks": sequence.scenario.tasks, "hash": sequence.hash(protocol)}


class KnownSequences(dict[str, TaskSequence]):
    """Sequences by name; ``unsound`` says in a line each what is wrong with others of a user's.

    These only matter where they are chosen, see :func:`find_sequences`.
    """

    def __init__(
        self, sound: Mapping[str, TaskSequence], unsound: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sound)
        self.unsound = dict(unsound or {})


def _unsound(sequences: dict[str, TaskSequence]) -> dict[str, str]:
    return sequences.unsound if isinstance(sequences, KnownSequences) else {}


def family_of(name: str) -> str:
    """Return what a sequence is one of, by its name: data set and numbers are left out.

    >>> family_of("fashion-fewshot-rotated-30"), family_of("digits-split"), family_of("mine")
    ('fewshot-rotated', 'split', 'mine')
    """
    words = [word for word in name.split("-")[1:] if not word.isdigit()]
    return "-".join(words) or name


def find_sequences(
    patterns: Iterable[str], sequences: dict[str, TaskSequence]
) -> dict[str, TaskSequence]:
    """Return the sequences whose names match any of the shell-style patterns, in registry order.

    Raises:
        DriftboardError: a pattern matches nothing, and the nearest names are shown; or what it
            matches is not sound.
    """
    import difflib
    import fnmatch

    found: set[str] = set()
    unsound = _unsound(sequences)
    for pattern in patterns:
        for name in fnmatch.filter(unsound, pattern):
            raise DriftboardError(unsound[name])
        matches = fnmatch.filter(sequences, pattern)
        if not matches:
            near = difflib.get_close_matches(pattern, sequences, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(near)}?" if near else "see `driftboard sequences`"
            raise DriftboardError(f"there is no sequence '{pattern}'; {hint}")
        found.update(matches)
    return {name: sequence for name, sequence in sequences.items() if name in found}


def _check_tier(
    tier: str,
    patterns: Iterable[str],
    candidates: Mapping[str, TaskSequence],
    known: Mapping[str, TaskSequence],
) -> None:
    """Check that no pattern matches sequences of other tiers only.

    Raises:
        DriftboardError: one does.
    """
    import fnmatch

    for pattern in patterns:
        elsewhere = {known[name].tier for name in fnmatch.filter(known, pattern)}
        if elsewhere and not fnmatch.filter(candidates, pattern):
            raise DriftboardError(
                f"the suite {tier} has no sequence '{pattern}', which is of "
                f"{' and '.join(sorted(elsewhere))}; name that suite, or none"
            )


def choose_sequences(
    known: dict[str, TaskSequence],
    tier: str | None,
    patterns: Iterable[str] | None,
    own: bool,
    setting: Setting | None = None,
) -> tuple[TaskSequence, ...]:
    """Return the sequences of a tier, or those that match patterns, or the user's own.

    Without tier, patterns and setting that is the user's own, where there are any, and else
    ``quick``; with ``own``, they belong to every tier. Of these, those of the ``setting``.

    Raises:
        DriftboardError: a pattern matches nothing, or something that is not sound; or there is
            none of the setting.
    """
    tiers = {tier, "own"} if tier else {sequence.tier for sequence in known.values()}
    if tier is None and not patterns and setting is None:
        tiers = {"own"} if own else {"quick"}
    candidates = {name: value for name, value in known.items() if value.tier in tiers}
    wanted = list(patterns or ())
    if tier is not None:
        _check_tier(tier, wanted, candidates, known)
    chosen = find_sequences(wanted or ["*"], KnownSequences(candidates, _unsound(known)))
    fitting = tuple(one for one in chosen.values() if setting in (None, one.setting))
    if not fitting:
        raise DriftboardError(
            f"none of these sequences is {setting}-incremental: {', '.join(chosen)}; see "
            f"`driftboard sequences --setting {setting}`"
        )
    return fitting
