"""An outcome has one colour on a page, no two of a stack have the same, and nothing is lost."""

import numpy as np

from ipsrl.report.colours import COLOURS, coloured
from ipsrl.report.view import Frequencies, View


def view(counts: dict[str, list[int]], rest: tuple[int, list[int]] = (0, [0, 0])) -> View:
    """A run with one stack of two windows."""
    names = sorted(counts, key=lambda name: -sum(counts[name]))
    rows = [counts[name] for name in names]
    stack = Frequencies("Outcomes", "step", [0, 1], [0, 1], names, rows, rest[1], rest[0], [0, 0])
    return View("run", "llm", "a run", "ended", parts=[stack])


def many(first: int, last: int) -> dict[str, list[int]]:
    """Outcomes, each more frequent than the next."""
    return {f"o{k}": [last - k, 1] for k in range(first, last)}


def stacks(*views: View) -> tuple[list[Frequencies], dict[str, int]]:
    shown, colours = coloured(views)
    return [part for one in shown for part in one.parts], colours


def test_the_most_frequent_have_a_colour_of_their_own_and_the_others_are_one():
    """40 outcomes and 5 that were not named at all: 12 names and 33 others."""
    before = view(many(0, 40), (5, [7, 0]))
    (stack,), colours = stacks(before)
    assert list(stack.names) == [f"o{k}" for k in range(COLOURS)]
    assert sorted(colours.values()) == list(range(COLOURS))
    assert stack.rest == 33
    assert stack.rest_W == [7 + sum(40 - k for k in range(12, 40)), 28]


def test_of_equally_frequent_ones_all_have_a_name_or_none():
    """o0 comes more often than the other 20, which would be an arbitrary eleven."""
    alike = {"o0": [3, 0]} | {f"o{k}": [1, 1] for k in range(1, 21)}
    (stack,), _ = stacks(view(alike))
    assert (stack.names, stack.rest, stack.rest_W) == (["o0"], 20, [20, 20])
    (stack,), _ = stacks(view({f"o{k}": [1, 1] for k in range(12)}))
    assert (len(stack.names), stack.rest) == (12, 0)


def test_runs_that_share_an_outcome_share_all_colours():
    """What one run names and the other only has among many has its colour there too."""
    one, other = view(many(0, 20)), view({"o0": [1, 1], "o15": [900, 0], "x": [500, 0]})
    (first, second), colours = stacks(one, other)
    assert len(set(colours.values())) == len(colours) == COLOURS
    assert (colours["o15"], colours["x"]) == (0, 1)
    assert "o15" in first.names
    assert list(second.names) == ["o15", "x", "o0"]
    totals = [np.sum([*one.counts_KW, one.rest_W]) for one in (first, second)]
    assert totals == [20 * 21 / 2 + 20, 1402]


def test_what_is_frequent_elsewhere_has_no_colour_that_another_has():
    """Each names what the other lacks, or has among many; o42 stays in the rest of the first."""
    one, other = many(0, 12) | {"o42": [1, 0]}, {"o42": [900, 0]}
    for views in ([one, other], [other, one]):
        for stack in (shown := stacks(*map(view, views)))[0]:
            colours = [shown[1][name] for name in stack.names]
            assert len(set(colours)) == len(colours)
    assert [*stack.names] == [*many(0, 12)]


def test_what_is_frequent_in_two_groups_joins_them():
    """Each has a colour alone, the first and the last run share one, and so do all."""
    runs = ({"a": [2, 0]}, {"b": [2, 0]}, {"a": [1, 0], "b": [2, 0]})
    found, colours = stacks(*map(view, runs))
    assert colours == {"b": 0, "a": 1}
    assert [one.names for one in found] == [["a"], ["b"], ["b", "a"]]


def test_runs_of_other_outcomes_have_the_palette_for_themselves():
    (first, second), colours = stacks(view({"a": [2, 2], "b": [1, 1]}), view({"c": [2, 2]}))
    assert colours == {"a": 0, "b": 1, "c": 0}
    assert (first.names, second.names) == (["a", "b"], ["c"])
