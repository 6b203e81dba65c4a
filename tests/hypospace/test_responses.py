"""Asking models: every set N times, the same responses for the same seed, nothing asked twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ipsrl.cli import main
from ipsrl.errors import ConfigError, InvalidInput, RunError
from ipsrl.hypospace import Boolean, dataset, judge, read_lines, write_dataset
from ipsrl.hypospace.recovery import Response, evaluate
from ipsrl.hypospace.responses import (
    TRIES,
    Answer,
    Complete,
    Sampling,
    collect,
    collected,
    local_model,
    respond,
)

TASK = Boolean()
SETS = [
    replace(one, id=name, prompt=f"{name}?")
    for name, one in zip("abc", dataset(TASK)[:3], strict=True)
]


def echo(prompts: list[str], number: int) -> list[Answer]:
    """Number of the response, and how long its prompt is."""
    return [Answer(f"{number + i}:{len(prompt)}") for i, prompt in enumerate(prompts)]


def readable(prompts: list[str], number: int) -> list[Answer]:
    """An expression whose depth is the number of the response."""
    return [Answer(f"So: \nExpression: {'NOT ' * (number + i)}x") for i in range(len(prompts))]


def flat(responses: Iterable[list[Response]]) -> list[Response]:
    return [one for batch in responses for one in batch]


@pytest.mark.parametrize("protocol", ["parallel", "sequential"])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_every_set_is_asked_n_times(protocol: Any, batch: int) -> None:
    found = flat(respond(TASK, echo, SETS, 4, protocol=protocol, batch=batch, seed=9))
    assert [one.id for one in found] == (
        ["a"] * 4 + ["b"] * 4 + ["c"] * 4 if protocol == "parallel" else ["a", "b", "c"] * 4
    )
    assert {one.seed for one in found} == {9}
    # Numbered from 0 in the order of the file, so that each has a seed of its own.
    assert [one.response.partition(":")[0] for one in found] == [str(i) for i in range(12)]


@pytest.mark.parametrize("protocol", ["sequential", "benchmark"])
def test_later_prompts_show_the_answers_that_were_read(protocol: Any) -> None:
    """In the form of an answer, oldest first, each once; not what was written around them."""
    shown: list[str] = []

    def remember(prompts: list[str], number: int) -> list[Answer]:
        shown.extend(prompts)
        return readable(prompts, number)

    one, other = SETS[0], replace(SETS[1], admissible=SETS[0].admissible)
    flat(respond(TASK, remember, [one, other], 3, protocol=protocol))
    assert shown[:2] == ["a?", "b?"]
    assert shown[2].startswith("a?\n\n")
    assert shown[2].endswith("\n\nExpression: x")
    assert "So:" not in shown[2]
    assert shown[5].endswith("\n\nExpression: NOT x\n\nExpression: NOT NOT NOT x")


def test_what_cannot_be_read_or_was_given_before_is_not_shown() -> None:
    shown: list[str] = []
    texts = iter(["I pass.", "Expression: x AND y", "Expression: y AND x", "Expression: q", "-"])

    def answer(prompts: list[str], number: int) -> list[Answer]:
        shown.extend(prompts)
        return [Answer(next(texts)) for _ in prompts]

    flat(respond(TASK, answer, SETS[:1], 5, protocol="sequential"))
    assert shown[:2] == ["a?", "a?"]
    assert len(set(shown[2:])) == 1
    assert shown[4].endswith("\n\nExpression: x AND y")


def test_the_benchmark_asks_a_multiple_of_the_admissible_answers() -> None:
    found = flat(respond(TASK, readable, SETS, 2, protocol="benchmark"))
    assert Counter(one.id for one in found) == {one.id: 2 * len(one.admissible) for one in SETS}
    assert len({len(one.admissible) for one in SETS}) > 1  # or a number for all would do


@pytest.mark.parametrize("readable_at", [1, 2, TRIES, TRIES + 1])
def test_the_benchmark_asks_again_for_what_cannot_be_read(readable_at: int) -> None:
    """Five times in all; each time with another number, so that another answer may come."""
    asked: list[tuple[str, int]] = []
    sets = [replace(one, admissible=one.admissible[:1]) for one in SETS]

    def answer(prompts: list[str], number: int) -> list[Answer]:
        asked.extend((prompt, number + i) for i, prompt in enumerate(prompts))
        tried = Counter(prompt for prompt, _ in asked)
        good = [prompt != "a?" or tried[prompt] >= readable_at for prompt in prompts]
        return [Answer("Expression: x" if right else "No idea.") for right in good]

    first, *others = flat(respond(TASK, answer, sets, 1, protocol="benchmark"))
    assert (first.response == "Expression: x") == (readable_at <= TRIES)
    assert sum(prompt == "a?" for prompt, _ in asked) == min(readable_at, TRIES)
    assert sum(prompt == "b?" for prompt, _ in asked) == 1
    assert len({number for _, number in asked}) == len(asked)
    assert [one.response for one in others] == ["Expression: x"] * 2


def test_the_benchmark_is_evaluated_by_set() -> None:
    """|H| = 4 and 2, N = 4 and 2: the first is asked for x, x, all wrong; the second recovered.

    RR(1) = (1/4 + 1/2) / 2, RR(2) = (1/4 + 1) / 2 = RR(4), where the second counts with its 2.
    """
    small, large = (
        next(one for one in dataset(TASK) if len(one.admissible) == size) for size in (2, 4)
    )
    wrong = next(
        text
        for key in ("x", "y", "NOT(x)", "NOT(y)")
        if not judge(TASK, large.observations, text := TASK.answer(key)).valid
    )
    right = TASK.answer(large.admissible[0])
    texts = {
        large.id: [right, right, wrong, wrong],
        small.id: [TASK.answer(key) for key in small.admissible],
    }
    responses = [Response(id_, text) for id_, given in texts.items() for text in given]
    found = evaluate(TASK, [small, large], responses, protocol="benchmark")
    assert found.responses == 1
    assert found.draws == [1, 2, 4]
    assert [mean for mean, _, _ in found.recovery] == [(1 / 4 + 1 / 2) / 2] + [(1 / 4 + 1) / 2] * 2
    assert found.valid_rate[0] == (2 / 4 + 2 / 2) / 2
    assert found.novelty_rate[0] == (2 / 4 + 2 / 2) / 2
    # 1 - (3/4)^4 after 4, and 1 - (1/2)^2 of the set that was asked twice.
    assert found.uniform[2] == pytest.approx((1 - (3 / 4) ** 4 + 1 - 1 / 4) / 2, rel=1e-12)
    assert "1 benchmark responses for each admissible answer" in found.text()
    with pytest.raises(InvalidInput, match="1 responses for each admissible .* has 1.5"):
        evaluate(
            TASK, [small, large], [*responses, Response(small.id, right)], protocol="benchmark"
        )
    half = [Response(one.id, right) for one in [small] * 1 + [large] * 2]
    with pytest.raises(InvalidInput, match="has 0.5 responses for each"):  # of both alike
        evaluate(TASK, [small, large], half, protocol="benchmark")


@pytest.mark.parametrize("protocol", ["parallel", "sequential", "benchmark"])
def test_what_was_asked_before_a_stop_is_not_asked_again(protocol: Any, tmp_path) -> None:
    whole = flat(respond(TASK, readable, SETS, 2, protocol=protocol, batch=5))
    for done in range(len(whole) + 1):
        rest = flat(
            respond(TASK, readable, SETS, 2, protocol=protocol, batch=5, earlier=whole[:done])
        )
        assert whole[:done] + rest == whole


def test_responses_are_written_as_they_come(tmp_path) -> None:
    path = tmp_path / "responses.jsonl"

    def broken(prompts: list[str], number: int) -> list[Answer]:
        if number >= 4:
            raise KeyboardInterrupt
        return echo(prompts, number)

    with pytest.raises(KeyboardInterrupt):
        collect(path, respond(TASK, broken, SETS, 4, batch=2))
    earlier = read_lines(path, Response)
    assert len(earlier) == 4
    collect(path, respond(TASK, echo, SETS, 4, batch=2, earlier=earlier))
    assert read_lines(path, Response) == flat(respond(TASK, echo, SETS, 4, batch=2))


def test_what_was_answered_before_a_failure_is_written(tmp_path) -> None:
    """And how to go on is said; nothing is left of a file to which no answer came."""
    path = tmp_path / "responses.jsonl"

    def fails_after(most: int) -> Complete:
        def complete(prompts: list[str], number: int) -> Iterator[Answer]:
            for i, _ in enumerate(prompts):
                if number + i == most:
                    raise RunError("No.")
                yield Answer(str(number + i))

        return complete

    with pytest.raises(RunError, match="^No.$"):
        collect(path, respond(TASK, fails_after(0), SETS, 4))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunError, match="^No.*responses.jsonl keeps .* --resume"):
        collect(path, respond(TASK, fails_after(7), SETS, 4, batch=4))
    kept = collected(path)
    assert [one.response for one in kept] == list("0123456")
    with pytest.raises(RunError, match="--resume"):
        collect(path, respond(TASK, fails_after(7), SETS, 4, batch=4, earlier=kept))
    collect(path, respond(TASK, fails_after(99), SETS, 4, batch=4, earlier=kept))
    assert [one.response for one in collected(path)] == [str(i) for i in range(12)]
    empty = tmp_path / "empty"
    empty.touch()  # of the user
    with pytest.raises(RunError):
        collect(empty, respond(TASK, fails_after(0), SETS, 4))
    assert empty.exists()


def test_a_full_disk_leaves_whole_batches(tmp_path) -> None:
    """Else a model that runs here would go on in the middle of a batch, with other draws."""
    path = tmp_path / "responses.jsonl"
    code = f"""
import resource, signal
from pathlib import Path
from ipsrl.errors import RunError
from ipsrl.hypospace.recovery import Response
from ipsrl.hypospace.responses import collect
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no file may grow beyond
try:
    collect(Path({str(path)!r}), ([Response("a", "x" * 100)] * 100 for _ in range(100)))
except RunError as error:
    print(error)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    found = read_lines(path, Response)
    assert len(found) > 0
    assert len(found) % 100 == 0


@pytest.mark.parametrize("content", [b"my notes", b"[1, 2]", b"a\nb\n", b'{"id": "a"}\n{"text"'])
def test_a_file_of_something_else_is_not_gone_on_with(content, tmp_path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"notes\.txt"):
        collected(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("left", ["", "half", "1", "1 half", "11"])
def test_a_file_that_a_stop_cut_off_is_gone_on_with(left, tmp_path) -> None:
    """It may be empty, or end in the middle of a line."""
    path = tmp_path / "responses.jsonl"
    collect(path, respond(TASK, echo, SETS, 4))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: left.count("1")]) + (lines[5][:9] if "half" in left else b""))
    earlier = collected(path)
    assert len(earlier) == left.count("1")
    collect(path, respond(TASK, echo, SETS, 4, earlier=earlier))
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "other",
    [
        {"sets": SETS[:2]},
        {"n": 5},
        {"seed": 1},
        {"protocol": "sequential"},
        {"sets": [*SETS[1:], SETS[0]]},
        {"sets": SETS[:1], "n": 2},
    ],
)
def test_responses_of_another_kind_are_not_gone_on_with(other) -> None:
    options: dict[str, Any] = {"sets": SETS, "n": 4}
    earlier = flat(respond(TASK, echo, **options))
    with pytest.raises(ConfigError, match="12 earlier responses .* name another file"):
        flat(respond(TASK, echo, **{**options, **other}, earlier=earlier))


def test_a_file_that_cannot_be_written_is_an_error(tmp_path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        collect(tmp_path / "nowhere" / "responses.jsonl", respond(TASK, echo, SETS, 1))


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"temperature": float("nan")},
                                   {"temperature": float("inf")}, {"max_tokens": 0}])  # fmt: skip
def test_sampling_that_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        Sampling(**wrong)


# --- models that run here -------------------------------------------------------------------------


def test_a_local_model_answers_the_same_for_the_same_seed(beginner) -> None:
    prompts = [one.prompt for one in dataset(Boolean())[:4]] * 4
    sampling = Sampling(max_tokens=8, seed=3)
    complete = local_model(str(beginner), sampling)
    texts = complete(prompts, 0)
    assert local_model(str(beginner), sampling)(prompts, 0) == texts
    assert complete(prompts, 16) != texts
    assert local_model(str(beginner), Sampling(max_tokens=8, seed=4))(prompts, 0) != texts
    assert len(set(texts)) > 4  # the same prompt is answered differently


def test_a_greedy_model_does_not_depend_on_the_batch(beginner) -> None:
    """Padding on the left changes nothing."""
    prompts = [one.prompt for one in dataset(Boolean())[:6]]
    prompts[0] += " " * 40
    complete = local_model(str(beginner), Sampling(temperature=0, max_tokens=8))
    together = complete(prompts, 0)
    assert together == [complete([prompt], 0)[0] for prompt in prompts]


def test_an_answer_that_the_limit_of_tokens_cuts_off_says_so(beginner) -> None:
    """Greedy, so that a longer answer begins as the shorter one, which it may end."""
    prompts = [one.prompt for one in dataset(TASK)[:8]]
    short, long = (
        local_model(str(beginner), Sampling(temperature=0, max_tokens=limit))(prompts, 0)
        for limit in (4, 64)
    )
    for cut, whole in zip(short, long, strict=True):
        assert whole.text.startswith(cut.text)
        assert cut.truncated or cut.text == whole.text
    assert any(answer.truncated for answer in short)
    assert not all(answer.truncated for answer in long)


def test_a_model_that_is_not_there_is_an_error(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        local_model(str(tmp_path), Sampling())


def test_evaluate_asks_a_model(beginner, tmp_path, capsys) -> None:
    data, responses = tmp_path / "data.jsonl", tmp_path / "responses.jsonl"
    write_dataset(dataset(Boolean(), count=6), data)
    command = ["hypospace", "evaluate", "boolean", str(responses), "--data", str(data), "--json"]
    asked = [*command, "--model", str(beginner), "--n", "2", "--max-tokens", "4"]
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["responses"] == 2
    written = responses.read_bytes()
    assert main(asked) == 2  # it would be mixed with other responses
    assert "--resume" in capsys.readouterr().err
    responses.unlink()
    assert main(asked) == 0
    assert responses.read_bytes() == written
