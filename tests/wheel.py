"""`make test-wheel`: the wheel in clean environments, where each extra runs what it is for.

    python tests/wheel.py                     # every Python that is here, every extra
    python tests/wheel.py 3.11 grids docking  # some

An extra is installed by the line of MissingExtra into an environment of its own, which is removed
before the next.  Where pip finds no build of torch for processors alone, those that need torch take
gigabytes; PIP_EXTRA_INDEX_URL may name one, such as https://download.pytorch.org/whl/cpu.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

from tiny_grid import TINY

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")

# Files that the commands read.
FILES = {
    "logged.jsonl": r"""{"step": 1, "prompt": "4/2?", "completion": "2", "reward": 1.0}
{"step": 1, "prompt": "4/2?", "completion": "$\\frac{4}{2}$", "reward": 1.0}
""",
    "qsar.toml": """[[components]]
kind = "qsar"
qsar = {model = "model.skops", bits = 64, trusted = ["sklearn.tree._tree.Tree"]}
transform = {kind = "step", low = 0.0, high = 32.0}
""",
    "ray.toml": """executor = "ray"
[[components]]
kind = "qed"
workers = 1
""",
    "sweep.toml": """train = "molecules"
base = "ray.toml"
config = {budget = 16, batch = 16, executor = "processes"}
""",
    "model.py": """import numpy as np, skops.io
from sklearn.tree import DecisionTreeRegressor
model = DecisionTreeRegressor().fit(np.eye(64, dtype=np.float32), np.arange(64.0))
skops.io.dump(model, "model.skops")
""",
    "protein.py": """from rdkit import Chem
from rdkit.Chem import AllChem
sources = {"protein": Chem.MolFromSequence("GHWKSEY"), "ligand": Chem.MolFromSmiles("CCO")}
for name, molecule in sources.items():
    molecule = Chem.AddHs(molecule)
    AllChem.EmbedMolecule(molecule, randomSeed=0, useRandomCoords=True)
    Chem.MolToPDBFile(Chem.RemoveHs(molecule), f"{name}.pdb")
""",
}
GRID = f"ipsrl train hypergrid --config hypergrid/table-1/2d-grpo {' '.join(TINY)} --out grid"
SEARCH = "ipsrl train molecules --budget 16 --batch 16"
REDOCK = "--receptor receptor/receptor.pdbqt --ligand ligand.pdb --smiles CCO --seeds 1"
COMMANDS = {
    "": [
        "ipsrl advise --rewards 1,1,0.1 --group-size 16",
        "ipsrl diagnose logged.jsonl --outcome text",
    ],
    "grids": [GRID],
    "report": ["ipsrl diagnose logged.jsonl --outcome text --out diagnosis"],
    "grids,report": [GRID, "ipsrl report grid --out page.html"],
    "grids,tensorboard": [f"{GRID} --log-to tensorboard"],
    "grids,trackio": [f"{GRID} --log-to trackio"],
    "grids,wandb": [f"{GRID} --log-to wandb"],
    "grids,mlflow": [f"{GRID} --log-to mlflow"],
    "outcomes": ["ipsrl diagnose logged.jsonl --outcome math"],
    "docking": [
        "python protein.py",
        "ipsrl molecules receptor protein.pdb --ligand ligand.pdb --out receptor",
        f"ipsrl molecules redock {REDOCK} --max-evals 1000",
    ],
    "llm": [f"ipsrl train llm --config {ROOT}/examples/llm/even_digits.toml --trl max_steps=2"],
    "molecules": [f"{SEARCH} --config molecules/keys/qed-band", "ipsrl molecules route CC(=O)NCC"],
    "molecules,qsar": ["python model.py", f"{SEARCH} --config qsar.toml"],
    "molecules,cluster": [
        f"{SEARCH} --config ray.toml",
        "ipsrl sweep sweep.toml --slurm partition=any",
    ],
    "all": ["ipsrl doctor"],
}


def main(chosen: list[str]) -> int:
    """Print a row as soon as an extra is done; 1 if one failed."""
    pythons = [word for word in chosen if word in PYTHONS] or PYTHONS
    extras = [word for word in chosen if word not in PYTHONS] or COMMANDS
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT],
            check=True,
        )
        (wheel,) = Path(folder).glob("*.whl")
        print("| Python | extra | install s | run s | MB | result |\n|---|---|---|---|---|---|")
        for version in pythons:
            python = _interpreter(version)
            for extra in extras:
                # Vina has no wheel for 3.13.
                commands = [c for c in COMMANDS[extra] if version < "3.13" or " redock " not in c]
                row = (
                    _row(python, extra, commands, wheel)
                    if python
                    else "| | | | not on this machine |"
                )
                failed |= row.endswith("FAILED |")
                print(f"| {version} | {extra or 'none'} {row}", flush=True)
    return int(failed)


def _row(python: str, extra: str, commands: list[str], wheel: Path) -> str:
    """Make an environment, run the commands of the extra in it, and remove it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name, text in FILES.items():
            (home / name).write_text(text)
        bin = home / "env" / "bin"
        install = f"python -m pip install -q --constraint {ROOT}/constraints.txt"
        began = monotonic()
        done = _run([python, "-m", "venv", home / "env"], home, bin)
        done = done and _run([*install.split(), wheel], home, bin)
        if extra:
            done = done and _run([*install.split(), f"ipsrl[{extra}]"], home, bin)
        installed = monotonic()
        for command in commands:
            done = done and _run(command.split(), home, bin)
        ended = monotonic()
        size = sum(path.lstat().st_size for path in (home / "env").rglob("*")) / 1e6
    result = "passed" if done else "FAILED"
    return f"| {installed - began:.0f} | {ended - installed:.0f} | {size:.0f} | {result} |"


def _run(command: list[object], home: Path, bin: Path) -> bool:
    """Whether a command succeeds in an environment; what a failure says is printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = f"{bin}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(shutil.which(str(command[0]), path=path)), *map(str, command[1:])],
        cwd=home, env={**kept, "PATH": path, "WANDB_MODE": "offline"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        print(f"{' '.join(map(str, command))}: code {done.returncode}\n{done.stdout[-3000:]}")
    return not done.returncode


def _interpreter(version: str) -> str | None:
    """A Python of this version: on the PATH, or one of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in [f"python{version}", *sorted(pyenv.glob(f"{version}.*/bin/python"))]:
        if shutil.which(python) and not subprocess.call(
            [python, "-c", ""], stderr=subprocess.DEVNULL
        ):
            return str(python)
    return None


if __name__ == "__main__":
    if unknown := {*sys.argv[1:]} - {*PYTHONS, *COMMANDS}:
        sys.exit(
            f"{', '.join(sorted(unknown))}: not a version or extra. "
            f"Name some of {', '.join([*PYTHONS, *filter(None, COMMANDS)])}."
        )
    sys.exit(main(sys.argv[1:]))
