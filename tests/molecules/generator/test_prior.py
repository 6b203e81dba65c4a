"""A prior writes SMILES and says how probable they are, both ways alike."""

import json
import subprocess
import sys

import pytest
import torch
from helpers import SIGMAS
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from ipsrl.errors import InvalidInput, RunError
from ipsrl.molecules import Prior, Vocabulary
from ipsrl.molecules.generator.prior import live, padded

RECURRENT = 1e-5  # float32; the bound on the difference of a log-probability


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def prior(small_prior):
    return Prior.load(small_prior)


def transformer(rows: int, positions: int) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=rows, n_positions=positions, n_embd=32, n_layer=2, n_head=2, bos_token_id=1,
        eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


@pytest.fixture
def gpt(prior):
    """A transformer with the same vocabulary: another cache, another architecture."""
    return Prior(transformer(len(prior.vocabulary), 1024), prior.vocabulary)


@pytest.mark.parametrize("size", [2, 37, 64])
def test_the_papers_size(size):
    prior = Prior.mamba(Vocabulary([chr(200 + i) for i in range(size - 2)]))
    assert sum(value.numel() for value in prior.model.parameters()) == 5_256_448 + 256 * size


def test_the_shipped_size():
    prior = Prior.mamba(Vocabulary([chr(200 + i) for i in range(62)]), hidden=128, layers=8)
    assert sum(value.numel() for value in prior.model.parameters()) == 941_184


@pytest.mark.parametrize("which", ["prior", "gpt"])
def test_recurrent_is_parallel(which, request):
    prior = request.getfixturevalue(which)
    drawn = prior.sample(64, generator(), max_tokens=30)
    with torch.no_grad():
        again = prior.log_probs(drawn.ids_NT)
    assert (drawn.log_probs_NT - again).abs().max() < RECURRENT
    assert (drawn.log_probs_NT <= 0).all()
    assert (drawn.log_probs_NT[~live(drawn.ids_NT)] == 0).all()


def test_padding_never_changes_a_likelihood(prior):
    smiles = ["C", "Cc1ccc(O)cc1", "C1CCN(C)C1"]
    together = prior.log_likelihood(smiles)
    alone = torch.cat([prior.log_likelihood([text]) for text in smiles])
    # Sums of other lengths are taken in another order.
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    longer = torch.cat([prior.encode(smiles), torch.zeros(3, 9, dtype=torch.int64)], 1)
    with torch.no_grad():
        torch.testing.assert_close(prior.log_probs(longer).sum(1), together, rtol=1e-5, atol=1e-5)


def test_probabilities_of_short_sequences_add_up(prior):
    """All sequences of one token and END, and all that go on, have probability 1."""
    tokens = len(prior.vocabulary)
    ends = prior.log_probs(torch.tensor([[0]])).exp().sum()
    once = padded([[i, 0] for i in range(1, tokens)])
    twice = padded([[i, j] for i in range(1, tokens) for j in range(1, tokens)])
    with torch.no_grad():
        total = ends + sum(prior.log_probs(ids).sum(1).exp().sum() for ids in (once, twice))
    assert abs(total.item() - 1) < 1e-5  # float32 sums of a few hundred probabilities


def test_samples_follow_the_likelihood(prior):
    """The share of the likeliest molecules among 1,000 samples is their probability."""
    drawn = prior.sample(1000, generator(), max_tokens=30)
    texts = prior.decode(drawn.ids_NT)
    distinct = sorted(set(texts) - {None})
    p = prior.log_likelihood(distinct).exp().numpy()
    for i in p.argsort()[-5:]:
        error = (p[i] * (1 - p[i]) / len(texts)) ** 0.5
        assert abs(texts.count(distinct[i]) / len(texts) - p[i]) < SIGMAS * error


def test_a_model_may_have_more_rows_than_tokens(prior):
    """As mamba-ssm pads its embedding: what is not a token is never drawn, and has p = 0."""
    size = len(prior.vocabulary)
    wide = Prior(transformer(8 * size, 1024), prior.vocabulary)
    drawn = wide.sample(16, generator(), max_tokens=20)
    assert int(drawn.ids_NT.max()) < size
    torch.testing.assert_close(
        wide.log_probs(drawn.ids_NT).detach(), drawn.log_probs_NT, rtol=0, atol=RECURRENT
    )


def test_a_model_of_few_positions_is_refused(prior, tmp_path):
    Prior(transformer(len(prior.vocabulary), 64), prior.vocabulary).save(tmp_path)
    with pytest.raises(InvalidInput, match="reads 64 positions.* at least 129 positions"):
        Prior.load(tmp_path)


def test_a_model_that_has_diverged_is_explained(gpt):
    next(gpt.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(RunError, match="diverged.*smaller lr"):
        gpt.sample(2, generator())


@pytest.mark.parametrize("name", [".", "..", "", "zinc/.."])
def test_a_folder_of_priors_is_no_prior(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"is not a prior.*\['zinc'\]"):
        Prior.load(name)


def test_no_molecules_no_likelihoods(prior):
    assert prior.log_likelihood([]).shape == (0,)


def test_the_seed_decides(prior):
    first, second, other = (prior.sample(20, generator(seed)).ids_NT for seed in (3, 3, 4))
    assert first.equal(second)
    assert first.shape != other.shape or not first.equal(other)


def test_a_sequence_without_an_end_is_no_molecule(prior):
    drawn = prior.sample(200, generator(), max_tokens=3)
    assert drawn.ids_NT.shape[1] == 4
    for row, text in zip(drawn.ids_NT.tolist(), prior.decode(drawn.ids_NT), strict=True):
        assert (text is None) == (0 not in row)


def test_live_by_hand():
    ids = torch.tensor([[5, 6, 0, 0], [0, 0, 0, 0], [5, 6, 7, 8]])
    assert live(ids).int().tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize("which", ["prior", "gpt"])
def test_saved_and_loaded(which, request, tmp_path):
    prior = request.getfixturevalue(which)
    ids = prior.encode(["CCO", "c1ccccc1"])
    with torch.no_grad():
        expected = prior.log_probs(ids)
        prior.save(tmp_path)
        file = tmp_path / "model.safetensors"
        for close in (0.0, 0.02):  # float16, as the shipped prior has it, keeps three digits
            loaded = Prior.load(tmp_path)
            assert loaded.model.dtype == torch.float32
            torch.testing.assert_close(loaded.log_probs(ids), expected, rtol=0, atol=close)
            halves = {name: value.half() for name, value in load_file(file).items()}
            save_file(halves, file, {"format": "pt"})
    assert not list(tmp_path.rglob("*.bin"))


def test_weights_are_loaded_as_they_were_saved(prior, tmp_path):
    """Also where the configuration asks for the rescaling of a first initialisation."""
    prior.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["rescale_prenorm_residual"] is False
    config["rescale_prenorm_residual"] = True
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = Prior.load(tmp_path).model.state_dict()
    assert all(value.equal(loaded[name]) for name, value in prior.model.state_dict().items())


def test_no_prior_there(tmp_path, small_prior):
    with pytest.raises(InvalidInput, match="is not a prior"):
        Prior.load(tmp_path / "nothing")
    prior = Prior.load(small_prior)
    prior.save(tmp_path / "prior")
    tokenizer = json.loads((tmp_path / "prior" / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["[Xe]"] = len(vocabulary)
    (tmp_path / "prior" / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InvalidInput, match="Both must come from the same prior"):
        Prior.load(tmp_path / "prior")


def test_a_pickle_is_not_loaded(tmp_path, small_prior):
    """It would run code: this one would make a file."""
    prior = Prior.load(small_prior)
    prior.save(tmp_path / "prior")
    (tmp_path / "prior" / "model.safetensors").unlink()
    canary = tmp_path / "ran"
    code = f"""if True:
        import pathlib, torch
        class Evil:
            def __reduce__(self):
                return (pathlib.Path.touch, (pathlib.Path({str(canary)!r}),))
        torch.save(Evil(), {str(tmp_path / "prior" / "pytorch_model.bin")!r})
    """
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(InvalidInput, match="safetensors"):
        Prior.load(tmp_path / "prior")
    assert not canary.exists()
