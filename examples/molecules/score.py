"""A component of one's own: canonical SMILES in, a number for each out."""

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors


def sp3_share(smiles: list[str]) -> list[float]:
    """Share of carbon atoms that are sp3: flat molecules are less often drugs."""
    return [rdMolDescriptors.CalcFractionCSP3(Chem.MolFromSmiles(text)) for text in smiles]
