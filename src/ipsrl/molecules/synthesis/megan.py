"""MEGAN (Sacha et al. 2021, 2006.15426), which runs as a worker in an environment of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256

from syntheseus import BackwardReactionModel, Molecule, SingleProductReaction

from ipsrl import workers
from ipsrl.errors import RunError
from ipsrl.molecules.synthesis.steps import CACHE, step
from ipsrl.molecules.synthesis.templates import standard_form
from ipsrl.workers.lines import Lines

RESULTS = 50  # steps that are asked for one molecule: the width of MEGAN's beam


class Megan(BackwardReactionModel):
    """Last steps by MEGAN.

    Args:
      command: the worker program; that of `ipsrl workers install megan` if not given.
      timeout: seconds for one molecule.
    Raises:
      RunError: if the worker is not installed or cannot start, as without its weights, and, when
        it is asked, if it fails.
    """

    name = "megan"

    def __init__(self, command: Sequence[str] | None = None, timeout: float = 600.0) -> None:
        super().__init__(use_cache=True, max_cache_size=CACHE, default_num_results=RESULTS)
        if command is None:
            command = [str(workers.interpreter("megan")), "-P", "-m", "ipsrl.workers.megan"]
        # Started before the clock of any search runs; once, it downloads the weights.
        self._lines = Lines(command, timeout, hello={"smiles": "C", "results": 1})
        if "error" in (greeting := self._lines.ready()):
            self.close()
            raise RunError(f"MEGAN cannot start: {greeting['error']}")

    @property
    def identity(self) -> str:
        """Name and version: the digest of the requirements, among them Syntheseus, which names the
        weights."""
        requirements = (workers.FOLDER / "megan.txt").read_bytes()
        return f"{self.name} {sha256(requirements).hexdigest()[:16]}"

    def close(self) -> None:
        """End the worker; it starts again when it is asked."""
        self._lines.close()

    def _get_reactions(
        self, inputs: list[Molecule], num_results: int
    ) -> list[Sequence[SingleProductReaction]]:
        return [self._ask(molecule, num_results) for molecule in inputs]

    def _ask(self, product: Molecule, results: int) -> list[SingleProductReaction]:
        answer = self._lines.ask({"smiles": product.smiles, "results": results})
        if "error" in answer:
            raise RunError(f"MEGAN failed for {product.smiles}: {answer['error']}")
        try:
            found = [([*row["reactants"]], float(row["probability"])) for row in answer["steps"]]
            steps = [
                (reactants, p)
                for texts, p in found
                if len(reactants := [*filter(None, map(standard_form, texts))]) == len(texts) > 0
            ]
            if not all(math.isfinite(p) and 0 <= p <= 1 for _, p in steps):
                raise ValueError("a probability is not in [0, 1]")
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"MEGAN's answer for {product.smiles} is not of the protocol "
                f"({type(error).__name__}: {error}): {str(answer)[:200]}"
            ) from None
        return [step(product, reactants, "MEGAN", p) for reactants, p in steps]
