"""Molecules, written as SMILES."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ipsrl.errors import MissingExtra
from ipsrl.llm.outcomes.answer import final_answer, spoken

_LONGEST = 500  # characters of a SMILES
_MOST = 50  # words of a sentence, and lines of a text, that are tried
_AROUND = "`*\"'.,;:"
_TAGGED = re.compile(r"<smiles>\s*([^<\s]+)\s*</smiles>", re.IGNORECASE)


def smiles(text: str) -> str | None:
    """RDKit's canonical SMILES of the molecule in the final answer.

    Equal: the same molecule, with the same charges, isotopes and stereochemistry, however it is
    written.
    None: where RDKit reads no molecule.  In a sentence the last word of three characters or more
    that is a SMILES counts, as many shorter words are one (In, I, CO).  If the last line has none,
    the last line counts that is one word and a SMILES.
    """
    chem, quiet = _rdkit()
    answer = final_answer(text)
    if tagged := _TAGGED.findall(spoken(text)):
        words, lines = tagged[-1:], []
    else:
        words = answer.text.split()[-_MOST:] if answer else []
        lines = [] if answer and answer.named else spoken(text).splitlines()[-_MOST:]
    sentence = [word for word in words if len(words) == 1 or len(word.strip(_AROUND)) > 2]
    alone = [line for line in lines if len(line.split()) == 1]
    for word in (*reversed(sentence), *reversed(alone)):
        word = word.strip().strip(_AROUND)
        if not word.isascii() or not 0 < len(word) <= _LONGEST:
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
