"""Every Python block of docs/integrations.md runs, and gives the numbers of `ipsrl.ips_rewards`.

The hosts are not installed here.  Their part is played by objects with the fields and signatures of
the commits that the page names; what ran on a real host is written there.
"""

import asyncio
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from trl.trainer import grpo_trainer
from trl.trainer.grpo_trainer import GRPOTrainer

import ipsrl
from ipsrl import group_advantage, ips_rewards, outcome_ids
from ipsrl.llm import IPSGRPOTrainer

PAGE = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text()

# Two groups of three, interleaved: a has x x y with reward 1, b has y and z with rewards 1 and 1/2
# and an answer without an outcome.
UIDS = ["a", "b", "a", "b", "a", "b"]
OUTCOMES = ["x", "y", "x", "z", "y", None]
REWARDS = [1.0, 1.0, 1.0, 0.5, 1.0, 0.0]
# By hand, with eps = 1/2 in place of the page's .2, which would clip nothing here:
# a: p = 2/3 2/3 1/3, r~ = 3/2 3/2 2.  b: p = 1/3 each, r~ = 2, 1, and 0.
PAGE_EPS, EPS = "0.2", 0.5
SCALED = [1.5, 2.0, 1.5, 1.0, 2.0, 0.0]
IN_ORDER = [0, 2, 4, 1, 3, 5]  # rows of a, then of b
GRPO = np.empty(6)
for rows in ([0, 2, 4], [1, 3, 5]):
    scaled = ips_rewards(np.take(REWARDS, rows), outcome_ids([OUTCOMES[i] for i in rows]), eps=EPS)
    np.testing.assert_allclose(scaled, np.take(SCALED, rows))
    GRPO[rows] = group_advantage(scaled, std_eps=1e-6).advantages

TEXTS = [f"Answer: {outcome or ''}" for outcome in OUTCOMES]


@pytest.fixture
def recipe(monkeypatch):
    """The names of the block below a heading, with these modules of the host."""

    def run(heading, **modules):
        for path, names in modules.items():
            parts = path.replace("__", ".").split(".")
            for depth in range(1, len(parts) + 1):
                name = ".".join(parts[:depth])
                monkeypatch.setitem(sys.modules, name, ModuleType(name))
            vars(sys.modules[".".join(parts)]).update(names)
        (block,) = re.findall(r"```python\n(.*?)```", section(heading), re.DOTALL)
        names = {}
        exec(compile(block.replace(PAGE_EPS, str(EPS)), heading, "exec"), names)
        return SimpleNamespace(**names)

    return run


def section(heading):
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


class Tokenizer:
    """Texts are spelled in their code points."""

    def decode(self, ids, skip_special_tokens=False):
        return "".join(map(chr, ids))


def spelled(text):
    return [ord(character) for character in text]


def test_every_block_is_tested_here():
    headings = re.findall(r"\n## (.*)\n", PAGE)
    tested = Path(__file__).read_text()
    assert set(headings) <= set(re.findall(r'recipe\(\s*"(.*?)"', tested))
    assert len(headings) == PAGE.count("```python")


def test_verl(recipe):
    compute_score = recipe("verl").compute_score
    assert compute_score("", "so\nAnswer: 6", "4|6") == {"score": 1.0, "outcome": "6"}
    assert compute_score("", "so\nAnswer: 7", "4|6") == {"score": 0.0, "outcome": "7"}
    assert compute_score("", "Answer:", "4|6") == {"score": 0.0, "outcome": None}


def test_skyrl(recipe):
    class RayPPOTrainer:
        tokenizer = Tokenizer()

        def postprocess_generator_output(
            self, generator_output, uids, metrics_generator_output=None, metrics_uids=None
        ):
            # Rewards of responses become rewards of tokens, on the last one.
            lengths = map(len, generator_output["response_ids"])
            rewards = zip(generator_output["rewards"], lengths, strict=True)
            generator_output["rewards"] = [[0.0] * (n - 1) + [r] for r, n in rewards]
            return generator_output, uids

    trainer = recipe("SkyRL", skyrl__train__trainer={"RayPPOTrainer": RayPPOTrainer}).IPSTrainer()
    output = {"response_ids": [spelled(text) for text in TEXTS], "rewards": list(REWARDS)}
    found, uids = trainer.postprocess_generator_output(output, UIDS)
    assert uids == UIDS
    np.testing.assert_allclose([row[-1] for row in found["rewards"]], SCALED)
    assert all(not any(row[:-1]) for row in found["rewards"])
    assert [len(row) for row in found["rewards"]] == [len(text) for text in TEXTS]


def test_openrlhf(recipe):
    class RemoteExperienceMaker:
        args = SimpleNamespace(rollout=SimpleNamespace(n_samples_per_prompt=3))
        tokenizer = Tokenizer()

        def compute_advantages_and_returns(self, experiences):
            return experiences

    # `index` is the place of a sample before the balanced partition: prompts side by side.  Two
    # micro-batches out of order; a prompt token before the response and padding after it.
    order = [3, 0, 5, 1, 4, 2]
    width = max(map(len, TEXTS)) + 3
    batches = []
    for part in (order[:4], order[4:]):
        sequences = torch.zeros(len(part), width, dtype=torch.long)
        masks = torch.zeros(len(part), width - 1, dtype=torch.bool)
        for i, place in enumerate(part):
            text = torch.tensor(spelled(TEXTS[IN_ORDER[place]]))
            sequences[i, 2 : 2 + len(text)] = text
            masks[i, 1 : 1 + len(text)] = True
        rewards = torch.tensor([REWARDS[IN_ORDER[place]] for place in part])
        batches.append(
            SimpleNamespace(index=part, sequences=sequences, action_mask=masks, rewards=rewards)
        )
    names = {"RemoteExperienceMaker": RemoteExperienceMaker}
    module = recipe("OpenRLHF", openrlhf__trainer__ppo_utils__experience_maker=names)
    found = module.IPSExperienceMaker().compute_advantages_and_returns(batches)
    expected = [SCALED[IN_ORDER[place]] for place in order]
    np.testing.assert_allclose(torch.cat([one.rewards for one in found]), expected)
    assert [len(one.rewards) for one in found] == [4, 2]


def test_slime(recipe):
    module = recipe("slime")
    args = SimpleNamespace(reward_key="score")

    class Sample(SimpleNamespace):
        def get_reward_value(self, args):
            return self.reward if not args.reward_key else self.reward[args.reward_key]

    scored = asyncio.run(module.reward(args, Sample(response="Answer: 6", label="4|6")))
    assert scored == {"score": 1.0, "outcome": "6"}
    samples = [
        Sample(group_index=uid, reward={"score": reward, "outcome": outcome})
        for uid, outcome, reward in zip(UIDS, OUTCOMES, REWARDS, strict=True)
    ]
    raw, advantages = module.post_process(args, samples)
    assert raw == REWARDS
    assert all(type(value) is float for value in advantages)
    np.testing.assert_allclose(advantages, GRPO)


@pytest.mark.parametrize("by_deviation", [True, False])
def test_rllm(recipe, by_deviation):
    registry = {}

    def register_rllm_adv_estimator(name):
        return lambda function: registry.setdefault(name, function)

    names = {"register_rllm_adv_estimator": register_rllm_adv_estimator}
    recipe("rllm", rllm__trainer__algorithms__advantage=names)
    groups = [
        SimpleNamespace(
            trajectories=[SimpleNamespace(metadata={"outcome": OUTCOMES[row]}) for row in rows]
        )
        for rows in ([0, 2, 4], [1, 3, 5])
    ]
    advantages, returns = registry["ips_grpo"](
        rewards=[np.take(REWARDS, [0, 2, 4]), np.take(REWARDS, [1, 3, 5])],
        algorithm_config=SimpleNamespace(norm_adv_by_std_in_grpo=by_deviation),
        traj_groups=groups,
    )
    scaled = np.take(SCALED, IN_ORDER).reshape(2, 3)
    expected = scaled - scaled.mean(1, keepdims=True)
    if by_deviation:
        expected = np.take(GRPO, IN_ORDER).reshape(2, 3)
    np.testing.assert_allclose(advantages, expected)
    np.testing.assert_allclose(returns, expected)


def test_prime_rl(recipe):
    def assign_advantages(trace, values):
        assert type(values) is float
        trace.advantage = values

    def iter_trainable_traces(episodes):
        for episode in episodes:
            yield from ((episode, trace) for trace in episode.traces if trace.ok)

    algorithm = recipe(
        "prime-rl",
        prime_rl__orchestrator__algo__base={
            "Algorithm": object,
            "iter_trainable_traces": iter_trainable_traces,
        },
        prime_rl__orchestrator__algo__routing={"assign_advantages": assign_advantages},
    )
    traces = [
        SimpleNamespace(reward=REWARDS[row], info={"outcome": OUTCOMES[row]}, ok=True)
        for row in (1, 3, 5)
    ]
    failed = SimpleNamespace(reward=0.0, info={}, ok=False)
    episodes = [SimpleNamespace(traces=[trace]) for trace in [*traces, failed]]
    asyncio.run(algorithm.IPSAlgorithm().score_group(episodes))
    # r~ = 2 1 0, mean 1
    np.testing.assert_allclose([trace.advantage for trace in traces], [1, 0, -1])
    assert not hasattr(failed, "advantage")


def test_tinker_cookbook(recipe):
    class Renderer:
        def parse_response(self, response):
            return {"role": "assistant", "content": Tokenizer().decode(response)}, "stop_sequence"

    builder = recipe(
        "tinker-cookbook",
        tinker_cookbook__renderers={"get_text_content": lambda message: message["content"]},
        tinker_cookbook__rl__problem_env={"ProblemGroupBuilder": object},
    ).IPSGroupBuilder()
    # Each has two steps; the malformed answer gets -.1 as ProblemEnv gives it, and stays there.
    for rows, malformed in (([0, 2, 4], 0.0), ([1, 3, 5], 0.1)):
        trajectories = [
            SimpleNamespace(
                transitions=[
                    SimpleNamespace(reward=-malformed * (OUTCOMES[row] is None), ac=None),
                    SimpleNamespace(
                        reward=REWARDS[row], ac=SimpleNamespace(tokens=spelled(TEXTS[row]))
                    ),
                ]
            )
            for row in rows
        ]
        envs = [SimpleNamespace(renderer=Renderer()) for _ in rows]
        added = asyncio.run(builder.compute_group_rewards(trajectories, envs))
        raw = [sum(step.reward for step in one.transitions) for one in trajectories]
        assert [metrics for _, metrics in added] == [{"raw_reward": reward} for reward in raw]
        total = [reward + new for reward, (new, _) in zip(raw, added, strict=True)]
        expected = [SCALED[row] - malformed * (OUTCOMES[row] is None) for row in rows]
        np.testing.assert_allclose(total, expected)


def test_art(recipe):
    async def gather_trajectory_groups(groups, *, after_each=None):
        return [await after_each(group) for group in groups]

    module = recipe("ART", art={"gather_trajectory_groups": gather_trajectory_groups})
    groups = [
        [
            SimpleNamespace(reward=REWARDS[row], metadata={"outcome": OUTCOMES[row]}, metrics={})
            for row in rows
        ]
        for rows in ([0, 2, 4], [1, 3, 5])
    ]
    del groups[1][2].metadata["outcome"]  # a rollout that wrote none
    gathered = [one for group in asyncio.run(module.gather(groups)) for one in group]
    assert all(type(one.reward) is float for one in gathered)
    np.testing.assert_allclose([one.reward for one in gathered], np.take(SCALED, IN_ORDER))
    raw = [one.metrics["raw_reward"] for one in gathered]
    np.testing.assert_allclose(raw, np.take(REWARDS, IN_ORDER))


@dataclass(kw_only=True, slots=True)
class Rollout:
    reward: float
    turns: list


@dataclass(kw_only=True, slots=True)
class RolloutGroup:
    rollouts: list


@pytest.mark.parametrize("by_deviation", [True, False])
def test_torchtitan(recipe, by_deviation):
    class AdvantageEstimator:
        @dataclass(kw_only=True, slots=True)
        class Config:
            should_std_normalize: bool = False

        def __init__(self, config):
            self.should_std_normalize = config.should_std_normalize

        def __call__(self, group):
            rewards = [rollout.reward for rollout in group.rollouts]
            scale = statistics.pstdev(rewards) + 1e-6 if self.should_std_normalize else 1.0
            return [(reward - statistics.fmean(rewards)) / scale for reward in rewards]

    estimator = recipe(
        "torchtitan",
        torchtitan__experiments__rl__rollout__advantage={"AdvantageEstimator": AdvantageEstimator},
    ).IPSAdvantage
    advantage = estimator(estimator.Config(should_std_normalize=by_deviation))
    for rows in ([0, 2, 4], [1, 3, 5]):
        group = RolloutGroup(
            rollouts=[
                Rollout(
                    reward=REWARDS[row],
                    turns=[
                        SimpleNamespace(
                            completion_message={"role": "assistant", "content": TEXTS[row]}
                        )
                    ],
                )
                for row in rows
            ]
        )
        if OUTCOMES[rows[-1]] is None:
            group.rollouts[-1].turns = []  # nothing was generated
        scaled = np.take(SCALED, rows)
        expected = scaled - scaled.mean()
        if by_deviation:
            expected /= scaled.std() + 1e-6
        np.testing.assert_allclose(advantage(group), expected)
        assert [rollout.reward for rollout in group.rollouts] == [REWARDS[row] for row in rows]


def test_unsloth(recipe, monkeypatch):
    """Its import replaces TRL's classes, and ours extend what they find."""

    class UnslothGRPOTrainer(GRPOTrainer):
        pass

    monkeypatch.setattr(grpo_trainer, "GRPOTrainer", UnslothGRPOTrainer)
    monkeypatch.setattr(ipsrl, "llm", ipsrl.llm)  # as it is now, when the test ends
    for name in [name for name in sys.modules if name.startswith("ipsrl.llm")]:
        monkeypatch.delitem(sys.modules, name)
    trainer = recipe("unsloth", unsloth={}).IPSGRPOTrainer
    assert issubclass(trainer, UnslothGRPOTrainer)
    assert not issubclass(IPSGRPOTrainer, UnslothGRPOTrainer)
