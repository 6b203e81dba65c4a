"""Outcomes by name: which texts are equal, what has none, and that hostile texts cost nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import llm_toy as toy
import numpy as np
import pytest
import torch
from helpers import HANGS
from hypothesis import given, settings
from hypothesis import strategies as st
from llm_answers import ANSWERS, WORKED
from llm_task import task

from ipsrl.cli import main
from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import InvalidInput, MissingExtra
from ipsrl.llm import CollapseMonitor, IPSGRPOTrainer, ips_reward, train
from ipsrl.llm.outcomes import OUTCOMES, clusters, load_outcome, outcome, similarity
from ipsrl.llm.outcomes.embeddings import _wordllama
from ipsrl.llm.outcomes.mathematics import _parser

DEEP = 10**5
HOSTILE = [
    r"\boxed{9^{9^{9^{9}}}}",
    r"\boxed{9^9^9^9}",
    r"\boxed{((9^{9999})^{9999})^{9999}}",
    r"\boxed{[9!!!!, 3]}",
    r"\boxed{[\exp(\exp(\exp(\exp(99)))), 3]}",
    r"\boxed{\{\sin(\exp(9999999999)), 1\}}",
    r"\boxed{[1,2]\cup[(((9^{9999})^{9999})^{9999})^{9999}, \exp(\exp(99))]}",
    r"\boxed{1 < \tan(\exp(\exp(99))) \le x}",
    r"\boxed{(\exp(\exp(99)), (99!)^{(99!)})}",
    r"\boxed{[{9!}!, 3]}",
    r"\boxed{(9^{9!}, 3)}",
    r"\boxed{(99999999)_{3}}",
    r"\boxed{\binom{10^9}{10^8}}",
    r"\boxed{\sum_{i=1}^{10^{9}} i!}",
    r"\boxed{\int_0^1 x^{x^x} dx}",
    r"\boxed{\begin{pmatrix}1&1\\1&0\end{pmatrix}^{99999999}}",
    r"\boxed{\{" + "1," * 140 + r"1\}}",
    r"\boxed{" + r"\frac{1}{" * 25 + "2" + "}" * 26,
    r"\boxed{" + "-" * 290 + "1}",
    r"\boxed{" + "x" * 290 + "}",
    r"\boxed{" + "(" * DEEP + "}",
    r"\boxed{" * DEEP,
    "Answer: 1e999999999",
    "Answer: " + "9" * DEEP,
    "Answer: " * DEEP,
    "answer" * DEEP,
    "Answer: " + "1, " * DEEP,
    "[" * DEEP,
    '{"a":' * DEEP,
    "[" * DEEP + "]" * DEEP,
    "[" + "9" * DEEP + "]",
    "```python\n" + "(" * DEEP + ")" * DEEP,
    "```python\n" + "-" * 40_000 + "1",
    "```python\nx = " + "9**" * 9 + "9",
    "```python\n" + "a." * 20_000 + "a",
    "```\n" * DEEP,
    "```" * DEEP,
    "- a\n" * DEEP,
    "$" * DEEP,
    "let me know " * DEEP,
    "a\n" + "let me know. " * DEEP,
    "a\nlet me know " * DEEP,
    r"\boxed{\text{9!!!!}+\text{9^9^9^9}}",
    "Answer: 1 " + "million " * 30,
    "```python\nx = 1\n```\n" * 5000,
    "<think>" * DEEP + "</think>",
    "C1" * DEEP,
    "Answer: " + "C" * 499,
    "c1" * 240,
    " " * 10**6,
    "\n" * 10**6,
    "x " * 500_000,
    "\0\ud800\U0010ffff",
    "Answer: \ud800",
]
CODE = "__import__('pathlib').Path({path!r}).write_text('')"
names = pytest.mark.parametrize("name", OUTCOMES)


@names
def test_texts_have_the_key_that_is_theirs(name: str) -> None:
    """Some keys are values at points, and known only to be equal and different."""
    seen: dict[Any, Any] = {}
    assert sum(map(len, ANSWERS[name].values())) >= 30
    for key, texts in ANSWERS[name].items():
        for text in texts:
            found = OUTCOMES[name](text)
            if key is None or name not in WORKED or key in WORKED[name]:
                assert found == key, text
            assert found == seen.setdefault(key, found), text
    assert len(set(seen.values())) == len(seen)


@names
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [r"\boxed{", "}", "Answer:", "\n", "```", "python", "{", "[", "]", ",", ":", '"',
                 "1", "2.5", "^", "_", "x", "=", "<", "(", ")", "!", r"\frac", r"\sqrt", r"\text{",
                 "%", "/", " ", "B", "and", "<think>", "</think>", "**", "$", "- ", "def f(", "C",
                 "lambda", "import ", "for ", " in ", "'", "\\", "é", "@", "#", "c1", "∞"]
            ),
            max_size=20,
        ).map("".join),
    )
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_no_text_raises(name: str, text: str) -> None:
    key = OUTCOMES[name](text)
    first, again = outcome_ids([key, OUTCOMES[name](text)])
    assert first == again


def test_hostile_texts_end() -> None:
    """All of them take 3 s alone; what is not bounded takes minutes, or memory, for one."""
    script = """
import json, sys
from ipsrl.core.outcomes import outcome_ids
from ipsrl.llm.outcomes import OUTCOMES

for text in json.load(sys.stdin):
    for key in OUTCOMES.values():
        outcome_ids([key(text)])
print("end")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(HOSTILE),
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert done.stdout == "end\n", done.stderr[-2000:]


def test_nothing_that_a_model_wrote_runs_and_keys_are_the_same_everywhere(tmp_path: Path) -> None:
    """Python reports each code object that runs by exec or eval; an import does that too, so the
    first round is not watched."""
    code = CODE.format(path=str(tmp_path / "ran"))
    texts = [text for kinds in ANSWERS.values() for group in kinds.values() for text in group]
    texts += [code, f"Answer: {code}", f"Answer: 1+{code}", rf"\boxed{{{code}}}", f"${code}$"]
    texts += [rf"\boxed{{x = {code}}}", rf"\boxed{{\text{{{code}}}}}", f"```python\n{code}\n```"]
    texts += [f"```json\n{code}\n```", f"[{code}]", f"- {code}", f"Answer: 1/2 {code}"]
    script = """
import json, sys
from ipsrl.core.outcomes import outcome_ids
from ipsrl.llm.outcomes import OUTCOMES

texts, watched, ran = json.load(sys.stdin), False, []
sys.addaudithook(lambda event, given: watched and event == "exec" and ran.append(event))
for watched in (False, True):
    ids = {name: outcome_ids(map(key, texts)).tolist() for name, key in OUTCOMES.items()}
watched = False
exec("1")
watched = True
exec("1")
print(json.dumps([ids, ran]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts), capture_output=True, text=True
    )
    ids, ran = json.loads(done.stdout)
    assert ran == ["exec"]  # ours, which shows that they are seen
    assert not (tmp_path / "ran").exists()
    assert ids == {name: outcome_ids(map(key, texts)).tolist() for name, key in OUTCOMES.items()}


@pytest.mark.parametrize(
    ("completion", "key"),
    [
        ("Answer: 3", "3"),
        ([{"role": "assistant", "content": "Answer: 3"}], "3"),
        ([{"content": "Answer: 3"}], "3"),
        ({"role": "assistant", "content": "Answer: 3"}, "3"),
        (
            [
                {"role": "assistant", "content": "Answer: 4"},
                {"role": "tool", "content": "5"},
                {"role": "assistant", "content": [{"type": "text", "text": "Answer: "}, "3"]},
                {"role": "tool", "content": "6"},
            ],
            "3",
        ),
        ([{"role": "assistant", "content": None, "tool_calls": []}], None),
        ([{"role": "user", "content": "3"}], None),
        ([], None),
        (None, None),
        ([3], None),
        ([{"role": "assistant", "content": [{"type": "image"}, 3]}], None),
    ],
)
def test_of_messages_the_last_one_of_the_assistant_counts(completion: Any, key: Any) -> None:
    assert outcome("number")(completions=[completion], prompts=["?"], other=[1]) == [key]


def test_other_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"'maths' is not an outcome; the nearest is 'math'"):
        outcome("maths")
    with pytest.raises(InvalidInput, match="module:function, path/to/file.py:function"):
        load_outcome("my.py")
    assert load_outcome("llm_toy:answer") is toy.answer


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("math", "latex2sympy2_extended.latex2sympy2", "outcomes"),
        ("smiles", "rdkit", "molecules"),
    ],
)
def test_what_is_missing_is_said_before_training(tmp_path, monkeypatch, name, module, extra):
    from ipsrl.llm.outcomes.molecule import _rdkit

    monkeypatch.setitem(sys.modules, module, None)
    for cached in (_parser, _rdkit):
        cached.cache_clear()
    with pytest.raises(MissingExtra, match=rf"pip install \"ipsrl\[{extra}\]\""):
        toy.small(tmp_path, trainer_options={"outcome_fn": name})


# --- by name --------------------------------------------------------------------------------------


def test_a_trainer_takes_the_name(tmp_path: Path) -> None:
    """Weights of G = 4: three 3s of four are weighted 4/3, one 4 by 4."""
    trainer = toy.small(
        tmp_path, rewards=lambda completions, **_: [1.0] * 4, trainer_options={"outcome_fn": "math"}
    )
    texts = [r"\boxed{3}", "Answer: 3.0", r"\boxed{\frac{6}{2}}", "Answer: 4"]
    rewards = toy.rewards_of(trainer, texts)[:, 0].tolist()
    assert rewards == pytest.approx([4 / 3, 4 / 3, 4 / 3, 4.0])


def test_a_name_wins_over_a_column_and_other_names_are_columns(tmp_path: Path) -> None:
    def reward(completions, log_extra, **columns):
        for column in ("number", "mine"):
            log_extra(column, ["a", "a", "b", "b"])
        return [1.0] * 4

    texts = ["1", "2", "2", "2"]
    for name, weights in (("number", [4, 4 / 3, 4 / 3, 4 / 3]), ("mine", [2, 2, 2, 2])):
        trainer = toy.small(tmp_path, rewards=reward, trainer_options={"outcome_fn": name})
        assert toy.rewards_of(trainer, texts)[:, 0].tolist() == pytest.approx(weights)


def test_the_reward_function_and_the_monitor_take_the_name() -> None:
    scaled = ips_reward(lambda completions, **_: [1.0] * 4, "number", 4)
    texts = ["3", "3.0", "Answer: 3", "4"]
    made = scaled(prompts=["?"] * 4, completions=texts, completion_ids=[[0]] * 4)
    assert made == pytest.approx([4 / 3, 4 / 3, 4 / 3, 4.0])
    monitor = CollapseMonitor("number")
    assert monitor.outcome_fn is not None
    assert monitor.outcome_fn(completions=texts) == ["3", "3", "3", "4"]
    with pytest.raises(InvalidInput, match="or one of math, number"):
        CollapseMonitor("numbers")


def test_diagnose_takes_the_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four texts of one prompt, of which three say 1/2."""
    texts = [r"\boxed{1/2}", "Answer: 0.5", "#### .5", "Answer: 2"]
    rows = [{"step": 1, "prompt": "?", "completion": text, "reward": 1.0} for text in texts]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["diagnose", str(tmp_path / "log.jsonl"), "--outcome", "math", "--json"]) == 0
    effective = json.loads(capsys.readouterr().out)["start"]
    assert effective == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    assert main(["diagnose", str(tmp_path / "log.jsonl"), "--outcome", "meth"]) == 2
    assert "the nearest is 'math'" in capsys.readouterr().err


def test_train_takes_the_name(home: Path, tmp_path: Path) -> None:
    """Each of the toy's words is an outcome."""
    result = train(task(home, outcome="text"), tmp_path / "run")
    assert result.effective is not None
    assert 1 < result.effective <= 16


# --- more or less the same ------------------------------------------------------------------------

ANGLES = {"east": 0.0, "a bit north": 30.0, "half": 45.0, "north": 90.0, "west": 180.0}


def on_a_circle(texts: list[str]) -> np.ndarray:
    """Vectors of length 2 by the angle that a text names; none for another text."""
    angles = np.deg2rad([ANGLES.get(text, 0.0) for text in texts])
    known = np.array([text in ANGLES for text in texts])
    return 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1) * known[:, None]


def test_clusters_by_hand() -> None:
    """The threshold .8 is 36.9 degrees; a text joins the first leader that is near enough."""
    outcome_fn = clusters(on_a_circle, threshold=0.8)
    assert outcome_fn(["east", "a bit north", "half", "?"]) == ["east", "east", "half", None]
    message = [{"role": "assistant", "content": "<think>east</think> a bit north"}]
    # Leaders stay: half is 15 degrees from a bit north, but east came first.
    assert outcome_fn([message, "west", "half"], prompts=[]) == ["east", "west", "half"]
    assert clusters(on_a_circle, threshold=0.8)(["half", "a bit north"]) == ["half", "half"]
    assert clusters(on_a_circle, threshold=1.0)(["east", "east"]) == ["east", "east"]


def test_similarities_by_hand() -> None:
    """Cosines of 30, 90, 60 and 180 degrees; a text without words is similar to itself alone."""
    found = similarity(on_a_circle)(["east", "a bit north", "north", "west", "?"])
    half, root = 0.5, np.sqrt(3) / 2
    expected = [
        [1, root, 0, 0, 0],
        [root, 1, half, 0, 0],
        [0, half, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]
    assert found == pytest.approx(np.array(expected), abs=1e-12)
    assert (found == found.T).all()


def test_wordllama_needs_no_network_and_knows_what_is_similar(monkeypatch) -> None:
    import socket

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    _wordllama.cache_clear()
    texts = ["A cat sat on the mat.", "The cat is sitting on a mat", "Stocks fell on Monday", "!!!"]
    found = similarity()(texts)
    assert found[0, 1] > 0.7 > 0.4 > found[0, 2]
    assert found[3].tolist() == [0, 0, 0, 1]
    assert clusters()(texts) == [texts[0], texts[0], texts[2], None]
    assert "wordllama" not in sys.modules  # its import sets up logging for the whole process


def test_similarity_works_as_the_kernel_of_a_trainer(tmp_path: Path) -> None:
    """Mean similarities to the group of four: east and half .5 (1 + 1 + 2 cos 45 deg) / 2 ..."""
    options = {
        "outcome_fn": "text",
        "estimator": "kernel",
        "similarity_fn": similarity(on_a_circle),
    }
    trainer = toy.small(
        tmp_path,
        IPSGRPOTrainer,
        rewards=lambda completions, **_: [1.0] * 4,
        trainer_options=options,
    )
    rewards = toy.rewards_of(trainer, ["East.", "east", "half", "west"])[:, 0].tolist()
    root = np.sqrt(0.5)
    p = [(2 + root) / 4, (2 + root) / 4, (1 + 2 * root) / 4, 1 / 4]
    assert rewards == pytest.approx([1 / each for each in p], rel=1e-6)  # float32 rewards


def test_clusters_refuses_several_processes() -> None:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    outcome_fn = clusters(on_a_circle)
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        with pytest.raises(InvalidInput, match="in each of the 2 processes"):
            outcome_fn(["east"])
    finally:
        torch.distributed.destroy_process_group()
    assert outcome_fn(["east"]) == ["east"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: clusters("all-MiniLM-L6-v2"), "Pass 'wordllama', or a function"),
        (lambda: similarity(3), "Pass 'wordllama', or a function"),
        (lambda: clusters(on_a_circle, threshold=0.0), "threshold is 0"),
        (lambda: clusters(on_a_circle, threshold=1.5), "threshold is 1.5"),
        (lambda: clusters(lambda texts: np.ones(2))(["a", "b"]), r"shape \[2\] for 2 texts"),
        (lambda: clusters(lambda texts: np.ones((3, 2)))(["a"]), r"shape \[3, 2\] for 1 texts"),
        (lambda: similarity(lambda texts: np.full((2, 2), np.nan))(["a", "b"]), "not finite"),
    ],
)
def test_what_cannot_be_embedded_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make()


def test_a_missing_wordllama_is_said_before_training(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    _wordllama.cache_clear()
    with pytest.raises(MissingExtra, match="wordllama"):
        clusters()
