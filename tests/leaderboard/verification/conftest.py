"""Submissions that several tests share; ``submission_drafts`` can be imported from all of them."""

import sys
from pathlib import Path

import pytest

from driftboard.suite.records import cell_path
from driftboard.suite.sealing import sealed

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def honest():
    from submission_drafts import STAMP, made_up

    return tuple(made_up.honest_records(STAMP))


@pytest.fixture(scope="session")
def others():
    from submission_drafts import OTHER, made_up

    return tuple(made_up.honest_records(OTHER))


@pytest.fixture(scope="session")
def against(others, tmp_path_factory):
    """A results folder of another strategy."""
    folder = tmp_path_factory.mktemp("others")
    for record in others:
        path = cell_path(folder, record.sequence.name, record.strategy.name, record.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sealed(record))
    return folder


@pytest.fixture
def draft(honest):
    from submission_drafts import Draft

    return Draft(list(honest))
