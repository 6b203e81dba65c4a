"""Our scan is the one of transformers, forwards and backwards."""

import copy

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

from ipsrl.molecules.generator.mamba import CACHE, SelectiveScan, accelerate, empty_cache

# Float32 sums of about 1,000 terms of order 1.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture
def models():
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=20, hidden_size=32, num_hidden_layers=2, state_size=8)
    theirs = MambaForCausalLM(config)
    return theirs, accelerate(copy.deepcopy(theirs))


@pytest.mark.parametrize("length", [1, 2, 3, 17])
def test_same_logits_and_gradients(models, length):
    ids = torch.randint(0, 20, (5, length))
    outputs, gradients = [], []
    for model in models:
        logits = model(input_ids=ids, use_cache=False).logits
        logits.square().sum().backward()
        outputs.append(logits)
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    torch.testing.assert_close(outputs[1], outputs[0], **CLOSE)
    for name, expected in gradients[0].items():
        scale = expected.abs().max().clamp(min=1e-6)  # of A with one step: nothing decays
        torch.testing.assert_close(gradients[1][name] / scale, expected / scale, **CLOSE)


def test_a_mask_goes_through_theirs(models):
    ids = torch.randint(0, 20, (2, 6))
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    theirs, ours = (model(input_ids=ids, attention_mask=mask).logits for model in models)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    unmasked = models[1](input_ids=ids, use_cache=False).logits
    assert not torch.allclose(ours[0], unmasked[0])


def test_the_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(1)

    def some(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    u, dt, rate = some(4, 2, 1, 3), some(4, 2, 1, 3), some(5, 3)
    b, c = some(4, 2, 5, 1), some(4, 2, 5, 1)  # not alike, or a swap of their gradients would pass
    assert torch.autograd.gradcheck(
        lambda u, dt, rate, b, c: SelectiveScan.apply(u, dt, -rate, b, c), (u, dt, rate, b, c)
    )


def test_steps_are_the_sequence(models):
    """Token by token, and after half of the sequences were dropped."""
    ids = torch.randint(0, 20, (4, 9))
    with torch.no_grad():
        whole = models[0](input_ids=ids, use_cache=False).logits
        context = empty_cache(models[1])
        for t in range(9):
            if t == 5:
                context[CACHE].reorder_cache(torch.tensor([3, 1]))
                ids, whole = ids[[3, 1]], whole[[3, 1]]
            out = models[1](input_ids=ids[:, t : t + 1], use_cache=True, **context)
            torch.testing.assert_close(out.logits[:, 0], whole[:, t], **CLOSE)
            context = {CACHE: out[CACHE]}


def test_another_cache_goes_through_theirs(models):
    ids = torch.randint(0, 20, (2, 3))
    with torch.no_grad():
        first = models[1](input_ids=ids[:, :2], use_cache=True)
        last = models[1](input_ids=ids[:, 2:], use_cache=True, **{CACHE: first[CACHE]})
        whole = models[0](input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(last.logits[:, 0], whole[:, 2], **CLOSE)
