"""Boolean expressions: counts of the specification, brute force, and an independent reader."""

from collections import Counter

import hypospace_checker as checker
import pytest
from hypospace_expressions import (
    ALL,
    brute_force,
    canonical,
    raw,
    refused,
    text_of,
    torn,
    tree_of_line,
    value,
)
from hypospace_suite import TaskSuite

from ipsrl.errors import InvalidInput
from ipsrl.hypospace import Boolean, BooleanConfig, Verdict, dataset, judge
from ipsrl.hypospace.boolean import expressions


class TestBoolean(TaskSuite):
    task = Boolean()
    beginning = "Expression:"
    decorations = (
        "**{label}:** {body}",
        "{label}: `{body}`",
        '{label}: "{body}".',
        "{label}: $({body})$",
        "{label}: \\({body}\\).",
        "{label}:\n```\n{body}\n```",
        "{label}:\n\n{body}",
        "expression: ({body});",
        "__{label}:__ {body}",
        "{label}: \\left({body}\\right)",
        "{label}: \\[{body}\\]",
        "{label}: $\\boxed{{\\text{{{body}}}}}$",
        "{label}: \u201c{body}\u201d",
        "{label}:\u00a0'{body}'.",
        "```\n{body}\n```",
        "{body}",
        '{{"expression": "{body}"}}',
        '```json\n{{"why": "so", "expression": "{body}", "sure": true}}\n```',
        "Hence $\\boxed{{{body}}}$ is one.\n\nIt agrees.",
        "\\boxed{{\\text{{{label}: }} {body}}}.",
        "f(x, y) = {body}",
        "{label}: \\(f(x, y) = {body}\\)",
        "{label}:- {body}",
        "> {label}:\n> 1. {body}",
    )
    refused = (
        ("", Verdict.NO_ANSWER),
        ("Expression: x'", Verdict.NO_ANSWER),  # a negation elsewhere, and no quotation
        ("Expression: x OR y'", Verdict.NO_ANSWER),
        ("Expression: x' OR x", Verdict.NO_ANSWER),
        ("Expression: (x AND y)'", Verdict.NO_ANSWER),
        ("Expression:", Verdict.NO_ANSWER),
        ("Expression: x y", Verdict.NO_ANSWER),
        ("Expression: x AND", Verdict.NO_ANSWER),
        ("Expression: (x", Verdict.NO_ANSWER),
        ("Expression: AND(x)", Verdict.NO_ANSWER),
        ("Expression: NOT(x, y)", Verdict.NO_ANSWER),
        ("Expression: x OR y XOR x", Verdict.NO_ANSWER),
        ("Expression: __import__('os').system('true')", Verdict.NO_ANSWER),
        ("no expression matches the outputs", Verdict.NO_ANSWER),  # though all of them are 0
        ("Expression: z", Verdict.REFUSED),
        ("Expression: X", Verdict.REFUSED),
        ("Expression: x AND z", Verdict.REFUSED),
        ("Expression: x XOR y", Verdict.REFUSED),
        ("Expression: NOR(x, y)", Verdict.REFUSED),
        ("Expression: x AND 0", Verdict.REFUSED),
        ("Expression: False", Verdict.REFUSED),
        ("Expression: " + "NOT " * 70 + "x", Verdict.REFUSED),
        ("Expression: " + "x AND " * 400 + "x", Verdict.REFUSED),
        ("Expression: NOT NOT NOT x", Verdict.OUTSIDE),
        ("Expression: NOT (x AND NOT y)", Verdict.OUTSIDE),
        ("Expression: NOT x", Verdict.CONTRADICTS),
    )
    vocabulary = (
        "x", "y", "z", " AND ", " OR ", "NOT ", "NOR", " XOR ", "&", "|", "~", "(", ")", "(x)",
        ", ", "AND(", "Expression:", "Expression: ", "\n", "\nExpression: x\n", "<end_of_turn>",
        "`", "**", ".", "1", "\u2227", "\u00ac", " and ", "=", "f(x, y) = ", "\\(", "\\)",
        "\\land ", "\\boxed{", "\\text{", "{", "}", '{"expression": "', '"}', '{"', '": ', "- ",
        "> ", "1. ", "_", "'", "\\, ", "```", "\r", "[", "]", "$", "OR(", "\n  AND NOT y",
        "\\boxed{x} AND", "\\boxed{x}", "NOT\n", "\nor x", "& ", "\\neg(", "<eos> AND y", "| x |\n",
        "!", "NOT_f(x, y) = ", "g = ", "\\]", "</answer>", "Expression = ", "\n+ y\n", "\\bar{",
    )  # fmt: skip

    def hypotheses(self):
        return set(brute_force(2, ALL))

    def explains(self, key, observations):
        tree = brute_force(2, ALL).get(key)
        for line in observations:
            inputs, _, output = line.partition(" -> ")
            values = dict(part.split("=") for part in inputs.strip("()").split(", "))
            if tree is None or value(tree, {k: int(v) for k, v in values.items()}) != int(output):
                return False
        return True

    def stated(self, response, observations):
        for part in reversed(checker.parts(checker.without_noise(response), "expression")):
            lines = checker.lines_of(part.text)
            tree = tree_of_line(lines[0].strip() if lines else "")
            if tree is not None:
                readable = not refused(tree) and not torn(part)
                return text_of(canonical(tree)) if readable else None
        return None


def test_counts_of_the_specification():
    """Raw, with commutativity, with duplicate removal, with splicing: 302, 122, 38, 34."""
    trees = raw(2, ALL)
    assert len(trees) == 302
    assert len({canonical(tree, splice=False, once=False) for tree in trees}) == 122
    assert len({canonical(tree, splice=False) for tree in trees}) == 38
    assert len(brute_force(2, ALL)) == len(expressions(BooleanConfig())) == 34
    tables = {expression.table for expression in expressions(BooleanConfig())}
    assert len(tables) == 14  # of 16: neither XOR nor XNOR


@pytest.mark.parametrize(
    ("operators", "levels", "count"),
    [
        ("AND OR NOT", 1, 6), ("AND OR NOT", 2, 34), ("AND OR NOT", 3, 904), ("AND OR", 1, 4),
        ("AND OR", 2, 10), ("AND OR NOT NOR", 1, 7), ("AND OR NOT NOR", 2, 65),
    ],
)  # fmt: skip
def test_hypotheses_by_operators_and_depth(operators, levels, count):
    config = BooleanConfig(depth=levels, operators=operators.split())
    found = [expression.key for expression in expressions(config)]
    assert len(found) == len(set(found)) == count
    if levels < 3:
        assert set(found) == set(brute_force(levels, frozenset(operators.split())))


def test_observation_sets_of_the_specification():
    """Sets of 1 to 4 inputs: 8 + 24 + 32 + 14.  With 4, two of 16 truth tables are missing."""
    sets = list(Boolean().observation_sets())
    assert Counter(len(lines) for lines, _ in sets) == {1: 8, 2: 24, 3: 32, 4: 14}
    sizes = [len(keys) for _, keys in sets]
    assert (len(sizes), min(sizes), max(sizes), sum(sizes)) == (78, 1, 20, 510)
    # Every expression is in one set for each of the 2^4 - 1 choices of inputs.
    assert sum(sizes) == 34 * 15
    assert [one.split for one in dataset(Boolean())] == ["train"] * 39 + ["test"] * 39


def test_a_function_by_hand():
    """f(0,0) = 0, f(1,0) = 0, f(1,1) = 1: y, x AND y and (x OR y) AND y agree; NOT x does not."""
    lines = ["(x=0, y=0) -> 0", "(x=1, y=0) -> 0", "(x=1, y=1) -> 1"]
    for text in ("y", "x AND y", "(x OR y) AND y", "NOT NOT y", "x & y | y"):
        assert judge(Boolean(), lines, f"Expression: {text}").valid, text
    for text in ("x", "NOT x", "x OR y", "NOT (x AND y)"):
        assert not judge(Boolean(), lines, f"Expression: {text}").valid, text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Expression:\u201d NOT y AND x", "AND(NOT(y),x)"),
        ("f(x, y) = x AND y", "AND(x,y)"),
        ("Expression: f(x, y) = x AND y", "AND(x,y)"),
        ("Expression: F := x AND y", "AND(x,y)"),
        (r"Expression: \(f(x, y) = x \land y\).", "AND(x,y)"),
        (r"Expression: \boxed{x \land y}", "AND(x,y)"),
        (r"\boxed{\text{Expression: } x \text{ AND } \mathrm{y}}", "AND(x,y)"),
        ("It is 1 once.\n\nHence $\\boxed{x \\land y}$, and that is all.\n", "AND(x,y)"),
        ("Expression: x AND y\n\nIt holds at \\boxed{one input}.", "AND(x,y)"),
        ('{"expression": "x AND y"}', "AND(x,y)"),
        ('{"expression": "x AND y", "why": "It is 1 at (1, 1)."}', "AND(x,y)"),
        ('```json\n{"answer": {"expression": "x \\\\land y"}}\n```', "AND(x,y)"),
        ("{'expression': 'x AND y'}", "AND(x,y)"),
        ("Expression: x AND y}", "AND(x,y)"),
        ('{"expression": "x AND y', "AND(x,y)"),  # a broken object is text
        # Frames in the middle keep what they frame together.
        (r"Expression: \(x \lor y\) AND x", "AND(OR(x,y),x)"),
        # Other brackets may group too, or not: unreadable.
        ("Expression: {x OR y} AND x", None),
        ("Expression: [x OR y] AND x", None),
        ("Expression: x AND y = 1", None),
        ("Expression: y = x", None),
        ("Expression: AND(x, y) = x", None),
        ("Expression: f(x, y)", None),
        ("Expression: x AND y (but not x)", None),
        # A box with more beside it, before it or on the next line.
        (r"Expression: NOT(\boxed{x})", None),
        (r"Expression: \neg(\boxed{x})", None),
        (r"\neg(\boxed{x})", None),
        (r"So it is NOT \boxed{x}.", None),
        (r"So it is not \boxed{x}.", None),
        (r"Expression: \boxed{x} AND NOT y", None),
        (r"Expression: \boxed{x} is the answer", None),
        (r"f(x,y) = \boxed{x} AND NOT y", None),
        (r"\boxed{x} and y", None),
        (r"\boxed{x}'", None),
        ("\\boxed{x}\nAND y", None),
        (r"Expression: x \boxed{AND} NOT y", None),
        (r"\boxed{x \boxed{AND} NOT y}", None),
        (r"\boxed{x", None),
        (r"f(x,y) = \boxed{x}", "x"),
        (r"Expression: \(f(x, y) = \boxed{x}\).", "x"),
        # What goes on in the next line.
        ("Expression: x\n  AND NOT y", None),
        ("Expression: (x)\nAND (NOT y)", None),
        ("Expression: x AND y\n& NOT x", None),
        ("Expression: x\n\n> - AND NOT y", None),
        ("Expression: x\n\\( \\lor y\\)", None),
        ("Expression: x AND y\nor x OR y", None),
        ("Expression: x <eos> AND NOT y", None),
        ("Expression: y\n\nOr:\nExpression: x\nAND y", None),  # no earlier answer replaces it
        ("Expression: x\n\n| x | y |\n|---|---|\n| 0 | 1 |", "x"),
        ("Expression: x\nAndes are not meant.", "x"),
        ("Expression: x\n+ y", None),
        ("Expression: x\n\u2229 y", None),
        ("Expression: x\nNOT y", None),
        ("Expression: x\n\\text{ AND } y", None),
        ("Expression: x\n\\\\ \\land y", None),
        (r"\overline{\boxed{x}}", None),
        # What is negated.
        ("NOT:\nExpression: x", None),
        ('{"not": {"expression": "x"}}', None),
        ("NOT Expression: x", None),
        ("!Expression: x", None),
        ("Expression: NOT Expression: x", None),
        ("Expression: NOT\nExpression: x", None),
        (r"\boxed{NOT Expression: x}", None),
        ("NOT Expression:\n\\boxed{x}", None),
        ("Great! Expression: x", "x"),
        ("Operators: AND, OR, NOT\n\nExpression: x", "x"),
        # A function has the name f, g or h.
        ("Expression: NOT_f(x, y) = x AND y", None),
        ("Expression: complement(x) = x", None),
        ("complement(x) = x", None),
        ("Expression: g_1(x) = x", "x"),
        # Short forms.
        ("Expression = x", "x"),
        ("<answer>Expression: x</answer>", "x"),
        (r"\[\boxed{\text{Expression: } x \land y}\]", "AND(x,y)"),
    ],
)
def test_forms_of_an_answer(text, key):
    lines = ("(x=1, y=1) -> 1",)
    assert judge(Boolean(), lines, text).key == key
    assert TestBoolean().stated(text, lines) == key


def test_written_depth_does_not_matter_but_the_key_does():
    """((x AND x) AND x) AND y is four levels of operators, and the hypothesis AND(x,y)."""
    line = ["(x=1, y=1) -> 1"]
    judgement = judge(Boolean(), line, "Expression: ((x AND x) AND (x OR x)) AND ((y))")
    assert (judgement.key, judgement.valid) == ("AND(x,y)", True)


def test_not_over_or_is_admissible_without_nor():
    """HypoSpace's own validator takes it for a NOR and rejects it."""
    judgement = judge(Boolean(), ["(x=0, y=0) -> 1"], "Expression: NOT (x OR y)")
    assert judgement.valid


def test_nor_is_the_negated_or():
    task = Boolean(BooleanConfig(operators=["AND", "OR", "NOT", "NOR"]))
    for text in ("NOR(x, y)", "x NOR y", "NOT (y OR x)"):
        judgement = judge(task, ["(x=0, y=0) -> 1"], f"Expression: {text}")
        assert (judgement.key, judgement.valid) == ("NOT(OR(x,y))", True)
    assert (
        judge(task, ["(x=0, y=0) -> 1"], "Expression: x NOR y NOR x").verdict is Verdict.NO_ANSWER
    )
    assert "NOR" in task.prompt(["(x=0, y=0) -> 1"])


def test_larger_sizes():
    for options in ({"depth": 3}, {"variables": 3, "max_k": 2}, {"operators": ["AND", "NOR"]}):
        task = Boolean(BooleanConfig(**options))
        for one in dataset(task, count=10):
            for key in one.admissible[:20]:
                judgement = judge(task, one.observations, task.answer(key))
                assert (judgement.key, judgement.valid) == (key, True)


@pytest.mark.parametrize(
    "lines",
    [
        ("(x=0, y=2) -> 0",), ("(x=0, y=1)",), ("(x=0, x=1) -> 0",), ("(and=0) -> 1",),
        ("(x=0, y=1) -> 0", "(y=0, x=1) -> 0"), ("(x=0, y=1) -> 0", "(x=0) -> 0"),
        ("(" + ", ".join(f"a{i}=0" for i in range(9)) + ") -> 0",),
    ],
)  # fmt: skip
def test_broken_observations(lines):
    assert judge(Boolean(), lines, "Expression: x").verdict is Verdict.BAD_INPUT


def test_observations_that_contradict_each_other_admit_nothing():
    lines = ["(x=0, y=1) -> 0", "(x=0, y=1) -> 1"]
    for key in brute_force(2, ALL):
        assert not judge(Boolean(), lines, Boolean().answer(key)).valid


def test_what_is_too_large_is_refused():
    with pytest.raises(InvalidInput, match="lower depth"):
        dataset(Boolean(BooleanConfig(depth=5)))
    with pytest.raises(InvalidInput, match="Choose fewer variables"):
        dataset(Boolean(BooleanConfig(variables=5)))
