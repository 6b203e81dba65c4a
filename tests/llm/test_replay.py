"""The history of prompts: its estimate, and that nothing of it is lost with a process."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import llm_toy as toy
import numpy as np
import pytest
import torch
from helpers import assert_close, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from llm_laws import assert_exact_log_probs, several_prompts
from trl import GRPOTrainer

from ipsrl import Group, Replay, group_frequency
from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import InvalidInput
from ipsrl.llm import IPSGRPOTrainer, PromptHistory
from ipsrl.llm.replay import prompt_ids

Visit = tuple[np.ndarray, np.ndarray, list[list[tuple[int, ...]]]]


def text(k: int) -> tuple[int, ...]:
    """The completion with outcome k; 0 is junk and has none."""
    return (k, k + 1) if k else ()


@st.composite
def visits(draw: st.DrawFn) -> list[Visit]:
    """Batches of groups of a few prompts: often the same prompt twice, also in one batch."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    P, G, T = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    batches = []
    for _ in range(T):
        kinds = rng.integers(0, 4, (P, G))
        ids = np.where(kinds == 0, -1, kinds)
        texts = [[text(int(k)) for k in row] for row in kinds]
        batches.append((rng.integers(0, 3, P), ids, texts))
    return batches


class Policy:
    """log pi of every prompt and completion; another one at each batch."""

    def __init__(self, batch: int, prompts_P: np.ndarray) -> None:
        self.batch, self.prompts_P = batch, prompts_P

    def of(self, prompt: int, completion: tuple[int, ...]) -> float:
        rng = np.random.default_rng([self.batch, prompt, *completion])
        return -3 * rng.exponential()

    def __call__(self, pairs: list[tuple[int, tuple[int, ...]]]) -> np.ndarray:
        assert len(set(pairs)) == len(pairs)  # equal ones once
        return np.array([self.of(int(self.prompts_P[p]), done) for p, done in pairs])


def run(history: PromptHistory, batches: list[Visit], log_probs: bool = True) -> list[np.ndarray]:
    return [
        history.estimate(prompts, ids, texts, Policy(t, prompts) if log_probs else None)
        for t, (prompts, ids, texts) in enumerate(batches)
    ]


def brute_force(
    batches: list[Visit], visits: int, decay: float, clip: float, log_probs: bool
) -> list[np.ndarray]:
    """The definition, sample by sample: every stored one with its age and its ratio."""
    seen: dict[int, list[tuple[int, np.ndarray, list[tuple[int, ...]]]]] = {}
    result = []
    for t, (prompts, ids, texts) in enumerate(batches):
        p_PG = np.ones(ids.shape)
        now = Policy(t, prompts)
        for g, prompt in enumerate(prompts.tolist()):
            seen.setdefault(prompt, []).append((t, ids[g], texts[g]))
            for i, mine in enumerate(ids[g]):
                same = total = 0.0
                for age, (then, old, done) in enumerate(reversed(seen[prompt][-visits:])):
                    for other, completion in zip(old, done, strict=True):
                        ratio = 1.0
                        if log_probs:
                            was = Policy(then, prompts).of(prompt, completion)
                            ratio = min(math.exp(now.of(prompt, completion) - was), clip)
                        total += decay**age * ratio
                        same += decay**age * ratio * (other == mine)
                if mine != -1:
                    p_PG[g, i] = same / total
        result.append(p_PG)
    return result


SETTINGS = {
    "visits": st.integers(1, 4), "decay": st.sampled_from([0.5, 1.0]),
    "clip": st.sampled_from([0.5, 10.0]), "log_probs": st.booleans(),
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(batches=visits(), **SETTINGS)
def test_the_estimate_is_its_definition(batches, visits, decay, clip, log_probs) -> None:
    history = PromptHistory(visits, decay, log_probs, clip)
    expected = brute_force(batches, visits, decay, clip, log_probs)
    for actual, wanted in zip(run(history, batches, log_probs), expected, strict=True):
        assert_close(actual, wanted)  # float64, at most 20 terms
        assert (actual > 0).all()
        assert (actual <= 1 + 1e-12).all()  # sums in another order: some ulp


@settings(max_examples=30, deadline=None)
@given(batches=visits(), remembered=st.integers(1, 4), log_probs=st.booleans())
def test_it_is_replay_of_the_library(batches, remembered, log_probs) -> None:
    """One `ipsrl.Replay` per prompt, without decay."""
    history = PromptHistory(batches=remembered, log_probs=log_probs)
    estimator, states, stored = Replay(batches=remembered), {}, {}
    for t, (actual, (prompts, ids, texts)) in enumerate(
        zip(run(history, batches, log_probs), batches, strict=True)
    ):
        now = Policy(t, prompts)
        for g, prompt in enumerate(prompts.tolist()):
            log_pf = np.array([now.of(prompt, done) for done in texts[g]])
            samples = Group(ids=ids[g], log_pf=log_pf)
            ring = stored.setdefault(prompt, [texts[g]] * remembered)  # what the slots hold
            state = states.get(prompt) or estimator.init(samples)
            ring[int(state.turn) % remembered] = texts[g]
            if log_probs:
                current = np.array([[now.of(prompt, done) for done in slot] for slot in ring])
                samples = samples._replace(history_log_pf=current)
            p, states[prompt] = estimator(samples, state)
            assert_close(actual[g], p)


@settings(max_examples=30, deadline=None)
@given(batches=visits(), **SETTINGS)
def test_invariances(batches, visits, decay, clip, log_probs) -> None:
    """New names of outcomes, another order of the group, and what other prompts do."""
    options = (visits, decay, log_probs, clip)
    expected = run(PromptHistory(*options), batches, log_probs)

    renamed = [(p, np.where(ids < 0, -1, 99 - 7 * ids), texts) for p, ids, texts in batches]
    for a, b in zip(run(PromptHistory(*options), renamed, log_probs), expected, strict=True):
        assert_same(a, b)

    turned = [(p, ids[:, ::-1], [row[::-1] for row in texts]) for p, ids, texts in batches]
    for a, b in zip(run(PromptHistory(*options), turned, log_probs), expected, strict=True):
        assert_close(a[:, ::-1], b)

    for prompt in range(3):
        alone = [
            (p[p == prompt], ids[p == prompt], [texts[i] for i in np.flatnonzero(p == prompt)])
            for p, ids, texts in batches
        ]
        for a, b, (p, _, _) in zip(
            run(PromptHistory(*options), alone, log_probs), expected, batches, strict=True
        ):
            assert_same(a, b[p == prompt])


@given(batches=visits())
@settings(max_examples=20, deadline=None)
def test_one_visit_is_the_group_frequency(batches) -> None:
    for actual, (_, ids, _) in zip(run(PromptHistory(batches=1), batches), batches, strict=True):
        assert_close(actual, group_frequency(ids))


@settings(max_examples=30, deadline=None)
@given(batches=visits(), **SETTINGS)
def test_a_packed_history_goes_on_as_if_nothing_had_happened(
    batches, visits, decay, clip, log_probs
) -> None:
    """As the trainer does it: through JSON, into an object made of the saved arguments."""
    history = PromptHistory(visits, decay, log_probs, clip)
    for t, (prompts, ids, texts) in enumerate(batches):
        now = Policy(t, prompts) if log_probs else None
        expected = history.estimate(prompts, ids, texts, now)
        if t:
            assert_same(restored.estimate(prompts, ids, texts, now), expected)  # noqa: F821
            assert restored.packed == history.packed  # noqa: F821
        state = json.loads(json.dumps(history.state()))
        restored = PromptHistory(**state["args"])
        restored.packed = state["attributes"]["packed"]


def test_an_empty_history_can_be_packed() -> None:
    history = PromptHistory()
    history.packed = PromptHistory().packed
    assert history.estimate(np.array([1]), np.array([[5, 5, 6, -1]])).tolist() == [
        [0.5, 0.5, 0.25, 1.0]
    ]


def test_by_hand() -> None:
    """Two visits, decay 1/2, and a policy that has doubled what it says of outcome 1.

    then: (1, 2), now: (1, 3).  Weights now: 1, 1; of the old: 1/2 * 2, 1/2 * 1.
    p^(1) = (1 + 1) / (1 + 1 + 1 + 1/2) = 4/7,   p^(3) = 1 / 3.5 = 2/7
    """
    history = PromptHistory(batches=2, decay=0.5)
    prompt, log = np.array([0]), {text(1): 0.1, text(2): 0.4, text(3): 0.5}
    history.estimate(
        prompt, np.array([[1, 2]]), [[text(1), text(2)]],
        lambda pairs: np.log([log[done] for _, done in pairs]),
    )  # fmt: skip
    log[text(1)] = 0.2
    p = history.estimate(
        prompt, np.array([[1, 3]]), [[text(1), text(3)]],
        lambda pairs: np.log([log[done] for _, done in pairs]),
    )  # fmt: skip
    assert_close(p, [[4 / 7, 2 / 7]])


def test_prompts_are_told_apart_in_every_process() -> None:
    chat = [{"role": "user", "content": "name one"}]
    ids = prompt_ids(["name one", chat, "name two", [dict(reversed(chat[0].items()))]])
    assert len(set(ids.tolist())) == 3
    assert ids[1] == ids[3]  # the order of a message's fields means nothing
    script = "from ipsrl.llm.replay import prompt_ids; print(prompt_ids(['name one'])[0])"
    other = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "1", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert int(other.stdout) == ids[0]


def test_a_prompt_with_an_image_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a prompt is not plain text.*estimator='group'"):
        prompt_ids([[{"role": "user", "content": [object()]}]])


@pytest.mark.parametrize(
    "wrong", [{"batches": 0}, {"decay": 0.0}, {"decay": 1.5}, {"clip": 0.0}, {"clip": math.nan}]
)
def test_wrong_settings(wrong) -> None:
    with pytest.raises(InvalidInput, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        PromptHistory(**wrong)


def test_history_is_checked() -> None:
    with pytest.raises(InvalidInput, match="batches=0"):
        PromptHistory(batches=0)


# --- in a trainer -------------------------------------------------------------------------------


def test_log_probs_are_those_of_the_policy(tmp_path) -> None:
    """Prompts and completions of different lengths, so there is padding on both sides."""
    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=2, learning_rate=0.0, max_completion_length=3,
        temperature=0.7, per_device_train_batch_size=32, data=toy.dataset(8).map(several_prompts),
        trainer_options={"outcome_fn": toy.answer, "estimator": "replay"},
    )  # fmt: skip
    (history,) = [c for c in trainer.callback_handler.callbacks if isinstance(c, PromptHistory)]
    lengths = {
        len(text) for stored in history._history.values() for v in stored for text in v.completions
    }
    assert len(lengths) > 1
    assert_exact_log_probs(history, ["name one", "name one more please"], 0.7)


def test_dropout_is_no_change_of_the_policy(tmp_path) -> None:
    """With lr = 0 every importance is 1: the history is a plain count over all visits."""
    from peft import LoraConfig

    lora = LoraConfig(
        r=4, lora_dropout=0.5, target_modules=["q_proj", "v_proj"], init_lora_weights=False
    )
    torch.manual_seed(0)
    toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=3, learning_rate=0.0, log_completions=True,
        trainer_options={"outcome_fn": toy.answer, "estimator": "replay", "peft_config": lora},
    )  # fmt: skip
    rows, history = toy.table(tmp_path), PromptHistory(log_probs=False)
    for first in range(0, len(rows), 16):
        part = rows.iloc[first : first + 16]
        p = history.estimate(np.array([0]), outcome_ids(list(part["outcome"]))[None])[0]
        # log-probabilities in float32, up to 10
        np.testing.assert_allclose(part["ips_weight"].astype(float), 1 / p, rtol=1e-4)


def test_scaling_off_is_trl_with_dropout_too(tmp_path) -> None:
    """The history draws no random numbers of its own."""
    from peft import LoraConfig

    def end(name: str, trainer: type, **options: Any) -> dict[str, torch.Tensor]:
        lora = LoraConfig(r=4, lora_dropout=0.5, target_modules=["q_proj", "v_proj"])
        options["peft_config"] = lora
        trained = toy.train(tmp_path / name, trainer, max_steps=3, trainer_options=options)
        return trained.model.state_dict()

    plain = end("plain", GRPOTrainer)
    off = end("off", IPSGRPOTrainer, outcome_fn=toy.answer, alpha=0.0, estimator="replay")
    for name, value in plain.items():
        assert torch.equal(value, off[name]), name


VARIANTS: dict[str, dict[str, Any]] = {
    "group": {"estimator": "group"},
    "replay": {"estimator": "replay"},
    "replay without log_probs": {"estimator": PromptHistory(3, 0.8, log_probs=False)},
    "accumulation": {"estimator": "replay", "gradient_accumulation_steps": 2},
    "restored by the trainer": {
        "estimator": "replay",
        "restore_callback_states_from_checkpoint": True,
    },
    # Two steps per epoch.  TRL's sampler does not resume its shuffling in a later epoch.
    "later epochs": {"estimator": "replay", "rows": 4, "shuffle_dataset": False},
}
STEPS = 6


def go(folder: Path, variant: str, resume: Path | None = None, **options: Any) -> Any:
    """Training of six steps, with a checkpoint after every other."""
    how = dict(VARIANTS[variant])
    estimator, rows = how.pop("estimator"), how.pop("rows", 64)
    if isinstance(estimator, PromptHistory):
        estimator = PromptHistory(**estimator.state()["args"])  # a fresh one for each trainer
    return toy.train(
        folder, IPSGRPOTrainer, resume=resume, max_steps=STEPS, save_strategy="steps",
        save_steps=2, data=two_prompts(rows), num_generations=8,
        trainer_options={"outcome_fn": toy.answer, "estimator": estimator, **options}, **how,
    )  # fmt: skip


def two_prompts(rows: int) -> Any:
    data = toy.dataset(rows)
    return data.map(lambda row: {"prompt": "one more" if row["row"] % 2 else "name one"})


def assert_same_end(one: Path, other: Path) -> None:
    """Weights, optimiser and log of the last checkpoint, the history included."""
    from safetensors.torch import load_file

    a, b = one / f"checkpoint-{STEPS}", other / f"checkpoint-{STEPS}"
    weights = load_file(b / "model.safetensors")
    for name, value in load_file(a / "model.safetensors").items():
        assert torch.equal(value, weights[name]), name
    moments = [torch.load(folder / "optimizer.pt", weights_only=True)["state"] for folder in (a, b)]
    for key, state in moments[0].items():
        for name, value in state.items():
            assert torch.equal(value, moments[1][key][name])
    states = [json.loads((folder / "trainer_state.json").read_text()) for folder in (a, b)]
    logs = [
        [{k: v for k, v in row.items() if "time" not in k} for row in state["log_history"]]
        for state in states
    ]
    assert logs[0] == logs[1]
    assert len(logs[0]) == STEPS
    ours = [state["stateful_callbacks"].get("PromptHistory") for state in states]
    assert ours[0] == ours[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, variant) -> None:
    """Stopped at a step boundary, and continued from its checkpoint in a new trainer."""
    whole = tmp_path / "whole"
    go(whole, variant)
    for step in (2, 4):
        go(tmp_path / str(step), variant, resume=whole / f"checkpoint-{step}")
        assert_same_end(whole, tmp_path / str(step))


def test_the_history_is_what_makes_it_so(tmp_path) -> None:
    """Without it the resumed run is another one, so the test above can fail."""
    whole = tmp_path / "whole"
    go(whole, "replay")
    state = whole / "checkpoint-4" / "trainer_state.json"
    saved = json.loads(state.read_text())
    assert len(saved["stateful_callbacks"]["PromptHistory"]["attributes"]["packed"]) > 100
    saved["stateful_callbacks"]["PromptHistory"]["attributes"]["packed"] = PromptHistory().packed
    state.write_text(json.dumps(saved))
    go(tmp_path / "lost", "replay", resume=whole / "checkpoint-4")
    with pytest.raises(AssertionError):
        assert_same_end(whole, tmp_path / "lost")


def test_a_checkpoint_of_another_estimator(tmp_path) -> None:
    """A run that was begun with the group frequency can go on with a history, and save it."""
    go(tmp_path / "group", "group")
    trainer = go(tmp_path / "on", "replay", resume=tmp_path / "group" / "checkpoint-2")
    assert trainer.state.global_step == STEPS
    saved = json.loads((tmp_path / "on" / "checkpoint-6" / "trainer_state.json").read_text())
    (entry,) = [saved["stateful_callbacks"]["PromptHistory"]]
    restored = PromptHistory(**entry["args"])
    restored.packed = entry["attributes"]["packed"]
    # two groups per step, four steps
    assert sum(len(stored) for stored in restored._history.values()) == 8


@pytest.mark.slow
@pytest.mark.promise(number=6)
def test_kill_minus_nine(tmp_path) -> None:
    """SIGKILL after the second checkpoint, in the fifth step; the rest in another process."""
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from transformers import TrainerCallback\n"
        "from test_replay import go\n"
        "torch.set_num_threads(1)\n"
        "folder, resume = Path(sys.argv[1]), sys.argv[2:]\n"
        "class Kill(TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **kwargs):\n"
        "        if state.global_step == 5 and not resume:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "go(folder, 'replay', Path(resume[0]) if resume else None, callbacks=[Kill()])\n"
    )

    def start(*args: Path) -> int:
        env = {"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path]), "PATH": ""}
        return subprocess.run(
            [sys.executable, str(script), *map(str, args)], env=env, capture_output=True
        ).returncode

    assert start(tmp_path / "killed") == -signal.SIGKILL
    assert not (tmp_path / "killed" / "checkpoint-6").exists()
    assert start(tmp_path / "killed", tmp_path / "killed" / "checkpoint-4") == 0
    go(tmp_path / "whole", "replay")
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


MANY = 64


@pytest.mark.slow
def test_more_outcomes_than_the_group_has_members(tmp_path) -> None:
    """64 answers, G = 8, 600 steps: TV to uniform, median of three seeds.

    Start .43.  Group frequency ends at .22 to .26: with one group, nothing rarer than 1/8 can be
    told from what is not, and of 64 answers 54 to 61 are left above p = 1/256.  With the history
    of eight visits .07 to .10, and all 64 are left.

        lr       group   replay   no log_probs, decay 1   .8
        2e-3     .257    .088     .084                    .091
        5e-3     .222    .085     .087                    .094
        1e-2     .243    .101     .093                    .106
    """

    def end(estimator: str, seed: int) -> float:
        words = toy.tokenizer(valid=MANY)
        trainer = toy.train(
            tmp_path, IPSGRPOTrainer, words=words, max_steps=600, seed=seed, logging_steps=600,
            num_generations=8, per_device_train_batch_size=8,
            trainer_options={"outcome_fn": toy.answer, "estimator": estimator},
        )  # fmt: skip
        return toy.total_variation_to_uniform(toy.distribution(trainer.model, words))

    group, replay = (np.median([end(e, seed) for seed in range(3)]) for e in ("group", "replay"))
    # The seeds differ by .01; half of one and the double of the other leave ten times that.
    assert group > 0.18
    assert replay < 0.12
    assert replay < group / 2
