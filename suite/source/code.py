"""What a Python file does, as far as its text tells: a digest that comments do not change."""

import ast
import codecs
import functools
import hashlib
import io
import re
import tokenize
import warnings
from collections.abc import Iterator, Mapping


@functools.lru_cache(maxsize=512)
def code_digest(content: bytes) -> str:
    r"""Return the digest of what a Python file does, as far as its text tells.

    Comments, blank lines, space between tokens, the width of an indentation, line endings and a
    byte order mark do not count; neither do docstrings, unless the code mentions ``__doc__``,
    ``getdoc``, ``inspect``, ``pydoc`` or ``doctest``. Code that may read its own text, for it
    mentions ``getsource``, ``__file__``, ``linecache``, line numbers or ``jit``, counts with all
    comments. Every version of Python that can parse a file finds the same digest; a file that this
    one cannot parse counts byte by byte.

    >>> code_digest(b"x = (1, 2)\n") == code_digest(b"# two\r\nx = (1,  # one\r\n\r\n     2)")
    True
    >>> code_digest(b"x = '#'") == code_digest(b"x = '# '")
    False
    """
    try:
        return sha256(_code(source_text(content)))
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError):
        return hashlib.sha256(content).hexdigest()


def sha256(text: str) -> str:
    """Return the SHA-256 digest of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


_COOKIE = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)  # PEP 263
_NO_CODE = re.compile(r"[ \t\f]*(#|$)")


def source_text(content: bytes) -> str:
    """Return the text of a Python file, its lines ending as Python sees them.

    Raises:
        SyntaxError: it is not in UTF-8, says that it is not, or holds a null byte.
    """
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SyntaxError(f"it is not UTF-8 from byte {error.start} on") from error
    if "\0" in text:
        raise SyntaxError("source code cannot contain null bytes")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first, _, rest = text.partition("\n")
    for line in (first, rest.partition("\n")[0]):
        cookie = _COOKIE.match(line)
        if cookie and not _is_utf8(cookie[1]):
            raise SyntaxError(f"it says that it is in {cookie[1]}; save it as UTF-8")
        if not _NO_CODE.match(line):
            break
    return text


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    except LookupError:
        return False


def syntax_tree(text: str) -> ast.Module:
    """Return the syntax tree of Python code, without a word of what its compiler warns of.

    Raises:
        SyntaxError: it is no Python.
    """
    with warnings.catch_warnings(action="ignore"):
        return ast.parse(text)


def imports_of(content: bytes) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Yield what a file imports anywhere: module, what is taken from it, and the dots before it."""
    try:
        tree = syntax_tree(source_text(content))
    except (SyntaxError, ValueError, RecursionError):  # whoever runs it is told
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((alias.name, (), 0) for alias in node.names)
            case ast.ImportFrom():
                names = tuple(alias.name for alias in node.names if alias.name != "*")
                yield node.module or "", names, node.level
            case ast.Call(args=[ast.Constant(value=str() as name), *_]) if _imports(node.func):
                yield name.lstrip("."), (), len(name) - len(name.lstrip("."))


def _imports(function: ast.expr) -> bool:
    name = getattr(function, "attr", getattr(function, "id", ""))
    return name in ("import_module", "__import__")


# The canonical form of code: its tokens, and markers where statements and blocks end. No token of
# valid code is one of the markers, and none holds a null character, which stands between tokens.

_MARKERS = {tokenize.NEWLINE: "\n", tokenize.INDENT: "\x01", tokenize.DEDENT: "\x02"}
_NOTHING = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
_WORDS = {tokenize.NAME, tokenize.NUMBER, tokenize.ERRORTOKEN}
_F_STRING_START = getattr(tokenize, "FSTRING_START", None)  # from Python 3.12 on
_F_STRING_END = getattr(tokenize, "FSTRING_END", None)

_READS_DOCSTRINGS = re.compile(r"__doc__|getdoc|inspect|pydoc|doctest")
_READS_TEXT = re.compile(r"getsource|getcomments|linecache|tokenize|lineno|__file__|\bjit\b")

Place = tuple[int, int]
"""Line, from 1, and column, from 0."""


def _code(text: str) -> str:
    """Return what a digest is taken of.

    Raises:
        SyntaxError: it is no Python.
    """
    docstrings = _docstrings(syntax_tree(text), text.split("\n"))
    tokens = list(_tokens(text))
    code = _joined(_without(tokens, docstrings))
    if _READS_TEXT.search(code):
        return text
    return _joined(tokens) if _READS_DOCSTRINGS.search(code) else code


def _joined(tokens: list[tuple[str, Place]]) -> str:
    parts: list[str] = []
    for token, _ in tokens:
        # Where a docstring was, the end of its line is left.
        if token != "\n" or (parts and parts[-1] not in _MARKERS.values()):
            parts.append(token)
    return "\0".join(parts)


def _tokens(text: str) -> Iterator[tuple[str, Place]]:
    """Yield tokens and markers, each with its place; an f-string is one token in all versions."""
    text = text if text.endswith("\n") else f"{text}\n"
    lines = text.split("\n")
    depth, start = 0, (0, 0)
    held: tokenize.TokenInfo | None = None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == _F_STRING_START:
            start = start if depth else token.start
            depth += 1
        elif token.type == _F_STRING_END:
            depth -= 1
            token = token._replace(start=start, string=_between(lines, start, token.end))
        if depth or token.type in _NOTHING or (token.string.isspace() and token.type in _WORDS):
            continue
        # Before 3.12 letters such as U+00B7 are tokens of their own within a name.
        if held and held.end == token.start and _torn(held.type, token.type):
            token = token._replace(string=held.string + token.string, start=held.start)
        elif held:
            yield _MARKERS.get(held.type, held.string), held.start
        held = token
    if held:
        yield _MARKERS.get(held.type, held.string), held.start


def _torn(first: int, second: int) -> bool:
    return tokenize.ERRORTOKEN in (first, second) and {first, second} <= _WORDS


def _between(lines: list[str], start: Place, end: Place) -> str:
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    first, *middle, last = lines[start[0] - 1 : end[0]]
    return "\n".join([first[start[1] :], *middle, last[: end[1]]])


def _docstrings(tree: ast.AST, lines: list[str]) -> dict[Place, Place]:
    """Return where each docstring ends, by where it starts."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str()) as text), *_]:
                    ends = text.end_lineno or 0, text.end_col_offset or 0
                    found[_column(lines, text.lineno, text.col_offset)] = _column(lines, *ends)
    return found


def _column(lines: list[str], line: int, offset: int) -> Place:
    """Return a place whose offset is in bytes, as ``ast`` counts, in characters."""
    return line, len(lines[line - 1].encode()[:offset].decode())


def _without(
    tokens: list[tuple[str, Place]], ranges: Mapping[Place, Place]
) -> list[tuple[str, Place]]:
    kept, end = [], (0, 0)
    for token, place in tokens:
        end = ranges.get(place, end) if token not in _MARKERS.values() else end
        if place >= end or token in _MARKERS.values():
            kept.append((token, place))
    return kept
