"""Configuration of docking: receptor, box and engine."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ipsrl.config import StrictConfig, is_default
from ipsrl.paths import Command, File

Coordinates = Annotated[list[float], Field(min_length=3, max_length=3)]
Side = Annotated[float, Field(gt=0, le=70)]

_SEARCHES = {"vina": 1, "quickvina2-gpu": 8000, "uni-dock": 128, "command": 1}
_TOLD = {
    "receptor", "ligands", "index", "out", "folder", "seed", "exhaustiveness",
    *(f"{what}_{axis}" for what in ("center", "size") for axis in "xyz"),
}  # fmt: skip
"""Placeholders of a docking command."""


class DockingConfig(StrictConfig):
    """How a molecule is docked; the score is in kcal/mol, the lower the better."""

    receptor: Annotated[File, Field(min_length=1)]
    """PDBQT file; `ipsrl molecules receptor` makes one."""
    center: Coordinates
    """Center of the box, Angstrom."""
    size: Annotated[list[Side], Field(min_length=3, max_length=3)] = [20.0, 20.0, 20.0]  # noqa: RUF012
    """Sides of the box, Angstrom."""
    engine: Literal["vina", "quickvina2-gpu", "uni-dock", "command"] = "vina"
    """vina runs in the process; the others are programs, of which quickvina2-gpu and uni-dock must
    be on the PATH.  Scores of different engines cannot be compared."""
    exhaustiveness: Annotated[int | None, Field(ge=1)] = None
    """Independent searches, of which the best pose counts; if not given 1 for vina, 8000 for
    quickvina2-gpu (its --thread), 128 for uni-dock.  One search of vina does not rank ligands:
    imatinib in 1iep scores from -5.4 to -12.4 by the seed.  `ipsrl molecules rank` measures what
    several cost and bring."""
    max_evals: Annotated[int, Field(ge=1)] = 100_000
    """Evaluations in each search of vina: its budget."""
    seed: Annotated[int, Field(ge=1, le=2**31 - 16)] = 1
    """Seed of the search; to Vina 0 would mean a random one."""
    seeds: Annotated[int, Field(ge=1, le=8)] = 1
    """Dockings of each ligand, with the seeds `seed`, `seed` + 1 ...; the best score counts.  Maps
    of vina take 180 MB for each."""
    first_evals: Annotated[int | None, Field(ge=1)] = None
    """Two stages of vina: all ligands are docked with so many evaluations in place of max_evals,
    and with max_evals only those that score well there."""
    full_below: Annotated[float | None, Field(ge=-20, le=0)] = None
    """Two stages of vina: ligands that score at most this in the first, in kcal/mol, get the
    second, and the better of their scores."""
    pH: Annotated[float, Field(ge=0, le=14)] = 7.4
    """pH at which the ligand gets its charges."""
    command: Command = []  # noqa: RUF012 (frozen)
    """Program and arguments of the engine `command`, with the placeholders {receptor}, {ligands}
    (folder) or {index} (file of paths), {out} (folder), {center_x} ... {size_z}, {seed},
    {exhaustiveness}, {folder} (of the program); for NAME.pdbqt it writes NAME_out.pdbqt."""
    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds that a program may take for a batch."""

    @property
    def searches(self) -> int:
        return self.exhaustiveness or _SEARCHES[self.engine]

    @property
    def box(self) -> dict[str, float]:
        """center_x ... size_z."""
        sides = [("center", self.center), ("size", self.size)]
        return {
            f"{what}_{axis}": v for what, xyz in sides for axis, v in zip("xyz", xyz, strict=True)
        }

    @model_validator(mode="after")
    def _consistent(self) -> DockingConfig:
        if bool(self.command) != (self.engine == "command"):
            change = "Leave command out" if self.command else "Give the command"
            raise ValueError(f"engine {self.engine!r} and command do not fit. {change}")
        alone = dict.fromkeys(("max_evals", "first_evals", "full_below"), ("vina",))
        for key, engines in {**alone, "timeout": tuple(_SEARCHES)[1:]}.items():
            if self.engine not in engines and not is_default(self, key):
                raise ValueError(
                    f"{key} has no effect with engine {self.engine}, only with "
                    f"{', '.join(engines)}. Leave it out"
                )
        if (self.first_evals is None) != (self.full_below is None):
            raise ValueError(
                "first_evals and full_below are the two stages of one search. Give both, or neither"
            )
        if self.first_evals and self.first_evals >= self.max_evals:
            raise ValueError(
                f"first_evals = {self.first_evals}: the first stage would not be cheaper than the "
                "second. Give fewer, or leave first_evals and full_below out"
            )
        if self.engine == "quickvina2-gpu" and self.searches < 1000:
            raise ValueError(
                f"exhaustiveness = {self.searches}: quickvina2-gpu refuses fewer than 1000 "
                "threads. Write 8000, as in the paper"
            )
        told = set(re.findall(r"{(\w*)}", " ".join(self.command)))
        if unknown := sorted(told - _TOLD):
            raise ValueError(
                f"command: there is no placeholder {{{unknown[0]}}}; there are "
                + ", ".join(f"{{{name}}}" for name in sorted(_TOLD))
            )
        needed = {"receptor", "out", *self.box} | (set() if "index" in told else {"ligands"})
        if self.command and (missing := sorted(needed - told)):
            raise ValueError(
                f"command: the program would not know {missing[0]}. Add {{{missing[0]}}}"
            )
        return self
