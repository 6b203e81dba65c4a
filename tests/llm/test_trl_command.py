"""TRL's own command trains with the files of docs/llm.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
from collections import Counter
from pathlib import Path

import llm_toy as toy
import numpy as np
import pytest
from llm_laws import grpo

PAGE = (Path(__file__).parents[2] / "docs" / "llm.md").read_text()
G = 16


@pytest.mark.slow
def test_trl_grpo_with_a_dotted_path(tmp_path) -> None:
    section = PAGE.split("\n## Where the trainer cannot be changed\n")[1].split("\n## ")[0]
    *_, module = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (config,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (tmp_path / "tasks.py").write_text(module)
    (tmp_path / "grpo.yaml").write_text(config)
    row = {"prompt": "name one", "answers": [f"a{i}" for i in range(8)]}
    (tmp_path / "tasks.jsonl").write_text(f"{json.dumps(row)}\n" * 8)
    toy.saved(tmp_path / "model")
    command = Path(sysconfig.get_path("scripts")) / "trl"
    done = subprocess.run(
        [
            command, "grpo", "--config", "grpo.yaml", "--model_name_or_path", "model",
            "--max_completion_length", "1", "--learning_rate", "5e-3", "--max_steps", "3",
            "--logging_steps", "1",
        ],
        cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"}, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = toy.table(tmp_path / "runs" / "grpo")
    assert len(rows) == 3 * G
    for _, part in rows.groupby("step"):
        texts = [text.strip() for text in part["completion"]]
        raw = np.array([float(text in row["answers"]) for text in texts])
        scaled = raw / np.array([Counter(texts)[text] / G for text in texts])
        assert len(set(scaled)) > 2
        # written from float32
        np.testing.assert_allclose(part["correct"].astype(float), scaled, rtol=1e-6)
        expected = grpo(scaled)
        np.testing.assert_allclose(part["advantage"].astype(float), expected, rtol=1e-5, atol=1e-6)
