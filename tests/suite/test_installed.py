"""Whose code is it: of Python, of an installed package, of ours, or a user's?"""

import json

import pytest

from driftboard.suite.installed import is_installed


@pytest.mark.parametrize(
    ("module", "file", "expected"),
    [
        ("yaml", "/usr/lib/python3/dist-packages/yaml.py", True),
        ("timm.layers", "/venv/lib/python3.11/site-packages/timm/layers/__init__.py", True),
        ("json.decoder", "json/decoder.py", True),
        ("torch.nn", "/clone/torch/nn/__init__.py", True),
        ("driftboard.strategies.ewc", "/clone/strategies/ewc.py", True),
        ("", json.__file__, True),
        ("driftboard_source_0a", "/home/me/mine.py", False),
        ("__main__", "/home/me/run.py", False),
    ],
)
def test_what_is_installed(module, file, expected):
    assert is_installed(module, file) is expected
