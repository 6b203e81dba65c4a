"""Outcomes that have a colour of their own, the same in every figure of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ipsrl.report.view import Frequencies, View

COLOURS = 12
"""Colours that charts.js has for outcomes: more could not be told apart."""


def coloured(views: Sequence[View]) -> tuple[list[View], dict[str, int]]:
    """Views whose stacks name no more outcomes than there are colours, and the colour of each name.

    Stacks that share a frequent outcome have their colours in common: an outcome has the same one
    in all of them, and no other has it.  Where only some of several equally frequent outcomes could
    be named, none of them is.
    """
    stacks = [part for one in views for part in one.parts if isinstance(part, Frequencies)]
    colours: dict[str, int] = {}
    for together in _related(stacks):
        totals: Counter[str] = Counter()
        for stack in together:
            totals.update(dict(zip(stack.names, map(sum, stack.counts_KW), strict=True)))
        ranked = totals.most_common(COLOURS + 1)
        least = ranked[COLOURS][1] if len(ranked) > COLOURS else 0
        names = [name for name, count in ranked if count > least]
        colours |= {name: place for place, name in enumerate(names)}
    shown = [
        replace(one, parts=[_named(p, colours) if isinstance(p, Frequencies) else p
                            for p in one.parts])
        for one in views
    ]  # fmt: skip
    return shown, colours


def _related(stacks: Sequence[Frequencies]) -> list[list[Frequencies]]:
    """Stacks in groups, between which no frequent outcome is shared."""
    groups: list[tuple[set[str], list[Frequencies]]] = []
    for stack in stacks:
        names, together = {*stack.names[:COLOURS]}, [stack]
        apart = []
        for group in groups:
            if names.isdisjoint(group[0]):
                apart.append(group)
            else:
                names, together = names | group[0], group[1] + together
        groups = [*apart, (names, together)]
    return [together for _, together in groups]


def _named(stack: Frequencies, colours: Mapping[str, int]) -> Frequencies:
    """The stack with the outcomes that have a colour; all others are the rest."""
    rows = dict(zip(stack.names, stack.counts_KW, strict=True))
    names = sorted(rows.keys() & colours.keys(), key=colours.__getitem__)
    rest_W = np.array(stack.rest_W, int)
    for name in rows.keys() - colours.keys():
        rest_W += np.array(rows[name], int)
    return replace(
        stack, names=names, counts_KW=[rows[name] for name in names], rest_W=rest_W.tolist(),
        rest=stack.rest + len(rows) - len(names),
    )  # fmt: skip
