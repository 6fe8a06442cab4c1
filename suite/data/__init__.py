"""The data sets: what they are called, where they lie on disk, how they are read and checked."""

from driftboard.suite.data.catalogue import SOURCES, find_source, find_sources
from driftboard.suite.data.folder import convert_originals, load_pool
from driftboard.suite.data.source import Source
from driftboard.suite.data.store import Pool

__all__ = [
    "SOURCES",
    "Pool",
    "Source",
    "convert_originals",
    "find_source",
    "find_sources",
    "load_pool",
]
