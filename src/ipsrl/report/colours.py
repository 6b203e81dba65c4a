"""Outcomes that have a colour of their own, the same in every figure of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ipsrl.report.view import Frequencies, View

COLOURS = 12
"""Colours that charts.js has for outcomes: more could not be told apart."""


def coloured(views: Sequence[View]) -> tuple[list[View], dict[str, int]]:
    """Views whose stacks name no more outcomes than there are colours, and the colour of each name.

    Stacks that share an outcome with a colour have their colours in common: an outcome has the same
    one in all of them, and no other has it.  Where only some of several equally frequent outcomes
    could be named, none of them is.
    """
    stacks = [part for one in views for part in one.parts if isinstance(part, Frequencies)]
    groups = _related(stacks)
    colours = {name: place for one in groups for place, name in enumerate(one.names)}
    named = {id(stack): _named(stack, one.names) for one in groups for stack in one.stacks}
    shown = [replace(one, parts=[named.get(id(part), part) for part in one.parts]) for one in views]
    return shown, colours


class _Group:
    """Stacks with common colours, and the outcomes that have one, the commonest first."""

    def __init__(self, stacks: list[Frequencies], totals: Counter[str]) -> None:
        self.stacks, self.totals = stacks, totals
        ranked = totals.most_common(COLOURS + 1)
        least = ranked[COLOURS][1] if len(ranked) > COLOURS else 0
        self.names = [name for name, count in ranked if count > least]


def _related(stacks: Sequence[Frequencies]) -> list[_Group]:
    """Stacks in groups, between which no outcome with a colour is shared."""
    groups: list[_Group] = []
    for stack in stacks:
        counts = map(sum, stack.counts_KW)
        mine = _Group([stack], Counter(dict(zip(stack.names, counts, strict=True))))
        while near := [one for one in groups if not {*one.names}.isdisjoint(mine.names)]:
            groups = [one for one in groups if one not in near]
            for one in near:
                mine = _Group(one.stacks + mine.stacks, one.totals + mine.totals)
        groups.append(mine)
    return groups


def _named(stack: Frequencies, colours: Sequence[str]) -> Frequencies:
    """The stack with the outcomes that have a colour; all others are the rest."""
    rows = dict(zip(stack.names, stack.counts_KW, strict=True))
    names = [name for name in colours if name in rows]
    rest_W = np.array(stack.rest_W, int)
    for name in rows.keys() - {*names}:
        rest_W += np.array(rows[name], int)
    return replace(
        stack, names=names, counts_KW=[rows[name] for name in names], rest_W=rest_W.tolist(),
        rest=stack.rest + len(rows) - len(names),
    )  # fmt: skip
