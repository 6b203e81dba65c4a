"""Finished runs of a task; and what third parties warn about is not ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llm_task import PROMPTS, TASK, config_of, task, write_lines

from ipsrl.errors import ConfigError, RunError

_NOT_OURS = [
    # TRL sets what transformers 5 has renamed.
    ("`gradient_checkpointing` is deprecated", FutureWarning),
    ("`is_gradient_checkpointing` is deprecated", FutureWarning),
    # While bitsandbytes is imported.
    ("`torch.jit.script_method` is deprecated", DeprecationWarning),
]


def pytest_configure(config: pytest.Config) -> None:
    for message, category in _NOT_OURS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}:{category.__name__}")
        warnings.filterwarnings("ignore", message, category)  # collection has begun already


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """A folder with a task, its prompts and a model."""
    import llm_toy as toy

    folder = tmp_path_factory.mktemp("task")
    (folder / "task.py").write_text(TASK)
    write_lines(folder / "prompts.jsonl", [{"prompt": prompt} for prompt in PROMPTS])
    toy.saved(folder / "toy")
    return folder


@pytest.fixture(scope="session")
def finished(home, tmp_path_factory) -> Callable[[str], Path]:
    """Runs that nothing happened to; each is made once."""
    from ipsrl.llm import train

    made: dict[str, Path] = {}

    def run(kind: str) -> Path:
        if kind not in made:
            out = tmp_path_factory.mktemp("runs") / kind
            train(config_of(home, kind), out)
            made[kind] = out
        return made[kind]

    return run


@pytest.fixture
def assert_refused(home, tmp_path, monkeypatch) -> Callable[[dict[str, Any], str], None]:
    """Says whether a run of such options is refused before anything is written."""
    from ipsrl.llm import train

    def check(options: dict[str, Any], message: str) -> None:
        monkeypatch.chdir(tmp_path)
        kind = RunError if "needs" in message else ConfigError  # a package that is missing
        with pytest.raises(kind, match=message):
            train(task(home, **options), tmp_path / "run")
        assert list(tmp_path.iterdir()) == []

    return check
