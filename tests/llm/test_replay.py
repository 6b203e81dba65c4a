"""The history of prompts: its estimate, and that nothing of it is lost with a process."""

from __future__ import annotations

import json
import logging
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import llm_toy as toy
import numpy as np
import pytest
import torch
from helpers import assert_close, assert_same, peak_memory
from hypothesis import given, settings
from hypothesis import strategies as st
from llm_laws import assert_exact_log_probs, several_prompts
from trl import GRPOTrainer

from ipsrl import Group, Replay, group_frequency
from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import InvalidInput, RunError
from ipsrl.llm import IPSGRPOTrainer, IPSRLOOTrainer, PromptHistory
from ipsrl.llm.replay import FILE, prompt_ids

Visit = tuple[np.ndarray, np.ndarray, list[list[tuple[int, ...]]]]


def text(k: int) -> tuple[int, ...]:
    """The completion with outcome k; 0 is junk and has none."""
    return (k, k + 1) if k else ()


@st.composite
def visits(draw: st.DrawFn, *, once: bool = False) -> list[Visit]:
    """Batches of groups of a few prompts: often the same prompt twice, also in one batch.

    With `once` a batch has no prompt twice.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    P, G, T = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    batches = []
    for _ in range(T):
        kinds = rng.integers(0, 4, (P, G))
        ids = np.where(kinds == 0, -1, kinds)
        texts = [[text(int(k)) for k in row] for row in kinds]
        prompts = rng.permutation(4)[:P] if once else rng.integers(0, 3, P)
        batches.append((prompts, ids, texts))
    return batches


class Policy:
    """log pi of every prompt and completion; another one at each batch."""

    def __init__(self, batch: int, prompts_P: np.ndarray) -> None:
        self.batch, self.prompts_P = batch, prompts_P

    def of(self, prompt: int, completion: Sequence[int] | np.ndarray) -> float:
        rng = np.random.default_rng([self.batch, prompt, *completion])
        return -3 * rng.exponential()

    def __call__(self, pairs: list[tuple[int, np.ndarray]]) -> np.ndarray:
        assert len({(p, *done.tolist()) for p, done in pairs}) == len(pairs)  # equal ones once
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
        for prompt in set(prompts.tolist()):  # its groups have one age
            rows = np.flatnonzero(prompts == prompt)
            drawn = [text for row in rows for text in texts[row]]
            seen.setdefault(prompt, []).append((t, ids[rows].ravel(), drawn))
        for g, prompt in enumerate(prompts.tolist()):
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
@given(batches=visits(once=True), remembered=st.integers(1, 4), log_probs=st.booleans())
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


@given(batches=visits(once=True))
@settings(max_examples=20, deadline=None)
def test_one_visit_is_the_group_frequency(batches) -> None:
    for actual, (_, ids, _) in zip(run(PromptHistory(batches=1), batches), batches, strict=True):
        assert_close(actual, group_frequency(ids))


@settings(max_examples=30, deadline=None)
@given(batches=visits(), **SETTINGS)
def test_a_saved_history_goes_on_as_if_nothing_had_happened(
    batches, visits, decay, clip, log_probs
) -> None:
    history = PromptHistory(visits, decay, log_probs, clip)
    with TemporaryDirectory() as name:
        here, there = Path(name) / "here", Path(name) / "there"
        for t, (prompts, ids, texts) in enumerate(batches):
            now = Policy(t, prompts) if log_probs else None
            expected = history.estimate(prompts, ids, texts, now)
            if t:
                assert_same(restored.estimate(prompts, ids, texts, now), expected)  # noqa: F821
                restored.save(there)  # noqa: F821
            history.save(here)
            if t:
                assert (here / FILE).read_bytes() == (there / FILE).read_bytes()
            restored = PromptHistory(visits, decay, log_probs, clip)
            assert restored.load(here)


def test_what_is_given_may_change_afterwards() -> None:
    """A history keeps what was visited, not the array that said so."""
    history, ids = PromptHistory(log_probs=False), np.array([[1, 1]])
    history.estimate(np.array([0]), ids)
    ids[:] = 2
    assert history.estimate(np.array([0]), ids).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("prompts", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_ten_thousand_prompts_fit(prompts, tmp_path) -> None:
    """16 completions, 8 visits, counts only: in 200 MB of memory and 50 MB on the disk.

    Each visit is an object of its own, so fewer prompts take as much less.  Measured: 33 MB, 75
    while it is saved and loaded, and 12 MB on the disk.
    """
    rng, history = np.random.default_rng(0), PromptHistory(log_probs=False)

    def run() -> None:
        for _ in range(8):
            for first in range(0, prompts, 100):
                ids_PG = rng.integers(0, 2**62, (100, 16))
                history.estimate(np.arange(first, first + 100), ids_PG)
        history.save(tmp_path)
        assert PromptHistory().load(tmp_path)

    assert peak_memory(run) < 200e6 * prompts / 10_000
    assert (tmp_path / FILE).stat().st_size < 50e6 * prompts / 10_000
    assert sum(len(visits) for visits in history._visits.values()) == 8 * prompts


def test_counts_by_hand() -> None:
    """Two visits and decay 1/2: the new ones weigh 1 each, the old ones 1/2 each.

    (1, 2), then (1, 3): p^(1) = (1 + 1/2) / (1 + 1 + 1/2 + 1/2) = 1/2,   p^(3) = 1/3
    (2, -1): the first is forgotten.  p^(2) = 1 / (1 + 1 + 1/2 + 1/2) = 1/3, and no outcome has 1
    """
    history, prompt = PromptHistory(batches=2, decay=0.5, log_probs=False), np.array([7])
    history.estimate(prompt, np.array([[1, 2]]))
    assert_close(history.estimate(prompt, np.array([[1, 3]])), [[1 / 2, 1 / 3]])
    assert_close(history.estimate(prompt, np.array([[2, -1]])), [[1 / 3, 1]])


def test_groups_of_one_prompt_in_a_generation_count_together() -> None:
    """(1, 2) and (1, 3), in any order: p^(1) = 2/4, p^(2) = p^(3) = 1/4, whatever the decay."""
    for ids in ([[1, 2], [1, 3]], [[1, 3], [1, 2]]):
        history = PromptHistory(batches=1, decay=0.5, log_probs=False)
        assert_close(history.estimate(np.array([7, 7]), np.array(ids)), [[1 / 2, 1 / 4]] * 2)


def test_by_hand() -> None:
    """Two visits, decay 1/2, and a policy that has doubled what it says of outcome 1.

    then: (1, 2), now: (1, 3).  Weights now: 1, 1; of the old: 1/2 * 2, 1/2 * 1.
    p^(1) = (1 + 1) / (1 + 1 + 1 + 1/2) = 4/7,   p^(3) = 1 / 3.5 = 2/7
    """
    history = PromptHistory(batches=2, decay=0.5)
    prompt, log = np.array([0]), {text(1): 0.1, text(2): 0.4, text(3): 0.5}
    history.estimate(
        prompt, np.array([[1, 2]]), [[text(1), text(2)]],
        lambda pairs: np.log([log[tuple(done)] for _, done in pairs]),
    )  # fmt: skip
    log[text(1)] = 0.2
    p = history.estimate(
        prompt, np.array([[1, 3]]), [[text(1), text(3)]],
        lambda pairs: np.log([log[tuple(done)] for _, done in pairs]),
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


def test_columns_tell_prompts_apart() -> None:
    rows = [
        {"image_id": "a", "target": [1, {"x": 2, "y": 3}], "row": 0},
        {"image_id": "a", "target": [1, {"y": 3, "x": 2}], "row": 1},
        {"image_id": "b", "target": [1, {"x": 2, "y": 3}], "row": 2},
        {"image_id": "a", "target": None, "row": 3},
    ]
    prompts = ["name one"] * 4

    def parts(*columns: str, prompts: list[Any] = prompts) -> list[list[int]]:
        """Which rows have equal ids."""
        ids = prompt_ids(prompts, rows, columns).tolist()
        return sorted([i for i in range(4) if ids[i] == one] for one in set(ids))

    assert parts() == [[0, 1, 2, 3]]
    assert parts("image_id") == [[0, 1, 3], [2]]
    assert parts("target") == [[0, 1, 2], [3]]  # the order of fields means nothing
    assert parts("image_id", "target") == [[0, 1], [2], [3]]
    assert parts("image_id", prompts=["name one", "one more"] * 2) == [[0], [1, 3], [2]]
    # "ab" and "c" are not "a" and "bc"
    texts = [{"x": "ab", "y": "c"}, {"x": "a", "y": "bc"}]
    assert len(set(prompt_ids(prompts[:2], texts, ["x", "y"]).tolist())) == 2


def with_image(image: object, text: str = "what is it") -> list[dict[str, Any]]:
    """A prompt as TRL makes it of a text and an image."""
    parts = [{"type": "image", "image": image}, {"type": "text", "text": text}]
    return [{"role": "user", "content": parts}]


def test_a_prompt_with_an_image_needs_a_column() -> None:
    message = r"a prompt is not plain text.*columns=\('image_id',\).*estimator='group'"
    with pytest.raises(InvalidInput, match=message):
        prompt_ids([with_image(object())])
    prompts = [with_image(object()), with_image(object()), with_image(object(), "where is it")]
    ids = prompt_ids(prompts, [{"image_id": 1}, {"image_id": 1}, {"image_id": 1}], ["image_id"])
    assert ids[0] == ids[1] != ids[2]  # the text counts, and the column


def test_a_column_that_the_data_set_lacks() -> None:
    with pytest.raises(InvalidInput, match=r"'image_id'.*does not have.*It has: prompt, image\."):
        prompt_ids(["what is it"], [{"prompt": "what is it", "image": 0}], ["image_id"])


def test_a_column_of_images() -> None:
    with pytest.raises(InvalidInput, match=r"cannot tell prompts apart by the column 'image'"):
        prompt_ids(["what is it"], [{"image": object()}], ["image"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"batches": 0},
        {"batches": 1.5},
        {"decay": 0.0},
        {"decay": 1.5},
        {"clip": 0.0},
        {"clip": math.nan},
    ],
)
def test_wrong_settings(wrong) -> None:
    with pytest.raises(InvalidInput, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        PromptHistory(**wrong)


def test_a_column_is_not_a_list_of_letters() -> None:
    with pytest.raises(InvalidInput, match=r"such as \('image_id',\)"):
        PromptHistory(columns="image_id")


# --- in a trainer -------------------------------------------------------------------------------


def test_log_probs_are_those_of_the_policy(tmp_path) -> None:
    """Prompts and completions of different lengths, so there is padding on both sides."""
    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=2, learning_rate=0.0, max_completion_length=3,
        temperature=0.7, per_device_train_batch_size=32, data=toy.dataset(8).map(several_prompts),
        trainer_options={"outcome_fn": toy.answer, "estimator": "replay"},
    )  # fmt: skip
    history = trainer.estimator
    lengths = {len(text) for stored in history._visits.values() for v in stored for text in v.texts}
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


def test_a_column_of_the_data_set_tells_histories_apart(tmp_path) -> None:
    """One prompt with two targets: each has the visits of its own."""
    data = toy.dataset(8).map(lambda row: {"target": row["row"] % 2})
    rows = {target: [{"target": target}] for target in (0, 1)}
    keys = {target: int(prompt_ids(["name one"], rows[target], ["target"])[0]) for target in rows}
    for log_probs in (False, True):
        history = PromptHistory(log_probs=log_probs, columns=("target",))
        toy.train(
            tmp_path, IPSGRPOTrainer, max_steps=2, data=data, per_device_train_batch_size=32,
            trainer_options={"outcome_fn": toy.answer, "estimator": history},
        )  # fmt: skip
        assert {key: len(visits) for key, visits in history._visits.items()} == {
            keys[0]: 2, keys[1]: 2
        }  # fmt: skip
    options = {"outcome_fn": toy.answer, "estimator": PromptHistory(columns=["answer"])}
    with pytest.raises(InvalidInput, match=r"'answer'.*It has: prompt, row, target"):
        toy.train(tmp_path, IPSGRPOTrainer, max_steps=1, data=data, trainer_options=options)


def test_log_probs_of_prompts_with_images_are_refused(tmp_path) -> None:
    words = toy.tokenizer()
    words.chat_template = (
        "{% for m in messages %}{% for p in m['content'] %}{{ p.get('text', '') }}{% endfor %}"
        "{% endfor %}"
    )
    prompts, texts = [with_image(object())] * 4, ["a0", "a0", "a1", "a2"]
    inputs = [{"prompt": "what is it", "image_id": 1}] * 4

    def rewards(log_probs: bool) -> Any:
        history = PromptHistory(log_probs=log_probs, columns=("image_id",))
        trainer = toy.small(tmp_path, words=words, trainer_options={"estimator": history})
        return trainer._calculate_rewards(inputs, prompts, texts, [[0]] * 4)

    assert rewards(log_probs=False)[:, 0].tolist() == [2, 2, 4, 4]
    with pytest.raises(InvalidInput, match=r"have images.*PromptHistory\(log_probs=False"):
        rewards(log_probs=True)


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
    "replay without log_probs": {"estimator": lambda: PromptHistory(3, 0.8, log_probs=False)},
    "columns": {
        "estimator": lambda: PromptHistory(columns=["row"]),
        "rows": 4,
        "shuffle_dataset": False,
    },
    "RLOO": {"estimator": "replay", "trainer": IPSRLOOTrainer},
    "accumulation": {"estimator": "replay", "gradient_accumulation_steps": 2},
    "restored by the trainer": {
        "estimator": "replay",
        "restore_callback_states_from_checkpoint": True,
    },
    # Two steps per epoch.  TRL's sampler does not resume its shuffling in a later epoch.
    "later epochs": {"estimator": "replay", "rows": 4, "shuffle_dataset": False},
}
STEPS = 6


def drawn(history: PromptHistory) -> int:
    """Completions that it has stored."""
    return sum(len(visit.ids) for visits in history._visits.values() for visit in visits)


def go(
    folder: Path,
    variant: str,
    resume: Path | bool | None = None,
    trainer: type = IPSGRPOTrainer,
    **options: Any,
) -> Any:
    """Training of six steps, with a checkpoint after every other."""
    how = dict(VARIANTS[variant])
    estimator, rows = how.pop("estimator"), how.pop("rows", 64)
    if callable(estimator):
        estimator = estimator()  # a fresh one for each trainer
    trainer = how.pop("trainer", trainer)
    running = toy.make(
        folder, trainer, max_steps=STEPS, save_strategy="steps", save_steps=2,
        data=two_prompts(rows), num_generations=8,
        trainer_options={"outcome_fn": toy.answer, "estimator": estimator, **options}, **how,
    )  # fmt: skip
    running.train(resume_from_checkpoint=str(resume) if isinstance(resume, Path) else resume)
    return running


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
    histories = [folder / FILE for folder in (a, b)]
    assert histories[0].exists() == histories[1].exists()
    if histories[0].exists():
        assert histories[0].read_bytes() == histories[1].read_bytes()


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
    (whole / "checkpoint-4" / FILE).unlink()
    go(tmp_path / "lost", "replay", resume=whole / "checkpoint-4")
    with pytest.raises(AssertionError):
        assert_same_end(whole, tmp_path / "lost")


def test_the_newest_checkpoint_is_resumed_with_its_own_history(tmp_path) -> None:
    """As a script does it that does not know which: `resume_from_checkpoint=True`."""
    go(tmp_path / "whole", "replay")
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoint-6")
    go(tmp_path / "again", "replay", resume=True)
    assert_same_end(tmp_path / "whole", tmp_path / "again")


def test_a_history_lies_in_a_file_that_is_whole_before_the_checkpoint_is(tmp_path) -> None:
    """trainer_state.json, which completes a checkpoint, comes after it and says nothing of it."""

    class Watched(IPSGRPOTrainer):
        seen: ClassVar[list[PromptHistory]] = []

        def _save_rng_state(self, output_dir: str) -> None:  # before trainer_state.json
            super()._save_rng_state(output_dir)
            assert not (Path(output_dir) / "trainer_state.json").exists()
            history = PromptHistory()
            assert history.load(Path(output_dir))
            self.seen.append(history)

    go(tmp_path, "replay", trainer=Watched)
    counts = [drawn(history) for history in Watched.seen]
    assert counts[:2] == [32, 64]  # two steps of two groups of eight
    assert len(counts) == 3
    state = (tmp_path / "checkpoint-6" / "trainer_state.json").read_text()
    assert "PromptHistory" not in state
    assert list((tmp_path / "checkpoint-6").glob("*.tmp")) == []


def test_a_checkpoint_of_another_estimator(tmp_path, caplog) -> None:
    """A run that was begun with the group frequency can go on with a history, and save it."""
    go(tmp_path / "group", "group")
    assert not (tmp_path / "group" / "checkpoint-2" / FILE).exists()
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        trainer = go(tmp_path / "on", "replay", resume=tmp_path / "group" / "checkpoint-2")
    (warning,) = [r.getMessage() for r in caplog.records if "history" in r.getMessage()]
    assert "checkpoint-2 has no history of prompts" in warning
    assert trainer.state.global_step == STEPS
    restored = PromptHistory()
    assert restored.load(tmp_path / "on" / "checkpoint-6")
    assert drawn(restored) == 64  # four steps of two groups of eight


def test_a_damaged_history_is_not_resumed(tmp_path) -> None:
    go(tmp_path, "replay")
    file = tmp_path / "checkpoint-2" / FILE
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RunError, match=f"{FILE} is not the history.*another checkpoint"):
        go(tmp_path / "on", "replay", resume=tmp_path / "checkpoint-2")


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
