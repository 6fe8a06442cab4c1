"""Put the board's table into a file that people write, such as a README, between two markers."""

from pathlib import Path

from driftboard.suite.errors import RecordError
from driftboard.suite.records import write_atomically

BEGIN = "<!-- driftboard:begin -->"
END = "<!-- driftboard:end -->"


def update_file(path: Path, table: str) -> None:
    """Replace what stands between the markers in ``path`` by ``table``.

    All other bytes of the file stay as they are. Line ends follow those of the file.

    Raises:
        RecordError: the file cannot be read or written, is not UTF-8, or does not hold each
            marker once and in order.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    try:
        updated = between_markers(text, table)
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
    # the file that a link points to, not the link itself
    write_atomically(path.resolve(), updated.encode())


def between_markers(text: str, table: str) -> str:
    """Return ``text`` with ``table`` between the markers, each of which stands on a line.

    Raises:
        ValueError: a marker is missing, stands twice, or the end comes first.
    """
    for marker in (BEGIN, END):
        if (count := text.count(marker)) != 1:
            raise ValueError(
                f"the marker {marker} stands {count} times, not once; the table goes between "
                f"the lines {BEGIN} and {END}"
            )
    before, rest = text.split(BEGIN)
    if END not in rest:
        raise ValueError(f"the marker {END} comes before {BEGIN}; swap them")
    after = rest.split(END)[1]
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = ["", "", *table.strip("\n").split("\n"), "", ""]
    return before + BEGIN + line_end.join(lines) + END + after
