"""A route of two steps, and what it is made of."""

from helpers import SHARED

from ipsrl.molecules import Reaction, Route
from ipsrl.molecules.molecule import canonical

CHEM = SHARED / "data" / "chem"

# Two steps of ours, amide and Suzuki, of three molecules.
TARGET = canonical("O=C(Nc1ccccc1)c1ccc(-c2ccccc2)cc1")
ANILINE, BORONIC, ACID = map(
    canonical, ("Nc1ccccc1", "OB(O)c1ccccc1", "O=C(O)c1ccc(Br)cc1")
)  # fmt: skip
PARACETAMOL = canonical("CC(=O)Nc1ccc(O)cc1")

ROUTE = Route(
    TARGET,
    (
        Reaction(TARGET, (BORONIC, "O=C(Nc1ccccc1)c1ccc(Br)cc1"), "Suzuki coupling of arenes"),
        Reaction("O=C(Nc1ccccc1)c1ccc(Br)cc1", (ANILINE, ACID), "amide from an acid"),
    ),
)
