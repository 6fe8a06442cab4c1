"""What several tests of runs share."""

import pytest


@pytest.fixture
def requests_on(tmp_path):
    """Return a function that returns what makes requests on a user's sequence and its images.

    It takes the text of the file that defines the sequence, its name, that of the images, which
    are kept as ``folder:NAME``, and the images as a pool; more are what the requests have.
    """
    from driftboard.suite.data.store import write_store
    from driftboard.suite.loading import load_sequences
    from driftboard.suite.runs.request import Request

    def on(text, sequence, images, pool, **defaults):
        file = tmp_path / "own.py"
        file.write_text(text)
        write_store(tmp_path / f"data/{images}.npz", pool)

        def make(**changes):
            common = {
                "sequences": (load_sequences((file,))[sequence],),
                "sequence_files": (file,),
                "results": tmp_path / "results",
                "data": tmp_path / "data",
                "device": "cpu",
            }
            return Request(**(common | defaults | changes))

        return make

    return on
