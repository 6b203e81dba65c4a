"""Options of a command are shown in groups, needed ones first, and read as they are shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
import tyro

from ipsrl.config import StrictConfig
from ipsrl.options import page, parse, say


class Rates(StrictConfig):
    """Keys."""

    heading: ClassVar[str] = "rates"

    lr: float = 0.5
    """How fast."""


class More(Rates):
    heading: ClassVar[str] = "more"

    steps: int
    """How long."""
    noise: bool = True
    """Whether to shake."""


@dataclass(frozen=True)
class Options:
    """Do a thing.

    And say so.
    """

    where: tyro.conf.Positional[Literal["here", "there"]]
    """The place."""
    config: Annotated[More, tyro.conf.arg(name="")]
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to
    write."""
    sizes: tuple[int, ...] = (1, 2)
    """How large."""
    from_: Annotated[str, tyro.conf.arg(name="from")] = "zero"
    """Where it begins."""


def test_the_page(monkeypatch):
    """What has no default stands first; a key stands under the heading of its own class."""
    monkeypatch.setenv("COLUMNS", "60")
    assert (
        page(Options, "ipsrl thing", "Do a thing.\n\n  a  list")
        == """\
usage: ipsrl thing WHERE --steps INT [options]

Do a thing.

  a  list

must be given:
  WHERE                   The place. One of: here, there.
  --steps INT             How long.

rates:
  --lr FLOAT              How fast. (default: 0.5)

more:
  --no-noise              Whether to shake.

options:
  -o, --out PATH          Where to write.
  --sizes INT ...         How large. (default: 1 2)
  --from TEXT             Where it begins. (default: zero)
  -h, --help              Show this.
"""
    )


def test_what_is_shown_is_read():
    words = ["there", "--steps", "3", "--no-noise", "-o", "x", "--sizes", "4", "5"]
    words += ["--from", "one"]
    found = parse(Options, words, "ipsrl thing")
    assert found == Options("there", More(steps=3, noise=False), Path("x"), (4, 5), "one")


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_ends_the_command(word, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(Options, ["here", word], "ipsrl thing")
    assert ended.value.code == 0
    assert "Do a thing.\n\nAnd say so.\n" in capsys.readouterr().out


@pytest.mark.parametrize(("no_color", "bold"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_no_color_is_set(no_color, bold, monkeypatch):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert ("\033[1mrates:\033[0m" in page(Options, "ipsrl thing", "")) == bold


def test_a_result_is_text_or_an_object(capsys):
    say("two words", {"words": 2}, as_json=False)
    say("two words", {"words": 2}, as_json=True)
    assert capsys.readouterr().out == 'two words\n{\n  "words": 2\n}\n'
