"""A receptor for docking: from a structure of protein and ligand to PDBQT, box and configuration.

Rules: the first model, the first of alternative conformations; the chains of amino acids that reach
into the box, each whole; no waters, ions, cofactors or ligands.  Meeko adds hydrogens and types of
atoms by its templates of residues: histidine is neutral and the first nitrogen of a chain has one
hydrogen, unless theirs are given.  A residue that fits no template, such as one with atoms
missing, is left out; in the box that is an error: mend the structure, for example with PDBFixer,
and give the file.

The box is a cube around the centroid of the reference ligand's heavy atoms.
"""

from __future__ import annotations

import io
import json
import re
import urllib.request
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path

import numpy as np

from ipsrl.errors import ConfigError, InvalidInput, RunError
from ipsrl.molecules.config import DockingConfig
from ipsrl.molecules.docking.structure import alone, read_structure, reference
from ipsrl.runs import Folder

RCSB = "https://files.rcsb.org/download/{}.cif"
BOX = [20.0, 20.0, 20.0]  # its sides, Angstrom


@dataclass(frozen=True)
class Receptor:
    """A prepared receptor.

    Attributes:
      pdbqt: text of the file.
    """

    pdbqt: str

    @classmethod
    def load(cls, config: DockingConfig) -> Receptor:
        """The receptor that a configuration names.

        Raises:
          ConfigError: if the file cannot be read, is not a receptor, has no polar hydrogens, or no
            atom in the box.
        """
        path = Path(config.receptor)
        try:
            receptor = cls(path.read_text("utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the receptor {path} cannot be read ({error}), so nothing can be docked. Give the "
                "path of a PDBQT file; `ipsrl molecules receptor` makes one"
            ) from None
        if re.search(r"^(ROOT|BRANCH|TORSDOF)", receptor.pdbqt, re.MULTILINE):
            raise ConfigError(f"{path} is a ligand: it has torsions. Give a rigid receptor")
        found = atom_positions(receptor.pdbqt, str(path))
        if not len(found):
            raise ConfigError(f"{path} has no ATOM lines, so it is not PDBQT. Give a PDBQT file")
        if not inside(found, config.center, config.size).any():
            near = found[np.linalg.norm(found - config.center, axis=1).argmin()].tolist()
            raise ConfigError(
                f"no atom of {path} lies in the box around center = {config.center}, so every "
                f"score would be meaningless; the nearest is at {near}. Correct center or size"
            )
        types = {line.split()[-1] for line in receptor.pdbqt.splitlines() if _is_atom(line)}
        if "N" in types and "HD" not in types:  # N is that of amides, which is no acceptor
            raise ConfigError(
                f"{path} has no polar hydrogens (type HD), so its amides could not donate a "
                "hydrogen bond, and scores would be wrong. `ipsrl molecules receptor` adds them"
            )
        return receptor

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.pdbqt.encode()).hexdigest()


def atom_positions(pdbqt: str, name: str) -> np.ndarray:
    """Coordinates of the atoms of a receptor or ligand [N, 3], in Angstrom.

    Raises:
      ConfigError: if the text is not PDBQT, by the `name` of what it is.
    """
    lines = list(filter(_is_atom, pdbqt.splitlines()))
    try:
        found = [[float(s[i : i + 8]) for i in (30, 38, 46)] for s in lines]
        if not np.isfinite(found).all():
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"{name} has an ATOM line without coordinates in columns 31-54, so it is not PDBQT. "
            "Give a PDBQT file"
        ) from None
    if any(not s[70:76].strip() or not s[77:].strip() for s in lines):
        raise ConfigError(
            f"{name} has an ATOM line without a partial charge in columns 71-76 and an atom type "
            "after them, so it is a PDB file. `ipsrl molecules receptor` prepares a receptor"
        )
    return np.array(found, dtype=float).reshape(-1, 3)


def _is_atom(line: str) -> bool:
    return line.startswith(("ATOM", "HETATM"))


@dataclass(frozen=True)
class Prepared:
    """The files and facts that `prepare` wrote.

    Attributes:
      folder: with receptor.pdbqt, ligand.pdb and receptor.toml.
      ligand: residue of the reference ligand.
      chains: of the protein that were kept.
      left_out: residues of these chains that Meeko has no template for.
      others: what else reaches into the box and is left out, such as cofactors and ions.
      center: of the box.
    """

    folder: Path
    ligand: str
    chains: list[str]
    left_out: list[str]
    others: list[str]
    center: list[float]


def prepare(source: str, out: Path, *, ligand: Path | None = None, residue: str = "") -> Prepared:
    """Prepare a receptor and its box, and write them.

    Args:
      source: a PDB code, which is downloaded from RCSB, or a PDB or mmCIF file.
      out: folder for receptor.pdbqt, ligand.pdb (the reference), and receptor.toml, which is a
        configuration of `ipsrl train molecules`.
      ligand: file of the reference ligand, PDB, mmCIF, SDF or MOL2; if not given, it is in the
        source.
      residue: name of the reference ligand; if not given, the residue that is not a polymer and has
        the most atoms, the first of several copies.
    Raises:
      InvalidInput: if a file cannot be read, or has no protein or no ligand.
      RunError: if the structure cannot be downloaded, or a residue in the box cannot be prepared.
    """
    Folder(out).claim("receptor.pdbqt", "ligand.pdb", "receptor.toml")  # before any work
    structure = read_structure(_fetched(source, out))
    bound = reference(read_structure(ligand) if ligand else structure, residue)
    center = centroid(atom.pos.tolist() for atom in bound if atom.element.name != "H")
    protein, chains = _protein(structure, center)
    pdbqt, left_out = _pdbqt(protein, chains, center)
    folder = Folder.make(out)
    folder.write("receptor.pdbqt", pdbqt.encode())
    folder.write("ligand.pdb", alone(structure, bound).make_pdb_string().encode())
    folder.write("receptor.toml", _configuration(out / "receptor.pdbqt", center).encode())
    others = _beside(structure, bound, center)
    return Prepared(out, str(bound), chains, left_out, others, center)


def centroid(positions: Iterable[list[float]]) -> list[float]:
    """Mean position, to the 0.001 Angstrom that a PDB file has."""
    return np.mean(list(positions), axis=0).round(3).tolist()


def _fetched(source: str, out: Path) -> Path:
    if Path(source).is_file():
        return Path(source)
    if not re.fullmatch(r"[0-9][A-Za-z0-9]{3}|pdb_[A-Za-z0-9]{8}", source):
        raise InvalidInput(
            f"{source!r} is neither a file nor a PDB code. "
            "Write a code such as 7UVU, or the path of a .pdb or .cif file."
        )
    path = out / f"{source.lower()}.cif"
    if not path.exists():
        try:
            with urllib.request.urlopen(RCSB.format(source.upper()), timeout=60) as answer:
                content = answer.read()
        except (OSError, HTTPException) as error:
            raise RunError(
                f"{source} cannot be downloaded from RCSB ({error}). Where there is internet, get "
                f"{RCSB.format(source.upper())}, then:  ipsrl molecules receptor FILE.cif --out "
                f"{out}  (a protein without ligand: add --ligand LIGAND.pdb)"
            ) from None
        Folder.make(out).write(path.name, content)
    return path


def _protein(structure, center: list[float]):
    """The chains that reach into the box, with names of one letter, and their own names."""
    import gemmi

    structure = structure.clone()
    structure.remove_ligands_and_waters()
    structure.remove_empty_chains()
    model, kept = structure[0], []
    for i in reversed(range(len(model))):
        is_protein = model[i].get_polymer().check_polymer_type() == gemmi.PolymerType.PeptideL
        positions = [atom.pos.tolist() for residue in model[i] for atom in residue]
        if is_protein and inside(np.array(positions), center, BOX).any():
            kept.insert(0, model[i].name)
        else:
            del model[i]
    if not kept:
        raise InvalidInput(
            f"no chain of a protein reaches into the box around {center}. Give a structure in "
            "which the reference ligand is bound"
        )
    structure.shorten_chain_names()  # PDB, in which Meeko reads them, has one column for each
    return structure, kept


def _beside(structure, bound, center: list[float]) -> list[str]:
    """Everything in the box that is neither protein nor the reference ligand."""
    import gemmi

    found, place = [], [atom.pos.tolist() for atom in bound]
    for chain in structure[0]:
        kind = chain.get_polymer().check_polymer_type()
        for residue in chain:
            is_protein = residue.entity_type == gemmi.EntityType.Polymer and (
                kind == gemmi.PolymerType.PeptideL
            )
            positions = [atom.pos.tolist() for atom in residue]
            is_other = not is_protein and positions != place
            if is_other and inside(np.array(positions), center, BOX).any():
                found.append(f"{residue.name} {chain.name}:{residue.seqid}")
    return found


def _pdbqt(protein, chains: list[str], center: list[float]) -> tuple[str, list[str]]:
    import meeko

    templates = meeko.ResidueChemTemplates.create_from_defaults()
    known = templates.residue_templates.keys() | templates.ambiguous.keys()
    residues = {
        f"{chain.name}:{one.seqid}": (f"{one.name} {name}:{one.seqid}", one)
        for chain, name in zip(protein[0], chains, strict=True)
        for one in chain
    }
    # For these Meeko would ask RCSB, again and again where there is no internet.
    unknown = [place for place, (_, residue) in residues.items() if residue.name not in known]
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            polymer = meeko.Polymer.from_pdb_string(
                protein.make_pdb_string(),
                templates,
                meeko.MoleculePreparation(),
                residues_to_delete=unknown,
                allow_bad_res=True,
            )
    except (RuntimeError, ValueError) as error:  # such as two templates that fit a histidine
        raise RunError(
            f"Meeko cannot prepare the protein: {' '.join(str(error).split())[:500]}. Mend the "
            "structure, for example without its hydrogens, which Meeko adds, and give the file"
        ) from None
    ignored = (residues[place] for place in sorted([*unknown, *polymer.get_ignored_monomers()]))
    left_out = {name: [atom.pos.tolist() for atom in residue] for name, residue in ignored}
    missing = [name for name, at in left_out.items() if inside(np.array(at), center, BOX).any()]
    if missing:
        raise RunError(
            f"residues in the box cannot be prepared: {', '.join(missing)}. Atoms are missing, or "
            "Meeko has no template, and without them ligands would lie where the protein is. Mend "
            "the structure, and give the file: PDBFixer adds missing atoms; of a modified residue "
            "write the one that it was made from, for selenomethionine MET for MSE and SD for SE"
        )
    return meeko.PDBQTWriterLegacy.write_from_polymer(polymer)[0], list(left_out)


def _configuration(receptor: Path, center: list[float]) -> str:
    return (
        "# A search with `ipsrl train molecules --config` by docking alone; or put the table into\n"
        "# a configuration of yours.\n"
        "[[components]]\n"
        'kind = "docking"\n'
        'transform = {kind = "reverse-sigmoid", low = -16.0, high = 0.0, k = 0.15}\n\n'
        "[components.docking]\n"
        f"receptor = {json.dumps(str(receptor.resolve()))}\n"
        f"center = {center}  # centroid of the reference ligand, Angstrom\n"
        f"size = {BOX}\n"
        "# One search does not rank ligands: `ipsrl molecules rank` measures what more of them\n"
        "# cost and bring.\n"
        "# exhaustiveness = 3\n"
    )


def inside(positions: np.ndarray, center: list[float], size: list[float]) -> np.ndarray:
    """True for positions [N, 3] that lie in the box [N]."""
    return np.all(np.abs(positions - center) <= np.array(size) / 2, axis=1)
