"""Pretraining learns, goes on to the same bytes, and says what it cannot read."""

import gzip
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from ipsrl.cli import main
from ipsrl.errors import ConfigError, InvalidInput, RunError
from ipsrl.molecules import PretrainConfig, Prior, pretrain
from ipsrl.molecules.generator.pretraining import read_smiles
from ipsrl.molecules.generator.vocabulary import tokenize
from ipsrl.runs import Run

SMALL = {"hidden": 16, "layers": 1, "epochs": 2, "held_out": 20, "batch": 32, "warm_up": 5}


class Stop(Exception):
    pass


def files(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "environment.json"
    }


def test_it_learns(corpus_file, tmp_path):
    config = PretrainConfig(smiles=str(corpus_file), **SMALL | {"epochs": 6, "lr": 0.02})
    result = pretrain(config, tmp_path / "run")
    assert len(result.nll) == 6
    smiles = corpus_file.read_text().split()
    counts = Counter(token for text in smiles for token in [*tokenize(text), "$"])
    frequencies = np.array(list(counts.values())) / counts.total()
    unordered = -(frequencies * np.log(frequencies)).sum() * counts.total() / len(smiles)
    assert result.nll[-1] < unordered  # of a model that knows how frequent the tokens are
    held_out = [row for row in Run.open(tmp_path / "run").metrics() if "held_out_nll" in row]
    assert [row["held_out_nll"] for row in held_out] == result.nll
    assert Prior.load(tmp_path / "run" / "prior").vocabulary.covers("c1ccc(CN)cc1")


@pytest.mark.parametrize("stop", [5, 13])
def test_resumed_is_uninterrupted(corpus_file, tmp_path, monkeypatch, stop):
    """Stopped between two checkpoints, in the first or in the second epoch."""
    config = PretrainConfig(smiles=str(corpus_file), checkpoint_every=4, **SMALL)
    pretrain(config, tmp_path / "whole")
    log = Run.log

    def stopping(run, rows):
        rows = list(rows)
        log(run, rows)
        if rows[0]["step"] == stop:
            raise Stop

    monkeypatch.setattr(Run, "log", stopping)
    with pytest.raises(Stop):
        pretrain(config, tmp_path / "parts")
    monkeypatch.undo()
    pretrain(config, tmp_path / "parts", resume=True)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_micro_batches_do_not_change_the_result(corpus_file, tmp_path):
    for size in (5, 32):
        config = PretrainConfig(smiles=str(corpus_file), micro_batch=size, **SMALL)
        pretrain(config, tmp_path / str(size))
    a, b = (Prior.load(tmp_path / str(size) / "prior") for size in (5, 32))
    smiles = ["c1ccc(CN)cc1", "CCO"]
    # Sums in another order, 20 updates of Adam at 2e-3.
    torch.testing.assert_close(
        a.log_likelihood(smiles), b.log_likelihood(smiles), rtol=0, atol=0.02
    )


def test_every_epoch_writes_molecules_anew(corpus_file, tmp_path, monkeypatch):
    seen: list[list[str]] = []
    encode = Prior.log_probs
    monkeypatch.setattr(
        Prior, "log_probs",
        lambda prior, ids: seen.append(prior.decode(ids)) or encode(prior, ids),
    )  # fmt: skip
    config = PretrainConfig(smiles=str(corpus_file), **SMALL | {"batch": 64, "micro_batch": 64})
    pretrain(config, tmp_path / "run")
    flat = [text for batch in seen for text in batch]
    corpus, _ = read_smiles(corpus_file)
    assert len(set(flat) - set(corpus)) > 100  # forms that the file does not show


def test_reads_gzip_and_columns_and_leaves_out_what_is_no_molecule(tmp_path):
    lines = [
        "CCO name 1.0",
        "",
        "CCO",
        "not a molecule",
        "C" * 129,
        "C1=CC=CC=C1",
        "C(",
        "CC\r",
        "[Re]$[Re]",
    ]
    plain = tmp_path / "a.smi"
    plain.write_text("\ufeff" + "\n".join(lines))  # as some editors of Windows begin
    packed = tmp_path / "a.smi.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    # Left out: a duplicate, two that do not parse ("not", "C("), one too long, a quadruple bond,
    # whose sign ends a sequence.
    expected = {"CCO": "CCO", "C1=CC=CC=C1": "c1ccccc1", "CC": "CC"}
    left_out = {
        "it is written before": 1,
        "RDKit cannot read it, as 'not' in line 4": 2,
        f"it has more than 128 tokens, as {'C' * 80!r} in line 5": 1,
        "it has a quadruple bond, $, as '[Re]$[Re]' in line 9": 1,
    }
    assert read_smiles(plain) == read_smiles(packed) == (expected, left_out)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\xff\xfe\x00", b"\x1f\x8b broken", b"xyz\n", b"smiles,name\nCCO,ethanol\n"],
)
def test_no_corpus(tmp_path, content):
    path = tmp_path / "a.smi"
    if content is not None:
        path.write_bytes(content)
    says = "Give a text file with one SMILES a line, and other columns after a blank"
    if content and b"," in content:
        says = "cannot read it, as 'smiles,name' in line 1.*" + says + ", not a comma"
    with pytest.raises(InvalidInput, match=says):
        read_smiles(path)


def test_refusals_come_before_any_work(corpus_file, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="micro_batch = 64 is more than batch = 32"):
        PretrainConfig(smiles="x", batch=32, micro_batch=64)
    with pytest.raises(InvalidInput, match="would be held out"):
        pretrain(PretrainConfig(smiles=str(corpus_file), held_out=10_000), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config = PretrainConfig(smiles=str(corpus_file), **SMALL)
    pretrain(config, tmp_path / "run")
    monkeypatch.setattr(
        "ipsrl.molecules.generator.pretraining.read_smiles", lambda _: pytest.fail("minutes")
    )
    with pytest.raises(RunError, match="holds a run already"):
        pretrain(config, tmp_path / "run")
    pretrain(config, tmp_path / "run", resume=True)  # which has ended
    with pytest.raises(InvalidInput, match="is not a prior"):
        pretrain(PretrainConfig(smiles=str(corpus_file), prior=str(tmp_path)), tmp_path / "other")
    assert not (tmp_path / "other").exists()


# --- from a prior ---------------------------------------------------------------------------------

FEW = {"held_out": 4, "batch": 8, "micro_batch": 8, "epochs": 8, "warm_up": 2, "lr": 2e-3}
PRIOR = ("config.json", "model.safetensors", "tokenizer.json")
ETHERS = [f"{'C' * a}O{'C' * b}" for a in range(1, 6) for b in range(a, 6)]


def test_a_prior_learns_few_molecules(small_prior, tmp_path):
    """They become likelier than they were, and likelier than with new weights."""
    (tmp_path / "few.smi").write_text("\n".join([*ETHERS, "[Xe]", "C("]))
    nll = {}
    for name, start in (
        ("from", {"prior": str(small_prior)}),
        ("new", {"hidden": 16, "layers": 1}),
    ):
        config = PretrainConfig(smiles=str(tmp_path / "few.smi"), **FEW, **start)
        result = pretrain(config, tmp_path / name)
        # Xenon is a molecule, but no word of the prior.
        assert result.left_out == (2 if name == "from" else 1)
        learned = Prior.load(tmp_path / name / "prior")
        nll[name] = -learned.log_likelihood(ETHERS).mean().item()
    before = Prior.load(small_prior)
    assert nll["from"] < -before.log_likelihood(ETHERS).mean().item()
    assert nll["from"] < nll["new"]
    assert Prior.load(tmp_path / "from" / "prior").vocabulary.tokens == before.vocabulary.tokens


def test_no_epoch_from_a_prior_is_the_prior(small_prior, tmp_path, monkeypatch):
    """With a learning rate of nothing its weights are what they were."""
    monkeypatch.setattr("ipsrl.molecules.generator.pretraining._rate", lambda *_: 0.0)
    (tmp_path / "few.smi").write_text("\n".join(ETHERS))
    config = PretrainConfig(smiles=str(tmp_path / "few.smi"), prior=str(small_prior), **FEW)
    pretrain(config, tmp_path / "run")
    before, after = Prior.load(small_prior), Prior.load(tmp_path / "run" / "prior")
    for name, value in before.model.state_dict().items():
        torch.testing.assert_close(after.model.state_dict()[name], value, rtol=0, atol=0)


def test_a_run_from_other_files_does_not_go_on(small_prior, tmp_path):
    """Each is changed in turn, and put back."""
    (tmp_path / "few.smi").write_text("\n".join(ETHERS))
    mine = tmp_path / "mine"
    shutil.copytree(small_prior, mine)
    config = PretrainConfig(
        smiles=str(tmp_path / "few.smi"), prior=str(mine), **FEW | {"epochs": 1}
    )
    pretrain(config, tmp_path / "run")
    pretrain(config, tmp_path / "run", resume=True)
    for file in (tmp_path / "few.smi", *(mine / name for name in PRIOR)):
        content = file.read_bytes()
        file.write_bytes(content + b"\n")
        with pytest.raises(RunError, match=r"other files or versions \(/\S+: \w+, now \w+\)"):
            pretrain(config, tmp_path / "run", resume=True)
        file.write_bytes(content)


def test_the_command_names_the_prior_to_start_from(small_prior, tmp_path, capsys):
    (tmp_path / "few.smi").write_text("\n".join(ETHERS))
    words = ["--smiles", str(tmp_path / "few.smi"), "--from", str(small_prior), "--epochs", "1"]
    words += [
        "--held-out",
        "4",
        "--batch",
        "8",
        "--micro-batch",
        "8",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(["molecules", "pretrain", *words]) == 0
    assert "11 molecules learned, 0 lines left out" in capsys.readouterr().out
    assert Run.open(tmp_path / "run").config(PretrainConfig).prior == str(small_prior)


@pytest.mark.parametrize("key", ["hidden", "layers"])
def test_the_size_is_that_of_the_prior(key):
    with pytest.raises(ConfigError, match=f"{key} is that of the prior"):
        PretrainConfig(smiles="x.smi", prior="zinc", **{key: 16})
