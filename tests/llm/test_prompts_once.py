"""A prompt is read once for its group, and values, gradients and texts stay what they were."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig

from ipsrl.llm import tiny
from ipsrl.llm.prompts_once import prompts_once, shared_start

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU reads every row")

PAD = 0
A, B = [PAD, PAD, 3, 4, 5, 6], [7, 3, 4, 5, 6, 8]
COMPLETIONS = [[9, 10], [10, 11], [9, 12], [13, 14], [13, 15], [16, 17]]
ROWS = torch.tensor([p + c for p, c in zip([A, B, A, A, B, A], COMPLETIONS, strict=True)])
MASK = (ROWS != PAD).long()


@pytest.fixture(params=["llama", "sliding windows"])
def model(request, tmp_path):
    """Also with windows that are shorter than a prompt, as Gemma 3 has them."""
    torch.manual_seed(3)
    if request.param == "llama":
        tiny.build(tmp_path, ["some text"], seed=3)
        return AutoModelForCausalLM.from_pretrained(tmp_path)
    return Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, head_dim=8, sliding_window=4,
            layer_types=["sliding_attention", "full_attention"],
        )
    )  # fmt: skip


def tokens_read(model) -> list[int]:
    """Tokens of each call of the first layer, filled while the model is used."""
    read = []
    model.get_decoder().layers[0].register_forward_pre_hook(
        lambda _, given: read.append(given[0].shape[0] * given[0].shape[1])
    )
    return read


def scored(model) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the completions, and a gradient that weighs each row differently."""
    model.zero_grad()
    logits = model(input_ids=ROWS, attention_mask=MASK, use_cache=False).logits[:, -3:-1]
    found = logits.log_softmax(-1).gather(-1, ROWS[:, -2:, None])[..., 0]
    (found.sum(1) @ torch.arange(1.0, 7.0)).backward()
    return found.detach(), torch.cat([w.grad.flatten() for w in model.parameters()])


def test_log_probabilities_and_gradients_stay_and_prompts_are_read_once(model) -> None:
    read = tokens_read(model)
    expected, gradient = scored(model)
    with prompts_once(model):
        found, same_gradient = scored(model)
    assert read == [6 * 8, 2 * 6, 6 * 2]
    # float32: sums of 64 products, and of six rows, in another order
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(same_gradient, gradient, rtol=1e-4, atol=1e-4)
    read.clear()
    scored(model)
    assert read == [6 * 8]  # the model is as it was


def test_the_same_texts_are_generated(model) -> None:
    def texts() -> torch.Tensor:
        torch.manual_seed(0)
        return model.generate(
            input_ids=ROWS[:, :6], attention_mask=MASK[:, :6], do_sample=True, top_k=0,
            max_new_tokens=5, pad_token_id=PAD, eos_token_id=None,
        )  # fmt: skip

    read = tokens_read(model)
    expected = texts()
    assert read == [6 * 6, *[6] * 4]
    read.clear()
    with prompts_once(model):
        found = texts()
    assert read == [2 * 6, *[6] * 4]
    assert found.tolist() == expected.tolist()


def test_where_rows_share_nothing_or_their_masks_would_be_shared_every_row_is_read(model) -> None:
    read = tokens_read(model)
    with prompts_once(model):
        model(input_ids=torch.tensor([[1, 2, 3], [2, 2, 3]]))
        model(input_ids=ROWS, output_hidden_states=True)
    model.get_decoder().dropout = torch.nn.Dropout(0.1)
    with prompts_once(model):
        model(input_ids=ROWS)
    assert read == [2 * 3, 6 * 8, 6 * 8]


def test_a_split_by_hand() -> None:
    rows = [[1, 2, 3, 4], [1, 2, 3, 5], [6, 7, 8, 9], [1, 2, 3, 4]]
    # P = 3: two starts and 4 tokens, 10; P = 4: three starts of 4, 12; P = 0: 16
    assert shared_start(rows) == (3, [0, 2], [0, 0, 1, 0])


TOKENS = st.integers(0, 1)


@given(
    st.integers(1, 5).flatmap(
        lambda t: st.lists(st.lists(TOKENS, min_size=t, max_size=t), min_size=1)
    )
)
def test_no_split_reads_fewer_tokens(rows) -> None:
    split, first, group = shared_start(rows)
    width = len(rows[0])

    def tokens(at: int) -> int:
        return len({(*row[:at],) for row in rows}) * at + len(rows) * (width - at)

    assert tokens(split) == min(map(tokens, range(width + 1)))
    assert len(first) == len({(*row[:split],) for row in rows})
    assert all(
        rows[first[start]][:split] == row[:split] for start, row in zip(group, rows, strict=True)
    )
