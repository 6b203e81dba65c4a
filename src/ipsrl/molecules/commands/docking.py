"""The commands of docking: `ipsrl molecules receptor`, `redock` and `rank`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ipsrl.errors import ConfigError
from ipsrl.lazy import loader
from ipsrl.options import parse, say

_load = loader("ipsrl.molecules.generator", {"read_smiles": "pretraining"}, extra="molecules")


def receptor(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Prepare a protein for docking: receptor.pdbqt, ligand.pdb and receptor.toml.

        The box is a cube of 20 Angstrom around the centroid of the reference ligand.
        """

        source: tyro.conf.Positional[str]
        """PDB code such as 7UVU, which is downloaded from RCSB, or a .pdb or .cif file."""
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
        """Folder to write."""
        ligand: Path | None = None
        """File of the reference ligand, if it is not in the source: PDB, mmCIF, SDF or MOL2."""
        residue: str = ""
        """Name of the reference ligand; if not given, the largest residue that is not a polymer."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules receptor")
    from ipsrl.runs import check_folder

    check_folder(options.out)
    from ipsrl.molecules.docking.docking import check_libraries

    check_libraries()
    from ipsrl.molecules.docking.receptor import prepare

    made = prepare(options.source, options.out, ligand=options.ligand, residue=options.residue)
    left_out, others = (", ".join(names) or "none" for names in (made.left_out, made.others))
    say(
        f"reference ligand {made.ligand}; box around {made.center}\n"
        f"chains {', '.join(made.chains)}; residues that fit no template and are left out: "
        f"{left_out}\nin the box, but no protein, and left out: {others}\n"
        f"written to {made.folder}; try:  ipsrl molecules redock "
        f"--receptor {made.folder / 'receptor.pdbqt'} --ligand {made.folder / 'ligand.pdb'}",
        {**asdict(made), "folder": str(made.folder)},
        options.json,
    )
    return 0


def redock(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Dock a reference ligand with Vina: is the pose that the crystal shows found again?"""

        receptor: Path
        """PDBQT file."""
        ligand: Path
        """File of the ligand as the crystal shows it: PDB, SDF or MOL2."""
        smiles: str = ""
        """SMILES of the ligand; if not given, bonds that a PDB file lacks are guessed from the
        distances."""
        seeds: int = 5
        """Dockings for each budget."""
        max_evals: tuple[int, ...] = (25_000, 100_000, 1_000_000)
        """Budgets: evaluations of the search."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules redock")
    if options.seeds < 1 or not options.max_evals:
        raise ConfigError("nothing would be docked. Give at least 1 seed and 1 budget.")
    from ipsrl.molecules.docking.docking import check_libraries

    check_libraries("vina")
    from ipsrl.molecules.docking.redock import redock

    report = redock(
        options.receptor, options.ligand, smiles=options.smiles,
        seeds=options.seeds, budgets=options.max_evals,
    )  # fmt: skip
    say(report.text(), asdict(report), options.json)
    return 0


def rank(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Dock ligands with Vina at several budgets: what they cost, and whether they rank alike.

        Each ligand takes about 20 seconds of one core, 15 dockings of which one is long.
        """

        config: Path
        """Configuration with a docking component: receptor.toml of `molecules receptor`."""
        smiles: Path
        """File of SMILES, .smi or .smi.gz, of which ligands are drawn."""
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
        """Folder for table.json and dockings.jsonl."""
        n: int = 200
        """Ligands."""
        minutes: float = 20.0
        """Limit of processor time: no ligand is begun after that."""
        seed: int = 0
        """Seed of the draw."""
        json: bool = False
        """Print the table as an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules rank")
    from ipsrl.molecules.config import Config

    parts = [one.docking for one in Config.load(options.config).components if one.docking]
    if not parts:
        raise ConfigError(f"{options.config} has no docking component. Name one that has.")
    if options.n < 1 or not options.minutes > 0:
        raise ConfigError("nothing would be docked. Give at least 1 ligand and some minutes.")
    from ipsrl.runs import Folder, check_folder, progress

    check_folder(options.out)
    from ipsrl.molecules.docking.docking import check_libraries

    check_libraries("vina")
    from ipsrl.molecules.docking.rank import dock, rows, text

    molecules, unread = _load("read_smiles")(options.smiles)
    docked = dock(
        parts[0], list(molecules.values()),
        count=options.n, minutes=options.minutes, seed=options.seed,
    )  # fmt: skip
    folder, found, left_out = Folder.make(options.out), {}, 0
    folder.claim("table.json", "dockings.jsonl")
    with progress("docking", options.n) as advance:
        for smiles, dockings in docked:
            left_out += not dockings
            found |= {smiles: dockings} if dockings else {}
            lines = ({"smiles": s, "dockings": list(map(asdict, d))} for s, d in found.items())
            content = "".join(f"{json.dumps(line)}\n" for line in lines)
            folder.write("dockings.jsonl", content.encode())
            advance(len(found) + left_out, smiles)
    table = rows(list(found.values()))
    written = {
        "ligands": len(found),
        "left_out": left_out,
        "lines_left_out": unread,
        "rows": list(map(asdict, table)),
    }
    folder.write("table.json", json.dumps(written, indent=2).encode() + b"\n")
    say(
        f"{text(table, len(found))}\n"
        f"{left_out} ligands were left out, because a docking had no score\n"
        + "".join(f"{n} lines were left out ({why})\n" for why, n in unread.items())
        + f"written to {options.out}",
        written,
        options.json,
    )
    return 0
