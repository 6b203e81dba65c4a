"""What the documentation shows runs, and says what it prints."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from pages import PAGES, code_of

from ipsrl import METHODS
from ipsrl.core.methods import ExemplarReplay
from ipsrl.shaping import option_key

ROOT = Path(__file__).parents[1]


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_readme_says_what_its_code_prints():
    (code,) = code_of("README.md")
    printed = run("-c", code)
    # Group 1 scaled: 4/3 4/3 4 4/3, mean 2, deviation 4/3.  Group 2: eps does nothing to 3/4, the
    # wrong answer keeps 0: 4/3 4/3 0 4/3, mean 1, deviation 2/3.
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", printed)]
    expected = [-0.5, -0.5, 1.5, -0.5, 0.5, 0.5, -1.5, 0.5]
    assert numbers == pytest.approx(expected, abs=1e-3)  # std_eps = 1e-4
    assert printed.splitlines()[-1] == "()"


def test_the_table_of_methods_has_all_of_them():
    """By name, class and the keys of their options with the defaults."""
    rows = re.findall(
        r"^\| `([a-z-]+)` \| `(\w+)` \|(.*)$", (ROOT / "docs/methods.md").read_text(), re.M
    )
    told = {name: (kind, text) for name, kind, text in rows}
    every = METHODS | {"exemplar-replay": ExemplarReplay}
    assert told.keys() == every.keys()
    for name, kind in every.items():
        assert told[name][0] == kind.__name__
        for one in fields(kind):
            if one.metadata.get("own"):
                assert f"`{option_key(name, one)}`" in told[name][1]


def test_the_recipes_of_the_guide_to_extending_run():
    printed = [run("-c", code) for code in code_of("docs/extending.md")]
    method, estimator, component, domain, _, _, view = printed
    # A = (3/4, -1/4 ...) / .5 = 1.5, -.5, times its own size
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", method.splitlines()[0])]
    assert numbers == pytest.approx([2.25, -0.25, -0.25, -0.25], abs=1e-3)
    assert "Sharpened(" in method
    assert "power=3.0" in method
    assert estimator.splitlines() == ["[[0.875 0.875 0.625 0.875]]", "Smoothed()"]
    assert component == "[1, Failure(reason='empty')]\n"
    assert domain.splitlines() == ["Verdict.ADMISSIBLE", "Verdict.CONTRADICTS"]
    assert view.startswith("[Curve(chart='Loss', x='step', y='nats', xs=[1, 2], ys_ST=[[2.0, 0.5]]")


def test_the_environment_of_the_guide_to_extending_is_learned(tmp_path):
    (coins,) = (code for code in code_of("docs/extending.md") if "class Coins" in code)
    (tmp_path / "coins.py").write_text(coins)
    words = ["-m", "ipsrl", "train", "env", f"{tmp_path / 'coins.py'}:make", "--iterations", 20]
    words += ["--estimator", "likelihood", "--seeds", 1, "--out", tmp_path / "run"]
    assert re.search(r"seed 0: total L1 [01]\.\d+, modes found \d/7", run(*words))


def test_code_of_the_guide_to_language_models_runs(tmp_path):
    """As it stands, but for a model of 0.1M parameters and one step."""
    from ipsrl.llm import tiny

    tiny.build(tmp_path / "tiny", ["Name an even number from 2 to 20."])
    first, *_ = code_of("docs/llm.md")
    for shown, here in {
        'folder_of("smollm2-135m")': repr(str(tmp_path / "tiny")),
        "runs/even": str(tmp_path / "runs"),
        "max_steps=10": "max_steps=1",
    }.items():
        assert first.count(shown) == 1
        first = first.replace(shown, here)
    shown = "\ntexts = ['Answer: 4.0', 'It is 6.', '7', '2, 4 and 6']"
    shown += "\nprint(trainer.state.global_step, is_even(texts), trainer.outcome_fn(texts))"
    expected = "1 [1.0, 1.0, 0.0, 0.0] ['4', '6', '7', None]"
    assert run("-c", first + shown).splitlines()[-1] == expected


def test_bandit_example():
    lines = run(ROOT / "examples" / "bandit.py").splitlines()
    distance = {line.split()[0]: float(line.split()[-1]) for line in lines[1:]}
    assert distance["IPS-GRPO"] < 0.1 < 0.3 < distance["GRPO"]


def test_hypergrid_example():
    printed = run(ROOT / "examples" / "hypergrid.py")
    group, floor, likelihood = printed.splitlines()
    assert float(floor.split()[-1]) == pytest.approx(0.356, abs=0.001)
    best = [min(float(x) for x in re.findall(r"\d\.\d+", line)) for line in (group, likelihood)]
    assert best[1] < 0.1 < 0.3 < best[0]


def even_digits(out: Path, *options: str) -> dict[str, float]:
    """The example of a task for `ipsrl train llm`, and its result."""
    config = ROOT / "examples" / "llm" / "even_digits.toml"
    printed = run("-m", "ipsrl", "train", "llm", "--config", config, "--out", out, *options)
    assert printed.endswith(f"written to {out}\n")
    return json.loads((out / "result.json").read_bytes())


def test_even_digits_example(tmp_path):
    assert even_digits(tmp_path / "run", "--trl", "max_steps=2", "save_steps=2")["steps"] == 2
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["trl"]["num_generations"] == 64  # the rest is as in the file


def test_molecules_example(tmp_path, small_prior):
    config, out = ROOT / "examples" / "molecules" / "sp3.toml", tmp_path / "run"
    options = ("--prior", small_prior, "--budget", 30, "--batch", 16)
    printed = run("-m", "ipsrl", "train", "molecules", "--config", config, "--out", out, *options)
    assert printed.startswith("30 oracle calls, 0 failed, 0 out of time;")
    header = (out / "calls.csv").read_text().splitlines()[0]
    assert header.endswith('"qed","sp3_share","alert"')


@pytest.mark.slow
def test_even_digits_are_all_kept_with_scaling_only(tmp_path):
    """Five are right."""
    kept = {
        method: even_digits(tmp_path / method, "--method", method)
        for method in ("ips-grpo", "grpo")
    }
    assert min(result["reward"] for result in kept.values()) > 0.9
    # Measured 4.86 and 1.18 of the five in a group of 64
    assert kept["ips-grpo"]["effective"] > 4 > 2 > kept["grpo"]["effective"]


def test_every_local_link_of_the_documentation_leads_somewhere():
    for page in PAGES:
        # Not in code: SMIRKS look like links.
        prose = re.sub(r"^    .*$", "", page.read_text(), flags=re.MULTILINE)
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", prose):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
