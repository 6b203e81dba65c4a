"""`ipsrl advise` answers before training, in seconds, and explains what it cannot answer."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import peak_memory, steps

from ipsrl.cli import main
from ipsrl.theory import advise

KEYS = [
    "distribution", "target", "floor_l1", "extinct", "needed_group_size", "wrong_as_published",
    "estimator", "recommendation",
]  # fmt: skip
TYPICAL = {
    "list": ["--rewards", "1,1,0.1", "--group-size", "16"],
    "clipped": ["--rewards", "1,1,0.1", "--group-size", "16", "--eps", "0.2"],
    "many": ["--outcomes", "500", "--reward-ratio", "20", "--target-l1", "0.1"],
    "many-large": ["--outcomes", "500", "--reward-ratio", "20", "--group-size", "64"],
    "many-clipped": ["--outcomes", "500", "--reward-ratio", "20", "--eps", "0.2"],
    "success": ["--outcomes", "500", "--reward-ratio", "20", "--success-above", "0.5"],
    "equal": ["--outcomes", "34", "--group-size", "8"],
    "levels": ["--rewards", "1x900,0.1x1000", "--group-size", "64", "--success-above", "0.5"],
}  # fmt: skip
FEW = 500_000  # steps that ask no question of the theory: the largest refusal takes 140,000
MANY = 6_000_000  # and those of an answer: the largest takes 2,900,000, which is a second


def answer(capsys, *words):
    assert main(["advise", *words, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


def test_json_has_exactly_the_promised_fields(capsys):
    told = answer(capsys, *TYPICAL["clipped"])
    assert list(told) == KEYS
    # Above the clip two outcomes of one half are at rest; below it f(p)/p <= 1/eps = 5, so the
    # third needs .1 * 5 > C = 1 * f(1/2) / (1/2) with f(1/2) near 1, and dies: L1 2/21.
    np.testing.assert_allclose(told["distribution"], [0.5, 0.5, 0], atol=1e-9)
    assert told["extinct"] == [2]
    assert told["floor_l1"] == pytest.approx(2 / 21)
    assert told["needed_group_size"] is None
    assert isinstance(told["recommendation"], str)


def test_json_is_the_public_function(capsys):
    told = answer(capsys, "--rewards", "1,2,0.4", "--group-size", "8", "--target-l1", "0.02")
    advice = advise(np.array([1, 2, 0.4]), 8, target_l1=0.02)
    assert told == {key: getattr(advice, key) for key in KEYS}
    assert told["needed_group_size"] > 8


def test_outcomes_and_their_ratio_stand_for_a_list(capsys):
    by_ratio = answer(capsys, "--outcomes", "3", "--reward-ratio", "4", "--group-size", "16")
    by_list = answer(capsys, "--rewards", "1,0.5,0.25", "--group-size", "16")
    np.testing.assert_allclose(by_ratio["distribution"], by_list["distribution"], atol=1e-12)
    assert by_ratio["needed_group_size"] == by_list["needed_group_size"]


def test_the_text_says_what_the_object_says(capsys):
    words = ["--rewards", "1,1,0.1", "--group-size", "8"]
    told = answer(capsys, *words)
    assert main(["advise", *words]) == 0
    text = capsys.readouterr().out
    equal, least = (line.split() for line in text.splitlines()[1:3])
    p = [f"{p:.4g}" for p in told["distribution"]]
    assert p[0] == p[1]
    assert equal == ["0-1", "1", "0.4762", p[0]]  # the target is 10/21, 10/21, 1/21
    assert least == ["2", "0.1", "0.04762", p[2], "dies", "out"]
    assert told["extinct"] == [2]
    assert f"total L1 of the fixed point {told['floor_l1']:.4f}" in text
    assert f"a total L1 of at most 0.1: {told['needed_group_size']}" in text
    assert told["recommendation"] in text


def test_a_smaller_group_is_not_named_where_larger_ones_are_advised(capsys):
    """Two samples of 128 equal outcomes rest at the target, and yet most outcomes are lost."""
    assert main(["advise", "--outcomes", "128", "--group-size", "8", "--answer-tokens", "4"]) == 0
    text = capsys.readouterr().out
    assert "group size" not in text
    assert "Use groups of at least 256, or estimator='likelihood'." in text


def test_with_success_the_target_is_of_right_outcomes(capsys):
    words = ["--rewards", "1.2,1.2,0.2,0.2", "--group-size", "16", "--success-above", "0.2"]
    told = answer(capsys, *words)
    advice = advise(np.array([1.2, 1.2, 0.2, 0.2]), 16, success_above=0.2)
    assert told == {key: getattr(advice, key) for key in KEYS}
    assert main(["advise", *words]) == 0
    text = capsys.readouterr().out
    rows = [line.split()[:4] for line in text.splitlines()[1:3]]
    assert rows == [["0-1", "1.2", "0.5", "0.5"], ["2-3", "0.2", "0", "0"]]
    assert "write success=0.2 in TRL" in text


def test_a_million_outcomes_in_two_levels(capsys):
    """By level: as many steps as two outcomes, and the rest is reading and printing them."""
    words = ["--rewards", "1x900000,0.1x100000", "--group-size", "64", "--success-above", "0.5"]
    assert steps(lambda: main(["advise", *words])) < MANY
    text = capsys.readouterr().out
    assert "900000 of 1000000 outcomes are right" in text
    assert "Use groups of at least 1800000, or another estimator" in text


def completions(tmp_path, name="log.jsonl", **changed):
    """Three visits of a prompt, with six roots right in groups of four."""
    rows = [
        {"step": step, "prompt": "a root?", "completion": f"Answer: {answer}", "reward": reward}
        for step in range(3)
        for answer, reward in ((2 * step, 1.0), (2 * step + 1, 1.0), (0, 1.0), (99, 0.0))
    ]
    (tmp_path / name).write_text("".join(json.dumps(row | changed) + "\n" for row in rows))
    return str(tmp_path / name)


def test_a_log_answers_the_questions_itself(tmp_path, capsys):
    log = completions(tmp_path)
    told = answer(capsys, "--from", log, "--outcome", "math")
    assert list(told) == [*KEYS, "log"]
    # 0 is there four times, 1 to 5 once: 6 + 5 * 4 / 2 = 16 right answers, and 99
    assert {name: told["log"][name] for name in ("group_size", "visits", "seen", "right")} == {
        "group_size": 4, "visits": 3, "seen": 6, "right": 16,
    }  # fmt: skip
    assert told["log"]["answer_tokens"] == len("Answer: 1") / 4
    by_hand = advise(np.array([0.0] + [1.0] * 16), 4, answer_tokens=2.25, visits=3)
    assert sorted(told["distribution"]) == sorted(by_hand.distribution)
    assert told["estimator"] == by_hand.estimator == "likelihood"
    assert told["recommendation"] == by_hand.recommendation
    long = answer(capsys, "--from", log, "--outcome", "math", "--answer-tokens", "300")
    assert long["estimator"] == "replay"
    once = answer(capsys, "--from", log, "--outcome", "math", "--answer-tokens", "300",
                  "--visits", "1")  # fmt: skip
    assert once["estimator"] == "group"
    assert main(["advise", "--from", log, "--outcome", "math"]) == 0
    text = capsys.readouterr().out
    assert "1 prompts with a right answer, groups of 4, 3 per prompt" in text
    assert "shows 6 right answers and has at least 16" in text


def test_parquet_says_what_json_lines_say(tmp_path, capsys):
    """As TRL writes it: in the folder `completions` of a run, one file per step."""
    log = completions(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    (tmp_path / "run" / "completions").mkdir(parents=True)
    for step in range(3):
        table = pa.Table.from_pylist([row for row in rows if row["step"] == step])
        pq.write_table(table, tmp_path / "run" / "completions" / f"completions_{step:05d}.parquet")
    words = ["--outcome", "math", "--from"]
    assert answer(capsys, *words, str(tmp_path / "run")) == answer(capsys, *words, log)


def test_a_log_is_read_as_diagnose_reads_it(tmp_path, capsys):
    """Logged outcomes without texts, another column of rewards, and groups that are cut."""
    log = completions(tmp_path, outcome="a", other=2.0)
    told = answer(capsys, "--from", log, "--reward", "other", "--group-size", "2")
    assert told["log"]["rewards"] == [2.0]
    assert (told["log"]["group_size"], told["log"]["answer_tokens"]) == (2, None)
    assert main(["advise", "--from", log, "--outcome", "maths"]) == 2
    assert "the nearest is 'math'" in capsys.readouterr().err


def test_right_outcomes_of_a_log_are_right_for_the_advice(tmp_path, capsys):
    """Most samples decide: 2 of 3 above .8 are right though their mean is not, 1 of 3 is not."""
    paid = {"a": (1, 1, 0), "b": (0, 0, 0), "c": (0.9, 0, 0)}
    rows = [
        {"step": i, "prompt": "p", "outcome": name, "reward": rewards[i]}
        for i in range(3)
        for name, rewards in paid.items()
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = answer(capsys, "--from", str(tmp_path / "log.jsonl"), "--success-above", "0.8")
    assert sorted(told["log"]["success"]) == [False, False, True]
    assert told["target"] == [float(right) for right in told["log"]["success"]]


def test_a_long_table_shows_both_ends(capsys):
    assert main(["advise", *TYPICAL["many"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [line.split()[0] for line in lines[1:22]]
    assert shown == [*map(str, range(10)), "...", *map(str, range(490, 500))]
    assert all(line.endswith("dies out") for line in lines[12:22])
    assert "at a total L1 of at most 0.1" in lines[22]


@pytest.fixture(scope="module", autouse=True)
def warm():
    """The first call imports."""
    main(["advise", "--rewards", "1,2"])


@pytest.mark.parametrize("name", TYPICAL)
def test_a_typical_answer_takes_few_steps(name, capsys):
    ask = lambda: main(["advise", *TYPICAL[name]])  # noqa: E731
    assert steps(ask) < MANY
    assert peak_memory(ask) < 2**20
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "words",
    [
        ["--outcomes", "10000000"],
        ["--outcomes", "10000000", "--reward-ratio", "20"],
        ["--outcomes", "10000000000"],
        ["--rewards", "1,2", "--group-size", "100000000", "--eps", "0.5"],
    ],
    ids=" ".join,
)
def test_a_huge_question_is_refused_before_any_work(words, capsys):
    codes = []
    ask = lambda: codes.append(main(["advise", *words]))  # noqa: E731
    assert steps(ask) < FEW
    assert peak_memory(ask) < 2**20
    assert codes == [2, 2]
    assert "Use" in capsys.readouterr().err


def test_the_answer_needs_no_framework():
    script = """
import sys
from ipsrl.cli import main
main(["advise", "--rewards", "1,2"])
print(*sorted({"jax", "torch", "matplotlib", "scipy"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.split() == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rewards=-1,-2"], ["right and rewarded"]),
        (["--rewards", "nan,1"], ["finite"]),
        (["--rewards", "inf,1"], ["finite"]),
        (["--rewards", "0,0"], ["at least one above 0"]),
        (["--rewards", ""], ["not a list of numbers", "1,1,0.1"]),
        (["--rewards", "1,,2"], ["not a list of numbers", "1,1,0.1"]),
        (["--rewards", "one,two"], ["'one,two'", "1,1,0.1"]),
        ([], ["--rewards", "--outcomes", "--from"]),
        (["--from", "x.jsonl", "--outcomes", "2"], ["--from has rewards of its own"]),
        (["--from", "x.jsonl", "--reward-ratio", "2"], ["--from has rewards of its own"]),
        (["--from", "missing.jsonl"], ["missing.jsonl does not exist"]),
        (["--rewards", "1,2", "--outcome", "math"], ["write --from FILE"]),
        (["--rewards", "1,2", "--visits", "0"], ["visits is 0"]),
        (["--rewards", "1x9,2x0"], ["at least once"]),
        (["--outcomes", "20000", "--reward-ratio", "2"], ["1000000 if their rewards are equal"]),
        (["--rewards", "1,2", "--outcomes", "2"], ["--rewards", "--outcomes", "once"]),
        (["--outcomes", "0"], ["Use 1 to 10000 outcomes"]),
        (["--outcomes", "-5"], ["Use 1 to 10000 outcomes"]),
        (["--outcomes", "5", "--reward-ratio", "0.5"], ["largest reward over the smallest"]),
        (["--outcomes", "5", "--reward-ratio", "nan"], ["largest reward over the smallest"]),
        (["--rewards", "1,2", "--success-above", "2"], ["right and rewarded", "Lower"]),
        (["--rewards", "1,2", "--success-above", "nan"], ["right and rewarded", "Lower"]),
        (["--rewards", "1,2", "--group-size", "0"], ["group_size is 0", "at least 1 member"]),
        (["--rewards", "1,2", "--group-size", "-3"], ["group_size is -3"]),
        (["--rewards", "1,2", "--eps", "2"], ["eps is 2", "[0, 1]"]),
        (["--rewards", "1,2", "--eps", "-0.1"], ["eps is -0.1", "[0, 1]"]),
        (["--rewards", "1,2", "--eps", "nan"], ["eps is nan", "[0, 1]"]),
        (["--rewards", "1,2", "--target-l1", "0"], ["target"]),
        (["--rewards", "1,2", "--target-l1", "-1"], ["target"]),
        (["--rewards", "1,2", "--target-l1", "nan"], ["target"]),
        (["--outcomes", "many"], ["--outcomes"]),
        (["--rewards", "1,2", "--group-size", "2.5"], ["--group-size"]),
        (["--rewards", "1,2", "--groupsize", "4"], ["--group-size"]),
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_a_wrong_question_is_explained(words, told, capsys):
    codes = []
    assert steps(lambda: codes.append(main(["advise", *words]))) < FEW
    printed = capsys.readouterr()
    assert codes in ([1], [2])
    assert printed.out == ""
    assert all(part in printed.err for part in told)
    assert "Traceback" not in printed.err


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["advise", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "rewards", "outcomes", "reward-ratio", "group-size", "eps", "target-l1", "success-above",
        "from", "outcome", "reward", "answer-tokens", "visits", "json",
    ):  # fmt: skip
        assert f"--{option}" in text
