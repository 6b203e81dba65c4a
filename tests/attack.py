"""What an attack brings, and how it is tried: with the commands that a user would use.

Each input tries to make a file, the canary.  A command ends with code 0, or with code 1 or 2 and
one sentence; it never asks anything on the terminal, where `yes |` may stand.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipsrl.cli import main
from ipsrl.hypospace import Boolean, dataset, write_dataset
from ipsrl.molecules.generator import prior as priors

TASK = """
def reward(completions, **columns):
    return [1.0] * len(completions)

def outcome(completions, **columns):
    return [str(text) for text in completions]
"""
ZINC = Path(priors.__file__).parents[1] / "priors" / "zinc"


class Runs:
    """What a pickle of this runs when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


@dataclass
class Attack:
    """A folder of files that a user got from somewhere, and what becomes of them."""

    folder: Path
    start: Path
    begun: Path
    stdin: io.StringIO
    capsys: Any

    @property
    def canary(self) -> Path:
        return self.folder / "canary"

    @property
    def python(self) -> str:
        return f"open({str(self.canary)!r}, 'w').close()\n"

    @property
    def pickle(self) -> bytes:
        return b"cposix\nsystem\n(S'touch " + str(self.canary).encode() + b"'\ntR."

    @property
    def shell(self) -> str:
        return f"$(touch {self.canary}); `touch {self.canary}` | touch {self.canary}"

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def prior(self) -> Path:
        return Path(shutil.copytree(ZINC, self.folder / "evil"))

    def model(self) -> Path:
        return Path(shutil.copytree(self.start, self.folder / "evil"))

    def run(self) -> Path:
        """A run of `train llm` that ended after its first checkpoint of two."""
        return Path(shutil.copytree(self.begun, self.folder / "run"))

    def ends(self, *words: object, code: int | tuple[int, ...] = (0, 1, 2)) -> str:
        """A command, in which nothing of the attack has run; returns what it said."""
        try:
            ended = main([*map(str, words)])
        except SystemExit as stop:
            ended = stop.code
        shown = self.capsys.readouterr()
        refused = (1, 2) if code == 1 else (code,)
        assert ended in (code if isinstance(code, tuple) else refused), shown.err
        assert "Traceback" not in shown.err
        self.unharmed()
        return shown.out + shown.err

    def unharmed(self) -> None:
        assert not self.canary.exists()
        assert self.stdin.tell() == 0  # nobody was asked anything

    def samples(self, prior: Path, **expected: Any) -> str:
        return self.ends("molecules", "sample", "--prior", prior, "--n", 4, **expected)

    def asks(self, model: Path, **expected: Any) -> str:
        write_dataset(dataset(Boolean(), count=2), self.folder / "data.jsonl")
        return self.ends(
            "hypospace", "evaluate", "boolean", "answers.jsonl", "--data", "data.jsonl",
            "--model", model, "--n", 1, "--max-tokens", 2, **expected,
        )  # fmt: skip

    def trains(self, *words: object, **expected: Any) -> str:
        self.write("task.py", TASK)
        message = {"prompt": [{"role": "user", "content": "name one"}]}
        self.write("prompts.jsonl", f"{json.dumps(message)}\n" * 8)
        given = {"--dataset": "prompts.jsonl", "--out": "trained", "--model": "tiny"}
        given |= dict(zip(words[::2], words[1::2], strict=True))
        options = [word for pair in given.items() if pair[0] != "--trl" for word in pair]
        return self.ends(
            "train", "llm", *options, "--reward", "task.py:reward", "--outcome", "task.py:outcome",
            "--trl", "max_steps=1", "max_completion_length=1",
            given.get("--trl", "logging_steps=1"), **expected,
        )  # fmt: skip

    def searches(self, text: str, **expected: Any) -> str:
        self.write("mine.toml", f"budget = 4\nbatch = 4\n{text}")
        return self.ends(
            "train", "molecules", "--config", "mine.toml", "--out", "found", **expected
        )


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_bytes()) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}))


INPUTS: list[Callable[[Attack], None]] = []


def malicious(function: Callable[[Attack], None]) -> Callable[[Attack], None]:
    INPUTS.append(function)
    return function
