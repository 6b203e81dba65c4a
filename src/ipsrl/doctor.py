"""What is installed, what is missing and how to get it, and whether it works."""

from __future__ import annotations

import importlib
import platform
import sys

import numpy as np

import ipsrl
from ipsrl import workers
from ipsrl.runs import installed_versions

VINA = ("vina",) if sys.version_info < (3, 13) else ()  # as in pyproject.toml
FAMILIES = {
    "core": ("numpy", "array-api-compat", "pydantic", "tyro", "safetensors", "pyarrow"),
    "grids": ("diffrax", "equinox", "jax", "optax", "scipy"),
    "cluster": ("ray",),
    "llm": ("accelerate", "bitsandbytes", "datasets", "peft", "torch", "transformers", "trl"),
    "docking": ("gemmi", "meeko", "openbabel-wheel", "rdkit", *VINA),
    "molecules": ("rdkit", "syntheseus", "torch", "transformers"),
    "report": ("matplotlib", "jinja2"),
}


def examine() -> int:
    """Print the state of every family; 0 if all that is installed works."""
    print(f"ipsrl {ipsrl.__version__}, Python {platform.python_version()}, {platform.platform()}")
    for family, packages in FAMILIES.items():
        versions = installed_versions(packages)
        missing = [name for name in packages if name not in versions]
        if missing:
            print(f'{family:9} missing {", ".join(missing)}: pip install "ipsrl[{family}]"')
        else:
            print(f"{family:9} " + ", ".join(f"{name} {found}" for name, found in versions.items()))
    for name, python in workers.status().items():
        print(f"worker {name:11} {python or f'not installed: ipsrl workers install {name}'}")
    healthy = True
    for name in ("numpy", "torch", "jax.numpy"):
        try:
            xp = importlib.import_module(name)
        except ImportError:
            print(f"{name:10} not installed")
            continue
        works = _self_test(xp)
        healthy &= works
        print(f"{name:10} " + ("works" if works else "WRONG NUMBERS: please report this"))
    return 0 if healthy else 1


def _self_test(xp) -> bool:
    """The paper's Eq. 9 by hand: outcomes a a a b with reward 1 have p^ = 3/4 and 1/4."""
    ids = xp.asarray(ipsrl.outcome_ids(["a", "a", "a", "b"]))
    scaled = np.asarray(ipsrl.ips_rewards(xp.ones(4), ids))
    return np.allclose(scaled, [4 / 3, 4 / 3, 4 / 3, 4])
