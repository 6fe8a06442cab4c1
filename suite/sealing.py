"""JSON that carries a digest of its content, so that one flipped bit is found and not believed.

A struct that is kept in this form has ``digest: Digest | None = None`` as its last field. In
memory that is None; in a file it is the SHA-256 of the compact JSON with ``null`` in its place.
Structs without that field are written and read as they are.
"""

import hashlib
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from driftboard.suite.errors import RecordError

ContentT = TypeVar("ContentT")

FIELD = "digest"


def sealed(content: Struct) -> bytes:
    """Return a struct as one line of JSON, which ends with its digest if it has that field.

    >>> class Score(Struct):
    ...     correct: int
    ...     digest: str | None = None
    >>> sealed(Score(3))[:30]
    b'{"correct":3,"digest":"b321d9c'
    """
    line = msgspec.json.encode(content)
    if FIELD not in content.__struct_fields__:
        return line
    return line[: -len(b"null}")] + f'"{hashlib.sha256(line).hexdigest()}"}}'.encode()


def unsealed(content: ContentT) -> ContentT:
    """Return what has just been decoded, without its digest once that has proved right.

    Raises:
        RecordError: the digest is that of something else, or it is missing.
    """
    if isinstance(content, Struct) and FIELD in content.__struct_fields__:
        said = getattr(content, FIELD)
        force_setattr(content, FIELD, None)  # nobody else has it yet, frozen or not
        if said != hashlib.sha256(msgspec.json.encode(content)).hexdigest():
            raise RecordError("its content does not fit its digest")
    return content
