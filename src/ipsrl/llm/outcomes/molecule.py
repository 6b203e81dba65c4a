"""Molecules, written as SMILES."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ipsrl.errors import MissingExtra
from ipsrl.llm.outcomes.answer import final_answer, spoken

_LONGEST = 500  # characters of a SMILES
_TAGGED = re.compile(r"<smiles>\s*([^<\s]+)\s*</smiles>", re.IGNORECASE)


def smiles(text: str) -> str | None:
    """RDKit's canonical SMILES of the molecule in the final answer.

    Equal: the same molecule, with the same charges, isotopes and stereochemistry, however it is
    written.
    None: where RDKit reads no molecule.  In a sentence the last word of three characters or more
    that is a SMILES counts, as many shorter words are one (In, I, CO).
    """
    chem, quiet = _rdkit()
    if tagged := _TAGGED.findall(spoken(text)):
        words = tagged[-1:]
    else:
        answer = final_answer(text)
        words = answer.text.split()[-50:] if answer else []
    for word in reversed(words):
        word = word.strip("`*\"'.,;:")
        shortest = 3 if len(words) > 1 else 1
        if not shortest <= len(word) <= _LONGEST or not word.isascii():
            continue
        with quiet():
            molecule = chem.MolFromSmiles(word)
        if molecule is not None and molecule.GetNumAtoms():
            return chem.MolToSmiles(molecule)
    return None


@cache
def _rdkit() -> tuple[Any, Any]:
    try:
        from rdkit import Chem, rdBase
    except ModuleNotFoundError:
        raise MissingExtra("molecules", "rdkit") from None
    return Chem, rdBase.BlockLogs
