r"""Answers of mathematics, read by math_verify's parser and compared by their values.

The parser gets expressions only, of which it builds trees of SymPy without computing them.  They
are computed here, with bounded work.  Sets, intervals and relations are taken apart here, as SymPy
computes their members, for ever if need be; so are matrices.  What else would be computed is not
given to it (`_REFUSED`), and no text reaches SymPy's `sympify`, which runs code.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Hashable
from fractions import Fraction
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from ipsrl.errors import MissingExtra
from ipsrl.llm.outcomes.answer import bare, final_answer
from ipsrl.llm.outcomes.plain import normalised, number, rational

_LONGEST = 300  # characters of an answer
_DEEPEST = 8  # brackets in brackets: the parser takes .1 s for each
_BITS = 4096  # of an exact power
_POINTS = 3  # at which expressions with variables are compared

_COMMANDS = (
    "frac|dfrac|tfrac|cfrac|sqrt|cdot|times|div|pm|mp|left|right|pi|infty|alpha|beta|gamma|delta|"
    "epsilon|varepsilon|theta|lambda|mu|phi|varphi|rho|sigma|tau|omega|ln|log|exp|sin|cos|tan|cot|"
    "sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|cup|in|le|leq|ge|geq|ne|neq|lt|gt|text|mathrm|"
    "mathbf|mathbb|emptyset|circ|degree|begin|end|quad|displaystyle"
)
_NAMES = "(?:arc(?:sin|cos|tan)|(?:sin|cos|tan)h?|cot|sec|csc|ln|log|exp|sqrt|pi)(?![A-Za-z])"
_NAME = re.compile(rf"(?<![\\A-Za-z])(?!sqrt\s*\(){_NAMES}")
_REFUSED = re.compile(
    rf"\\(?!(?:{_COMMANDS})(?![A-Za-z]))[A-Za-z]"  # any other command
    r"|\^\s*\{[^{}]*[\^!]|\^\s*\{?\s*-?\d{5}"  # towers
    r"|(?<!\d)!|!\s*!|\d{3}!|\)\s*_"  # factorials of factorials
    # The parser leaves texts out: n \text{ is even}, 2 \text{ hours } 30 \text{ minutes}
    r"|(?<![\\A-Za-z])[A-Za-z]\s*\\text\s*\{(?!\s*(?:and|or)\b)"
    r"|\\text\s*\{(?!\s*(?:and|or)\b)[^{}]*\}\s*\d"
    r"|\d\s*_"  # the base of 101_2, which the parser leaves out
    r"|\d(?:\s|\\text\s*\{)*[AaPp]\.?[Mm]\b"  # 10:15 PM is not a ratio
)
_WORDS = re.compile(r"(?=.*([A-Za-z]{4}|\s))[A-Za-z][A-Za-z' -]*")
_ASSIGNED = re.compile(
    r"\s*(?P<name>\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([a-z]\))?)\s*(?:=|\\in\b)(?P<value>.*)", re.DOTALL
)
_SIGNS = str.maketrans({
    "√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty ", "\u00d7": r"\times ", "·": r"\cdot ",
    "÷": r"\div ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ",
    "²": "^2", "³": "^3", "\u2212": "-",
})  # fmt: skip
_PROSE = re.compile(  # a word is not the product of its letters
    rf"(?<![\\A-Za-z])(?!{_NAMES})[A-Za-z]{{4}}"
    r"|(?:^|\s)(?:to|is|of|by|at|on|no|not|but|per|for|the|if|than)\s"
)
_NOT_PROSE = re.compile(r"\\(?:text|mathrm|mathbf|mathbb|begin|end)\s*\{[^{}]*\}")
_CONDITIONS = frozenset({"where", "when", "if", "for", "with", "since", "because", "as"})
_SENTENCE = re.compile(rf"(?<![\\A-Za-z])(?!{_NAMES})[A-Za-z]{{3}}")
_IGNORED = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\displaystyle|\\[,!]|\$")
_LIST = re.compile(r",?\s*(?:\\text\{\s*(?:and|or)\s*\}|(?<![A-Za-z])(?:and|or)(?![A-Za-z]))")
_FORMULA = re.compile(r"\$([^$]+)\$|\\\((.+?)\\\)")
_SPACES = re.compile(r"\s+|\\[,;:! ]|\\left|\\right|\\displaystyle|\$")
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "Abs": lambda z: complex(abs(z)), "exp": cmath.exp, "sin": cmath.sin, "cos": cmath.cos,
    "tan": cmath.tan, "cot": lambda z: 1 / cmath.tan(z), "sec": lambda z: 1 / cmath.cos(z),
    "csc": lambda z: 1 / cmath.sin(z), "asin": cmath.asin, "acos": cmath.acos,
    "atan": cmath.atan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh,
}  # fmt: skip
_CONSTANTS = {"Pi": math.pi, "Exp1": math.e, "ImaginaryUnit": 1j}
_RELATION = r"<=|>=|!=|[=<>]|\\(?:leq?|geq?|neq?|lt|gt)(?![a-z])"
_RELATIONS = {
    **dict.fromkeys(["="], ("=", False)), **dict.fromkeys(["!=", "ne", "neq"], ("!=", False)),
    **dict.fromkeys(["<", "lt"], ("<", False)), **dict.fromkeys(["<=", "le", "leq"], ("<=", False)),
    **dict.fromkeys([">", "gt"], ("<", True)), **dict.fromkeys([">=", "ge", "geq"], ("<=", True)),
}  # fmt: skip
_BRACKETS = re.compile(
    r"(?P<opening>\\?\{|[(\[])(?P<inside>.*?)(?P<closing>\\?\}|[)\]])", re.DOTALL
)
_MATRIX = re.compile(r"\\begin\{[pb]?matrix\}(?P<inside>.*?)\\end\{[pb]?matrix\}", re.DOTALL)

_Number = Fraction | complex


class _NotComputed(Exception):
    """The tree contains a part that is not arithmetic."""


def mathematics(text: str) -> Hashable | None:
    r"""The value of the final answer.

    Equal: numbers of one value, 1/2 = .5 = \frac{1}{2}, \sqrt{12} = 2\sqrt{3}, to nine digits where
    they are not rational; expressions that agree at three points, x^2 - 1 = (x-1)(x+1); x = 3 and
    3; equations and inequalities up to a factor, x < 3 and 3 > x; points, intervals, matrices and
    sets by their members, but x < 3 is not an interval; units, % and currency are left out, so 50%
    is 50; ln(2), sqrt(2) and pi as in LaTeX; words as `plain_text`; anything else by its
    characters without spaces.
    None: without an answer, or one of more than 300 characters.  Of a last line that is a sentence
    the last formula counts, else the last equation, else its `number`.
    """
    _parser()  # even if nothing is parsed: a missing package is an error before training
    answer = final_answer(text)
    if answer is None or len(answer.text) > _LONGEST:
        return None
    written = answer.text
    if formulas := _formulas(written, first=answer.named):
        written = formulas
    elif not answer.named and "=" in written:
        written = _equation(written)
    elif not answer.named and _SENTENCE.search(written):
        return number(text)
    written = re.sub(r"^(?:=|\\approx|≈)\s*", "", written)
    equals = written.count("=")
    if equals > 1 and "," not in _LIST.sub(",", written):
        written = written.rpartition("=")[2]
    elif equals <= 1 and (match := _ASSIGNED.fullmatch(written)):
        written = match["value"]
    if (value := rational(written)) is not None:
        return str(value)
    if _WORDS.fullmatch(words := bare(written)):
        return normalised(words)
    return _read(written)


def _formulas(written: str, first: bool) -> str:
    """The first or last $...$ of a sentence, or several of them in a row; "" without."""
    found = list(_FORMULA.finditer(written))
    if not found or (first and re.search(r"\d", written[: found[0].start()])):
        return ""
    rows = [[found[0]]]
    for before, match in pairwise(found):
        if re.fullmatch(r"\s*,?\s*(?:and|or)?\s*", written[before.end() : match.start()]):
            rows[-1].append(match)
        else:
            rows.append([match])
    return ",".join(match[1] or match[2] for match in rows[0 if first else -1])


def _equation(written: str) -> str:
    """The last part of a sentence with an equation, which is not a condition; "" without."""
    parts = re.split(r"(?:^|\s)(?!(?:and|or)\b)([A-Za-z]{2,})(?=\s)", written)
    after = zip(["", *parts[1::2]], parts[::2], strict=True)
    found = [part for word, part in after if "=" in part and word.lower() not in _CONDITIONS]
    return found[-1] if found else ""


@lru_cache(maxsize=2**12)  # a policy repeats its answers
def _read(written: str) -> Hashable | None:
    written = re.sub(r"√\s*\(", "sqrt(", written).translate(_SIGNS)
    written = re.sub(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", written)
    written = _NAME.sub(r"\\\g<0> ", written)
    try:
        if _is_safe(written):
            return _key(_LIST.sub(",", _IGNORED.sub("", written)))
    except Exception:  # a parser may raise anything for a model's text
        pass
    return _SPACES.sub("", written) or None


def _is_safe(written: str) -> bool:
    """True if the parser only builds a tree of this, in a short time."""
    depth = deepest = 0
    for mark in written:
        depth += (mark in "([{") - (mark in ")]}")
        deepest = max(deepest, depth)
    if deepest > _DEEPEST or _REFUSED.search(written):
        return False
    return not _PROSE.search(_NOT_PROSE.sub("", written))


def _tree(written: str) -> Any:
    """The parser's tree of an expression; sets and matrices, which SymPy computes, are excluded."""
    if re.search(r"[,;&]|\\[{}]|\\begin|\\cup|\\in\b", written):
        raise _NotComputed
    return _parser()(written)


@cache
def _parser() -> Callable[[str], Any]:
    try:
        from latex2sympy2_extended.latex2sympy2 import NormalizationConfig, latex2sympy
    except ModuleNotFoundError as error:
        raise MissingExtra("outcomes", error.name or "math_verify") from None
    cleaned = NormalizationConfig(
        basic_latex=True, units=True, malformed_operators=True, nits=True, boxed="none"
    )
    return lambda written: latex2sympy(
        written.replace(r"\%", "").replace("%", ""), is_real=True, normalization_config=cleaned
    )


def _key(written: str) -> Hashable:
    """A key of lists, sets, points, intervals, matrices and relations; an expression's value."""
    written = written.strip()
    for between in (r"[,;]", r"\\cup\b"):
        parts, _ = _split(written, between)
        if len(parts) > 1:
            return _set(parts)
    sides, relations = _split(written, _RELATION)
    if relations:
        pairs = zip(sides, relations, sides[1:], strict=False)
        return _one_of(frozenset(_relation(*pair) for pair in pairs))
    if match := _BRACKETS.fullmatch(written):
        parts, _ = _split(match["inside"], r"[,;]")
        if match["opening"] in ("{", r"\{"):
            return _set(parts)
        if len(parts) > 1:
            return (match["opening"], *map(_key, parts), match["closing"])
    if match := _MATRIX.fullmatch(written):
        rows = match["inside"].strip().removesuffix(r"\\").split(r"\\")
        return ("matrix", *(tuple(map(_key, row.split("&"))) for row in rows))
    if r"\pm" in written:
        return _set([written.replace(r"\pm", sign) for sign in "+-"])
    tree = _tree(written)
    try:
        names, values = _values(tree)
        return (*names, *map(_written, values)) if names else _written(values[0])
    except (_NotComputed, ArithmeticError, ValueError):
        return str(tree)


def _split(written: str, between: str) -> tuple[list[str], list[str]]:
    """The parts outside of brackets, and the separators between them."""
    parts, marks, depth, start = [], [], 0, 0
    for match in re.finditer(rf"(?P<open>\\?\{{|[(\[])|(?P<close>\\?\}}|[)\]])|{between}", written):
        if match["open"] or match["close"]:
            depth += 1 if match["open"] else -1
        elif depth == 0:
            parts.append(written[start : match.start()])
            marks.append(match[0])
            start = match.end()
    return [*parts, written[start:]], marks


def _set(parts: list[str]) -> Hashable:
    found = [_ASSIGNED.fullmatch(part) for part in parts]
    if len({match and match["name"] for match in found}) == 1:  # x = 2 or x = 3
        parts = [
            match["value"] if match else part for match, part in zip(found, parts, strict=True)
        ]
    return _one_of(frozenset(map(_key, parts)))


def _one_of(members: frozenset[Hashable]) -> Hashable:
    return next(iter(members)) if len(members) == 1 else members


def _relation(left: str, relation: str, right: str) -> Hashable:
    """Left minus right, in units of its first value other than 0; > and >= are reversed."""
    kind, turned = _RELATIONS[relation.lstrip("\\")]
    names, values = _values(*map(_tree, (right, left) if turned else (left, right)))
    unit = next((complex(value) for value in values if abs(value) > 1e-12), 1.0)
    unit = unit if kind in ("=", "!=") else abs(unit)
    return (kind, *names, *(_written(complex(value) / unit) for value in values))


def _values(*trees: Any) -> Any:
    """Names of the variables, and the values of the first tree minus those of the second."""
    names = sorted({str(symbol) for tree in trees for symbol in tree.free_symbols} - {"i"})
    values = []
    for k in range(_POINTS if names else 1):
        at = {name: 0.5 + (0.41421 + 0.73205 * j + 0.23607 * k) % 1 for j, name in enumerate(names)}
        first, *rest = (_compute(tree, at | {"i": 1j}) for tree in trees)
        values.append(first - rest[0] if rest else first)
    return names, values


def _compute(tree: Any, at: dict[str, complex]) -> _Number:
    kind = type(tree).__name__
    if kind == "Symbol":
        return at[str(tree)]
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    if kind == "Float":
        return Fraction(str(tree))
    if hasattr(tree, "q") and not tree.args:
        return Fraction(int(tree.p), int(tree.q))
    parts = [_compute(part, at) for part in tree.args]
    if kind == "Add":
        return sum(parts, Fraction(0))
    if kind == "Mul":
        return math.prod(parts, start=Fraction(1))
    if kind == "UnevaluatedExpr":
        return parts[0]
    if kind == "Pow":
        return _power(*parts)
    if kind == "factorial" and parts[0] in range(100):
        return Fraction(math.factorial(int(parts[0].real)))
    if kind == "log":
        return cmath.log(complex(parts[0])) / (cmath.log(complex(parts[1])) if parts[1:] else 1)
    if kind in _FUNCTIONS:
        return _FUNCTIONS[kind](complex(parts[0]))
    raise _NotComputed


def _power(base: _Number, exponent: _Number) -> _Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * bits <= _BITS:
            return base ** int(exponent)
    return complex(base) ** complex(exponent)


def _written(value: _Number) -> str:
    """A rational number exactly, any other number to nine digits."""
    if isinstance(value, Fraction):
        return str(value)
    value = complex(value)
    if not cmath.isfinite(value):
        raise _NotComputed
    size = abs(value)
    real, imaginary = (_digits(part, size) for part in (value.real, value.imag))
    return real if imaginary == "0" else f"{real}+{imaginary}i"


def _digits(part: float, size: float) -> str:
    if abs(part) <= 1e-12 * max(size, 1.0):
        return "0"
    if abs(part) < 1e9:  # above, rounding makes any float a whole number
        near = Fraction(part).limit_denominator(1000 if abs(part) < 1e3 else 1)
        if abs(near - part) <= 1e-11 * size:
            return str(near)
    return f"{part:.9g}"
