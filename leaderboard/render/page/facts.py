"""What the page says in words of its own about a board and its sequences, as plain text."""

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.analysis.collect import SHOWN_HASH
from driftboard.leaderboard.analysis.section import Section
from driftboard.leaderboard.render.distance_words import distance_sentence, short_distance


def facts(board: Board) -> dict[str, str]:
    """Return what the board is made of, by term."""
    collection = board.source
    protocol = collection.protocol
    found = {
        "Strategies": str(len(board.overall.rows)),
        "Sequences": str(len(board.sections)),
        "Seeds": str(len({cell.seed for cell in collection.cells})),
        "Records": str(len(collection.cells)),
        "Split": collection.split,
        "Reference": board.reference,
        "Protocol": f"{protocol.name}, version {protocol.version}",
    }
    if collection.skipped:
        found["Broken records left out"] = str(len(collection.skipped))
    return found


def count_of(section: Section) -> str:
    """Return e.g. ``3 sequences``."""
    count = len(section.sequences)
    return f"{count} sequence{'s' if count > 1 else ''}"


def about_average(board: Board, section: Section) -> str:
    """Return the distances of the sequences that a table averages over, near ones first."""
    listed = (f"{one.name} {short_distance(one.grade)}" for one in board.sections_of(section))
    return f"Distances: {'; '.join(listed)}."


def about_sequence(board: Board, section: Section) -> str:
    """Return on what a sequence is measured, and how far apart its tasks are."""
    stamp = board.source.sequences[section.name]
    return (
        f"Data: {stamp.data}, {len(stamp.blocks)} blocks, tier {stamp.tier}, sequence "
        f"{stamp.hash[:SHOWN_HASH]}. {distance_sentence(section.grade)}"
    )
