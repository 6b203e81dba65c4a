"""What is refused in a model from elsewhere is in test_malicious_inputs.py; here, what is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from ipsrl.errors import ConfigError
from ipsrl.llm import tiny
from ipsrl.llm.config import PostTraining
from ipsrl.pretrained import SAFE, check_model, load_config, load_model, load_tokenizer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny.build(tmp_path / "model", ["name one"])
    return tmp_path / "model"


def loads(model: Path) -> None:
    check_model(model)
    weights = load_model(model).state_dict()
    assert load_config(model).vocab_size == len(load_tokenizer(model))
    assert all(weight.isfinite().all() for weight in weights.values())


def test_a_model_of_transformers_that_still_names_the_code_it_came_with(model) -> None:
    """As one that was fine-tuned from a hub model with code that transformers has now, too."""
    config = json.loads((model / "config.json").read_bytes())
    config["auto_map"] = {"AutoModelForCausalLM": "somebody/model--modeling.Model"}
    (model / "config.json").write_text(json.dumps(config))
    loads(model)


def test_a_folder_with_scripts_of_the_user(model) -> None:
    (model / "evaluate.py").write_text("1 / 0\n")
    loads(model)


def test_a_folder_with_both_kinds_of_weights(model) -> None:
    torch.save({}, model / "pytorch_model.bin")
    torch.save({}, model / "training_args.bin")
    loads(model)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_adapters(model, tmp_path) -> None:
    folder, config = tmp_path / "adapters", LoraConfig(r=2, target_modules=["q_proj"])
    get_peft_model(load_model(model), config).save_pretrained(folder)
    for path in model.glob("tokenizer*"):
        shutil.copy(path, folder)
    assert len(load_tokenizer(folder)) > 0
    assert any("lora" in name for name in load_model(folder).state_dict())


def test_a_hub_name_is_not_taken_for_a_folder() -> None:
    check_model("somebody/model")
    check_model("x" * 5000)


@pytest.mark.parametrize("given", [{}, {"dtype": "bfloat16"}, '{"dtype": "bfloat16"}', SAFE])
def test_options_that_are_harmless(given) -> None:
    config = PostTraining(trl={"model_init_kwargs": given})
    assert config.init_kwargs == (json.loads(given) if isinstance(given, str) else given)


@pytest.mark.parametrize("given", ["dtype", "[1]", "3", 3, []])
def test_options_that_are_no_table(given) -> None:
    with pytest.raises(ConfigError, match="model_init_kwargs = .* is not a table"):
        PostTraining(trl={"model_init_kwargs": given})
