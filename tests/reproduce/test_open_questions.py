"""What is counted of a model's answers; with a tiny model in the place of the real one."""

import json
import math
import re
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from ipsrl import reproduce
from ipsrl.errors import RunError
from ipsrl.llm import tiny
from ipsrl.reproduce import open_questions
from ipsrl.reproduce.open_questions import statistics_of
from ipsrl.runs import Folder


def test_statistics_by_hand() -> None:
    found = statistics_of({"Rome": 2, "Paris": 1, "Oslo": 1, None: 4})
    assert found == {
        "right": 0.5,
        "distinct": 3,
        # exp of the entropy of (1/2, 1/4, 1/4) = 2^1.5
        "effective": pytest.approx(2**1.5),
        "top": "Rome",
        "top share": 0.25,
    }


def test_a_model_that_knows_nothing_has_no_answers() -> None:
    found = statistics_of({None: 3})
    assert found == {"right": 0, "distinct": 0, "effective": 0, "top": "-", "top share": 0}
    assert math.isfinite(found["effective"])


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The item with a model of two layers, one step and eight answers."""
    names = [" Rome", " Paris", "<eos>"]
    tiny.build(tmp_path / "model", ["name a capital"], words=names)
    monkeypatch.setattr(open_questions, "MODEL", str(tmp_path / "model"))
    monkeypatch.setattr(open_questions, "SAMPLES", 8)
    quick = replace(open_questions.PRESETS["quick"], steps=1, seeds=2)
    monkeypatch.setitem(open_questions.PRESETS, "quick", quick)
    return tmp_path / "out"


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_the_item_is_resumed_and_is_the_same(small, capsys, monkeypatch) -> None:
    reproduce.reproduce("open-questions", "quick", small)
    printed = capsys.readouterr().out
    rows = json.loads((small / "table.json").read_text())
    assert [row["cell"] for row in rows] == ["capitals start", "capitals grpo", "capitals ips-grpo"]
    assert [row["seeds"] for row in rows] == [1, 2, 2]
    assert all(0 <= row["right"]["median"] <= 1 for row in rows)
    assert "capitals ips-grpo" in printed
    counted = json.loads((small / "answers" / "capitals-grpo-1.json").read_text())
    assert sum(counted["right"].values()) + sum(counted["wrong"].values()) == 8
    assert (small / "index.html").exists()

    def train(*_, **__):
        raise AssertionError("what has ended is used again")

    before = (small / "table.json").read_bytes()
    (small / "table.json").unlink()
    monkeypatch.setattr("ipsrl.llm.training.train", train)
    reproduce.reproduce("open-questions", "quick", small)
    assert (small / "table.json").read_bytes() == before


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_records_stand_for_runs_that_are_gone(small, tmp_path, monkeypatch) -> None:
    """On another machine only what was committed is left: answers, and files.json."""
    reproduce.reproduce("open-questions", "quick", small)
    kept = tmp_path / "kept"
    shutil.copytree(small / "answers", kept / "answers")
    shutil.copy(small / "files.json", kept)
    reproduce.reproduce("open-questions", "quick", kept)
    assert (kept / "table.json").read_bytes() == (small / "table.json").read_bytes()
    assert not (kept / "capitals-grpo").exists()
    longer = replace(open_questions.PRESETS["quick"], steps=2)
    monkeypatch.setitem(open_questions.PRESETS, "quick", longer)
    with pytest.raises(RunError, match="capitals-start-0.json holds the answers of another"):
        reproduce.reproduce("open-questions", "quick", kept)


# --- what is committed ----------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs" / "results" / "open-questions"


def committed() -> dict[str, list]:
    """The answers on record, by cell, read as the item reads them."""
    cpu = open_questions.PRESETS["cpu"]
    cells = [f"{q} {m}" for q in cpu.questions for m in ("start", *cpu.methods)]
    found = {}
    for cell in cells:
        for seed in range(cpu.seeds):
            name = f"answers/{cell.replace(' ', '-')}-{seed}.json"
            if (RECORDS / name).exists():
                config = open_questions._config(cell.partition(" ")[2], RECORDS / "x", cpu, seed)
                answers = open_questions._answers(Folder(RECORDS), name, config)
                found.setdefault(cell, []).append(answers)
    return found


def test_every_record_is_of_the_configuration_that_would_be_run_now() -> None:
    assert sum(map(len, committed().values())) == len([*RECORDS.glob("answers/*.json")])


LABELS = {
    "start": "start model",
    "grpo": "GRPO",
    "maxrl": "MaxRL",
    "flowrl": "FlowRL",
    "ips-grpo": "IPS-GRPO, group",
    "ips-grpo likelihood": "IPS-GRPO, likelihood",
    "ips-grpo replay": "IPS-GRPO, replay",
}


def line(cell: str, seeds: list) -> str:
    """A row of a table: question, method, seeds, and what was answered."""
    question, _, method = cell.partition(" ")
    found = [statistics_of(one) for one in seeds]
    cells = [question, LABELS[method], str(len(found))]
    for key, digits in (("right", 3), ("distinct", 0), ("effective", 1)):
        values = [one[key] for one in found]
        middle, *ends = (
            f"{f(values):.{digits}f}".removeprefix("0") for f in (statistics.median, min, max)
        )
        cells.append(middle + (f" [{', '.join(ends)}]" if {*ends} != {middle} else ""))
    top = ", ".join(f"{one['top']} {one['top share']:.0%}".replace("%", " %") for one in found)
    return f"| {' | '.join(cells)} | {top} |"


@pytest.mark.parametrize("page", ["README.md", "docs/llm.md"])
def test_the_tables_of_the_pages_are_those_of_the_records(page) -> None:
    """Median [lowest, highest] of the seeds, as `line` writes it; the guide has all rows."""
    expected = {line(cell, seeds) for cell, seeds in committed().items()}
    shown = re.findall(
        r"^\| (?:capitals|states|elements) \| .* \|$", (ROOT / page).read_text(), re.M
    )
    assert {*shown} == expected if page == "docs/llm.md" else len(shown) >= 3
    assert {*shown} <= expected


def test_the_verdicts_of_the_guide_are_those_of_the_records() -> None:
    """Each aim in every seed, with the lowest and highest value."""

    def verdict(reached: bool, values: list[float], digits: int) -> str:
        low, high = (f"{x:.{digits}f}".removeprefix("0") for x in (values[0], values[-1]))
        return f"{'yes' if reached else 'no'}: {low} to {high}"

    def sorted_of(key: str, cell: str) -> list[float]:
        return sorted(statistics_of(seed)[key] for seed in seeds[cell])

    seeds, expected = committed(), []
    for question in ("capitals", "states", "elements"):
        grpo, group, replay = (
            sorted_of("effective", f"{question} {method}")
            for method in ("grpo", "ips-grpo", "ips-grpo replay")
        )
        right = sorted_of("right", f"{question} ips-grpo")
        expected.append(
            (
                verdict(grpo[-1] <= 2, grpo, 1),
                verdict(group[0] >= 5, group, 1),
                verdict(right[0] >= 0.93, right, 3),
                verdict(replay[0] > group[-1], replay, 1),
            )
        )
    text = (ROOT / "docs" / "llm.md").read_text()
    _, _, table = text.partition("| aim | capitals | states | elements |\n|---|---|---|---|\n")
    rows = [row[2:-2].split(" | ")[1:] for row in table.partition("\n\n")[0].splitlines()]
    assert [*zip(*rows, strict=True)] == expected
