"""A tutorial prints what its page shows."""

import subprocess
import sys

import pytest
from pages import ROOT

TUTORIALS = sorted((ROOT / "examples" / "tutorials").glob("*.py"))


@pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_shown_whole(script):
    page = (ROOT / "docs" / "tutorials" / f"{script.stem}.md").read_text()
    for shown in (script, script.with_suffix(".txt")):
        assert f'--8<-- "{shown.relative_to(ROOT)}"' in page
        assert shown.read_text().strip()


@pytest.mark.slow
@pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_prints_what_is_shown(script):
    """The same seed gives the same figures; `make tutorials` writes them after a change."""
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == script.with_suffix(".txt").read_text()
