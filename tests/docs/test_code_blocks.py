"""Every block of code of the documentation runs, or says why it cannot run here.

Python runs.  The real command line reads each command, up to its configuration.  TOML is loaded as
what it configures.  What needs another machine, or is run by another test, is skipped with the
reason.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import tyro
from pages import PAGES, ROOT, Block, blocks

from ipsrl.cli import main
from ipsrl.molecules import Config
from ipsrl.reproduce import ITEMS
from ipsrl.sweep.config import SweepConfig

pytestmark = [  # TRL sets what transformers has renamed; bitsandbytes, while it is imported
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning"),
]

BLOCKS = [block for page in PAGES for block in blocks(page)]

ELSEWHERE = {  # a page, or what a block says -> the test that runs it, and looks at what it prints
    "README.md": "tests/test_examples.py::test_the_readme_says_what_its_code_prints",
    "docs/extending.md": "tests/test_examples.py::test_the_recipes_of_the_guide_to_extending_run",
    "docs/integrations.md": "tests/integrations/test_recipes.py::test_every_block_is_tested_here",
    "folder_of(": "tests/test_examples.py::test_code_of_the_guide_to_language_models_runs",
    "model_name_or_path": "tests/llm/test_trl_command.py::test_trl_grpo_with_a_dotted_path",
    "examples/tutorials/": "tests/docs/test_tutorials.py::test_a_tutorial_prints_what_is_shown",
}
CANNOT = {  # what a block or a command says -> why it does not run here
    "RxnInsight()": "it needs the environment of `ipsrl workers install rxn-insight`",
    "trl grpo": "tests/llm/test_trl_command.py::test_trl_grpo_with_a_dotted_path runs it",
    "main_ppo": "it needs verl",
    "ipsrl.integrations.verl": "it needs verl",
    "ln -s": "it links to a file of the reader",
    "--config ...": "the file is left open",
    "git clone": "the repository is not public yet",
    "python3 -m venv": "the tests run in such an environment, and this one would be without ipsrl",
}
SLOW = {"docs/sweeps.md"}  # a page whose Python is compiled
DOCKING = """
transform = {kind = "reverse-sigmoid", low = -16.0, high = 0.0, k = 0.15}
docking = {receptor = "x.pdbqt", center = [0.0, 0.0, 0.0], size = [20.0, 20.0, 20.0]}
"""
MADE = {  # a page -> a file that an earlier command of it makes
    "docs/docking.md": (
        "receptors/7uvu/receptor.toml",
        f'[[components]]\nkind = "docking"{DOCKING}',
    ),
}
TRAINER = """
from pathlib import Path
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from ipsrl.llm import tiny
tiny.build(Path("model"), ["name one"])
model, dataset = "model", Dataset.from_list([{"prompt": "name one"}])
args = GRPOConfig(
    "run", num_generations=2, per_device_train_batch_size=2, use_cpu=True, bf16=False,
    report_to="none",
)
reward = lambda completions, **columns: [1.0] * len(completions)
outcome = lambda completions, **columns: completions
"""
GIVEN = {  # a page -> what its Python takes from the reader
    "README.md": TRAINER,
    "docs/diagnose.md": TRAINER,
    "docs/llm.md": f"{TRAINER}trainer = GRPOTrainer(model, reward, args, dataset)",
    "docs/retrosynthesis.md": """
import gzip
from pathlib import Path
Path("catalogue.smi.gz").write_bytes(gzip.compress(b"CO\\nO=C(O)c1ccccc1\\n"))
""",
    "docs/sweeps.md": """
from pathlib import Path
from ipsrl.grids import Config, train
config, out = Config(iterations=1, seeds=1, group_size=4, batch=4), Path("run")
""",
}
REST = {  # a fragment of a configuration -> the whole, where it takes the place of FRAGMENT
    'engine = "command"': (
        '[[components]]\nkind = "docking"\ntransform = {kind = "step", low = -9.0}\n'
        '[components.docking]\nreceptor = "x.pdbqt"\ncenter = [0, 0, 0]\nsize = [20, 20, 20]\n'
        "FRAGMENT"
    ),
    "[[stages]]": "FRAGMENT" + DOCKING,
}


def skip_if(block: Block, text: str, reasons: dict[str, str]) -> None:
    for what, why in reasons.items():
        if what == block.page or what in text:
            pytest.skip(why)


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A working directory with the files that a page shows or makes."""
    for folder in ("bench", "configs", "examples", "tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)

    def write(page: str) -> None:
        shown = [(block.file, block.code) for block in BLOCKS if block.page == page and block.file]
        for name, text in [*shown, *([MADE[page]] if page in MADE else [])]:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)

    return write


def of(*languages: str) -> Any:
    return pytest.mark.parametrize(
        "block",
        [
            pytest.param(
                block, marks=[pytest.mark.slow] if block.page in SLOW else [], id=str(block)
            )
            for block in BLOCKS
            if block.language in languages
        ],
    )


def test_every_language_is_tested_here():
    assert {block.language for block in BLOCKS} == {"diff", "python", "sh", "text", "toml", "yaml"}


@pytest.mark.parametrize("named", sorted({*ELSEWHERE.values()}))
def test_the_tests_that_run_blocks_elsewhere_are_there(named):
    file, _, test = named.partition("::")
    assert f"def {test}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("what", [*ELSEWHERE, *CANNOT])
def test_what_is_left_out_is_there(what):
    """So that a reason goes with its block."""
    assert any(what == block.page or what in block.code for block in BLOCKS)


@of("python")
def test_python_runs(block, beside):
    skip_if(block, block.code, ELSEWHERE | CANNOT)
    beside(block.page)
    run(block, block.code)


@of("diff")
@pytest.mark.parametrize("side", "-+")
def test_python_runs_before_and_after_a_change(block, side, beside):
    beside(block.page)
    kept = [line[1:] for line in block.code.splitlines() if line[0] in (" ", side)]
    run(block, "\n".join(kept))


def run(block: Block, code: str) -> None:
    names: dict[str, Any] = {"__name__": "block"}
    exec(GIVEN.get(block.page, ""), names)
    exec(compile(code, str(block), "exec"), names)


@of("toml", "yaml")
def test_a_configuration_is_one(block, beside):
    skip_if(block, block.code, ELSEWHERE | CANNOT)
    beside(block.page)
    whole = next((whole for what, whole in REST.items() if what in block.code), "FRAGMENT")
    Path("shown.toml").write_text(whole.replace("FRAGMENT", block.code))
    model = SweepConfig if block.page == "docs/sweeps.md" else Config
    model.load(Path("shown.toml"))


class Read(BaseException):
    """The command line was read: what follows would be the work."""


COMMANDS = [
    pytest.param(block, command, id=f"{block}-{number}")
    for block in BLOCKS
    for number, command in enumerate(block.commands())
    if block.language == "sh"
]


@pytest.mark.parametrize(("block", "command"), COMMANDS)
def test_a_command_is_one(block, command, beside, monkeypatch, capsys):
    skip_if(block, command, CANNOT)
    words = shlex.split(re.sub(r"\$\(.*\)", "WORD", command), comments=True)
    words = [word for word in takewhile(lambda word: word not in "|<", words) if word != "..."]
    if words[0] == "python" and "-m" in words:
        words = words[words.index("-m") + 1 :]
    program, *given = words
    match program:
        case "ipsrl":
            beside(block.page)
            check_ipsrl(given, monkeypatch)
            if "--resume" in given:
                assert "is not a run directory" in capsys.readouterr().err
        case "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {*given} <= {*targets}
        case "pip":
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            for extras in re.findall(r"\[(.*?)\]", command):
                assert {*extras.split(",")} <= {*project["optional-dependencies"]}
        case "python" | ".venv/bin/python" | "pytest":
            assert (ROOT / given[0]).exists()
        case "ray":
            from ray.scripts.scripts import cli

            cli.commands[given[0]].make_context(given[0], given[1:])
        case _:
            pytest.fail(f"no test knows the program {program!r}: add a case, or a reason to CANNOT")


def check_ipsrl(words: list[str], monkeypatch) -> None:
    """The real command line takes these words."""
    if words[0] == "reproduce":
        preset = words[words.index("--preset") + 1] if "--preset" in words else "quick"
        assert preset in ITEMS[words[1]].presets
    read = tyro.cli

    def cli(*args: Any, **kwargs: Any) -> Any:
        read(*args, **kwargs)
        raise Read

    monkeypatch.setattr(tyro, "cli", cli)
    with suppress(Read):
        # What has answered without options; or a run of the reader, which is looked at before them.
        assert main(words) == (2 if "--resume" in words else 0)
