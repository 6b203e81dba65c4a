"""Expressions up to their mechanism, against raw trees that are enumerated one by one."""

import math
from itertools import combinations, product

import pytest
from hypospace_expressions import ALL, brute_force, value

from ipsrl.hypospace import BooleanConfig
from ipsrl.hypospace.boolean import expressions
from ipsrl.hypospace.expression import depth, parsed, variables

OPERATORS = [
    frozenset(some) for n in range(1, 5) for some in combinations(("AND", "OR", "NOT", "NOR"), n)
]


def key(text: str) -> str:
    return parsed(text, variables(("x", "y")), ALL).key


# --- mechanism ------------------------------------------------------------------------------------


def test_truth_tables_are_right():
    """Against the values of the tree, input by input, for three variables."""
    config = BooleanConfig(variables=3)
    trees = brute_force(2, ALL, "xyz")
    assert len(expressions(config)) == len(trees)
    for expression in expressions(config):
        for i, values in enumerate(product((0, 1), repeat=3)):
            inputs = dict(zip("xyz", values, strict=True))
            assert expression.table >> i & 1 == value(trees[expression.key], inputs)


@pytest.mark.parametrize("operators", OPERATORS, ids=lambda some: "-".join(sorted(some)))
@pytest.mark.parametrize("names", ["xy", "xyz"])
def test_depth_in_closed_form_is_the_level_at_which_brute_force_finds_it(operators, names):
    """For every expression of depth 2 over all operators, inside and outside the space."""
    level = {}
    for d in (2, 1, 0):
        level |= dict.fromkeys(brute_force(d, operators, names), d)
    everything = BooleanConfig(variables=len(names), operators=["AND", "OR", "NOT", "NOR"])
    for expression in expressions(everything):
        found = depth(expression, operators)
        assert (found if found <= 2 else math.inf) == level.get(expression.key, math.inf)


def test_depth_three_in_closed_form():
    """Our own generator, which knows nothing of the closed form, level by level."""
    for operators in (["AND", "OR", "NOT"], ["AND", "NOR"], ["OR", "NOR"]):
        level = {}
        for d in (3, 2, 1, 0):
            config = BooleanConfig(depth=d, operators=operators)
            level |= dict.fromkeys((e.key for e in expressions(config)), d)
        for expression in expressions(BooleanConfig(depth=3, operators=operators)):
            assert depth(expression, frozenset(operators)) == level[expression.key]


# --- text -----------------------------------------------------------------------------------------


def test_keys_by_hand():
    """x AND (y AND x) splices to {x, y}; NOT x sorts before y, because "N" < "y"."""
    assert key("x AND (y AND x)") == "AND(x,y)"
    assert key("y AND NOT x") == "AND(NOT(x),y)"
    assert key("x OR x") == "x"
    # No absorption, De Morgan, distributivity or double negation:
    assert key("x OR (x AND y)") == "OR(AND(x,y),x)"
    assert key("NOT (x OR y)") == "NOT(OR(x,y))"
    assert key("NOT NOT x") == "NOT(NOT(x))"
    # AND binds more than OR, NOT more than AND.
    assert key("x OR y AND NOT x") == "OR(AND(NOT(x),y),x)"


@pytest.mark.parametrize(
    "text",
    [
        "x && !y",
        "x & ~y",
        "x ∧ ¬y",
        "x \\land \\lnot y",
        "AND(x, NOT(y))",
        "x and not y",
        "(x) AND NOT (y)",
    ],
)
def test_forms_of_an_operator(text):
    assert key(text) == "AND(NOT(y),x)"
