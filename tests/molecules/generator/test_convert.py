"""Weights under other names are the same model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ipsrl.errors import InvalidInput
from ipsrl.molecules import Prior
from ipsrl.molecules.generator.convert import import_mamba

SCRIPT = Path(__file__).parents[3] / "examples" / "saturn_to_safetensors.py"


@pytest.fixture(scope="module")
def prior(small_prior):
    return Prior.load(small_prior)


def theirs(prior: Prior) -> dict[str, torch.Tensor]:
    """The names of mamba-ssm, from its mixer_seq_simple.py."""
    return {
        name.replace("backbone.embeddings", "backbone.embedding"): value.clone()
        for name, value in prior.model.state_dict().items()
    }


@pytest.fixture
def tokens(prior, tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(list(prior.vocabulary.tokens)))
    return path


@pytest.mark.parametrize("prefix", ["", "network.model."])
def test_same_likelihoods(prior, tmp_path, tokens, prefix):
    state = {prefix + name: value for name, value in theirs(prior).items()}
    save_file(state, tmp_path / "weights.safetensors")
    imported = import_mamba(tmp_path / "weights.safetensors", tokens)
    smiles = ["CCO", "Cc1ccc(O)cc1"]
    assert imported.vocabulary.tokens == prior.vocabulary.tokens
    torch.testing.assert_close(
        imported.log_likelihood(smiles), prior.log_likelihood(smiles), rtol=0, atol=0
    )


def test_an_embedding_with_more_rows_than_tokens(prior, tmp_path, tokens):
    """mamba-ssm pads it to a multiple of 8."""
    state = theirs(prior)
    for name in ("backbone.embedding.weight", "lm_head.weight"):
        state[name] = torch.cat([state[name], torch.ones(5, state[name].shape[1])])
    save_file(state, tmp_path / "weights.safetensors")
    imported = import_mamba(tmp_path / "weights.safetensors", tokens)
    torch.testing.assert_close(
        imported.log_likelihood(["CCO"]), prior.log_likelihood(["CCO"]), rtol=0, atol=1e-5
    )  # a softmax over a slice of the same logits


@pytest.mark.parametrize("wrong", [7, None, ["C"]])
def test_tokens_that_are_none(prior, tmp_path, wrong):
    save_file(theirs(prior), tmp_path / "weights.safetensors")
    (tmp_path / "tokens.json").write_text(json.dumps([*prior.vocabulary.tokens[:-1], wrong]))
    with pytest.raises(InvalidInput, match="is not a token"):
        import_mamba(tmp_path / "weights.safetensors", tmp_path / "tokens.json")


def test_the_script_gets_there_from_a_pickle(prior, tmp_path):
    """The pickle is a dictionary like Saturn's, with a vocabulary that looks ids up."""
    state = theirs(prior)
    saved = {"vocabulary": dict(enumerate(prior.vocabulary.tokens)), "network": state}
    torch.save(saved, tmp_path / "agent.prior")
    names = [tmp_path / name for name in ("agent.prior", "weights.safetensors", "tokens.json")]
    subprocess.run([sys.executable, SCRIPT, *names], check=True)
    imported = import_mamba(*names[1:])
    assert imported.log_likelihood(["CCO"]).equal(prior.log_likelihood(["CCO"]))


def test_what_is_another_model(prior, tmp_path, tokens):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(InvalidInput, match="cannot be read as safetensors"):
        import_mamba(path, tokens)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(InvalidInput, match="cannot be read as safetensors"):
        import_mamba(path, tokens)
    state = theirs(prior)
    save_file({"lm_head.weight": state["lm_head.weight"]}, path)
    with pytest.raises(InvalidInput, match="is not a Mamba over"):
        import_mamba(path, tokens)
    save_file(state | {"backbone.layers.0.mixer.E": torch.zeros(1)}, path)
    with pytest.raises(InvalidInput, match="another model"):
        import_mamba(path, tokens)
    save_file(state | {"backbone.layers.0.mixer.D": torch.zeros(3)}, path)
    with pytest.raises(InvalidInput, match="another size"):
        import_mamba(path, tokens)
    tokens.write_text('["C", "O"]')
    with pytest.raises(InvalidInput, match="is not a list of tokens"):
        import_mamba(path, tokens)
