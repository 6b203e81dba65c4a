"""Figures of HypoSpace show the numbers of their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ipsrl.report.figures import as_png
from ipsrl.report.hypospace import over_training, recovery_curves, recovery_grid, structures


def row(domain: str, method: str, level: float, **others: Any) -> dict[str, Any]:
    draws = [1, 2, 4]
    curve = [[level * n / 4, level * n / 4 - 0.01, level * n / 4 + 0.01] for n in draws]
    test = {"draws": draws, "recovery": curve, "recovery_rate": curve[-1]}
    test |= {"uniform": [0.3, 0.6, 0.9], "one_mode": [0.3] * 3}
    return {"domain": domain, "method": method, "test": test, **others}


def test_every_method_has_a_curve_in_its_domain() -> None:
    rows = [row("causal", "grpo", 0.4), row("causal", "ips-grpo", 0.8), row("voxel", "grpo", 0.2)]
    causal, voxel = recovery_curves(rows).axes
    lines = {line.get_label(): line.get_ydata() for line in causal.get_lines()}
    assert set(lines) == {"grpo", "ips-grpo", "ideal uniform", "one mode"}
    assert np.allclose(lines["ips-grpo"], [0.2, 0.4, 0.8])
    assert np.allclose(lines["ideal uniform"], [0.3, 0.6, 0.9])
    assert (causal.get_title(), voxel.get_title()) == ("causal", "voxel")
    assert len(voxel.get_lines()) == 3


def test_the_grid_shows_ours_the_papers_and_the_pull() -> None:
    rows = [
        row("causal", f"G{size}", size / 64, group_size=size, eps=eps, paper=40.0, pull=size * eps)
        for size in (64, 16)
        for eps in (0.1, 0.2)
    ]
    ours, paper, pull = recovery_grid(rows).axes
    (first, *_) = ours.containers
    assert list(first.lines[0].get_xdata()) == [16, 64]  # sorted
    assert np.allclose(first.lines[0].get_ydata(), [0.25, 1.0])
    assert np.allclose(paper.get_lines()[0].get_ydata(), 0.4)
    assert np.allclose(pull.get_lines()[1].get_ydata(), [3.2, 12.8])


def test_answers_to_the_prompt_with_most_of_them(tmp_path: Path) -> None:
    """100 steps of 4 answers: "b" in the first half, then "a"; every fourth is wrong."""
    run = tmp_path / "run"
    folder = run / "rl" / "trainer" / "completions"
    folder.mkdir(parents=True)
    sets = [
        {"prompt": "few?", "admissible": ["a"], "split": "train"},
        {"prompt": "many?", "admissible": ["a", "b", "c"], "split": "train"},
        {"prompt": "most?", "admissible": ["a", "b", "c", "d"], "split": "test"},
    ]
    (run / "data.jsonl").write_text("".join(json.dumps(one) + "\n" for one in sets))
    for step in range(1, 101):
        key = "b" if step <= 50 else "a"
        rows = {"step": [step] * 8, "prompt": ["many?"] * 4 + ["few?"] * 4,
                "outcome": [key, key, key, None] + ["a"] * 4}  # fmt: skip
        pq.write_table(pa.table(rows), folder / f"completions_{step:05}.parquet")
    figure = over_training({"grpo": run})
    (axis,) = figure.axes
    bars = {bar.get_label(): [patch.get_height() for patch in bar] for bar in axis.containers}
    # The answers of the others are not counted, and each window has some.
    assert set(bars) == {"a", "b", "not asked"}
    assert bars.pop("not asked") == []
    assert np.allclose(bars["b"][:10], 0.75)
    assert np.allclose(bars["b"][10:], 0.0)
    assert np.allclose(bars["a"][10:], 0.75)
    assert as_png(figure).startswith(b"\x89PNG")


def test_prompts_may_be_messages_and_may_not_be_asked(tmp_path: Path) -> None:
    """Steps 1 and 20 of a chat model, whose prompt has more than one line."""
    for name in ("asked", "never"):
        folder = tmp_path / name / "rl" / "trainer" / "completions"
        folder.mkdir(parents=True)
        (tmp_path / name / "data.jsonl").write_text(
            json.dumps({"prompt": "which?\nsay", "admissible": ["a", "b"], "split": "train"})
        )
        for step in (1, 20):
            said = "which?\nsay" if name == "asked" else "another"
            rows = {"step": [step], "prompt": [[{"role": "user", "content": said}]],
                    "outcome": ["a"]}  # fmt: skip
            pq.write_table(pa.table(rows), folder / f"completions_{step:05}.parquet")
    asked, never = over_training({name: tmp_path / name for name in ("asked", "never")}).axes
    found = [{b.get_label(): len(b.patches) for b in axis.containers} for axis in (asked, never)]
    assert found == [{"a": 20, "not asked": 18}, {"a": 20, "not asked": 20}]
    assert np.allclose([p.get_height() for p in asked.containers[0]], [1] + [0] * 18 + [1])
    assert as_png(over_training({"never": tmp_path / "never"})).startswith(b"\x89PNG")


def test_structures_are_drawn_with_their_counts(tmp_path: Path) -> None:
    """Two cells, one of them two high: three blocks; the commonest structure first."""
    counts = {"grpo": {"110000000": 60}, "ips-grpo": {"110000000": 2, "110000000/100000000": 30}}
    found = {"view": ["1 1 0"], "admissible": 9, "responses": 64, "size": 3, "max_height": 3}
    path = tmp_path / "structures.json"
    path.write_text(json.dumps({**found, "counts": counts}))
    figure = structures(path)
    grpo, ips = figure.subfigs
    assert [axis.get_title() for axis in grpo.axes] == ["60"]
    assert [axis.get_title() for axis in ips.axes] == ["30", "2"]
    assert "2 of 9 structures in 64 responses, 32 of them right" in ips.get_suptitle()
    # Faces that touch another block are not drawn: 3 blocks of 6 faces, less 2 pairs.
    assert sum(len(part._faces) for part in ips.axes[0].collections) == 3 * 6 - 2 * 2
    assert as_png(figure).startswith(b"\x89PNG")
