"""The tests of core notice when core is changed: mutmut makes the changes.

`make mutation` installs mutmut and runs this; pyproject.toml says what is changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import promised

ROOT = Path(__file__).parents[2]
TOOL = Path(sys.prefix) / "mutmut"
DIGITS = "51"[: promised(2, 1)]  # of the numbers of the mutants; all ten digits take hours
SCORE = 0.90


@pytest.mark.slow
@pytest.mark.promise(number=20)
def test_changes_of_core_are_noticed(tmp_path, record_property):
    if not TOOL.exists():
        pytest.skip("mutmut is not installed: make mutation")
    for name in ("src", "tests/core"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests/core" / Path(__file__).name).unlink()
    for name in ("pyproject.toml", "tests/conftest.py", "tests/helpers.py", "tests/strategies.py"):
        shutil.copy(ROOT / name, tmp_path / name)

    # The tests start Python as well, which must find the mutants there.  A folder that is missing
    # when Python starts is not looked into later.
    mutants = tmp_path / "mutants/src"
    mutants.mkdir(parents=True)
    env = {**os.environ, "PYTHONPATH": f"{TOOL}:{mutants}"}
    env.pop("IPSRL_PROMISED", None)  # the tests that look for mutants are the fast ones

    def mutmut(*command: str) -> str:
        done = subprocess.run(
            ["nice", "-n", "10", sys.executable, "-m", "mutmut", *command],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=4 * 3600,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done.stdout

    mutmut("run", f"*__mutmut_*[{DIGITS}]")
    mutmut("export-cicd-stats")
    counts = json.loads((tmp_path / "mutants/mutmut-cicd-stats.json").read_text())
    killed = counts["killed"] + counts["timeout"]
    tried = killed + counts["survived"] + counts["no_tests"] + counts["suspicious"]
    survivors = [line for line in mutmut("results").splitlines() if "not checked" not in line]
    print("\n".join(survivors))
    record_property(
        "figure",
        f"{killed} of {tried} mutants killed ({killed / tried:.0%}): those of {counts['total']} "
        f"whose number ends with {' or '.join(DIGITS)}, without the texts of errors",
    )
    assert tried > 0.05 * counts["total"]
    assert killed >= SCORE * tried
