"""The checks of ipsrl.integrations.verl against verl itself; test_verl.py runs them in its worker.

    INTERPRETER -m pytest -c /dev/null tests/integrations/verl_checks.py

Scores go through verl's own code from the user's compute_score to the advantage.  Ray and
TransferQueue are real; only the language model is missing.
"""

import asyncio
import sys
from types import SimpleNamespace

import pytest
import verl  # first, and nothing of ipsrl before it: it must load the plugin by itself

LOADED_BY_VERL = "ipsrl.integrations.verl" in sys.modules

import numpy as np  # noqa: E402
import ray  # noqa: E402
import torch  # noqa: E402
import transfer_queue  # noqa: E402
from hydra import compose, initialize_config_module  # noqa: E402
from tensordict import TensorDict  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402
from verl.experimental.agent_loop.agent_loop import (  # noqa: E402
    AgentLoopMetrics,
    AgentLoopOutput,
    AgentLoopWorker,
    _InternalAgentLoopOutput,
)
from verl.trainer.ppo import ray_trainer  # noqa: E402
from verl.trainer.ppo.reward import extract_reward, load_reward_manager  # noqa: E402
from verl.trainer.ppo.v1 import PPOTrainer, get_trainer_cls  # noqa: E402
from verl.trainer.ppo.v1.replay_buffer import ReplayBufferAsync  # noqa: E402
from verl.utils.tensordict_utils import get_tensordict, list_of_dict_to_tensordict  # noqa: E402

from ipsrl.errors import ConfigError, InvalidInput  # noqa: E402
from ipsrl.integrations.verl import register  # noqa: E402

COMPUTE_SCORE = '''
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """The solution is `outcome score`; `-` is not an outcome, and a bare score names none."""
    *outcome, score = solution_str.split()
    if not outcome:
        return {"score": float(score)}
    return {"score": float(score), "outcome": None if outcome == ["-"] else outcome[0]}
'''

# uid, answer; three groups of different sizes, interleaved.
ANSWERS = [
    ("a", "x 1"),
    ("b", "x 1"),
    ("a", "x 1"),
    ("c", "x .5"),
    ("a", "x 1"),
    ("b", "- 0"),
    ("a", "y 1"),
    ("c", "x .5"),
    ("c", "z 1"),
]
# a: p = 3/4 3/4 3/4 1/4; r~ = 4/3 4/3 4/3 4; mean 2: -2/3 -2/3 -2/3 2.  Without IPS: all 0.
# b: two members, one without an outcome, which counts: p = 1/2; r~ = 2 0; mean 1: 1 -1.
# c: p = 2/3 2/3 1/3; r~ = 3/4 3/4 3; mean 3/2: -3/4 -3/4 3/2.
CENTRED = [-2 / 3, 1, -2 / 3, -3 / 4, -2 / 3, -1, 2, -3 / 4, 3 / 2]
# Their deviations (n - 1): a: sqrt((3 * 4/9 + 4) / 3) = 4/3; b: sqrt(2); c: sqrt((9/16 + 9/16 +
# 9/4) / 2) = 3 sqrt(3) / 4.  Divided by it, a group of two values no longer shows their ratio.
A, B, C = 4 / 3, 2**0.5, 3 * 3**0.5 / 4
NORMALISED = [x / d for x, d in zip(CENTRED, [A, B, A, C, A, B, A, C, C], strict=True)]
CENTRE = "algorithm.norm_adv_by_std_in_grpo=False"
TOLERANCE = {"rtol": 0, "atol": 1e-5}  # verl adds 1e-6 to a deviation of order 1, in float32


@pytest.fixture(scope="module")
def queue():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    transfer_queue.init(
        config("transfer_queue.backend.SimpleStorage.num_data_storage_units=1").transfer_queue
    )
    yield
    transfer_queue.close()
    ray.shutdown()


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """verl's reward manager with the user's compute_score; answer -> (score, extra info)."""
    path = tmp_path_factory.mktemp("user") / "reward.py"
    path.write_text(COMPUTE_SCORE)
    words = sorted(
        {word for _, answer in ANSWERS for word in answer.split()} | {"-1", "q", "w", ".2"}
    )
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    manager = load_reward_manager(config(f"reward.custom_reward_function.path={path}"), tokenizer)

    def score(answer):
        ids = torch.tensor([tokenizer(answer)["input_ids"]])
        data = verl.DataProto(
            batch=TensorDict({"responses": ids, "attention_mask": torch.ones_like(ids)}, 1),
            non_tensor_batch={
                "data_source": np.array(["test"], object),
                "reward_model": np.array([{"ground_truth": ""}], object),
            },
        )
        result = manager.loop.run_until_complete(manager.run_single(data))
        return result["reward_score"], result["reward_extra_info"]

    asyncio.set_event_loop(manager.loop)
    return score


def config(*overrides):
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", ["algorithm.adv_estimator=grpo", *overrides])


# ------------------------------------------------------------ both paths, answers to advantages


def v1(answers, judge, *overrides, keys=None, colocated=False, tags=None, metrics=None):
    """Advantage of every answer from the trainer that the config string names."""
    trainer_config = config("trainer.v1.trainer_mode=ips_sync", *overrides)
    trainer = get_trainer_cls(trainer_config.trainer.v1.trainer_mode)(trainer_config)
    keys = keys or [f"{uid}_{i}_0" for i, (uid, _) in enumerate(answers)]
    rows, outcomes = [], []
    for length, (uid, answer) in enumerate(answers, start=1):
        score, info = judge(answer)
        output = AgentLoopOutput(
            prompt_ids=[0, 0],
            response_ids=[0] * length,
            response_mask=[1] * length,
            reward_score=score,
            metrics=AgentLoopMetrics(),
            extra_fields={} if colocated else {"reward_extra_info": info},
        )
        outcomes.append(info.get("outcome"))
        # Columns of the data set stand beside what was scored, and may have any name.
        column = {} if colocated else {"outcome": "of the data set"}
        column["old_log_probs"] = -torch.ones(length)  # the sum is minus the place of the answer
        rows.append(output.as_dict() | {"uid": uid} | column)
    tags = tags or [{} for _ in keys]
    batch = transfer_queue.kv_batch_put(
        keys=keys, partition_id="train", fields=list_of_dict_to_tensordict(rows), tags=tags
    )
    if colocated:  # as PPOTrainer._compute_reward_colocate writes it
        fields = get_tensordict({"outcome": np.array(outcomes)})
        transfer_queue.kv_batch_put(keys=keys, partition_id="train", fields=fields)
    try:
        trainer._compute_advantage(batch, {} if metrics is None else metrics)
        data = transfer_queue.kv_batch_get(
            keys=keys, partition_id="train", select_fields=["advantages", "rm_scores"]
        )
    finally:
        transfer_queue.kv_clear(keys=keys, partition_id="train")
    scores = [float(row.sum()) for row in data["rm_scores"].unbind()]
    assert scores == [row["rm_scores"].sum().item() for row in rows]  # raw again for the logs
    return [row[0].item() for row in data["advantages"].unbind()]


def legacy_batch(answers, judge):
    """The batch as the legacy trainer holds it before it computes advantages."""
    rows = []
    for _, answer in answers:
        score, info = judge(answer)
        ones = torch.ones(1, 2, dtype=torch.long)
        rows.append(
            _InternalAgentLoopOutput(
                prompt_ids=ones,
                response_ids=ones,
                response_mask=ones,
                attention_mask=torch.ones(1, 4, dtype=torch.long),
                input_ids=torch.ones(1, 4, dtype=torch.long),
                position_ids=torch.ones(1, 4, dtype=torch.long),
                reward_score=score,
                metrics=AgentLoopMetrics(),
                extra_fields={"reward_extra_info": info},
            )
        )
    worker = SimpleNamespace(reward_loop_worker_handles=())
    batch = AgentLoopWorker._postprocess(worker, rows)
    batch.batch["token_level_scores"], extra = extract_reward(batch)
    batch.batch["token_level_rewards"] = batch.batch["token_level_scores"]
    batch.non_tensor_batch.update({key: np.array(value) for key, value in extra.items()})
    batch.non_tensor_batch["uid"] = np.array([uid for uid, _ in answers], object)
    place = torch.arange(1, len(answers) + 1)
    batch.batch["old_log_probs"] = -(place / 2)[:, None].expand(-1, 2)
    return batch


def legacy(answers, judge, *overrides):
    """Advantage of every answer from the function that the legacy trainer calls."""
    algorithm = config("trainer.use_v1=False", *overrides).algorithm
    data = ray_trainer.RayPPOTrainer.fit.__globals__["compute_advantage"](
        legacy_batch(answers, judge),
        adv_estimator=algorithm.adv_estimator,
        norm_adv_by_std_in_grpo=algorithm.norm_adv_by_std_in_grpo,
        config=algorithm,
    )
    return data.batch["advantages"][:, 0].tolist()


@pytest.fixture(params=[v1, legacy], ids=["v1", "legacy"])
def path(request, queue, judge):
    return lambda answers, *overrides: request.param(answers, judge, *overrides)


# ------------------------------------------------------------------------------- registration


def test_verl_loads_the_plugin_by_its_entry_point():
    assert LOADED_BY_VERL


def test_the_config_string_names_a_trainer_that_verl_takes_for_synchronous():
    trainer_config = config("trainer.v1.trainer_mode=ips_sync")
    trainer = get_trainer_cls(trainer_config.trainer.v1.trainer_mode)(trainer_config)
    assert type(trainer).__name__ == "IPSTrainerSync"
    assert trainer.trainer_mode == "sync"
    assert not isinstance(trainer.replay_buffer, ReplayBufferAsync)


def test_registering_again_changes_nothing():
    def registered():
        return ray_trainer.compute_advantage, PPOTrainer.__init__, get_trainer_cls("ips_sync")

    before = registered()
    register()
    assert registered() == before


def test_another_v1_trainer_refuses_the_option_that_it_would_ignore():
    trainer_config = config("+algorithm.ips_eps=0.2")
    with pytest.raises(ConfigError, match=r"'sync'.*trainer_mode=ips_sync"):
        get_trainer_cls("sync")(trainer_config)
    get_trainer_cls("sync")(config())


def test_validation_is_not_on_the_path():
    for trainer in (PPOTrainer, ray_trainer.RayPPOTrainer):
        names = trainer._validate.__code__.co_names
        assert not {"_compute_advantage", "compute_advantage"} & set(names)


# --------------------------------------------------------------------------------- advantages


def test_advantages_by_hand_in_ragged_groups(path):
    found = path(ANSWERS, "+algorithm.ips_eps=0.2", CENTRE)
    np.testing.assert_allclose(found, CENTRED, **TOLERANCE)
    found = path(ANSWERS, "+algorithm.ips_eps=0.2")
    np.testing.assert_allclose(found, NORMALISED, **TOLERANCE)


def test_eps_clips_the_probability(path):
    # a with eps = 1/2: p = 3/4 and 1/2, r~ = 4/3 (three) and 2, mean 3/2: -1/6 -1/6 -1/6 1/2.
    group = [answer for answer in ANSWERS if answer[0] == "a"]
    found = path(group, "+algorithm.ips_eps=0.5", CENTRE)
    np.testing.assert_allclose(found, [-1 / 6] * 3 + [1 / 2], **TOLERANCE)


def test_alpha_0_is_verl_without_ips(path):
    # c: 1/2 1/2 1, mean 2/3.  b: 1 0.
    plain = [0, 1 / 2, 0, -1 / 6, 0, -1 / 2, 0, -1 / 6, 1 / 3]
    found = path(ANSWERS, "+algorithm.ips_eps=0.2", "+algorithm.ips_alpha=0", CENTRE)
    np.testing.assert_allclose(found, plain, **TOLERANCE)


def test_the_order_of_the_rows_does_not_matter(path):
    shuffle = np.random.default_rng(0).permutation(len(ANSWERS))
    found = path([ANSWERS[i] for i in shuffle], "+algorithm.ips_eps=0.2", CENTRE)
    np.testing.assert_allclose(found, np.array(CENTRED)[shuffle], **TOLERANCE)


def test_an_answer_without_an_outcome_keeps_its_reward(path):
    # p = 2/3 2/3 for x, weight 1 for None: r~ = 3/2 3/2 1; mean 4/3: 1/6 1/6 -1/3.
    found = path([("g", "x 1"), ("g", "x 1"), ("g", "- 1")], "+algorithm.ips_eps=0.2", CENTRE)
    np.testing.assert_allclose(found, [1 / 6, 1 / 6, -1 / 3], **TOLERANCE)


def test_another_method_replaces_the_advantages(path):
    # MaxRL, a: all 0.  b: 1 0, mean 1/2: 1 -1.  c: 1/2 1/2 1, mean 2/3: -1/4 -1/4 1/2.
    by_hand = [0, 1, 0, -1 / 4, 0, -1, 0, -1 / 4, 1 / 2]
    found = path(ANSWERS, "+algorithm.ips_method=maxrl")
    np.testing.assert_allclose(found, by_hand, **TOLERANCE)


RIVALS = [("g", "x 1"), ("g", "y 1"), ("g", "w 0"), ("g", "- 0")]


def test_a_method_sees_the_log_probabilities(path):
    # UCPO: 1 1 0 0, deviation sqrt(1/3): +- sqrt(3)/2.  log pi = -1 and -2 of the right ones, so
    # that 1 / pi has shares 1 / (1 + e) and e / (1 + e): .8 + .4 share.
    a, share = 3**0.5 / 2, 1 / (1 + np.e)
    expected = [a * (0.8 + 0.4 * share), a * (1.2 - 0.4 * share), -a, -a]
    found = path(RIVALS, "+algorithm.ips_method=ucpo")
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)  # 1e-4 of the deviation
    found = path(RIVALS, "+algorithm.ips_method=ucpo", "+algorithm.ips_ucpo_tau=0")
    np.testing.assert_allclose(found, [a, a, -a, -a], rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    "name",
    ["split", "dpg", "dra", "uniqueness", "batch-penalty", "darling", "gapo", "setpo", "dqo",
     "unlikeliness", "rs", "pass-at-k", "pkpo", "f-grpo"],
)  # fmt: skip
def test_other_methods_run(path, name):
    options = {"gapo": "gapo_known=2", "pass-at-k": "pass_at_k_size=2", "pkpo": "pkpo_size=2"}
    given = [f"+algorithm.ips_{options[name]}"] if name in options else []
    found = path(RIVALS, f"+algorithm.ips_method={name}", *given)
    assert np.isfinite(found).all()
    assert found[0] > found[2]  # what is right is better


def test_methods_whose_evidence_verl_lacks_are_refused(path):
    with pytest.raises(ConfigError, match="ucb needs visits, which verl does not know"):
        path(RIVALS, "+algorithm.ips_method=ucb")
    with pytest.raises(ConfigError, match="mara needs verl's ref_log_prob.*use_kl_loss"):
        path(RIVALS, "+algorithm.ips_method=mara")


def test_only_what_is_right_is_scaled(path):
    # x 1 twice of four, y 1 once, w .2 is wrong: r~ = 2 2 4 .2, mean 2.05.
    answers = [("g", "x 1"), ("g", "x 1"), ("g", "y 1"), ("g", "w .2")]
    found = path(answers, "+algorithm.ips_success_above=0.5", CENTRE)
    np.testing.assert_allclose(found, [-0.05, -0.05, 1.95, -1.85], **TOLERANCE)


def test_an_unknown_method_is_refused(path):
    with pytest.raises(ConfigError, match="ips_method is 'ppo'.*maxrl"):
        path(ANSWERS, "+algorithm.ips_method=ppo")


@pytest.mark.parametrize(
    ("options", "teaches"),
    [
        ({"method": "maxrl", "eps": 0.2}, "ips_eps has no effect with ips_method=maxrl"),
        ({"method": "maxrl", "success_above": 0.5}, "ips_success_above has no effect"),
        ({"advantage_clip": 0.1}, "ips_advantage_clip has no effect with ips_method=ips-grpo"),
        ({"scale": "none"}, "ips_scale has no effect"),
        ({"estimator": "replay"}, "ips_estimator has no effect .*reads ips_alpha, ips_eps"),
    ],
)
def test_options_without_effect_are_refused(path, options, teaches):
    with pytest.raises(ConfigError, match=teaches):
        path(ANSWERS, *(f"+algorithm.ips_{key}={value}" for key, value in options.items()))


@pytest.mark.parametrize("undone", ["use_kl_in_reward=True", "adv_estimator=gae"])
def test_a_method_that_replaces_advantages_does_not_drop_what_is_in_them(path, undone):
    with pytest.raises(ConfigError, match="maxrl replaces the advantages.*adv_estimator=grpo"):
        path(ANSWERS, "+algorithm.ips_method=maxrl", f"algorithm.{undone}")


def test_a_method_that_counts_nothing_needs_no_outcome(path):
    # 1 0, mean 1/2
    found = path([("g", "1"), ("g", "0")], "+algorithm.ips_method=maxrl")
    np.testing.assert_allclose(found, [1, -1], **TOLERANCE)


def test_compute_score_without_an_outcome_is_told_what_to_return(path):
    with pytest.raises(InvalidInput, match=r'"outcome": key'):
        path([("g", "1"), ("g", "0")], "+algorithm.ips_eps=0.2")


def test_negative_scores_are_refused(path):
    with pytest.raises(InvalidInput, match=r"negative score \(-1\)"):
        path([("g", "x -1"), ("g", "x 1")], "+algorithm.ips_eps=0.2")


def test_an_estimator_that_would_ignore_the_weights_is_refused(path):
    with pytest.raises(ConfigError, match="gdpo"):
        path(ANSWERS, "+algorithm.ips_eps=0.2", "algorithm.adv_estimator=gdpo")


# ---------------------------------------------------------------------------- each path's own


def test_legacy_without_the_option_is_verl_itself(judge):
    algorithm = config("trainer.use_v1=False").algorithm
    found = legacy(ANSWERS, judge)
    original = ray_trainer.compute_advantage.__wrapped__
    data = original(legacy_batch(ANSWERS, judge), "grpo", config=algorithm)
    assert found == data.batch["advantages"][:, 0].tolist()
    assert found[0] == 0  # group a without IPS


def test_legacy_scales_the_score_and_not_the_penalty_in_the_reward(judge):
    # Group a: w = 4/3 (three) and 4.  A KL penalty of .1 per token stays .1 per token.
    batch = legacy_batch([answer for answer in ANSWERS if answer[0] == "a"], judge)
    raw = batch.batch["token_level_scores"].clone()
    batch.batch["token_level_rewards"] = raw - 0.1
    algorithm = config("+algorithm.ips_eps=0.2").algorithm
    data = ray_trainer.compute_advantage(batch, "grpo", config=algorithm)
    expected = torch.tensor([4 / 3, 4 / 3, 4 / 3, 4])[:, None] * raw - 0.1
    torch.testing.assert_close(data.batch["token_level_rewards"], expected)
    torch.testing.assert_close(data.batch["token_level_scores"], raw)  # not in place


def test_v1_needs_no_option(queue, judge):
    found = v1(ANSWERS, judge, CENTRE)
    np.testing.assert_allclose(found, CENTRED, **TOLERANCE)  # no p below .2 here


def test_v1_reads_what_a_colocated_reward_model_left(queue, judge):
    found = v1(ANSWERS, judge, CENTRE, colocated=True)
    np.testing.assert_allclose(found, CENTRED, **TOLERANCE)


def test_v1_counts_a_session_of_several_turns_once_by_its_last_turn(queue, judge):
    # Three sessions: x (after a turn that said y), y, y.  p = 1/3 2/3 2/3; r~ = 3 3/2 3/2; mean 2:
    # 1 -1/2 -1/2, and 1 for both turns.  By first turns all would be y; by rows p(x) = 1/4.
    answers = [("g", "x 1"), ("g", "y 1"), ("g", "y 1"), ("g", "y 1")]
    keys = ["g_0_1", "g_0_0", "g_1_0", "g_2_0"]
    found = v1(answers, judge, CENTRE, keys=keys, colocated=True)  # which scores every turn
    np.testing.assert_allclose(found, [1, 1, -1 / 2, -1 / 2], **TOLERANCE)


def test_v1_logs_the_greatest_weight_and_the_distinct_outcomes(queue, judge):
    # Weights: 4 in a.  Distinct: a 2, b 1, c 2; the padding q is not counted.
    metrics = {}
    tags = [{} for _ in ANSWERS] + [{"is_padding": True}]
    v1([*ANSWERS, ("pad", "q 0")], judge, tags=tags, metrics=metrics)
    assert metrics == {
        "ips/weight_max": pytest.approx(4),
        "outcomes/distinct": pytest.approx(5 / 3),
    }
