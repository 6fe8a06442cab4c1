"""The data sets: what they are called, where they lie on disk, how they are read and checked."""

from driftboard.suite.data.catalogue import SOURCES, default_data_folder, find_source, load_pool
from driftboard.suite.data.pool import Pool
from driftboard.suite.data.source import Source

__all__ = ["SOURCES", "Pool", "Source", "default_data_folder", "find_source", "load_pool"]
