"""A model that any machine can build: always the same, and able to write any text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from ipsrl.llm import tiny

TEXTS = ["An even digit: ", "Ein Wort mit Umlaut: ", "0 1 2 3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    tiny.build(out, iter(TEXTS), seed=3)
    return out


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_texts_and_seed_give_the_same_files(folder, tmp_path) -> None:
    torch.manual_seed(12345)  # whatever the state of the caller
    tiny.build(tmp_path, iter(TEXTS), seed=3)
    assert files(tmp_path) == files(folder)


def test_another_seed_gives_other_weights_and_the_same_tokenizer(folder, tmp_path) -> None:
    tiny.build(tmp_path, TEXTS, seed=4)
    ours, theirs = files(tmp_path), files(folder)
    assert [name for name in ours if ours[name] != theirs[name]] == ["model.safetensors"]


def test_building_leaves_the_random_numbers_of_the_caller_alone(tmp_path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    tiny.build(tmp_path, TEXTS)
    assert torch.equal(torch.get_rng_state(), before)


@given(st.text(st.characters(exclude_categories=["Cs"])))  # UTF-8 has no lone surrogates
def test_any_text_comes_back_as_it_was(tokenizer, text) -> None:
    for special in tokenizer.all_special_tokens:
        text = text.replace(special, "")
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert tokenizer.decode(ids) == text  # as TRL decodes completions


@pytest.mark.parametrize("text", ["a , b . c", " 'm n't", "漢字🎉\u202e\0\r\n\t", "é", "e\u0301"])
def test_texts_that_tokenizers_like_to_tidy_up_come_back_as_they_were(tokenizer, text) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_without_any_text_every_byte_is_still_a_token(tmp_path) -> None:
    tiny.build(tmp_path, [])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == 2 + 256  # padding and end
    assert tokenizer.decode(tokenizer("déjà")["input_ids"]) == "déjà"


def test_messages_become_the_prompt_of_an_answer(tokenizer) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One?"}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == "system: Be brief.\nuser: One?\nassistant: "
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert text == "system: Be brief.\nuser: One?\n"


def test_model_and_tokenizer_belong_together_and_are_small(folder, tokenizer) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer) <= 320
    assert model.config.pad_token_id == tokenizer.pad_token_id == 0
    assert model.config.eos_token_id == tokenizer.eos_token_id == 1
    assert model.generation_config.eos_token_id == 1
    assert 5e4 < model.num_parameters() < 2e5  # "about 0.1M parameters"
    out = model.generate(**tokenizer(TEXTS[0], return_tensors="pt"), max_new_tokens=4)
    assert out.shape[1] > len(tokenizer(TEXTS[0])["input_ids"])


def test_what_occurs_often_is_one_token(tokenizer) -> None:
    """The tokenizer learns from the prompts, so that they are short."""
    assert len(tokenizer(TEXTS[0])["input_ids"]) < len(TEXTS[0]) / 2
