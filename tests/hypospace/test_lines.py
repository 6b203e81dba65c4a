"""JSON lines: every line is answered, and a file is read back as it was written."""

import codecs
import io
import json
import os
import random
import select
import subprocess
import sys

import pytest
from helpers import HANGS, peak_memory, seconds_where_promised, steps
from hypospace_suite import MOST_MEMORY, MOST_STEPS, SLOWEST_REFUSAL
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsrl.errors import InvalidInput
from ipsrl.hypospace import (
    Boolean,
    Causal,
    ObservationSet,
    Voxel,
    dataset,
    judge_lines,
    read_lines,
    write_dataset,
)
from ipsrl.hypospace.lines import LONGEST_LINE
from ipsrl.hypospace.task import LONGEST_RESPONSE

TASKS = [Causal(), Voxel(), Boolean()]
OBSERVED = ["Perturb(A) -> A:0 B:1 C:1", "Perturb(B) -> A:0 B:0 C:0"]
GOOD = {"observations": OBSERVED, "response": "Graph: A->C, C->B"}


def answers(task, *lines: bytes) -> list[dict]:
    sink = io.StringIO()
    judge_lines(task, io.BytesIO(b"".join(lines)), sink)
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def as_line(row) -> bytes:
    return json.dumps(row).encode() + b"\n"


# --- judging lines --------------------------------------------------------------------------------


def test_a_line_is_answered_by_key_valid_and_reason():
    lines = [GOOD, {**GOOD, "response": "Graph: A->B"}, {**GOOD, "response": "Graph: A->A"}]
    assert answers(Causal(), *map(as_line, lines)) == [
        {"key": "A->C,C->B", "valid": True, "reason": "admissible"},
        {
            "key": "A->B",
            "valid": False,
            "reason": "contradicts the observations: perturbing A does something else",
        },
        {"key": None, "valid": False, "reason": "refused: A is its own cause"},
    ]


def test_a_view_and_options_of_a_line():
    row = {"view": "010000011", "response": "Layer 1:\n0 1 0\n0 0 0\n0 1 1", "id": 3}
    assert answers(Voxel(), as_line(row))[0]["key"] == "010000011"
    limited = {**GOOD, "max_edges": 1}
    assert answers(Causal(), as_line(limited))[0]["reason"] == "refused: 2 edges are more than 1"
    assert answers(Causal(), as_line({**GOOD, "max_edges": 2}))[0]["valid"]
    assert answers(Causal(), as_line({**GOOD, "max_edges": None}))[0]["valid"]
    deep = {"observations": ["(x=1) -> 1"], "response": "Expression: NOT NOT x", "depth": 1}
    assert [row["valid"] for row in answers(Boolean(), as_line(deep))] == [False]


BROKEN = [
    b"\n", b" \n", b"{\n", b"null\n", b"[]\n", b"3\n", b'"Graph: A->B"\n', b"{}\n", b"NaN\n",
    b"\x00\n", b"\xff\xfe\n", b'{"observations": []}\n', b'{"response": "x"}\n', b"\x1a\n",
    as_line({**GOOD, "observations": "Perturb(A) -> A:0"}),
    as_line({**GOOD, "observations": [1]}),
    as_line({**GOOD, "observations": [["Perturb(A) -> A:0"]]}),
    as_line({**GOOD, "observations": {"a": 1}}),
    as_line({**GOOD, "observations": None}),
    as_line({**GOOD, "observations": ["\x00"]}),
    as_line({**GOOD, "observations": ["Perturb(A) -> A:0"] * 10**4}),
    as_line({**GOOD, "response": None}),
    as_line({**GOOD, "response": 1e999}),
    as_line({**GOOD, "response": ["Graph: A->B"]}),
    as_line({**GOOD, "max_edges": -1}),
    as_line({**GOOD, "max_edges": True}),
    as_line({**GOOD, "max_edges": "3"}),
    as_line({**GOOD, "max_edges": 2.5}),
    as_line({**GOOD, "max_edges": float("nan")}),
    as_line({"view": 10, "response": ""}),
    b'{"observations": ' + b"[" * 10**5 + b"\n",
    b'{"a": ' * 10**5 + b"\n",
    b'{"response": ' + b"9" * 10**5 + b"}\n",
    b'{"response": "' + b"a" * LONGEST_LINE + b'"}\n',
    b"x" * 10**7 + b"\n",
]  # fmt: skip


@pytest.mark.promise(number=4)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_any_line_gets_a_line_and_the_next_one_is_judged(task):
    good = {"observations": list(next(task.observation_sets())[0])}
    good["response"] = task.answer(next(task.observation_sets())[1][0])
    lines = [line for broken in BROKEN for line in (broken, as_line(good))]
    found = answers(task, *lines)
    assert len(found) == len(lines)
    for bad, fine in zip(found[::2], found[1::2], strict=True):
        assert bad["key"] is None
        assert bad["valid"] is False
        assert bad["reason"].startswith("bad input: ")
        assert fine["valid"] is True


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=80).map(lambda line: line.replace(b"\n", b""))))
def test_any_bytes(lines):
    assert len(answers(Causal(), *(line + b"\n" for line in lines))) == len(lines)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TASKS), st.fixed_dictionaries({}, optional={
    "observations": JSON | st.lists(st.sampled_from([*OBSERVED, "0 1 0", "(x=1) -> 0"])),
    "response": JSON, "view": JSON, "max_edges": JSON, "depth": JSON, "operators": JSON,
    "max_height": JSON,
}))  # fmt: skip
def test_any_types(task, row):
    (found,) = answers(task, as_line(row))
    assert set(found) == {"key", "valid", "reason"}
    assert not found["valid"] or found["key"] is not None


def test_the_last_line_needs_no_end():
    assert len(answers(Causal(), as_line(GOOD).strip())) == 1
    assert len(answers(Causal(), as_line(GOOD), b"x" * 2 * LONGEST_LINE)) == 2
    assert answers(Causal()) == []


def test_the_longest_response_fits_into_a_line():
    row = {**GOOD, "response": "\x00" * (LONGEST_RESPONSE - 17) + GOOD["response"]}
    assert len(row["response"]) == LONGEST_RESPONSE
    assert answers(Causal(), as_line(row))[0]["valid"]


@pytest.mark.parametrize(
    "line",
    [
        b"x" * 10**7, b"[" * 10**7, b'{"response": "' + b"\\u0000" * 10**6, b"[" * 10**5,
        b"[" + b"[]," * 170_000 + b"[]]", b'{"a":' * 10**5,
    ],
    ids=range(6),
)  # fmt: skip
@pytest.mark.promise(number=4)
def test_huge_lines_are_refused_in_pieces(line, record_property):
    class Nothing(io.StringIO):
        def write(self, text):
            return len(text)

    source = io.BytesIO(line + b"\n{}\n")  # not its end, or it would be handed over uncopied

    def run():
        source.seek(0)
        judge_lines(Causal(), source, Nothing())

    assert steps(run) < 1000
    # What is longer than a line may be is read in pieces of that size.
    assert peak_memory(run) < (4 * LONGEST_LINE if len(line) > LONGEST_LINE else MOST_MEMORY)
    seconds_where_promised(run, SLOWEST_REFUSAL)
    record_property("figure", "JSON lines of up to 10 MB, nested up to 10^7 deep")


def test_an_answer_comes_before_the_next_question():
    """A program that waits for each answer is not left waiting."""
    script = (
        "import sys; from ipsrl.hypospace import Causal, judge_lines; "
        "judge_lines(Causal(), sys.stdin.buffer, sys.stdout)"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=buffered, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(as_line(GOOD))
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], HANGS)
            if not ready:
                process.kill()
            assert ready
            assert json.loads(process.stdout.readline())["valid"]


def test_lines_of_other_options_do_not_change_those_of_none():
    rows = [GOOD, {**GOOD, "max_edges": 1}, GOOD]
    assert [row["valid"] for row in answers(Causal(), *map(as_line, rows))] == [True, False, True]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_line_takes_few_steps(task):
    """JSON included; 400 to 620 are taken."""
    sets = random.Random(0).choices(list(task.observation_sets()), k=100)
    rows = [{"observations": lines, "response": task.answer(keys[-1])} for lines, keys in sets]
    text = b"".join(map(as_line, rows))
    run = lambda: judge_lines(task, io.BytesIO(text), io.StringIO())  # noqa: E731
    run()  # observations are read once
    assert steps(run) < 1.25 * MOST_STEPS * len(rows)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_file_is_read_back_and_has_the_keys_of_the_issue(task, tmp_path):
    sets = dataset(task, count=20)
    write_dataset(sets, tmp_path / "sets.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "sets.jsonl").read_text().splitlines()]
    assert all(list(row) == ["id", "observations", "prompt", "admissible", "split"] for row in rows)
    assert read_lines(tmp_path / "sets.jsonl", ObservationSet) == sets
    marked = tmp_path / "windows.jsonl"
    marked.write_bytes(codecs.BOM_UTF8 + (tmp_path / "sets.jsonl").read_bytes())
    assert read_lines(marked, ObservationSet) == sets
    # A row with a response can be judged as it is.
    for row in rows:
        row["response"] = task.answer(row["admissible"][-1])
    assert all(found["valid"] for found in answers(task, *map(as_line, rows)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("{\n", "line 1: Invalid JSON"),
        ("[]\n", "line 1: "),
        ('{"id": "a"}\n', "line 1: observations: Field required"),
        ('{"id": 3, "observations": [], "prompt": "", "admissible": []}', "id: .* valid string"),
        ('{"id": "3", "observations": "abc", "prompt": "", "admissible": []}', "observations: "),
    ],
)
def test_a_broken_file_is_refused_with_its_line(text, message, tmp_path):
    path = tmp_path / "sets.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_lines(path, ObservationSet)


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_lines(tmp_path / "none.jsonl", ObservationSet)
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_dataset([], tmp_path / "no" / "file")
