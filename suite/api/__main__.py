"""``python -m driftboard`` is the command line."""

import sys
from pathlib import Path

# Python puts the current folder first. The program ``driftboard`` looks for nothing there, and
# neither does this, unless the package itself lies there.
if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).parents[1]:
    del sys.path[0]

from driftboard.suite.cli.main import main

main()
