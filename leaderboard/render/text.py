"""Text that others wrote, made harmless for the format it is put into.

Identifiers are held to a narrow alphabet by the record schema, but titles of data, versions and
command lines are not. Every function accepts every string and never fails.
"""

import re
import unicodedata
from functools import lru_cache

# What nobody can see but what moves text about: control, format (among them the bidirectional
# ones), lone surrogates, and the two separators that some readers take for a new line.
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_REPLACEMENT = "\ufffd"
_NOT_PLAIN_IN_MARKDOWN = re.compile(r"[^A-Za-z0-9 .,()/+%=;'\-\u0080-\U0010ffff]|(?<=www)\.", re.I)
_OGONEK = "\u0328"  # the one accent that LaTeX's default font encoding lacks
_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    **{character: f"\\{character}" for character in "{}$&#_%"},
}


def visible_text(text: str) -> str:
    """Return ``text`` on one line with nothing hidden in it, for a format that escapes by itself.

    Line breaks and tabs become spaces, hidden characters the replacement character.
    """
    return _visible(re.sub(r"[\t\r\n]+", " ", text), keep="")


def markdown_cell(text: str) -> str:
    """Return ``text`` for a cell of a Markdown table or for running text on one line.

    Everything ASCII with a meaning in Markdown or HTML becomes a numeric entity, also the colon
    and the dot that would turn an address into a link. Line breaks and tabs become spaces,
    hidden characters the replacement character.
    """
    one_line = visible_text(text).strip()
    return _NOT_PLAIN_IN_MARKDOWN.sub(lambda match: f"&#{ord(match[0])};", one_line)


def csv_cell(value: str | int | float | None) -> str | int | float:
    """Return ``value`` for a cell of a CSV file that a spreadsheet will not run as a formula.

    Text that starts with ``= + - @``, tab, CR or LF, also after spaces and in full-width forms,
    is prefixed with an apostrophe; hidden characters become the replacement character. Numbers
    stay numbers; None and NaN become the empty cell.
    """
    if value is None or value != value:
        return ""
    return _csv_text(value) if isinstance(value, str) else value


@lru_cache(maxsize=1024)  # a table repeats its few names thousands of times
def _csv_text(value: str) -> str:
    shown = _visible(value, keep="\t\r\n")
    body = shown.lstrip()
    indent = shown[: len(shown) - len(body)]
    # NFKC maps the full-width and the small forms to the plain characters
    first = unicodedata.normalize("NFKC", body[:1]).lstrip()[:1]
    is_formula = first in ("=", "+", "-", "@")
    return f"'{shown}" if is_formula or any(mark in indent for mark in "\t\r\n") else shown


def latex_text(text: str) -> str:
    """Return ``text`` for running text of a LaTeX document, on one line, with no command in it.

    Characters with a meaning become commands of their own; what pdfLaTeX's usual fonts have no
    letter for, all but Latin letters with accents, becomes a question mark.
    """
    escaped = "".join(
        _LATEX.get(character, _latex_letter(character)) for character in visible_text(text)
    )
    return re.sub(r"-(?=-)", "-{}", escaped)  # several in a row would become a dash


def _latex_letter(character: str) -> str:
    """Return an ASCII character or a Latin letter with an accent, else a question mark."""
    if character.isascii():
        return character
    decomposed = unicodedata.normalize("NFD", character)
    base, accents = decomposed[0], decomposed[1:]
    is_latin = base.isascii() and base.isalpha() and character <= "\u017f"
    return character if is_latin and _OGONEK not in accents else "?"


def _visible(text: str, keep: str) -> str:
    return "".join(
        _REPLACEMENT
        if unicodedata.category(character) in _HIDDEN_CATEGORIES and character not in keep
        else character
        for character in text
    )
