"""Every strategy of the how-to by family passes the checks."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "families.md"
FILES = {
    re.search(r'name: ClassVar\[str\] = "(.+)"', text)[1]: text
    for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
}


@pytest.mark.parametrize("name", FILES)
def test_a_strategy_of_the_page_passes_the_checks(name, tmp_path, monkeypatch):
    from driftboard.suite.checks import check_strategy, learners

    monkeypatch.setitem(learners.STEPS, "MLP", 12)  # not as long as the command does
    file = tmp_path / "mine.py"
    file.write_text(FILES[name])
    results = check_strategy(str(file))
    assert [result for result in results if result.status != "ok"] == []


def test_the_page_has_a_file_for_every_section_but_the_last():
    sections = re.findall(r"(?m)^## ", PAGE.read_text())
    assert len(FILES) == len(sections) - 1
