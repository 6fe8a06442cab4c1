"""How far the workers of a cluster are: an actor to which all report and which the driver asks.

It is a module of its own because its process needs nothing else: neither torch nor data.
"""

Report = tuple[int, int]
"""Which job, by its number, and how many of its steps are done."""


class Mailbox:
    """Keeps reports until they are taken."""

    def __init__(self) -> None:
        self._reports: list[Report] = []

    def put(self, report: Report) -> None:
        """Keep one more."""
        self._reports.append(report)

    def take(self) -> list[Report]:
        """Hand out what has come in since the last time."""
        reports, self._reports = self._reports, []
        return reports
