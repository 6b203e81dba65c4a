"""The state of the installation: what is installed, what is missing, and whether it works."""

from __future__ import annotations

import importlib
import platform
import sys
from dataclasses import asdict, dataclass

import ipsrl
from ipsrl.errors import pip_line, words
from ipsrl.options import parse, say

VINA = ("vina",) if sys.version_info < (3, 13) else ()
FAMILIES = {  # as in pyproject.toml, which a test compares
    "core": ("array-api-compat", "numpy", "pyarrow", "pydantic", "rich", "safetensors", "tyro"),
    "grids": ("diffrax", "equinox", "jax", "optax", "scipy"),
    "llm": (
        *("accelerate", "bitsandbytes", "datasets", "gguf", "httpx2"),
        *("peft", "torch", "transformers", "trl"),
    ),
    "outcomes": ("latex2sympy2_extended", "math-verify", "wordllama"),
    "molecules": ("rdkit", "syntheseus", "torch", "transformers"),
    "docking": ("gemmi", "meeko", "openbabel-wheel", "rdkit", "scipy", *VINA),
    "qsar": ("onnxruntime", "scikit-learn", "skops"),
    "report": ("jinja2", "matplotlib", "plotly"),
    "cluster": ("ray", "submitit"),
}


def doctor(argv: list[str]) -> int:
    """Run the command; its exit code is 0 if everything that is installed works."""

    @dataclass(frozen=True)
    class Options:
        """Print what is installed, what is missing and how to get it, and whether it works."""

        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl doctor")
    found = examine()
    say(text(found), asdict(found), options.json)
    return 0 if found.healthy else 1


@dataclass(frozen=True)
class Found:
    """The state of every family.

    Attributes:
      ipsrl: version.
      python: version.
      platform: as Python says it.
      versions: of the installed libraries, by family.
      missing: libraries that are not installed, by family.
      workers: interpreter of every worker environment; None where it is not installed.
      works: whether the arithmetic of a library is right; None where it is not installed, and
        the error where it cannot be used.
    """

    ipsrl: str
    python: str
    platform: str
    versions: dict[str, dict[str, str]]
    missing: dict[str, list[str]]
    workers: dict[str, str | None]
    works: dict[str, bool | str | None]

    @property
    def healthy(self) -> bool:
        return all(one in (True, None) for one in self.works.values())


def examine() -> Found:
    """Look for every family, and compute something with each array library."""
    from ipsrl import workers
    from ipsrl.runs import installed_versions

    versions = {family: installed_versions(names) for family, names in FAMILIES.items()}
    works: dict[str, bool | str | None] = {}
    for name in ("numpy", "torch", "jax.numpy"):
        try:
            works[name] = bool(_self_test(importlib.import_module(name)))
        except ModuleNotFoundError:
            works[name] = None
        except Exception as error:  # as of a library in C that is missing
            works[name] = words(error)
    return Found(
        ipsrl=ipsrl.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        versions=versions,
        missing={
            family: missing
            for family, names in FAMILIES.items()
            if (missing := [name for name in names if name not in versions[family]])
        },
        workers={name: path and str(path) for name, path in workers.status().items()},
        works=works,
    )


def text(found: Found) -> str:
    """The output of the command."""
    lines = [f"ipsrl {found.ipsrl}, Python {found.python}, {found.platform}"]
    for family, versions in found.versions.items():
        state = ", ".join(f"{name} {version}" for name, version in versions.items())
        if missing := found.missing.get(family):
            state = f"missing {', '.join(missing)}: {pip_line(family)}"
        lines.append(f"{family:9} {state}")
    for name, python in found.workers.items():
        lines.append(f"worker {name:11} {python or f'not installed: ipsrl workers install {name}'}")
    said = {True: "works", False: "WRONG NUMBERS: please report this", None: "not installed"}
    lines += [
        f"{name:10} {f'CANNOT BE USED: {works}' if isinstance(works, str) else said[works]}"
        for name, works in found.works.items()
    ]
    return "\n".join(lines)


def _self_test(xp) -> bool:
    """The paper's Eq. 9 by hand: outcomes a a a b with reward 1 have p^ = 3/4 and 1/4."""
    import numpy as np

    ids = xp.asarray(ipsrl.outcome_ids(["a", "a", "a", "b"]))
    scaled = np.asarray(ipsrl.ips_rewards(xp.ones(4), ids))
    return np.allclose(scaled, [4 / 3, 4 / 3, 4 / 3, 4])
