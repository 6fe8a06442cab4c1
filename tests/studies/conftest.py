"""Let the studies import each other, as they do when one of them is run as a script."""

import sys
from pathlib import Path

# At the end: coverage.py must not hide the package of that name from other tests.
sys.path.append(str(Path(__file__).parent))
