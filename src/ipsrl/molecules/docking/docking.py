"""The component: the docking score of a molecule."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from ipsrl.config import is_default
from ipsrl.errors import ConfigError, MissingExtra
from ipsrl.molecules.component import Failure
from ipsrl.molecules.config import DockingConfig
from ipsrl.runs import installed_versions


class Docking:
    """Docking score of a molecule in kcal/mol, within [-20, 0); a failed dock is a `Failure`.

    Attributes:
      identity: all on which a score depends.
    Raises:
      ConfigError: if the receptor or the program cannot be used.
      MissingExtra: if a library is not installed.
    """

    def __init__(self, config: DockingConfig) -> None:
        check_libraries(config.engine)

        from ipsrl.molecules.docking.engines import engine_of
        from ipsrl.molecules.docking.receptor import Receptor

        receptor = Receptor.load(config)
        self.config, self.engine = config, engine_of(config, receptor)
        # What was added later is told where it is used: older answers of a cache stay good.
        added = ("seeds", "first_evals", "full_below")
        unused = {key for key in added if is_default(config, key)}
        settings = config.model_dump(exclude={"receptor", "timeout", "command", *unused})
        # By the wheel: that of 3.1.1 calls itself 3.1.0.
        tools = installed_versions(("ipsrl", "rdkit", "meeko", "openbabel-wheel"))
        self.identity = f"{self.engine.version} {settings} receptor {receptor.digest} {tools}"

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        """Dock canonical SMILES; what cannot be prepared is not shown to the engine."""
        from ipsrl.molecules.docking.ligand import prepare

        ligands = [prepare(text, self.config.pH) for text in smiles]
        ready = [ligand for ligand in ligands if not isinstance(ligand, Failure)]
        poses = iter(self.engine([ligand.pdbqt for ligand in ready]))
        results = [lig if isinstance(lig, Failure) else next(poses) for lig in ligands]
        return [pose if isinstance(pose, Failure) else pose.score for pose in results]


def check_libraries(engine: str = "") -> None:
    """See that what docking needs is there.

    Args:
      engine: that docks; none to prepare a receptor.
    Raises:
      MissingExtra: naming the first library that is not.
      ConfigError: for Vina under a Python that it has no wheels for.
    """
    if engine == "vina" and sys.version_info >= (3, 13) and find_spec("vina") is None:
        raise ConfigError(
            "the package vina has wheels for Python 3.11 and 3.12 only, and is not installed. Use "
            "one of these, build it from source, or name a program as the engine"
        )
    for name in ("rdkit", "meeko", "openbabel", "gemmi", *(["vina"] if engine == "vina" else [])):
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise MissingExtra("docking", error.name or name) from None
