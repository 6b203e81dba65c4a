"""ipsrl.integrations.verl in the worker environment of verl; the checks are verl_checks.py."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ipsrl import workers
from ipsrl.errors import RunError

CHECKS = Path(__file__).with_name("verl_checks.py")


@pytest.fixture(scope="module")
def interpreter():
    try:
        return workers.interpreter("verl")
    except RunError as error:
        pytest.skip(str(error))


@pytest.mark.worker
def test_the_checks_pass_in_the_worker_environment(interpreter):
    # Neither our pytest settings (plugins that the worker lacks) nor our cache folder.
    command = [
        interpreter,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "-p",
        "no:cacheprovider",
        "--noconftest",  # which needs our own libraries
        CHECKS,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.worker
@pytest.mark.parametrize(("plugins", "code"), [("auto", 0), ("none", 1)])
def test_the_module_tells_what_verl_finds(interpreter, plugins, code):
    done = subprocess.run(
        [interpreter, "-m", "ipsrl.integrations.verl"],
        env=os.environ | {"VERL_USE_EXTERNAL_PLUGINS": plugins},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "trainer_mode=ips_sync" in done.stdout
    assert ("MISSING" in done.stdout) == bool(code)


@pytest.mark.skipif(find_spec("verl") is not None, reason="verl is installed here")
def test_without_verl_the_import_says_what_to_install():
    code = "import ipsrl.integrations.verl"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtra" in done.stderr
    assert 'pip install "ipsrl[verl]"' in done.stderr
