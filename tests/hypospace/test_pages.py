"""The table of the pretrained model in docs/hypospace.md is that of its records."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = {"start": "start model", "grpo": "GRPO", "flowrl": "FlowRL", "ips-grpo": "IPS-GRPO"}


def percent(interval: list[float]) -> str:
    mean, low, high = (f"{100 * value:.1f}" for value in interval)
    return f"{mean} [{low}, {high}]"


def test_the_table_of_the_pretrained_model_is_that_of_its_records() -> None:
    expected = []
    for record, name in NAMES.items():
        file = ROOT / "docs/results/hypospace-gemma" / f"{record}.json"
        halves = json.loads(file.read_bytes())
        rates = [
            percent(halves[half][rate])
            for half in ("test", "train")
            for rate in ("recovery_rate", "valid_rate")
        ]
        expected.append(f"| {' | '.join([f'Gemma, {name}', *rates])} |")
    page = (ROOT / "docs/hypospace.md").read_text()
    assert re.findall(r"^\| Gemma, .* \|$", page, re.M) == expected
