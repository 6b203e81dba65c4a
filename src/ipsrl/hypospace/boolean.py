"""Boolean expressions from examples: which of them agree with what was seen of a function?

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
from functools import lru_cache, reduce
from itertools import combinations
from operator import and_, or_
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from ipsrl.config import StrictConfig
from ipsrl.errors import InvalidInput
from ipsrl.hypospace.task import (
    Judgement,
    Malformed,
    Refused,
    Verdict,
    check_size,
    labelled,
    replaced,
)

Operator = Literal["AND", "OR", "NOT", "NOR"]

LONGEST_EXPRESSION = 2000  # characters
DEEPEST_EXPRESSION = 64  # levels of nesting, parentheses included

_NAMES = "xyzuvw"
_MOST_VARIABLES = 8
_LABEL = re.compile(r"(?<![a-z0-9])expression[*_`\"' \t]*:[_ \t]*+", re.ASCII | re.IGNORECASE)
_MARKUP = '*`"$'
_QUOTED = re.compile(r"'([^']*)'")  # x' is a negation, which nobody asked for: no answer
_FRAME = re.compile(r"\\(?:left(?![a-z])|right(?![a-z])|[][])", re.ASCII)
_WRAPPED = re.compile(r"\\(?:text|mathrm|operatorname|boxed)[ \t]*+\{([^{}]*+)\}")
_OBSERVATION = re.compile(r"\(([a-z]\w*=[01](?:, [a-z]\w*=[01])*+)\) -> ([01])", re.ASCII)
_TOKEN = re.compile(
    r"\s*+(?:(\\?[A-Za-z_]\w*+|[0-9]++)|(&&?|\|\|?|[~!\u00ac\u2227\u2228\u2295^(),]))", re.ASCII
)
_OPERATORS = {
    **dict.fromkeys(("AND", "&", "&&", "\u2227", "\\LAND", "\\WEDGE"), "AND"),
    **dict.fromkeys(("OR", "|", "||", "\u2228", "\\LOR", "\\VEE"), "OR"),
    **dict.fromkeys(("NOT", "~", "!", "\u00ac", "\\LNOT", "\\NEG"), "NOT"),
    **dict.fromkeys(("XOR", "\u2295", "^", "\\OPLUS"), "XOR"),
    **{name: name for name in ("NOR", "NAND", "XNOR")},
}
_LOOSE = ("OR", "NOR", "XOR", "NAND", "XNOR")  # they bind less than AND


class BooleanConfig(StrictConfig):
    """Expressions of a limited depth, and how much of their truth table is seen (B.1)."""

    variables: Annotated[int, Field(ge=1, le=len(_NAMES))] = 2
    """Variables x, y, z, ..."""
    depth: Annotated[int, Field(ge=0, le=8)] = 2
    """Most operators between a variable and the whole."""
    operators: Annotated[list[Operator], Field(min_length=1)] = ["AND", "OR", "NOT"]  # noqa: RUF012
    """Operators of the space."""
    max_k: Annotated[int, Field(ge=1)] | None = None
    """Most inputs that are seen; not given, all."""


class Expression(NamedTuple):
    """An expression up to its mechanism."""

    key: str
    operator: str
    """AND, OR, NOT, or "" of a variable."""
    parts: tuple[Expression, ...]
    """Children, sorted by key."""
    table: int
    """Truth table: bit i is the value at input i, the first variable being the highest bit of i."""


class BooleanProblem(NamedTuple):
    """Variables, and the inputs at which the function is 1 and 0, as bits like a truth table."""

    variables: dict[str, Expression]
    ones: int
    zeros: int


class Boolean:
    """The domain of Boolean expressions."""

    name: ClassVar[str] = "boolean"
    judged_by: ClassVar[tuple[str, ...]] = ("depth", "operators")

    def __init__(self, config: BooleanConfig | None = None) -> None:
        self.config = config or BooleanConfig()
        self._space = frozenset(self.config.operators)
        # A key writes NOR as NOT(OR(...)), and every key can be read back.
        self._known = self._space | ({"NOT", "OR"} if "NOR" in self._space else set())

    def observation_sets(self) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """Every choice of 1 to `max_k` inputs with all outputs that some expression has."""
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
        """The answer whose key this is."""
        names = dict.fromkeys(re.findall(r"[a-z]\w*", key, re.ASCII))
        return f"Expression: {_infix(self.read(key, BooleanProblem(_variables((*names,)), 0, 0)))}"

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
            if unlike or len(names) > _MOST_VARIABLES or set(map(str.upper, names)) & {*_OPERATORS}:
                raise InvalidInput(
                    f"{line[:80]!r} does not give at most {_MOST_VARIABLES} variables once each, "
                    "ordered as in the first line, and not named as operators"
                )
            seen[int(match[2])] |= 1 << int("".join(value for _, value in values), 2)
        return BooleanProblem(_variables(names), seen[1], seen[0])

    def candidates(self, response: str) -> list[str]:
        """What follows each `Expression:`."""
        return labelled(response, _LABEL)

    def read(self, candidate: str, problem: BooleanProblem) -> Expression:
        """The expression on the first line that is not empty."""
        lines = replaced(candidate, _MARKUP).strip().splitlines()
        text = lines[0].rstrip(" \t.,;:!?") if lines else ""
        if match := _QUOTED.fullmatch(text):
            text = match[1]
        if len(text) > LONGEST_EXPRESSION:
            raise Refused(f"the expression has more than {LONGEST_EXPRESSION} characters")
        reader = _Reader(text, problem.variables, self._known)
        expression = reader.disjunction(0)
        if reader.peek():
            raise Malformed(f"{reader.peek()[:20]!r} cannot stand there")
        if reader.refusal:
            raise Refused(reader.refusal)
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
    space = {e.key: e for e in _variables(tuple(_NAMES[: config.variables])).values()}
    binary = [name for name in ("AND", "OR", "NOR") if name in config.operators]
    for _ in range(config.depth):
        below = list(space.values())
        check_size(len(below) * (len(below) + 1) // 2 * len(binary) * copies, advice)
        found = [combine("NOT", [one]) for one in below if "NOT" in config.operators]
        for i, one in enumerate(below):
            found += [combine(name, [one, other]) for other in below[i:] for name in binary]
        space |= {expression.key: expression for expression in found}
    return list(space.values())


def combine(operator: str, operands: Sequence[Expression]) -> Expression:
    """An operator over expressions, in canonical form.

    Args:
      operator: AND, OR or NOR over any number of operands, NOT over one.
      operands: canonical expressions.
    Returns:
      a canonical expression.
    """
    if operator == "NOR":
        return combine("NOT", [combine("OR", operands)])
    if operator == "NOT":
        (one,) = operands
        return Expression(f"NOT({one.key})", "NOT", (one,), ~one.table)
    parts = {
        part.key: part
        for operand in operands
        for part in (operand.parts if operand.operator == operator else (operand,))
    }
    if len(parts) == 1:
        return next(iter(parts.values()))
    keys = sorted(parts)
    children = tuple([parts[key] for key in keys])
    table = reduce(and_ if operator == "AND" else or_, [child.table for child in children])
    return Expression(f"{operator}({','.join(keys)})", operator, children, table)


def depth(expression: Expression, operators: frozenset[str]) -> float:
    """Lowest depth at which E(d) has an expression of this mechanism.

        variable: 0;  NOT e: 1 + depth(e);  AND, OR over parts of depth c_i: ceil(log2 sum_i 2^c_i)

    A part of depth c can stand at a leaf l levels down in a tree of binary operators iff
    l + c <= d, and leaves at levels l_i fit into one tree iff sum_i 2^-l_i <= 1 (Kraft).  With NOR,
    the topmost OR of such a tree is negated at no cost, and NOT e is e NOR e.

    Args:
      expression: canonical.
      operators: of the space.
    Returns:
      a depth, or infinity if no expression of these operators has this mechanism.
    """
    if not expression.operator:
        return 0
    if expression.operator != "NOT":
        below = [depth(part, operators) for part in expression.parts]
        return _tree(below) if expression.operator in operators else math.inf
    (child,) = expression.parts
    if "NOR" in operators and child.operator == "OR":
        below = [depth(part, operators) for part in child.parts]
        if "OR" in operators:
            return _tree(below)
        return 1 + max(below) if len(below) == 2 else math.inf
    return 1 + depth(child, operators) if operators & {"NOT", "NOR"} else math.inf


class _Reader:
    """Recursive descent over one line: OR and NOR bind less than AND, AND less than NOT.

    A name or operator that is not allowed does not stop it, so that forbidden content is told from
    text that has not the form of an expression.
    """

    def __init__(self, text: str, variables: dict[str, Expression], known: frozenset[str]) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.variables = variables
        self.known = known
        self.refusal = ""

    def disjunction(self, level: int) -> Expression:
        """Operands joined by OR; or two joined by NOR or a foreign operator, which do not chain."""
        operands, joint = [self.conjunction(level)], ""
        while (operator := self.peek()) in _LOOSE:
            if joint and (operator != "OR" or joint != "OR"):
                raise Malformed(f"{joint} and {operator} are mixed without parentheses")
            joint = operator
            self.allow(operator)
            self.at += 1
            operands.append(self.conjunction(level))
        return combine(joint, operands) if joint in self.known else operands[0]

    def conjunction(self, level: int) -> Expression:
        """Operands joined by AND."""
        operands = [self.operand(level)]
        while self.took("AND"):
            self.allow("AND")
            operands.append(self.operand(level))
        return combine("AND", operands) if len(operands) > 1 else operands[0]

    def operand(self, level: int) -> Expression:
        """A variable, a negation, parentheses, or an operator before its operands."""
        if level == DEEPEST_EXPRESSION:
            raise Refused(f"the expression nests deeper than {DEEPEST_EXPRESSION} levels")
        token = self.peek()
        self.at += 1
        if token == "NOT":
            self.allow(token)
            return combine("NOT", [self.operand(level + 1)])
        if token == "(":
            result = self.disjunction(level + 1)
            self.expect(")")
            return result
        if token == "AND" or token in _LOOSE:
            return self.prefix(token, level)
        if token in ("", ")", ","):
            raise Malformed(f"{token!r} stands where a variable, NOT or '(' should")
        if token not in self.variables:
            self.refusal = self.refusal or f"there is no variable {token[:20]!r}"
        return self.variables.get(token) or Expression(token, "", (), 0)

    def prefix(self, operator: str, level: int) -> Expression:
        """Operands of the form (a, b, ...)."""
        self.allow(operator)
        self.expect("(")
        operands = [self.disjunction(level + 1)]
        while self.took(","):
            operands.append(self.disjunction(level + 1))
        self.expect(")")
        if len(operands) < 2 or (len(operands) > 2 and operator not in ("AND", "OR")):
            raise Malformed(f"{operator} has {len(operands)} operands")
        return combine(operator, operands) if operator in self.known else operands[0]

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def took(self, token: str) -> bool:
        found = self.peek() == token
        self.at += found
        return found

    def expect(self, token: str) -> None:
        if not self.took(token):
            raise Malformed(f"{self.peek()[:20]!r} stands where {token!r} should")

    def allow(self, operator: str) -> None:
        if operator not in self.known:
            self.refusal = self.refusal or f"there is no operator {operator}"


def _tokens(text: str) -> list[str]:
    """Names, operators by their names, and punctuation."""
    tokens, end = [], 0
    if "\\" in text:  # LaTeX's frames
        text = text.replace("\\(", " ").replace("\\)", " ")
        text = _FRAME.sub(" ", text)
        while (bare := _WRAPPED.sub(r" \1 ", text)) != text:
            text = bare
    while match := _TOKEN.match(text, end):
        word = match[1] or match[2]
        tokens.append(_OPERATORS.get(word.upper(), word))
        end = match.end()
    if rest := text[end:].strip():
        raise Malformed(f"{rest[:20]!r} is no part of an expression")
    return tokens


@lru_cache(maxsize=256)
def _variables(names: tuple[str, ...]) -> dict[str, Expression]:
    """Variables with their truth tables.

    A table is an integer of unlimited two's complement, so that ~ negates it: all higher bits equal
    bit 0, at which every variable is 0 as well.
    """
    n = len(names)
    return {
        name: Expression(name, "", (), sum(1 << i for i in range(2**n) if i >> (n - 1 - v) & 1))
        for v, name in enumerate(names)
    }


def _tree(depths: list[float]) -> float:
    """ceil(log2 sum_i 2^c_i), in integers."""
    if math.inf in depths:
        return math.inf
    return (sum(1 << int(c) for c in depths) - 1).bit_length()


def _infix(expression: Expression) -> str:
    if not expression.operator:
        return expression.key
    parts = [f"({_infix(p)})" if len(p.parts) > 1 else _infix(p) for p in expression.parts]
    if expression.operator == "NOT":
        return f"NOT {parts[0]}"
    return f" {expression.operator} ".join(parts)
