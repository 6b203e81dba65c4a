"""Code of the user that exits, hangs, prints or raises, in every place where it is called.

Whatever it does, a command that ends with exit code 0 has a result.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llm_toy as toy
import pytest
from forked_commands import Commands, Ended
from helpers import promised

from ipsrl.cli import main

# --- what it does ---------------------------------------------------------------------------------

ENDS = {
    "exits with 0": "sys.exit(0)",
    "exits with nothing": "sys.exit()",
    "exits with False": "sys.exit(False)",
    "exits with 256": "sys.exit(256)",  # of which the system keeps 0
    "exits with 1": "sys.exit(1)",
    "exits with a text": "sys.exit('bye')",
    "quits": "quit()",
}
RAISES = {
    "raises": "raise ValueError('no')",
    "raises no Exception": "raise type('Own', (BaseException,), {})",
    "interrupts itself": "raise KeyboardInterrupt",
}
PRINTS = {
    "prints": "print('[1]', flush=True); os.system('echo noise'); os.write(1, b'noise\\n')",
}
LEAVES = {"ends the process": "os._exit(0)"}
HANGS = {"hangs": "open(__file__ + '.hung', 'w').close(); time.sleep(600)"}
RETURNS = {
    "returns a dict": "return dict.fromkeys(range(len(items)), 1)",
    "returns a set": "return set(range(len(items)))",
    "returns a text": "return '1' * len(items)",
    "returns nothing": "return None",
    "returns a generator": "return (1 for item in items)",
    "returns too few": "return [1] * (len(items) - 1)",
    "returns too many": "return [1] * (len(items) + 1)",
    "returns a table": "import numpy; return numpy.ones((len(items), 1), int)",
    "returns one number": "import numpy; return numpy.ones(())",
}
HOLDS = {
    "returns lists": "return [[1]] * len(items)",
    "returns complex numbers": "import numpy; return numpy.ones(len(items)) * 1j",
}
DOES = ENDS | RAISES | PRINTS | LEAVES | HANGS | RETURNS | HOLDS
AT_IMPORT = [does for does in DOES if does not in RETURNS | HOLDS]

FUNCTION = """
import os, sys, time

{at_import}

{kind}def mine({items}, **columns):
    items = {items}
    {called}
    return {good}
"""
KEYS, NUMBERS = "[len(item) for item in items]", "[float(len(item)) for item in items]"


# --- where ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A command that calls code of the user.

    Attributes:
      name: of the place.
      items: argument of the function.
      good: what the function should return.
      command: a word of its name, which `words` completes.
      at_import: whether it misbehaves when it is imported, and not when it is called.
      worker: whether it runs in a worker.
      kind: "async " for a coroutine.
    """

    name: str
    command: str
    items: str
    good: str
    at_import: bool = False
    worker: bool = False
    kind: str = ""

    @property
    def is_stopped(self) -> bool:
        """Whether nothing but Ctrl-C ends what hangs; calls of workers have a limit."""
        return self.at_import or not self.worker


PLACES = [
    Place("diagnose", "diagnose", "completions", KEYS),
    Place("diagnose, import", "diagnose", "completions", KEYS, at_import=True),
    Place("reward", "reward", "completions", NUMBERS),
    Place("reward, import", "reward", "completions", NUMBERS, at_import=True),
    Place("reward without outcome", "plain", "completions", NUMBERS),
    Place("coroutine", "reward", "completions", NUMBERS, kind="async "),
    Place("coroutine without outcome", "plain", "completions", NUMBERS, kind="async "),
    Place("outcome", "outcome", "completions", KEYS),
    Place("outcome, import", "outcome", "completions", KEYS, at_import=True),
    Place("component", "component", "smiles", NUMBERS),
    Place("component, import", "component", "smiles", NUMBERS, at_import=True),
    Place("component in a worker", "component", "smiles", NUMBERS, worker=True),
    Place("component in a worker, import", "component", "smiles", NUMBERS, True, True),
    Place("molecules", "molecules", "smiles", KEYS),
    Place("molecules, import", "molecules", "smiles", KEYS, at_import=True),
]
CASES = [(place, does) for place in PLACES for does in (AT_IMPORT if place.at_import else DOES)]
FEW = ("exits with 0", "prints", "returns a dict")
CHOSEN = [
    (place, does)
    for place, does in CASES
    if promised(True, place.name == "diagnose" or does in FEW[: 1 if place.worker else 3])
]
FIGURE = f"{len(PLACES)} places x {len(DOES)} misbehaviours: {len(CHOSEN)} commands"


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as commands:
        yield commands


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that all commands read."""
    home = tmp_path_factory.mktemp("home")
    toy.saved(home / "toy")
    (home / "prompts.jsonl").write_text('{"prompt": "name one"}\n')
    rows = [{"prompt": "?", "completion": text, "reward": 1.0} for text in ("a", "bb", "a", "bb")]
    (home / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (home / "good.py").write_text(
        "def outcome(completions, **columns): return list(map(str, completions))\n"
        "def reward(completions, **columns): return [1.0] * len(completions)\n"
    )
    return home


def words(place: Place, home: Path, mine: Path, prior: Path, limit: float) -> list[object]:
    """The command, whose function is that of the file `mine`."""
    spec = f"{mine}:mine"
    if place.command == "diagnose":
        return ["diagnose", home / "log.jsonl", "--outcome", spec, "--json"]
    if place.command in ("reward", "plain", "outcome"):
        named = {"reward": f"{home}/good.py:reward", "outcome": f"{home}/good.py:outcome"}
        named |= {"outcome" if place.command == "outcome" else "reward": spec}
        if place.command == "plain":
            named |= {"outcome": "", "method": "grpo"}
        return [
            "train", "llm", "--out", "run", "--model", home / "toy",
            "--dataset", home / "prompts.jsonl",
            *(f"--{key}={value}" for key, value in named.items()),
            "--trl", "num_generations=4", "per_device_train_batch_size=4",
            "max_completion_length=1", "max_steps=1", 'save_strategy="no"',
        ]  # fmt: skip
    component: dict[str, Any] = {"kind": "qed"}
    if place.command == "component":
        component = {"kind": "function", "function": spec}
        component |= {"workers": 1, "timeout": limit, "retries": 0} if place.worker else {}
    toml = [f"{key} = {json.dumps(value)}" for key, value in component.items()]
    config = mine.parent / "config.toml"
    config.write_text("\n".join(["[[components]]", *toml]))
    outcome = ["--outcome", spec] if place.command == "molecules" else []
    return [
        "train", "molecules", "--config", config, "--out", "run", "--prior", prior,
        "--budget", 2, "--batch", 4, "--bucket", 0, "--augmentations", 0, *outcome,
    ]  # fmt: skip


def run(
    commands: Commands, place: Place, does: str, home: Path, prior: Path, folder: Path
) -> Ended:
    mine = folder / "mine.py"
    at_import, called = (DOES[does], "") if place.at_import else ("", DOES[does])
    mine.write_text(
        FUNCTION.format(
            at_import=at_import, called=called, items=place.items, good=place.good, kind=place.kind
        )
    )

    def interrupt(number: int) -> None:
        while not Path(f"{mine}.hung").exists():
            os.kill(number, 0)
            time.sleep(0.02)
        time.sleep(0.05)
        os.kill(number, signal.SIGINT)

    meanwhile = interrupt if does == "hangs" and place.is_stopped else None
    limit = 2.0 if does == "hangs" else 600.0  # what shall answer may take its time
    return commands(*words(place, home, mine, prior, limit), folder=folder, meanwhile=meanwhile)


def result(place: Place, ended: Ended, folder: Path) -> Any:
    """What the command found out; None if nothing."""
    if place.command == "diagnose":
        return json.loads(ended.output or "null")
    path = folder / "run" / "result.json"
    found = json.loads(path.read_text()) if path.exists() else None
    if found and place.command == "component":  # written also if no call had a value
        return found["best"]
    return found


@pytest.mark.promise(number=23)
@pytest.mark.parametrize(
    ("place", "does"), CHOSEN, ids=[f"{place.name}-{does}" for place, does in CHOSEN]
)
def test_no_success_without_a_result(
    commands, place, does, home, small_prior, tmp_path, record_property
):
    record_property("figure", FIGURE)
    ended = run(commands, place, does, home, small_prior, tmp_path)
    found = result(place, ended, tmp_path)
    if does in LEAVES and not place.worker:
        # Nothing can be done against that in our own process: nothing is left, and nothing said.
        assert (ended.code, found) == (0, None)
        return
    assert (ended.code == 0) == (found is not None) == (does in PRINTS), ended
    if does in PRINTS:
        return
    stopped = does == "hangs" and place.is_stopped
    stopped |= does == "interrupts itself" and not place.worker and not place.kind
    assert ended.code in ((130,) if stopped else (1, 2)), ended
    if does in RETURNS or (does in ENDS and place.command != "component"):
        assert "mine" in ended.errors
    if does in ENDS:
        assert "SystemExit" in ended.errors
    if does not in RAISES:
        assert "Traceback" not in ended.errors


@pytest.mark.promise(number=23)
def test_nothing_else_ends_a_command_with_success(home, tmp_path, capsys):
    """What is called in no other way: the length of a list of one's own."""
    mine = tmp_path / "odd.py"
    mine.write_text(
        "class Keys(list):\n    def __len__(self): raise SystemExit(0)\n"
        "def mine(completions, **columns): return Keys(completions)\n"
    )
    assert main(["diagnose", str(home / "log.jsonl"), "--outcome", f"{mine}:mine"]) == 1
    assert "ended without a result (SystemExit: 0)" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["diagnose", "--help"])
    assert ended.value.code == 0
