"""Boolean expressions up to their mechanism: canonical form, lowest depth, and reading.

Children of AND and OR have no order, no duplicates and no nesting in the same operator, and a lone
child replaces its parent.  Nothing else is simplified.  NOR is the NOT of an OR.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import and_, or_
from typing import NamedTuple

from ipsrl.hypospace.reading import END, WRAPPERS, bare, without_spacing
from ipsrl.hypospace.task import Malformed, Refused

LONGEST_EXPRESSION = 2000  # characters
DEEPEST_EXPRESSION = 64  # levels of nesting, parentheses included

_QUOTED = re.compile(r"'([^']*)'")  # x' is a negation, which nobody asked for: no answer
_FRAMES = (("\\(", "\\)"), ("\\[", "\\]"))
_FUNCTION = re.compile(
    r" *+([fghFGH](?:_?[0-9]++)?+) *+(?:\( *+\w++(?: *+, *+\w++)*+ *+\))? *+:?= *+", re.ASCII
)
_SIGN = r"&&?|\|\|?|[~!\u00ac\u2227\u2228\u2295^(),]"
_TOKEN = re.compile(
    rf" *+(?:({WRAPPERS} *+{{)|(}})|(\\?[A-Za-z_]\w*+|[0-9]++)|({_SIGN}))", re.ASCII
)
_OPERATORS = {
    **dict.fromkeys(("AND", "&", "&&", "\u2227", "\\LAND", "\\WEDGE"), "AND"),
    **dict.fromkeys(("OR", "|", "||", "\u2228", "\\LOR", "\\VEE"), "OR"),
    **dict.fromkeys(("NOT", "~", "!", "\u00ac", "\\LNOT", "\\NEG"), "NOT"),
    **dict.fromkeys(("XOR", "\u2295", "^", "\\OPLUS"), "XOR"),
    **{name: name for name in ("NOR", "NAND", "XNOR")},
}
_LOOSE = ("OR", "NOR", "XOR", "NAND", "XNOR")  # they bind less than AND


class Expression(NamedTuple):
    """An expression up to its mechanism."""

    key: str
    operator: str
    """AND, OR, NOT, or "" of a variable."""
    parts: tuple[Expression, ...]
    """Children, sorted by key."""
    table: int
    """Truth table: bit i is the value at input i, the first variable being the highest bit of i."""


@lru_cache(maxsize=256)
def variables(names: tuple[str, ...]) -> dict[str, Expression]:
    """Variables with their truth tables.

    A table is an integer of unlimited two's complement, so that ~ negates it: all higher bits equal
    bit 0, at which every variable is 0 as well.
    """
    n = len(names)
    return {
        name: Expression(name, "", (), sum(1 << i for i in range(2**n) if i >> (n - 1 - v) & 1))
        for v, name in enumerate(names)
    }


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
    """The lowest depth d at which E(d) contains an expression of this mechanism.

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


def infix(expression: Expression) -> str:
    """The expression as people write it, "NOT x AND (y OR x)" for AND(NOT(x),OR(x,y))."""
    if not expression.operator:
        return expression.key
    parts = [f"({infix(p)})" if len(p.parts) > 1 else infix(p) for p in expression.parts]
    if expression.operator == "NOT":
        return f"NOT {parts[0]}"
    return f" {expression.operator} ".join(parts)


def is_operator(name: str) -> bool:
    """True if a word or sign means an operator, in upper or lower case."""
    return name.upper() in _OPERATORS


def parsed(line: str, variables: dict[str, Expression], known: frozenset[str]) -> Expression:
    """The expression that a line states, which may be quoted, or follow "f(x, y) =".

    Args:
      line: text without line ends.
      variables: by their names.
      known: operators that may be used.
    Returns:
      a canonical expression.
    Raises:
      Malformed: if the line has not the form of an expression.
      Refused: for an unknown variable or operator, or an expression that is too long or too deep.
    """
    if len(line) > LONGEST_EXPRESSION:
        raise Refused(f"the expression has more than {LONGEST_EXPRESSION} characters")
    text = bare(without_spacing(line))
    for opens, closes in (*_FRAMES, ("{", "}"), *_FRAMES):  # of an object or around a box
        while text.endswith(closes) and text.count(closes) > text.count(opens):
            text = text[: -len(closes)].rstrip(END)
    if quoted := _QUOTED.fullmatch(text):
        text = quoted[1]
    for opens, closes in _FRAMES:
        if text.startswith(opens) and text.endswith(closes):
            inside = text[len(opens) : -len(closes)]
            if opens not in inside and closes not in inside:
                text = bare(inside)
        text = text.replace(opens, "(").replace(closes, ")")
    function = _FUNCTION.match(text)
    if function and function[1] not in variables:
        text = text[function.end() :]
    reader = _Reader(text, variables, known)
    expression = reader.disjunction(0)
    if reader.peek():
        raise Malformed(f"{reader.peek()[:20]!r} cannot stand there")
    if reader.refusal:
        raise Refused(reader.refusal)
    return expression


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
    tokens, end, wrappers = [], 0, 0
    while match := _TOKEN.match(text, end):
        opens, closes, word, sign = match.groups()
        if opens or closes:
            wrappers += 1 if opens else -1
            if wrappers < 0:
                break
        else:
            name = word or sign
            tokens.append(_OPERATORS.get(name.upper(), name))
        end = match.end()
    if wrappers or text[end:].strip():
        raise Malformed(f"{text[end : end + 20]!r} is not part of an expression")
    return tokens


def _tree(depths: list[float]) -> float:
    """ceil(log2 sum_i 2^c_i), in integers."""
    if math.inf in depths:
        return math.inf
    return (sum(1 << int(c) for c in depths) - 1).bit_length()
