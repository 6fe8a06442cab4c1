"""``python -m driftboard`` is the command line."""

from driftboard.suite.cli.main import main

main()
