"""Boolean expressions from examples: which ones agree with the observed values of a function?

Two expressions are one hypothesis iff they have the same mechanism: children of AND and OR have no
order, no duplicates and no nesting in the same operator, and a lone child replaces its parent.
Nothing else is simplified: no absorption, De Morgan, distributivity or double negation.  NOR is the
NOT of an OR.  Key: prefix form with sorted children, "AND(NOT(x),y)".  Answer: `Expression: ...`.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from ipsrl.config import StrictConfig
from ipsrl.errors import InvalidInput
from ipsrl.hypospace.expression import (
    Expression,
    combine,
    depth,
    infix,
    is_operator,
    parsed,
    variables,
)
from ipsrl.hypospace.reading import (
    Part,
    bare,
    from_first_line,
    label,
    labelled,
    torn,
    without_latex,
)
from ipsrl.hypospace.task import Judgement, Unreadable, Verdict, check_size

Operator = Literal["AND", "OR", "NOT", "NOR"]

_NAMES = "xyzuvw"
_MOST_VARIABLES = 8
_LABEL = label("expression")
_BINARY = r"(?:AND|X?N?OR|NAND)(?![A-Za-z0-9_])"
_SIGN = r"[&|^\u2227\u2228\u2295]|\\(?:land|wedge|lor|vee|oplus)(?![a-zA-Z])"
_CONTINUES = re.compile(rf"(?:[ (){{}}\[\]]|\\[()\[\]])*+(?:{_SIGN}|(?i:{_BINARY}))", re.ASCII)
# In prose around a box, words in small letters are not operators, but right after it they are.
_JOINS = re.compile(
    rf"{_SIGN}|[~\u00ac]|\\(?:neg|lnot|overline|bar)(?![a-zA-Z])"
    rf"|(?<![A-Za-z0-9_])(?:{_BINARY}|NOT(?![A-Za-z0-9_]))",
    re.ASCII,
)
_OBSERVATION = re.compile(r"\(([a-z]\w*=[01](?:, [a-z]\w*=[01])*+)\) -> ([01])", re.ASCII)


class BooleanConfig(StrictConfig):
    """Expressions of a limited depth, and how much of their truth table is observed (B.1)."""

    heading: ClassVar[str] = "expressions"

    variables: Annotated[int, Field(ge=1, le=len(_NAMES))] = 2
    """Variables x, y, z, ..."""
    depth: Annotated[int, Field(ge=0, le=8)] = 2
    """Largest number of operators between a variable and the whole."""
    operators: Annotated[list[Operator], Field(min_length=1)] = ["AND", "OR", "NOT"]  # noqa: RUF012
    """Operators of the space."""
    max_k: Annotated[int, Field(ge=1)] | None = None
    """Largest number of inputs that are observed; all if not given."""


class BooleanProblem(NamedTuple):
    """Variables, and the inputs at which the function is 1 and 0, as bits like a truth table."""

    variables: dict[str, Expression]
    ones: int
    zeros: int


class Boolean:
    """The domain of Boolean expressions."""

    name: ClassVar[str] = "boolean"
    judged_by: ClassVar[tuple[str, ...]] = ("depth", "operators")
    novel_outside: ClassVar[bool] = False

    def __init__(self, config: BooleanConfig | None = None) -> None:
        self.config = config or BooleanConfig()
        self._space = frozenset(self.config.operators)
        # A key writes NOR as NOT(OR(...)), and every key can be read back.
        self._known = self._space | ({"NOT", "OR"} if "NOR" in self._space else set())

    def observation_sets(self) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """Every choice of 1 to `max_k` inputs, with all outputs that some expression produces."""
        inputs = 2**self.config.variables
        most = min(self.config.max_k or inputs, inputs)
        choices = sum(math.comb(inputs, k) for k in range(1, most + 1))
        keys: dict[int, list[str]] = defaultdict(list)
        for expression in expressions(self.config, copies=choices):
            keys[expression.table].append(expression.key)
        for k in range(1, most + 1):
            for seen in combinations(range(inputs), k):
                found: dict[tuple[int, ...], list[str]] = defaultdict(list)
                for table, same in keys.items():
                    found[tuple(table >> i & 1 for i in seen)] += same
                for outputs in sorted(found):
                    yield self._lines(seen, outputs), found[outputs]

    def prompt(self, observations: Sequence[str]) -> str:
        """The question put to a model."""
        variables = list(self.problem(tuple(observations)).variables)
        lines = "\n".join(observations)
        operators = [name for name in ("AND", "OR", "NOR", "NOT") if name in self._space]
        example = f"{operators[0]} {variables[-1]}"
        example = example if operators[0] == "NOT" else f"{variables[0]} {example}"
        return f"""\
A Boolean function of {", ".join(variables)} was evaluated at some of its inputs.

Observations:
{lines}

Give one expression that agrees with all observations; there may be several.
It may use parentheses, the variables {", ".join(variables)} and the operators \
{", ".join(operators)}.
It must not use constants, nor nest operators more than {self.config.depth} deep.
Expressions are the same if they differ only in the order, grouping or repetition of the operands
of AND and of OR; all others are different.

Answer with one line, such as
Expression: {example}
"""

    def answer(self, key: str) -> str:
        """The answer that has this key."""
        names = dict.fromkeys(re.findall(r"[a-z]\w*", key, re.ASCII))
        hypothesis = self.read(Part(key), BooleanProblem(variables((*names,)), 0, 0))
        return f"Expression: {infix(hypothesis)}"

    @staticmethod
    def problem(observations: tuple[str, ...]) -> BooleanProblem:
        """Variables and values of lines such as "(x=0, y=1) -> 1"."""
        names: tuple[str, ...] = ()
        seen = [0, 0]
        for line in observations:
            match = _OBSERVATION.fullmatch(line.strip())
            if match is None:
                raise InvalidInput(f"{line[:80]!r} is not of the form '(x=0, y=1) -> 1'")
            values = [part.split("=") for part in match[1].split(", ")]
            here = tuple(name for name, _ in values)
            names = names or here
            unlike = here != names or len(set(names)) < len(names)
            if unlike or len(names) > _MOST_VARIABLES or any(map(is_operator, names)):
                raise InvalidInput(
                    f"{line[:80]!r} does not give at most {_MOST_VARIABLES} variables once each, "
                    "ordered as in the first line, and not named as operators"
                )
            seen[int(match[2])] |= 1 << int("".join(value for _, value in values), 2)
        return BooleanProblem(variables(names), seen[1], seen[0])

    def candidates(self, response: str) -> list[Part]:
        """The text after each `Expression:`."""
        return labelled(response, _LABEL)

    def read(self, candidate: Part, problem: BooleanProblem) -> Expression:
        """The expression on the first line that is not blank, if no later line continues it."""
        line, _, below = from_first_line(candidate.text).partition("\n")
        expression = parsed(line.strip(), problem.variables, self._known)
        beside, _, after = candidate.after.partition("\n")
        if torn(candidate, _JOINS) or beside.startswith("'") or _CONTINUES.match(beside):
            raise Unreadable("what stands around the expression may change it")
        for rest in (below, after):
            line = bare(without_latex(from_first_line(rest).partition("\n")[0]))
            words = re.findall(r"\\?\w+", line)
            only = words and all(w in problem.variables or is_operator(w) for w in words)
            if (only or _CONTINUES.match(line)) and not line.endswith("|"):
                raise Unreadable(f"{line[:60]!r} follows the expression and may belong to it")
        return expression

    def check(self, hypothesis: Expression, problem: BooleanProblem) -> Judgement:
        """In H_O iff it is an expression of the space and agrees with every observation."""
        key, table = hypothesis.key, hypothesis.table
        if depth(hypothesis, self._space) > self.config.depth:
            return Judgement(key, Verdict.OUTSIDE, f"deeper than {self.config.depth}")
        if table & problem.zeros or problem.ones & ~table:
            return Judgement(key, Verdict.CONTRADICTS, "its value differs at an observed input")
        return Judgement(key, Verdict.ADMISSIBLE)

    def _lines(self, seen: Sequence[int], outputs: Sequence[int]) -> tuple[str, ...]:
        n = self.config.variables
        return tuple(
            "(" + ", ".join(f"{_NAMES[v]}={i >> (n - 1 - v) & 1}" for v in range(n)) + f") -> {out}"
            for i, out in zip(seen, outputs, strict=True)
        )


def expressions(config: BooleanConfig, *, copies: int = 1) -> list[Expression]:
    """The hypothesis space: E(0) the variables, E(d) = E(d-1) and one operator over E(d-1).

    Args:
      config: variables, depth and operators.
      copies: how often each expression will be listed, for the limit on the whole.
    Returns:
      one expression for each key, in the order in which they are found.
    Raises:
      InvalidInput: if there are too many.
    """
    advice = "Choose fewer variables or operators, or a lower depth."
    space = {e.key: e for e in variables(tuple(_NAMES[: config.variables])).values()}
    binary = [name for name in ("AND", "OR", "NOR") if name in config.operators]
    for _ in range(config.depth):
        below = list(space.values())
        check_size(len(below) * (len(below) + 1) // 2 * len(binary) * copies, advice)
        found = [combine("NOT", [one]) for one in below if "NOT" in config.operators]
        for i, one in enumerate(below):
            found += [combine(name, [one, other]) for other in below[i:] for name in binary]
        space |= {expression.key: expression for expression in found}
    return list(space.values())
