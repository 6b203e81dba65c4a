"""The three commands, end to end: data set, judge, evaluate."""

import io
import json
import sys

import pytest

from ipsrl.cli import main


class Input(io.TextIOWrapper):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))


@pytest.mark.parametrize(("domain", "sets"), [("causal", 100), ("voxel", 100), ("boolean", 78)])
def test_ideal_and_one_mode_answers(domain, sets, tmp_path, monkeypatch, capsys) -> None:
    """Every key of a data set is judged admissible, and evaluation sees which were recovered."""
    data = tmp_path / "data.jsonl"
    assert main(["hypospace", "dataset", domain, "-o", str(data)]) == 0
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    assert len(rows) == sets
    assert {row["split"] for row in rows} == {"train", "test"}
    again = tmp_path / "again.jsonl"
    assert main(["hypospace", "dataset", domain, "-o", str(again)]) == 0
    assert again.read_bytes() == data.read_bytes()

    def answer(key: str) -> str:
        if domain == "causal":
            return f"Graph: {key.replace(',', ', ') or 'No edges'}"
        if domain == "boolean":
            return f"Expression: {key}"
        lines = []
        for level, layer in enumerate(key.split("/"), 1):
            lines += [f"Layer {level}:", *(" ".join(layer[i : i + 3]) for i in (0, 3, 6))]
        return "\n".join(lines)

    lines, keys = [], []
    for row in rows[:20]:
        for key in row["admissible"]:
            about = {"observations": row["observations"]}
            lines.append(json.dumps({**about, "response": answer(key)}))
            keys.append(key)
    text = "\n".join([*lines, "no JSON", ""]).encode()
    monkeypatch.setattr(sys, "stdin", Input(text))
    capsys.readouterr()
    assert main(["hypospace", "judge", domain]) == 0
    judged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(judged) == len(lines) + 1
    if domain != "boolean":  # whose keys are prefix form, no answer
        assert [one["key"] for one in judged[:-1]] == keys
        assert all(one["valid"] for one in judged[:-1])
    assert judged[-1]["valid"] is False
    if domain == "boolean":
        return

    # Two responses for each set: the first answer twice, so one outcome of |H| is recovered.
    responses = tmp_path / "responses.jsonl"
    responses.write_text(
        "".join(
            json.dumps({"id": row["id"], "response": answer(row["admissible"][0])}) + "\n"
            for row in rows
            for _ in range(2)
        )
    )
    options = ["evaluate", domain, str(responses), "--data", str(data), "--json"]
    assert main(["hypospace", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = sum(1 / len(row["admissible"]) for row in rows) / len(rows)
    assert expected == pytest.approx(found["recovery"][0][0], rel=1e-12)  # sums in another order
    assert expected == pytest.approx(found["recovery"][-1][0], rel=1e-12)
