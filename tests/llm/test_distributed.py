"""A group that is split over processes gets the weights that it gets in one.

This file is also the program that runs in each of two or four real processes (gloo): `main`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llm_toy as toy
import numpy as np
import pytest
import torch
from accelerate import PartialState
from helpers import HANGS
from llm_laws import assert_closed_form, assert_exact_log_probs, several_prompts
from trl import GRPOTrainer, RLOOTrainer

from ipsrl import METHODS
from ipsrl.core.methods import GAPO, MARA
from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import ConfigError
from ipsrl.llm import (
    ExemplarReplayTrainer,
    IPSGRPOTrainer,
    IPSMixin,
    IPSRLOOTrainer,
    PromptHistory,
    ips_reward,
)
from ipsrl.llm.replay import FILE

G, RANKS = 16, 2
SHARE = G // RANKS  # one group straddles both processes
TRAINERS = (IPSGRPOTrainer, IPSRLOOTrainer)
# Three groups; the cut between two processes, ||, goes through the second.  The cuts between four,
# after 12, 24 and 36, go through each of them.
TEXTS = """
a0 a0 a1 j0 a2 a0 a1 a1    a1 a3 a0 j1 a0 a2 a2 a7
a0 a0 a0 a0 a3 a0 a0 j0 || a0 a5 j0 a3 j1 a0 a0 a4
a6 a6 a6 a6 a6 a6 a6 a6    a6 a6 a6 a6 a6 a6 a6 a5
"""
WHOLE = [word for word in TEXTS.split() if word != "||"]


def some(completions: list[str], **columns: Any) -> list[float | None]:
    """A reward between 0 and 2 that is missing now and then."""
    return [None if text == "a2" else int(text[1:]) / 4 for text in completions]


def own_columns(completions: list[str], log_extra: Any, **columns: Any) -> list[float]:
    """Logs columns that are named as ours are."""
    log_extra("outcome", [f"mine: {text}" for text in completions])
    log_extra("raw_reward", [-1.0] * len(completions))
    return toy.valid(completions)


class Local(GRPOTrainer):
    """A TRL that gathers rewards later than IPS needs it."""

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        return rewards[self.accelerator.process_index * len(prompts) :][: len(prompts)]


class IPSLocal(IPSMixin, Local):
    pass


def alike(keys: list[str]) -> np.ndarray:
    """Similarity 1 / (1 + |i - j|) of ai and aj."""
    number_K = np.array([int(key[1:]) for key in keys])
    return 1 / (1 + abs(number_K[:, None] - number_K))


# All but MARA, which needs a reference model that every process can load.
COUNTED = {
    name: kind(known=8) if kind is GAPO else kind()
    for name, kind in METHODS.items()
    if kind is not MARA
}

# That need more than outcomes.
ESTIMATORS: dict[str, dict[str, Any]] = {"likelihood": {}, "kernel": {"similarity_fn": alike}}


def ips(**options: Any) -> dict[str, Any]:
    return {"outcome_fn": toy.answer, **options}


def score(trainer: Any, completions: list[str]) -> torch.Tensor:
    """The hook for the share of this process."""
    trainer.model.train()
    prompts = ["name one"] * len(completions)
    inputs = [{"prompt": prompt} for prompt in prompts]
    return trainer._calculate_rewards(inputs, prompts, completions, [[0]] * len(completions))


def split_group(folder: Path, ranks: int) -> dict[str, Any]:
    """Weighted rewards and advantages of `WHOLE` by every door, computed by as many processes."""
    share = len(WHOLE) // ranks
    texts = WHOLE[PartialState().process_index * share :][:share]
    words = toy.tokenizer()
    drawn = torch.tensor(words.convert_tokens_to_ids(texts))[:, None]

    def fresh() -> Any:
        """Steps of training differ by rounding, so that none begins where another has ended."""
        net = toy.model(words)
        net.generate = lambda input_ids, **_: torch.cat([input_ids, drawn], dim=1)
        return net

    result = {}
    for trainer in TRAINERS:
        made = toy.make(
            folder / trainer.__name__, trainer, net=fresh(), words=words, max_steps=1,
            rewards=[toy.valid, some], reward_weights=[0.5, 2.0],
            per_device_train_batch_size=share, trainer_options=ips(eps=0.1, alpha=0.7),
        )  # fmt: skip
        result[trainer.__name__] = score(made, texts).nan_to_num(-1).tolist()
        made.train()
        result[f"{trainer.__name__} advantages"] = list(made._logs["advantages"])
    for name, method in COUNTED.items():
        made = toy.make(
            folder / name, IPSGRPOTrainer, net=fresh(), words=words, max_steps=1, rewards=toy.valid,
            per_device_train_batch_size=share, trainer_options=ips(method=method),
        )  # fmt: skip
        made.train()
        result[f"{name} advantages"] = list(made._logs["advantages"])
    made = toy.make(
        folder / "exemplars", ExemplarReplayTrainer, net=fresh(), words=words, max_steps=1,
        rewards=toy.valid, per_device_train_batch_size=share, trainer_options=ips(),
    )  # fmt: skip
    made.train()
    result["exemplars"] = [[o, *text] for bank in made.bank.of.values() for o, text in bank.items()]
    result["exemplars loss"] = made.state.log_history[0]["exemplars/loss"]
    for name, options in ESTIMATORS.items():
        made = toy.make(
            folder / name, IPSGRPOTrainer, net=fresh(), words=words, max_steps=1, rewards=toy.valid,
            per_device_train_batch_size=share, trainer_options=ips(estimator=name, **options),
        )  # fmt: skip
        made.train()
        result[f"{name} advantages"] = list(made._logs["advantages"])
    wrapped = ips_reward(toy.valid, toy.answer, G, eps=0.1, alpha=0.7)
    result["ips_reward"] = wrapped(
        prompts=["name one"] * share, completions=texts, completion_ids=[[0]] * share
    )
    return result


def split(folder: Path) -> dict[str, Any]:
    return split_group(folder / "split", torch.distributed.get_world_size())


def cheap(folder: Path) -> dict[str, Any]:
    """What takes no more than a few steps."""
    result = split_group(folder / "split", RANKS)
    settings = {"per_device_train_batch_size": SHARE, "max_steps": 3, "log_completions": True}
    saving = {"save_strategy": "steps", "save_steps": 2, **settings}
    histories = {"group": "group", "replay": "replay", "counts": PromptHistory(log_probs=False)}
    for name, estimator in histories.items():
        trainer = toy.train(
            folder / name, IPSGRPOTrainer, trainer_options=ips(estimator=estimator), **saving
        )
        assert torch.distributed.get_world_size() == RANKS
        if name != "group":
            trainer.estimator.save(history_of(folder, name, PartialState().process_index))
        result[f"{name} weights"] = trainer.model.lm_head.weight.double().sum().item()
    still = toy.train(
        folder / "still", IPSGRPOTrainer, trainer_options=ips(estimator="replay"),
        learning_rate=0.0, max_completion_length=3, temperature=0.7,
        **{**settings, "per_device_train_batch_size": G, "max_steps": 2},
        data=toy.dataset(8).map(several_prompts),
    )  # fmt: skip
    still.estimator.save(history_of(folder, "still", PartialState().process_index))
    resumed = toy.train(
        folder / "resumed", IPSGRPOTrainer, resume=folder / "replay" / "checkpoint-2",
        trainer_options=ips(estimator="replay"), **settings,
    )  # fmt: skip
    result["resumed weights"] = resumed.model.lm_head.weight.double().sum().item()
    resumed.estimator.save(history_of(folder, "resumed", PartialState().process_index))
    toy.train(
        folder / "columns", IPSGRPOTrainer, rewards=own_columns, trainer_options=ips(), **settings
    )
    off = toy.train(folder / "off", IPSGRPOTrainer, trainer_options=ips(alpha=0.0), **settings)
    plain = toy.train(folder / "plain", GRPOTrainer, **settings)
    result["scaling off"] = all(
        torch.equal(a, b)
        for a, b in zip(off.model.parameters(), plain.model.parameters(), strict=True)
    )
    for host in (GRPOTrainer, RLOOTrainer):
        made = toy.make(folder, host, per_device_train_batch_size=SHARE)
        mine = WHOLE[PartialState().process_index * SHARE :][:SHARE]
        result[f"{host.__name__} hook"] = score(made, mine)[:, 0].tolist()
    try:
        local = toy.make(folder, IPSLocal, per_device_train_batch_size=SHARE, trainer_options=ips())
        score(local, WHOLE[:SHARE])
    except ConfigError as error:
        result["refused"] = str(error)
    return result


def history_of(folder: Path, name: str, rank: int) -> Path:
    """Where a process saves its history."""
    return folder / "histories" / f"{name}-{rank}"


def the_same_in_all(folder: Path, name: str) -> Path:
    """Where a history is that all processes have, byte for byte."""
    folders = [history_of(folder, name, rank) for rank in range(RANKS)]
    assert len({(saved / FILE).read_bytes() for saved in folders}) == 1
    return folders[0]


def whole_toy(folder: Path) -> dict[str, Any]:
    """The toy to its end: GRPO, IPS, and GRPO with the second door."""
    runs = {
        "GRPO": (GRPOTrainer, toy.valid, {}),
        "IPS": (IPSGRPOTrainer, toy.valid, ips()),
        "ips_reward": (GRPOTrainer, ips_reward(toy.valid, toy.answer, G), {}),
    }
    result = {}
    for name, (trainer, rewards, options) in runs.items():
        trained = toy.train(
            folder / name, trainer, rewards=rewards, max_steps=300, logging_steps=300,
            per_device_train_batch_size=SHARE, trainer_options=options,
        )  # fmt: skip
        p = toy.distribution(trained.accelerator.unwrap_model(trained.model), toy.tokenizer())
        result[name] = toy.total_variation_to_uniform(p)
    return result


def main(scenario: str, folder: Path, ranks: int) -> None:
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    assert state.num_processes == torch.distributed.get_world_size() == ranks
    result = {"cheap": cheap, "split": split, "toy": whole_toy}[scenario](folder)
    assert torch.distributed.get_backend() == "gloo"
    (folder / f"{state.process_index}.json").write_text(json.dumps(result))
    torch.distributed.destroy_process_group()


def launch(scenario: str, folder: Path, ranks: int = RANKS) -> list[dict[str, Any]]:
    """What each process wrote."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(ranks),
        "--master_port", "0", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0",
        __file__, scenario, str(folder), str(ranks),
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]


# One start of two processes, and all that it shows: the start is most of the time.


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def ranks(folder) -> list[dict[str, Any]]:
    return launch("cheap", folder)


def assert_split_as_whole(ranks: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    """To 0: the same integers are counted, whoever counts them."""
    for trainer in TRAINERS:
        for name in (trainer.__name__, f"{trainer.__name__} advantages"):
            assert len(set(whole[name] if "adv" in name else map(tuple, whole[name]))) > 5
            for rank in ranks:
                assert rank[name] == whole[name]
    for name, method in COUNTED.items():
        # Log-probabilities of batches of another size may round otherwise, in float32.
        apart = {"rel": 1e-4, "abs": 1e-5} if "log_pf" in method.needs else {"rel": 0, "abs": 0}
        for rank in ranks:
            found = whole[f"{name} advantages"]
            assert rank[f"{name} advantages"] == pytest.approx(found, **apart)
    for rank in ranks:
        assert rank["exemplars"] == whole["exemplars"] != []
        # Completions and weights are the same, up to the rounding of float32.
        assert rank["exemplars loss"] == pytest.approx(whole["exemplars loss"], rel=1e-4)
    for name in ESTIMATORS:
        for rank in ranks:
            # Batches of another size may round otherwise, in float32.
            assert rank[f"{name} advantages"] == pytest.approx(
                whole[f"{name} advantages"], rel=1e-4, abs=1e-5
            )
    assert [reward for rank in ranks for reward in rank["ips_reward"]] == whole["ips_reward"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Any]:
    return split_group(tmp_path_factory.mktemp("one"), 1)


@pytest.mark.promise(number=14)
def test_a_split_group_has_the_rewards_of_a_whole_one(ranks, whole, record_property) -> None:
    assert_split_as_whole(ranks, whole)
    count = len(whole["IPSGRPOTrainer advantages"])
    record_property("figure", f"{count} advantages over 1 and 2 processes (gloo) apart by 0")
    # a3 is once on either side of the cut: (2/16)^-.7, in float64
    a3 = [whole["ips_reward"][i] for i in (20, 27)]
    assert a3 == [pytest.approx(8**0.7, rel=1e-12)] * 2
    assert len(set(whole["ips_reward"])) > 5


@pytest.mark.slow
@pytest.mark.promise(number=14)
def test_a_group_in_four_processes_has_the_rewards_of_a_whole_one(
    whole, tmp_path, record_property
) -> None:
    assert_split_as_whole(launch("split", tmp_path, 4), whole)
    count = len(whole["IPSGRPOTrainer advantages"])
    record_property("figure", f"{count} advantages over 1 and 4 processes (gloo) apart by 0")


@pytest.mark.promise(number=14)
def test_advantages_of_straddling_groups(ranks, folder) -> None:
    rows = toy.table(folder / "group")
    assert len(rows) == 3 * G
    assert list(rows["outcome"]) == toy.answer(rows["completion"])
    assert list(rows["raw_reward"]) == toy.valid(rows["completion"])
    assert_closed_form(rows)


def test_all_processes_have_the_same_history_and_model(ranks, folder) -> None:
    for name in ("replay", "counts"):
        history = PromptHistory()
        history.load(the_same_in_all(folder, name))
        (visits,) = history._visits.values()
        assert [len(visit.ids) for visit in visits] == [G] * 3
    for name in ("group", "replay", "counts"):
        assert ranks[0][f"{name} weights"] == ranks[1][f"{name} weights"]


def test_all_processes_read_the_history_that_one_has_written(ranks, folder) -> None:
    """Resumed after two of three steps, it ends as that of the run that was not."""
    assert ranks[0]["replay weights"] == ranks[0]["resumed weights"]
    resumed, whole = (the_same_in_all(folder, name) / FILE for name in ("resumed", "replay"))
    assert resumed.read_bytes() == whole.read_bytes()


def test_processes_share_the_work_of_log_probs(ranks, folder) -> None:
    """Each computes a part of them, of padded prompts and completions; all have all."""
    history = PromptHistory()
    history.load(the_same_in_all(folder, "still"))
    assert_exact_log_probs(history, ["name one", "name one more please"], 0.7)


def test_weights_of_the_history(ranks, folder) -> None:
    """As counted in this process, from the table that the two have written."""
    rows, history = toy.table(folder / "counts"), PromptHistory(log_probs=False)
    for first in range(0, len(rows), G):
        part = rows.iloc[first : first + G]
        p = history.estimate(np.array([0]), outcome_ids(list(part["outcome"]))[None])[0]
        # 1/p in float32
        np.testing.assert_allclose(part["ips_weight"].astype(float), 1 / p, rtol=1e-6)


def test_columns_of_the_table_are_not_mixed_up(ranks, folder) -> None:
    """A reward function may log columns that are named as ours are."""
    rows = toy.table(folder / "columns")
    assert list(rows["raw_reward"]) in ([-1.0] * len(rows), toy.valid(rows["completion"]))
    theirs = [f"mine: {text}" for text in rows["completion"]]
    assert list(rows["outcome"]) in (theirs, toy.answer(rows["completion"]))


def test_scaling_off_is_trl_bit_for_bit(ranks) -> None:
    assert ranks[0]["scaling off"]
    assert ranks[1]["scaling off"]


@pytest.mark.parametrize("host", ["GRPOTrainer", "RLOOTrainer"])
def test_the_hook_gathers(ranks, host) -> None:
    """If this fails, TRL has moved the gathering: no group is whole in the hook any more."""
    assert ranks[0][f"{host} hook"] == ranks[1][f"{host} hook"] == toy.valid(WHOLE[:G])


def test_a_hook_that_does_not_gather_is_refused(ranks) -> None:
    for rank in ranks:
        assert "got 8 rewards for 16 completions of all processes" in rank["refused"]
        assert "Use the TRL versions" in rank["refused"]


@pytest.mark.slow
def test_the_toy_in_two_processes(tmp_path) -> None:
    """The acceptance numbers of tests/llm/test_toy.py, every group in both processes."""
    first, second = launch("toy", tmp_path)
    assert first == second
    print(first)
    assert first["GRPO"] >= 0.6
    assert first["IPS"] <= 0.10
    assert first["ips_reward"] <= 0.10


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
