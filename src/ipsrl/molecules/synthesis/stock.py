"""Stocks: the molecules that can be bought."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from rdkit import rdBase
from syntheseus import Molecule
from syntheseus.search.mol_inventory import BaseMolInventory

from ipsrl.errors import InvalidInput
from ipsrl.molecules.synthesis.templates import standard_form

STOCKS = Path(__file__).parents[1] / "stocks"  # NAME.smi for each that comes with ipsrl


class Stock(BaseMolInventory):
    """The molecules that can be bought.

    Attributes:
      smiles: in `templates.standard_form`.
      skipped: lines that were left out, because they are not a molecule, or are a polymer (`*`).
    """

    def __init__(self, smiles: Iterable[str]) -> None:
        with rdBase.BlockLogs():  # of some lines RDKit would say what it thinks
            found = [None if "*" in text else standard_form(text) for text in smiles]
        self.smiles = frozenset(filter(None, found))
        self.skipped = sum(text is None for text in found)

    @classmethod
    def load(cls, name: str | Path) -> Stock:
        """A stock that comes with ipsrl, or a file: a SMILES a line (further columns are names).

        Raises:
          InvalidInput: if the file cannot be read, or if most of its lines hold no molecule.
        """
        shipped = STOCKS / f"{name}.smi"
        path = shipped if shipped.is_file() else Path(name)
        try:
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        except (OSError, EOFError, UnicodeDecodeError) as error:
            names = ", ".join(sorted(file.stem for file in STOCKS.glob("*.smi")))
            raise InvalidInput(
                f"the stock {str(name)!r} cannot be read ({error}). Give a file of SMILES (.smi or "
                f".smi.gz), or a stock that comes with ipsrl: {names}."
            ) from None
        rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
        stock = cls(row[0] for row in rows if row)
        if not stock.smiles or stock.skipped > len(stock.smiles):
            raise InvalidInput(
                f"the stock {str(path)!r} holds {len(stock.smiles)} molecules, and "
                f"{stock.skipped} lines that are not molecules, so little can be made. Write one "
                "SMILES a line, and anything else after a space."
            )
        return stock

    @property
    def digest(self) -> str:
        """Hash that two stocks share iff they hold the same molecules."""
        return sha256("\n".join(sorted(self.smiles)).encode()).hexdigest()[:16]

    def is_purchasable(self, mol: Molecule) -> bool:
        return mol.smiles in self.smiles
