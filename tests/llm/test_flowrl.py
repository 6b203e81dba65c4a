"""FlowRL: the policy ends where theory puts it, and the loss is the one of the paper."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import llm_toy as toy
import numpy as np
import pytest
import torch
from helpers import SIGMAS, assert_same
from peft import LoraConfig
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, TrainerCallback

from ipsrl.core.losses import flowrl_residual
from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import ConfigError, RunError
from ipsrl.llm import FlowRLTrainer
from ipsrl.llm.flowrl import LogZMLP, LogZTable

PAY = np.linspace(1.0, 0.3, 8)
TWO = ["name one", "name one more please"]  # of different lengths, so one is padded
EPSILON, EPSILON_HIGH = 0.2, 0.28


def paid(completions: list[str], **columns: Any) -> list[float]:
    """a0 pays 1, a7 pays 0.3, and junk nothing; the first word counts."""
    words = [f"{text} -".split()[0] for text in completions]
    return [float(PAY[int(word[1:])]) if word.startswith("a") else 0.0 for word in words]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """On disk, because TRL loads the reference by the policy's path."""
    return toy.saved(tmp_path_factory.mktemp("toy"))


def flow(saved: Path, folder: Path, prompts: tuple[str, ...] = (), **options: Any) -> Any:
    """A FlowRL trainer of the toy; `of` are its own options, the others those of GRPOConfig."""
    data = toy.Dataset.from_list([{"prompt": prompt} for prompt in prompts]) if prompts else None
    return toy.make(
        folder, FlowRLTrainer, rewards=paid, net=AutoModelForCausalLM.from_pretrained(saved),
        data=data, trainer_options=options.pop("of", {}), **options,
    )  # fmt: skip


def all_probabilities(net: Any, prompt: str = "name one") -> np.ndarray:
    """The probability of every word [V]."""
    net.eval()
    with torch.no_grad():
        logits = net(**toy.tokenizer()(prompt, return_tensors="pt")).logits[0, -1]
    return torch.softmax(logits.double(), -1).numpy()


def payment() -> np.ndarray:
    """Reward of every word [V]."""
    words = toy.tokenizer()
    return np.array(paid(words.convert_ids_to_tokens(list(range(len(words))))))


# --- where it ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("log_z", ["table", "mlp"])
def test_the_policy_ends_at_the_reference_tilted_by_the_rewards(log_z, saved, tmp_path) -> None:
    """pi is proportional to pi_ref exp(beta r): with one token T = 1, and the mean reward of a
    group that r^ leaves out is the same for all answers, so log Z takes it up."""
    beta, G, rate = 3.0, 64, 0.1
    trainer = flow(
        saved, tmp_path, of={"beta": beta, "log_z": log_z}, num_generations=G,
        per_device_train_batch_size=G, learning_rate=3e-3, lr_scheduler_type="linear",
        max_steps=300, scale_rewards="none", logging_steps=50,
    )  # fmt: skip
    reference = all_probabilities(trainer.model)
    r = payment()
    tilted = reference * np.exp(beta * r)
    expected = tilted / tilted.sum()
    assert np.abs(expected - reference).sum() / 2 > 0.1  # so that there is a way to go
    trainer.train()
    ended = all_probabilities(trainer.model)
    # Measured .001 with the table and .005 with the network, whose dropout disturbs log Z; the
    # step that is left at the end of a linear schedule does the rest.
    assert np.abs(ended - expected).sum() / 2 < {"table": 0.004, "mlp": 0.02}[log_z]

    if log_z == "table":
        # log Z minimises mean (log Z + log pi - beta r^ - log pi_ref)^2, and r^ has mean 0 in a
        # group: log Z = mean(log pi_ref - log pi).  At the fixed point log pi_ref - log pi is
        # log S - beta r with S = sum pi_ref exp(beta r), so log Z = log S - beta mean(r).
        mean = expected @ r
        (found,) = trainer.log_z.values.values()
        # mean(r) of a group has the deviation std / sqrt(G), of which a running mean of step
        # `rate` keeps sqrt(rate / (2 - rate)).
        spread = beta * np.sqrt(expected @ (r - mean) ** 2 / G * rate / (2 - rate))
        assert found == pytest.approx(np.log(tilted.sum()) - beta * mean, abs=SIGMAS * spread)


def test_gradients_of_log_z_are_of_one_step(saved, tmp_path) -> None:
    """The trainer clears the gradients of its model only: those of log Z must not pile up."""
    left = []

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            left.extend(p.grad for p in trainer.log_z.parameters() if p.grad is not None)

    trainer = flow(saved, tmp_path, max_steps=2)
    trainer.add_callback(Look())
    before = copy.deepcopy(trainer.log_z.state_dict())
    trainer.train()
    assert all((gradient == 0).all() for gradient in left)
    changed = [name for name, value in trainer.log_z.state_dict().items()
               if not torch.equal(value, before[name])]  # fmt: skip
    assert len(changed) == len(before)  # and yet all of it learns


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_weight_decay_is_that_of_the_configuration(weight_decay, saved, tmp_path) -> None:
    trainer = flow(saved, tmp_path, weight_decay=weight_decay)
    groups = trainer.create_optimizer().param_groups
    known = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {known[id(p)] for p in trainer.log_z.parameters()} == {weight_decay}


# --- the loss, by hand --------------------------------------------------------------------------


def batch(trainer: Any) -> dict[str, Any]:
    """Completions of two prompts, eight of each, as the trainer prepares them."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return dict(trainer._prepare_inputs([{"prompt": p} for p in TWO for _ in range(8)]))


def two(saved: Path, folder: Path, log_z: str, clip: str = "paper") -> Any:
    """A trainer whose batch is two groups of eight, three tokens or fewer each."""
    trainer = flow(
        saved, folder, of={"beta": 2.0, "log_z": log_z, "clip": clip}, max_completion_length=3,
        num_generations=8, epsilon=EPSILON, epsilon_high=EPSILON_HIGH,
    )  # fmt: skip
    if log_z == "mlp":
        for layer in trainer.log_z.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
    with torch.no_grad():  # away from the reference, whose log-probabilities would cancel
        trainer.model.lm_head.weight += 0.05 * torch.randn_like(trainer.model.lm_head.weight)
    return trainer


def by_hand(net: Any, inputs: Any, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the tokens of a completion, and mean state of its prompt, unpadded."""
    prompt = inputs["prompt_ids"][row][inputs["prompt_mask"][row].bool()]
    text = inputs["completion_ids"][row][inputs["completion_mask"][row].bool()]
    ids = torch.cat([prompt, text])[None]
    logits = net(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    log_pi = torch.log_softmax(logits, -1).gather(1, text[:, None])[:, 0]
    return log_pi, net.model(input_ids=prompt[None]).last_hidden_state[0].mean(0)


def in_float64(model: Any) -> Any:
    """Made anew: TRL has bound a forward pass of its own to the model."""
    net = type(model)(model.config)
    net.load_state_dict(model.state_dict())
    return net.double()


def loss_by_hand(trainer: Any, inputs: Any, ratio: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """In float64, from the equation; and the copy of the policy whose gradients it has."""
    net, reference = in_float64(trainer.model), in_float64(trainer.ref_model)
    rows = range(len(ratio))
    mine = [by_hand(net, inputs, row) for row in rows]
    log_pi = torch.stack([log.mean() for log, _ in mine])
    log_ref = torch.stack([by_hand(reference, inputs, row)[0].mean() for row in rows]).detach()
    r = inputs["advantages"].double()
    if isinstance(trainer.log_z, LogZTable):
        # A prompt that is new starts where the weighted loss of its rows is least.
        best = (2.0 * r + log_ref - log_pi).detach()
        log_z = torch.empty(len(ratio), dtype=torch.float64)
        lengths = inputs["prompt_mask"].sum(1)
        for length in set(lengths.tolist()):
            group = lengths == length
            log_z[group] = (ratio[group] * best[group]).sum() / ratio[group].sum()
    else:
        states = torch.stack([state for _, state in mine]).detach()
        log_z = copy.deepcopy(trainer.log_z).double()(states)
    return (ratio * flowrl_residual(log_z, log_pi, log_ref, r, beta=2.0) ** 2).mean(), net


# float32 against float64: log-probabilities to 1e-6 of their size 3 to 8, in residuals of order 1
# that are squared.  Gradients sum 16 of them, each up to 50-fold by its ratio.
LOSS, GRADIENT = 1e-5, 1e-4


@pytest.mark.parametrize("log_z", ["mlp", "table"])
def test_the_loss_is_that_of_the_paper(log_z, saved, tmp_path) -> None:
    trainer = two(saved, tmp_path, log_z)
    inputs = batch(trainer)
    assert len(set(inputs["completion_mask"].sum(1).tolist())) > 1  # some end early
    assert len(set(inputs["prompt_mask"].sum(1).tolist())) == 2
    expected, net = loss_by_hand(trainer, inputs, torch.ones(16, dtype=torch.float64))
    loss = trainer.compute_loss(trainer.model, inputs)
    assert loss.item() == pytest.approx(expected.item(), rel=LOSS)
    assert_same_gradients(trainer.model, loss, net, expected)


def assert_same_gradients(model: Any, loss: Any, net: Any, expected: Any) -> None:
    model.zero_grad()
    loss.backward()
    expected.backward()
    for (name, ours), theirs in zip(model.named_parameters(), net.parameters(), strict=True):
        scale = theirs.grad.abs().max().item()
        assert scale > 0, name
        difference = (ours.grad.double() - theirs.grad).abs().max().item()
        assert difference < GRADIENT * scale, name


FORMS = {
    "paper": lambda ratio: ratio.clip(1 - EPSILON, 1 + EPSILON_HIGH),
    "none": lambda ratio: ratio,
    "max": lambda ratio: ratio.clip(max=10.0),
}


@pytest.mark.parametrize("log_z", ["mlp", "table"])
@pytest.mark.parametrize("clip", FORMS)
def test_the_ratio_is_of_the_sequence_clipped_as_asked_and_without_gradient(
    clip, log_z, saved, tmp_path
) -> None:
    """The policy of the sampling gave the sequences 1/ratio of what they have now."""
    trainer = two(saved, tmp_path, log_z, clip)
    inputs = batch(trainer)
    ratio = torch.tensor([0.02, 0.5, 0.8, 0.9, 1.0, 1.2, 1.27, 1.3, 2.0, 5.0, 9.9, 11.0, 50.0,
                          0.1, 1.1, 3.0], dtype=torch.float64)  # fmt: skip
    mask = inputs["completion_mask"]
    with torch.no_grad():
        now, _ = trainer._forward(trainer.model, inputs)
    share = (ratio.log() / mask.sum(1))[:, None]  # of each token; garbage where nothing counts
    inputs["old_per_token_logps"] = torch.where(mask.bool(), now - share, 7.0).float()
    expected, net = loss_by_hand(trainer, inputs, FORMS[clip](ratio))
    loss = trainer.compute_loss(trainer.model, inputs)
    assert loss.item() == pytest.approx(expected.item(), rel=LOSS)
    assert_same_gradients(trainer.model, loss, net, expected)
    largest = trainer._metrics["train"]["flowrl/ratio_max"][-1]
    assert largest == pytest.approx(FORMS[clip](ratio).max().item(), rel=LOSS)


def test_the_default_is_the_form_of_the_paper(saved, tmp_path) -> None:
    trainer = flow(saved, tmp_path)
    assert (trainer.clip, trainer.beta) == ("paper", 15.0)
    assert isinstance(trainer.log_z, LogZMLP)


def test_updates_after_the_first_are_off_policy(saved, tmp_path) -> None:
    """Two updates per generation: in the first the ratio is 1, and a large step moves it."""
    trainer = flow(
        saved, tmp_path, of={"clip": "none"}, num_iterations=2, max_steps=4, learning_rate=0.1
    )
    trainer.train()
    ratios = [row["flowrl/ratio_max"] for row in trainer.state.log_history if "loss" in row]
    for first, second in ((0, 1), (2, 3)):
        assert ratios[first] == pytest.approx(1.0, abs=1e-5)  # the same numbers, computed twice
        assert ratios[second] > 1.5


def test_gradient_accumulation_is_the_mean_over_the_whole_batch(saved, tmp_path) -> None:
    """Half the loss of a batch, twice."""
    trainer = two(saved, tmp_path, "mlp")
    inputs = batch(trainer)
    once = trainer.compute_loss(trainer.model, inputs)
    trainer.current_gradient_accumulation_steps = 2
    assert trainer.compute_loss(trainer.model, inputs).item() == once.item() / 2


def test_evaluation_uses_no_dropout_and_draws_no_random_numbers(saved, tmp_path) -> None:
    trainer = flow(saved, tmp_path)
    inputs = batch(trainer)
    trainer.model.eval()
    trainer.accelerator.unwrap_model(trainer.log_z).train()
    state = torch.get_rng_state()
    with torch.no_grad():
        losses = {trainer.compute_loss(trainer.model, inputs).item() for _ in range(3)}
    assert len(losses) == 1
    assert torch.equal(torch.get_rng_state(), state)


# --- log Z --------------------------------------------------------------------------------------


def table_of(values: dict[str, float], rate: float = 0.25) -> LogZTable:
    table = LogZTable(rate)
    for prompt, value in values.items():
        table(outcome_ids([prompt]), torch.tensor([value]), torch.ones(1), learn=True)
    return table


def test_a_table_is_a_running_mean_of_the_weighted_minimiser() -> None:
    """Known at 2; rows with the minimisers 4 and 10 and the weights 3 and 1: their mean is
    (12 + 10) / 4 = 5.5, and a step of 1/4 goes to 2 + 3.5 / 4 = 2.875."""
    table = table_of({"p": 2.0})
    found = table(
        outcome_ids(["p", "p"]), torch.tensor([4.0, 10.0]), torch.tensor([3.0, 1.0]), learn=True
    )
    assert found.tolist() == [2.875, 2.875]  # exact in binary
    assert list(table.values.values()) == [2.875]


def test_an_unseen_prompt_starts_at_its_own_minimiser_and_leaves_the_others_alone() -> None:
    table = table_of({"p": 2.0})
    found = table(
        outcome_ids(["q", "p", "q"]), torch.tensor([1.0, 2.0, 4.0]), torch.ones(3), learn=True
    )
    assert found.tolist() == [2.5, 2.0, 2.5]
    assert len(table.values) == 2


def test_a_table_does_not_learn_when_it_is_only_asked() -> None:
    table = table_of({"p": 2.0})
    before = dict(table.values)
    asked = table(outcome_ids(["p", "q"]), torch.tensor([6.0, 1.0]), torch.ones(2), learn=False)
    assert asked.tolist() == [3.0, 1.0]  # the loss as it would be
    assert table.values == before


def test_a_table_is_the_same_after_a_round_trip() -> None:
    """Values that float32 has not, and a prompt whose id needs 63 bits."""
    table = LogZTable(0.3)
    table.values = {2**63 - 1: 1 / 3, 5: -0.1}
    other = LogZTable(0.3)
    other.load_state_dict(table.state_dict())
    assert list(other.values.items()) == list(table.values.items())
    empty = LogZTable(0.3)
    empty.load_state_dict(LogZTable(0.3).state_dict())
    assert empty.values == {}


def test_the_table_of_a_trainer_has_a_value_per_prompt_and_evaluation_changes_none(
    saved, tmp_path
) -> None:
    both = toy.Dataset.from_list([{"prompt": prompt} for prompt in ("one", *TWO)])
    trainer = flow(
        saved, tmp_path, tuple(TWO), of={"log_z": "table", "eval_dataset": both}, max_steps=3,
        num_generations=8, per_device_eval_batch_size=8,
    )  # fmt: skip
    trainer.train()
    prompts = [tuple(ids) for ids in toy.tokenizer()(TWO)["input_ids"]]
    assert set(trainer.log_z.values) == set(outcome_ids(prompts).tolist())  # however it is padded
    before = dict(trainer.log_z.values)
    trainer.evaluate()
    found = trainer.state.log_history[-1]
    assert {"eval_flowrl/log_z", "eval_flowrl/ratio_max"} <= set(found)
    assert trainer.log_z.values == before


def test_the_network_is_that_of_flowrl() -> None:
    """Two times Linear, GELU, LayerNorm, Dropout of 0.1, then Linear to one number."""
    layers = list(LogZMLP(8).net)
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == 2 * ["Linear", "GELU", "LayerNorm", "Dropout"] + ["Linear"]
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.1, 0.1]
    assert LogZMLP(8)(torch.zeros(5, 8)).shape == (5,)


def test_a_model_that_was_built_here_is_refused(saved, tmp_path) -> None:
    """TRL would look for the reference under no name at all."""
    net = AutoModelForCausalLM.from_config(AutoModelForCausalLM.from_pretrained(saved).config)
    net.config.name_or_path = ""
    with pytest.raises(ConfigError, match="was built in Python.*pass the folder.*peft_config"):
        toy.make(tmp_path, FlowRLTrainer, net=net)


# --- checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize("log_z", ["mlp", "table"])
@pytest.mark.parametrize("at", [2, 3])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(at, log_z, saved, tmp_path) -> None:
    options = {"of": {"log_z": log_z}, "max_steps": 5, "save_strategy": "steps", "save_steps": 1}
    whole = flow(saved, tmp_path, **options)
    whole.train()
    resumed = flow(saved, tmp_path / "again", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{at}"))
    last = [load_file(folder / "checkpoint-5" / name)
            for name in ("model.safetensors", "log_z.safetensors")
            for folder in (tmp_path, tmp_path / "again")]  # fmt: skip
    for ours, theirs in (last[:2], last[2:]):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert_same(ours[name], theirs[name])
    assert toy.log(resumed)[:-1] == toy.log(whole)[:-1]  # the last is the mean since the start


def test_a_checkpoint_of_another_trainer_is_refused(saved, tmp_path) -> None:
    options = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    flow(saved, tmp_path, **options).train()
    checkpoint = tmp_path / "checkpoint-1"
    (checkpoint / "log_z.safetensors").unlink()
    with pytest.raises(RunError, match=r"checkpoint-1 has no log_z.safetensors"):
        flow(saved, tmp_path / "again", **options).train(resume_from_checkpoint=str(checkpoint))


# --- adapters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("log_z", ["mlp", "table"])
def test_adapters_learn_against_the_model_without_them(log_z, saved, tmp_path) -> None:
    adapters = LoraConfig(
        r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    trainer = flow(saved, tmp_path, of={"log_z": log_z, "peft_config": adapters}, max_steps=3)
    base = AutoModelForCausalLM.from_pretrained(saved)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    changed = {name for name, value in trainer.model.named_parameters()
               if not torch.equal(value, before[name])}  # fmt: skip
    assert changed
    assert all("lora_" in name for name in changed)

    inputs = batch(trainer)
    rows = range(len(inputs["advantages"]))
    with torch.no_grad():
        expected = [by_hand(base, inputs, row) for row in rows]
        log_pi, state = trainer._forward(trainer.model, inputs)
    mask = inputs["completion_mask"].bool()
    reference = torch.cat([log for log, _ in expected])
    # Two ways to the same float32 number of size 3
    torch.testing.assert_close(inputs["ref_per_token_logps"][mask], reference, rtol=0, atol=1e-5)
    assert (log_pi[mask] - reference).abs().max() > 1e-3  # the adapters are in the policy
    assert (state - torch.stack([state for _, state in expected])).abs().max() > 1e-4
    assert state.shape == (len(rows), base.config.hidden_size)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_z": "tabel"}, "log_z='tabel'.*'mlp' or 'table'"),
        ({"clip": "hard"}, "clip='hard'.*'paper', 'none' or 'max'"),
        ({"beta": 0.0}, "beta=0.0.*inverse temperature > 0"),
        ({"beta": -1.0}, "beta=-1.0"),
        ({"beta": float("nan")}, "beta=nan"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused_before_the_model_is_loaded(
    options, message, tmp_path
) -> None:
    with pytest.raises(ConfigError, match=message):
        FlowRLTrainer("no-such-model", paid, toy.config(tmp_path / "out"), **options)
    assert list(tmp_path.iterdir()) == []


def test_a_kl_coefficient_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"beta=0.04, the weight of a KL term.*FlowRLTrainer"):
        FlowRLTrainer("no-such-model", paid, toy.config(tmp_path / "out", beta=0.04))


def test_the_configuration_of_the_caller_stays_as_it_was(saved, tmp_path) -> None:
    trainer = flow(saved, tmp_path)
    arguments = toy.config(tmp_path)
    FlowRLTrainer(
        AutoModelForCausalLM.from_pretrained(saved), paid, arguments,
        train_dataset=toy.dataset(), processing_class=toy.tokenizer(),
    )  # fmt: skip
    assert arguments.beta == 0.0
    assert trainer.args.beta == 15.0
