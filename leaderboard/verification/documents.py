"""From bytes that somebody else wrote to checked values, or one clear reason why not."""

import codecs
import json
import re
from typing import Any, NoReturn

import msgspec

from driftboard.suite.errors import RecordError
from driftboard.suite.submissions import explained

_MARKS = {
    codecs.BOM_UTF8: "it begins with a byte order mark",
    codecs.BOM_UTF32_LE: "it is UTF-32",
    codecs.BOM_UTF16_LE: "it is UTF-16",
    codecs.BOM_UTF16_BE: "it is UTF-16",
}
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


def decode(content: bytes, kind: Any) -> Any:
    """Return the value of type ``kind`` that a JSON document holds.

    Raises:
        RecordError: it is not UTF-8, no JSON, nested too deeply, names a field twice, holds NaN
            or infinity, or does not fit the type; the message is the reason alone.
    """
    for mark, reason in _MARKS.items():
        if content.startswith(mark):
            raise RecordError(f"{reason}, not plain UTF-8")
    try:
        text = content.decode("utf-8")
        # msgspec takes the last of two fields of one name, other readers the first.
        json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
        return msgspec.json.decode(content, type=kind)
    except UnicodeDecodeError as error:
        raise RecordError(f"it is not UTF-8 from byte {error.start} on") from error
    except RecursionError as error:
        raise RecordError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise RecordError(f"it is no JSON: {error}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise RecordError(explained(error)) from error


def check_source(content: bytes) -> None:
    """Check that a source is text that shows all it holds.

    Raises:
        RecordError: it is not UTF-8, or holds control or bidirectional characters, with which a
            line can look other than Python reads it; the message is the reason alone.
    """
    try:
        hidden = _HIDDEN.search(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecordError(f"it is not UTF-8 from byte {error.start} on") from error
    if hidden:
        raise RecordError(f"it holds the hidden character U+{ord(hidden[0]):04X}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise RecordError(f"it names the field '{name[:64]}' twice")
        fields[name] = value
    return fields


def _refuse(constant: str) -> NoReturn:
    raise RecordError(f"it holds {constant}, which JSON does not know")
