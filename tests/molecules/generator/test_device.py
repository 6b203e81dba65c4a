"""On a GPU nothing waits for a token, and nothing is left behind on the processor.

There is no GPU here.  Its place takes PyTorch's device `meta`, which refuses what a GPU refuses, to
compute with tensors of the processor, and whatever needs a value: `.item()`, a branch, `nonzero`.
"""

import copy

import numpy as np
import pytest
import torch
from helpers import SIGMAS

from ipsrl.errors import ConfigError
from ipsrl.molecules import Config, PretrainConfig, Prior, pretrain, train
from ipsrl.molecules.generator import prior as module
from ipsrl.molecules.generator.device import device_input, device_of
from ipsrl.molecules.generator.frame import Pen
from ipsrl.molecules.generator.mamba import CACHE, empty_cache
from ipsrl.molecules.search.learning import update

META = torch.device("meta")
READS = ("item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__int__", "__float__")
"""Methods of a tensor that wait for its values."""


@pytest.fixture
def prior(small_prior):
    return Prior.load(small_prior)


@pytest.fixture
def forbidden(monkeypatch):
    """What reads values fails, also on the processor."""

    def forbid(*names):
        for name in names:

            def read(*args, name=name, **kwargs):
                raise AssertionError(f"{name} reads values")

            monkeypatch.setattr(torch.Tensor, name, read)

    return forbid


def test_no_token_is_read_while_tokens_are_written(prior, forbidden):
    last = torch.ones(3, dtype=torch.int64)
    forbidden(*READS)
    with torch.inference_mode():
        ids, log_probs, _ = prior._write(last, empty_cache(prior.model), 8, prior.generator(0))
    assert ids.shape == log_probs.shape == (3, 8)


def test_all_that_writing_needs_is_on_the_device(prior):
    prior.to(META)
    last = torch.ones(3, dtype=torch.int64, device=META)
    with torch.inference_mode():
        ids, log_probs, _ = prior._write(last, empty_cache(prior.model), 4, None)
    assert ids.device == log_probs.device == META
    for wrong in (lambda: last + last.new_ones(3, device="cpu"), last.nonzero, last.any().item):
        with pytest.raises((RuntimeError, NotImplementedError)):  # so this device would notice
            wrong()


def test_a_fragment_is_written_without_reading_a_token(prior, forbidden):
    decorated = prior.decorating("CC(*)O*")
    pen = Pen(decorated.frame, 3, decorated.model.device)
    last = torch.ones(3, dtype=torch.int64)
    forbidden(*READS)
    with torch.inference_mode():
        cache = empty_cache(prior.model)
        ids, *_ = decorated._write(last, cache, 8, prior.generator(0), pen)
        assert decorated.log_probs(ids).shape == (3, 8)


def test_a_fragment_is_on_the_device(prior):
    decorated = prior.decorating("CC(*)O*").to(META)
    last = torch.ones(3, dtype=torch.int64, device=META)
    with torch.inference_mode():
        pen = Pen(decorated.frame, 3, META)
        ids, *_ = decorated._write(last, empty_cache(prior.model), 8, None, pen)
        assert ids.device == decorated.log_probs(ids).device == META


@pytest.mark.parametrize(
    ("method", "epochs"),
    [("reinvent", 1), ("grpo", 1), ("grpo", 2), ("flowrl", 1), ("flowrl", 2)],
)
def test_an_update_reads_only_its_loss(method, epochs, prior, monkeypatch):
    ids = prior.encode(["CCO", "c1ccccc1", "CC(=O)N"])
    prior.to(META)
    agent = Prior(copy.deepcopy(prior.model), prior.vocabulary)
    read = []
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: read.append(tensor) or 1.5)
    config = Config(method=method, epochs=epochs, micro_batch=2)
    sgd = torch.optim.SGD(agent.model.parameters(), lr=0.1)
    assert update(config, agent, prior, sgd, ids, np.array([1.0, 0.0, 0.5])) == 1.5
    assert [tensor.device for tensor in read] == [META]
    assert all(value.grad.device == META for value in agent.model.parameters())


def test_likelihoods_come_to_the_processor_at_the_end(prior, monkeypatch):
    ids = prior.encode(["CCO", "c1ccccc1", "CC(=O)N"])
    prior.to(META)
    read = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: read.append(tensor) or tensor)
    prior.total_log_probs(ids, batch=1)
    assert [(tensor.device, tensor.shape) for tensor in read] == [(META, (3,))]


@pytest.mark.parametrize("stretch", [2, 7, 16, 1000])
def test_stretches_draw_from_the_same_law(stretch, prior, monkeypatch):
    """What has ended stays ended, and each token has the probability that the model gives it."""
    monkeypatch.setitem(module.STRETCH, "cpu", stretch)
    drawn = prior.sample(400, prior.generator(1), max_tokens=30)
    ended = (drawn.ids_NT == 0).cumsum(1) > 1
    assert (drawn.ids_NT[ended] == 0).all()
    assert (drawn.log_probs_NT[ended] == 0).all()
    with torch.no_grad():
        again = prior.log_probs(drawn.ids_NT)
    assert (drawn.log_probs_NT - again).abs().max() < 1e-5  # float32, as in test_prior.py
    texts = prior.decode(drawn.ids_NT)
    distinct = sorted(set(texts) - {None})
    p = prior.log_likelihood(distinct).exp().numpy()
    for i in p.argsort()[-3:]:
        error = (p[i] * (1 - p[i]) / len(texts)) ** 0.5
        assert abs(texts.count(distinct[i]) / len(texts) - p[i]) < SIGMAS * error


def test_a_token_is_the_one_that_multinomial_draws(prior):
    """So a seed draws on a processor what it drew before there were devices."""
    drawn = prior.sample(20, prior.generator(5), max_tokens=20)
    generator, going = prior.generator(5), torch.arange(20)
    ids, last, context = torch.zeros(20, 21, dtype=torch.int64), torch.ones(20).long(), {}
    context = empty_cache(prior.model)
    with torch.inference_mode():
        for t in range(21):
            out = prior.model(input_ids=last[:, None], use_cache=True, **context)
            p = out.logits[:, -1, : len(prior.vocabulary)].log_softmax(-1).exp()
            last = ids[going, t] = torch.multinomial(p, 1, generator=generator)[:, 0]
            kept = last.nonzero()[:, 0]
            if len(kept) == 0:
                break
            if len(kept) < len(last):
                out[CACHE].reorder_cache(kept)
            context, going, last = {CACHE: out[CACHE]}, going[kept], last[kept]
    length = drawn.ids_NT.shape[1]
    assert drawn.ids_NT.equal(ids[:, :length])
    assert (ids[:, length:] == 0).all()


def test_the_device_that_is_named(monkeypatch):
    for there, expected in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert device_of("auto").type == expected
        assert device_of("cpu").type == "cpu"
    assert device_of("cuda").type == "cuda"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A GPU")
    assert device_input(device_of("cuda")) == {"device": "A GPU"}
    assert device_input(device_of("cpu")) == {}


def test_a_gpu_that_is_not_there_is_refused_before_any_work(config, small_prior, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    (tmp_path / "some.smi").write_text("CCO\nCCN\nCCC\n")
    refused = pytest.raises(ConfigError, match="device = cuda.* Set device = auto or cpu")
    with refused:
        train(config(device="cuda"), tmp_path / "run")
    with refused:
        pretrain(PretrainConfig(smiles=str(tmp_path / "some.smi"), device="cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_search_on_a_gpu(config, tmp_path):
    result = train(config(device="cuda"), tmp_path / "run")
    assert result.calls == 60
    assert Prior.load(tmp_path / "run" / "agent").model.device.type == "cpu"
