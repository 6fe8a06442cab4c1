"""JSON of a stranger, read so that no two readers of it can see different values."""

import codecs
import json
from typing import Any, NoReturn

import msgspec

from driftboard.suite.errors import RecordError
from driftboard.suite.sealing import unsealed
from driftboard.suite.submissions import explained

_MARKS = {
    codecs.BOM_UTF8: "it begins with a byte order mark",
    codecs.BOM_UTF32_LE: "it is UTF-32",
    codecs.BOM_UTF16_LE: "it is UTF-16",
    codecs.BOM_UTF16_BE: "it is UTF-16",
}


def decode(content: bytes, kind: Any) -> Any:
    """Return the value of type ``kind`` in a JSON document.

    >>> decode(b'{"a": 1}', dict)
    {'a': 1}

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
        return unsealed(msgspec.json.decode(content, type=kind))
    except UnicodeDecodeError as error:
        raise RecordError(f"it is not UTF-8 from byte {error.start} on") from error
    except RecursionError as error:
        raise RecordError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise RecordError(f"it is no JSON: {error}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise RecordError(explained(error)) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise RecordError(f"it names the field '{name[:64]}' twice")
        fields[name] = value
    return fields


def _refuse(constant: str) -> NoReturn:
    raise RecordError(f"it holds {constant}, which JSON does not know")
