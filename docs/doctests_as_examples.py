"""For mkdocstrings: show the doctests of a docstring as examples.

Its style for sections wants a title ``Examples:`` and an indented block; our docstrings write
doctests as they are, which Markdown would take for quotations.
"""

import re

import griffe

_DOCTEST = re.compile(r"(?m)^>>> (?:.+\n?)+")


def with_examples(text: str) -> str:
    r"""Return a docstring whose bare doctests stand in a section of their own.

    >>> with_examples("Add.\n\n>>> 1 + 1\n2\n")
    'Add.\n\nExamples:\n    >>> 1 + 1\n    2\n'
    """

    def titled(match: re.Match[str]) -> str:
        return "Examples:\n" + re.sub(r"(?m)^(?=.)", "    ", match[0])

    return _DOCTEST.sub(titled, text)


class DoctestsAsExamples(griffe.Extension):
    """Turn the bare doctests of every docstring into examples."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Change the docstring of one object; the package itself is announced on its own."""
        if obj.docstring is not None:
            obj.docstring.value = with_examples(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Change the docstring of the package."""
        self.on_object(obj=pkg)
