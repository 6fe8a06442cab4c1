"""Words of messages and tables."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, which is in the plural, by default with an s, unless it is 1.

    >>> counted(1, "strategy", "strategies"), counted(2, "cell")
    ('1 strategy', '2 cells')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
