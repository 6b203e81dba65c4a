"""A shell completes what --help names.  Bash does it here; zsh runs the same function."""

import shlex
import subprocess

import pytest

from ipsrl.cli import COMMANDS
from ipsrl.completion import script


@pytest.fixture(scope="module")
def completed():
    """What bash offers for the last of these words."""
    text = script()

    def ask(*words: str) -> list[str]:
        typed = " ".join(map(shlex.quote, ("ipsrl", *words)))
        shell = f"{text}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}; _ipsrl\n"
        shell += 'printf "%s\\n" "${COMPREPLY[@]}"'
        answer = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
        assert answer.stderr == ""
        return answer.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], ["train"]),
        (["train", "hypo"], ["hypospace"]),
        (["help", "doc"], ["doctor"]),
        (["train", "hypergrid", "--iter"], ["--iterations"]),
        (["train", "hypergrid", "--method", "gr"], ["grpo"]),
        (["train", "hypergrid", "--method", "ips-p"], ["ips-ppo"]),  # of many
        (["train", "llm", "--log-to", "t"], ["tensorboard", "trackio"]),
        (["train", "llm", "--log-to", "wandb", "t"], ["tensorboard", "trackio"]),
        (["train", "llm", "--log-to", "wandb", "--qui"], ["--quiet"]),
        (["hypospace", "dataset", "v"], ["voxel"]),
        (["reproduce", "table-1", "--preset", ""], ["quick", "cpu", "paper"]),
        (["completion", ""], ["bash", "zsh", "--help"]),
        (["nonsense", "--"], []),
    ],
    ids=str,
)
def test_words_are_completed(completed, words, offered):
    assert completed(*words) == offered


def test_every_command_is_offered(completed):
    assert completed("") == list(dict.fromkeys(name.split()[0] for name in COMMANDS))
    for name in COMMANDS:
        first, _, second = name.partition(" ")
        assert not second or second in completed(first, "")
