"""The reference of the command line in Markdown, made from what ``--help`` shows."""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import typer

WIDTH = 120

# What typer puts in brackets behind a help text, and how the reference says it.
_NOTES = {
    r"default: \((.*)\)": r"Default: \1.",  # words in place of a value
    r"default: (.*)": r"Default: `\1`.",
    r"env var: (.*)": r"Environment variable: `\1`.",
    r"x>=(.*)": r"At least \1.",
    r"required": r"Required.",
}


def command_reference() -> str:
    """Return all commands with their arguments, options and defaults, in the order of the help.

    Each has a heading of the second level, so that a page can put its title above.

    >>> [line for line in command_reference().splitlines() if line.startswith("##")][:2]
    ['## `driftboard`', '## `driftboard run`']
    """
    from driftboard.suite.cli.main import app

    root: Any = typer.main.get_command(app)
    context = typer.Context(root, info_name="driftboard", terminal_width=WIDTH)
    return "\n\n".join(["Every command also has `--help`.", *_entry(context)]) + "\n"


def _entry(context: typer.Context) -> Iterator[str]:
    """Yield the blocks of one command, then those of the commands below it."""
    command: Any = context.command
    yield f"## `{context.command_path}`"
    for paragraph in (command.help or "").split("\n\n"):
        yield _wrapped(_escaped(" ".join(paragraph.split())))
    yield "```\n" + command.get_usage(context).removeprefix("Usage: ") + "\n```"
    for kind in ("argument", "option"):
        items = [
            _item(*record)
            for parameter in command.params
            if parameter.param_type_name == kind and (record := parameter.get_help_record(context))
        ]
        if items:
            yield f"{kind.capitalize()}s:"
            yield "\n".join(items)
    for name, below in getattr(command, "commands", {}).items():
        yield from _entry(typer.Context(below, parent=context, info_name=name))


def _item(name: str, text: str) -> str:
    """Return one argument or option; typer parts its help from its notes by two spaces."""
    about, _, notes = text.partition("  [")
    words = [_escaped(about), *map(_note, filter(None, notes.removesuffix("]").split("; ")))]
    kind = name.replace("<int range>", "<int>")  # a note says the range
    kind = re.sub(r"<list\[(\w+)\]>", r"<\1>", kind)  # the help says that it may be repeated
    return _wrapped(f"- `{kind}`: {' '.join(words)}", "  ")


def _note(note: str) -> str:
    for pattern, words in _NOTES.items():
        if found := re.fullmatch(pattern, note):
            return found.expand(words)
    return f"{_escaped(note)}."


def _escaped(text: str) -> str:
    """Escape what Markdown would take for emphasis, a link or a tag, outside of code."""
    return re.sub(r"(`[^`]*`)|([*\[\]<\\])", lambda found: found[1] or f"\\{found[2]}", text)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
