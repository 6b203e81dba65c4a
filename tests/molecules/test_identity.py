"""Files that the values of a component depend on, by their names in the configuration."""

from hashlib import sha256

from ipsrl.molecules import ComponentConfig, SynthesisConfig
from ipsrl.molecules.identity import files
from ipsrl.runs import digest_of


def test_of_a_command_the_words_that_name_files(tmp_path):
    for name in ("program", "data"):
        (tmp_path / name).write_text(name)
    words = [str(tmp_path / name) for name in ("program", "data", "absent")]
    config = ComponentConfig(kind="program", command=[*words, "x" * 5000, "-v"])
    assert files(config) == {word: tmp_path / word for word in words[:2]}
    assert digest_of(files(config).values()) == sha256(b"programdata").hexdigest()


def test_of_a_synthesis_a_stock_of_ones_own(tmp_path):
    (tmp_path / "mine.smi").write_text("CCO")
    for stock, expected in ((str(tmp_path / "mine.smi"), 1), ("common", 0)):
        synthesis = SynthesisConfig(stock=stock)
        assert len(files(ComponentConfig(kind="synthesis", synthesis=synthesis))) == expected
