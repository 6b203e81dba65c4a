"""Docking engines: PDBQT of ligands in, one pose each out.

`Vina` runs in this process; `External` runs a program once for all ligands.  Scores of different
engines cannot be compared.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.molecules.component import Failure, Timeout
from ipsrl.molecules.config import DockingConfig
from ipsrl.molecules.docking.receptor import Receptor, atom_positions, inside
from ipsrl.molecules.identity import is_file
from ipsrl.runs import digest_of
from ipsrl.workers.group import run

STRONGEST = -20.0  # kcal/mol; no real ligand is below, nor at 0 or above, as a failed search is


@dataclass(frozen=True)
class Pose:
    """A docked ligand.

    Attributes:
      score: kcal/mol, the lower the better.
      pdbqt: where it lies.
    """

    score: float
    pdbqt: str


class Engine(Protocol):
    """A way to dock."""

    @property
    def version(self) -> str:
        """Version of the program."""
        ...

    def __call__(self, pdbqts: Sequence[str]) -> list[Pose | Failure]:
        """The best pose of each ligand, or why there is none; never raises."""
        ...


def read_pose(pdbqt: str) -> Pose | Failure:
    """The first pose that a program of the Vina family wrote, by its line REMARK VINA RESULT."""
    found = re.search(r"^REMARK VINA RESULT:?\s+(\S+)\s", pdbqt, re.MULTILINE)
    if found is None:
        return Failure("the output has no line REMARK VINA RESULT")
    try:
        score = float(found[1])
    except ValueError:
        return Failure(f"the score is {found[1][:80]!r}, not a number")
    if not (math.isfinite(score) and STRONGEST <= score < 0):
        # Without the score, so that the report counts these failures as one reason.
        return Failure(f"the score is not within [{STRONGEST:g}, 0) kcal/mol")
    return Pose(score, pdbqt)


@dataclass(frozen=True)
class Vina:
    """AutoDock Vina 1.2 (Eberhardt et al. 2021, 10.1021/acs.jcim.1c00203) on one core.

    A score depends on the ligand, the seed and the budget alone, not on what was docked before.
    Ligands must come from `ligand.prepare`: at a PDBQT that is cut off, Vina ends the process.

    Raises:
      ConfigError: if Vina cannot read the receptor.
    """

    config: DockingConfig
    receptor: Receptor

    def __post_init__(self) -> None:
        try:
            _with_receptor(self.receptor, self.config.seed)
        except (TypeError, RuntimeError) as error:
            words = " ".join(str(error).split()).partition(" Additional information")[0]
            raise ConfigError(
                f"Vina cannot read the receptor {self.config.receptor}: {words}. Make it again "
                "with `ipsrl molecules receptor`"
            ) from None

    @property
    def version(self) -> str:
        return f"vina {version('vina')}"

    def __call__(self, pdbqts: Sequence[str]) -> list[Pose | Failure]:
        return [self._dock(pdbqt) for pdbqt in pdbqts]

    def minimised(self, pdbqt: str) -> float:
        """Score in kcal/mol of a ligand where it lies, after a local minimisation.

        Raises:
          InvalidInput: if it does not lie in the box, where Vina would end the process.
        """
        atoms = atom_positions(pdbqt, "the ligand")
        if not inside(atoms, self.config.center, self.config.size).all():
            raise InvalidInput(
                f"the ligand reaches out of the box around {self.config.center} with sides "
                f"{self.config.size}. Make the box larger"
            )
        maps = self._maps()
        maps.set_ligand_from_string(pdbqt)
        return float(maps.optimize()[0])

    def _maps(self) -> Any:
        return _maps(self.receptor, *self.config.center, *self.config.size, self.config.seed)

    def _dock(self, pdbqt: str) -> Pose | Failure:
        config = self.config
        try:
            maps = self._maps()
            maps.set_ligand_from_string(pdbqt)
            maps.dock(config.searches, n_poses=1, max_evals=config.max_evals)
            return read_pose(maps.poses(n_poses=1))
        except Exception as error:  # its parser raises TypeError, its search RuntimeError
            return Failure(f"vina: {' '.join(str(error).split())}"[:200])


@lru_cache(maxsize=8)  # 1.4 s and 180 to 340 MB each: once in a process for each seed
def _maps(
    receptor: Receptor, x: float, y: float, z: float, a: float, b: float, c: float, seed: int
) -> Any:
    """Vina with the affinity maps of the receptor in the box, for every type of ligand atom."""
    engine = _with_receptor(receptor, seed)
    engine.compute_vina_maps([x, y, z], [a, b, c])
    return engine


def _with_receptor(receptor: Receptor, seed: int) -> Any:
    import vina

    engine = vina.Vina(sf_name="vina", cpu=1, seed=seed, verbosity=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "receptor.pdbqt"
        path.write_text(receptor.pdbqt)
        engine.set_receptor(str(path))
    return engine


class BestOf:
    """Several engines, of which the best score of each ligand counts."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = engines
        self.version = engines[0].version

    def __call__(self, pdbqts: Sequence[str]) -> list[Pose | Failure]:
        answers = [engine(pdbqts) for engine in self.engines]
        return [_best(poses) for poses in zip(*answers, strict=True)]


class TwoStages:
    """A cheap engine for all ligands, and a dear one for those that score at most `limit` there.

    What the cheap one has no score for goes on as well: that says nothing of the ligand.
    """

    def __init__(self, cheap: Engine, dear: Engine, limit: float) -> None:
        self.cheap, self.dear, self.limit = cheap, dear, limit
        self.version = dear.version

    def __call__(self, pdbqts: Sequence[str]) -> list[Pose | Failure]:
        found = self.cheap(pdbqts)
        chosen = [
            i for i, pose in enumerate(found)
            if isinstance(pose, Failure) or pose.score <= self.limit
        ]  # fmt: skip
        dear = self.dear([pdbqts[i] for i in chosen])
        for i, pose in zip(chosen, dear, strict=True):
            found[i] = _best((pose, found[i]))
        return found


def _best(poses: Sequence[Pose | Failure]) -> Pose | Failure:
    """The pose of the lowest score, or the first failure where there is none."""
    scored = [pose for pose in poses if isinstance(pose, Pose)]
    return min(scored, key=lambda pose: pose.score) if scored else poses[0]


def engine_of(config: DockingConfig, receptor: Receptor) -> Engine:
    """The engine that a configuration names, with its seeds and stages.

    Raises:
      ConfigError: if Vina cannot read the receptor, or a program is not found.
    """
    if config.first_evals is not None and config.full_below is not None:
        alone = {"first_evals": None, "full_below": None}
        cheap = config.model_copy(update={**alone, "max_evals": config.first_evals})
        dear = config.model_copy(update=alone)
        return TwoStages(engine_of(cheap, receptor), engine_of(dear, receptor), config.full_below)
    kind = Vina if config.engine == "vina" else External
    seeds = range(config.seed, config.seed + config.seeds)
    each = [kind(config.model_copy(update={"seed": seed}), receptor) for seed in seeds]
    return each[0] if config.seeds == 1 else BestOf(each)


TEMPLATES = {
    "quickvina2-gpu": "QuickVina2-GPU-2-1 --ligand_directory {ligands} --output_directory {out} "
    "--opencl_binary_path {folder} --thread {exhaustiveness}",
    "uni-dock": "unidock --ligand_index {index} --dir {out} --scoring vina "
    "--exhaustiveness {exhaustiveness} --max_step 20",
}
"""Command lines after github.com/DeltaGroupNJUPT/Vina-GPU-2.1 (README.md; options in
QuickVina2-GPU-2.1/main/main.cpp), which looks for its kernels in the folder of the program, and
github.com/dptech-corp/Uni-Dock (unidock/README.md), whose search mode `fast` this is."""
COMMON = (
    "--receptor {receptor} --seed {seed} --num_modes 1 --center_x {center_x} --center_y {center_y} "
    "--center_z {center_z} --size_x {size_x} --size_y {size_y} --size_z {size_z}"
)


class External:
    """A docking program that is run once for all ligands, by a template of its command line.

    Ligands are NAME.pdbqt in the folder {ligands}, and listed in the file {index}; the program
    writes NAME_out.pdbqt into the folder {out}.  What it has not written when it ends, or after the
    time limit, has failed; what it has, counts.

    Raises:
      ConfigError: if the program is not found.
    """

    def __init__(self, config: DockingConfig, receptor: Receptor) -> None:
        self.config, self.receptor = config, receptor
        self.command = list(config.command) or f"{TEMPLATES[config.engine]} {COMMON}".split()
        program = shutil.which(self.command[0])
        if program is None:
            raise ConfigError(
                f"the docking program {self.command[0]!r} is not found, so nothing can be docked. "
                "Put its folder on the PATH, or write its path into the command"
            )
        self.command[0] = program
        # It runs in another folder.
        self.command = [str(Path(w).absolute()) if is_file(w) else w for w in self.command]
        # Not every program tells its version, but each is a file, and so is a script.
        digest = digest_of(Path(word) for word in self.command if is_file(word))
        self.version = f"{' '.join(config.command or [config.engine])} sha256 {digest}"

    def __call__(self, pdbqts: Sequence[str]) -> list[Pose | Failure]:
        if not pdbqts:
            return []
        try:
            with tempfile.TemporaryDirectory(prefix="ipsrl-docking-") as folder:
                return self._dock(Path(folder), pdbqts)
        except OSError as error:
            return [Failure(f"the docking program cannot be run: {error}"[:200])] * len(pdbqts)

    def _dock(self, folder: Path, pdbqts: Sequence[str]) -> list[Pose | Failure]:
        ligands, out = folder / "ligands", folder / "out"
        ligands.mkdir()
        out.mkdir()
        names = [f"ligand-{i:05d}" for i in range(len(pdbqts))]
        paths = [ligands / f"{name}.pdbqt" for name in names]
        for path, pdbqt in zip(paths, pdbqts, strict=True):
            path.write_text(pdbqt)
        (folder / "receptor.pdbqt").write_text(self.receptor.pdbqt)
        (folder / "index.txt").write_text("".join(f"{path}\n" for path in paths))
        end = self._run(folder, self._words(folder))
        return [_answer(out / f"{name}_out.pdbqt", end) for name in names]

    def _words(self, folder: Path) -> list[str]:
        values = self.config.box | {
            "receptor": folder / "receptor.pdbqt", "ligands": folder / "ligands",
            "index": folder / "index.txt", "out": folder / "out",
            "seed": self.config.seed, "exhaustiveness": self.config.searches,
            "folder": Path(self.command[0]).resolve().parent,  # whatever links lead there
        }  # fmt: skip
        return [re.sub(r"{(\w+)}", lambda m: str(values[m[1]]), word) for word in self.command]

    def _run(self, folder: Path, words: list[str]) -> Failure:
        """Run it; returns how it ended."""
        ended = run(words, timeout=self.config.timeout, longest=2000, cwd=folder)
        if ended.code is None:
            return Timeout(f"no answer in {self.config.timeout:g} s")
        # Without the name of the folder equal reasons are equal, and can be counted.
        said = (ended.output + b"\n" + ended.errors).decode(errors="replace")
        tail = " ".join(said.replace(str(folder), "").split())[-200:]
        told = f"ended with code {ended.code} and no answer for this ligand: {tail}"
        return Failure(f"the docking program {told}"[:300])


def _answer(path: Path, end: Failure) -> Pose | Failure:
    try:
        return read_pose(path.read_text(errors="replace"))
    except OSError:  # there is no file
        return end
