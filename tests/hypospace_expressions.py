"""The checker of Boolean expressions: trees by brute force, and text as a tree.

Text is split at the operators that bind least.
"""

from __future__ import annotations

import string
from collections import Counter
from functools import lru_cache
from itertools import chain, pairwise

import hypospace_checker as checker

LOOSE = ("OR", "XOR", "NOR", "NAND", "XNOR")
SIGNS = {
    "&&": "AND", "||": "OR", "&": "AND", "|": "OR", "~": "NOT", "!": "NOT", "^": "XOR",
    "\u2227": "AND", "\u2228": "OR", "\u00ac": "NOT", "\u2295": "XOR", "(": "(", ")": ")", ",": ",",
}  # fmt: skip
WORDS = {
    "\\LAND": "AND", "\\WEDGE": "AND", "\\LOR": "OR", "\\VEE": "OR", "\\LNOT": "NOT",
    "\\NEG": "NOT", "\\OPLUS": "XOR",
} | {word: word for word in ["AND", "NOT", *LOOSE]}  # fmt: skip
LETTERS = string.ascii_letters + "_"
TOO_LONG = ("too long",)


# --- trees ----------------------------------------------------------------------------------------

# A name, ("NOT", tree) or (operator, tree, tree), raw; canonical ones have frozensets.

ALL = frozenset({"AND", "OR", "NOT"})


def raw(levels: int, operators: frozenset[str], names: str = "xy") -> list:
    """All expressions up to a depth, before any two are called the same."""
    space: list = list(names)
    for _ in range(levels):
        new = [("NOT", a) for a in space] if "NOT" in operators else []
        binary = [name for name in ("AND", "OR", "NOR") if name in operators]
        new += [(name, a, b) for a in space for b in space for name in binary]
        space = list(dict.fromkeys([*space, *new]))
    return space


def canonical(tree, *, splice: bool = True, once: bool = True):
    if isinstance(tree, str):
        return tree
    if tree[0] == "NOR":
        return canonical(("NOT", ("OR", *tree[1:])), splice=splice, once=once)
    children = [canonical(child, splice=splice, once=once) for child in tree[1:]]
    if tree[0] == "NOT":
        return ("NOT", children[0])
    if splice:
        spread = ([*c[1]] if not isinstance(c, str) and c[0] == tree[0] else [c] for c in children)
        children = list(chain.from_iterable(spread))
    if once:
        children = list(set(children))
        if len(children) == 1:
            return children[0]
        return (tree[0], frozenset(children))
    return (tree[0], frozenset(Counter(children).items()))


def text_of(tree) -> str:
    if isinstance(tree, str):
        return tree
    children = [tree[1]] if tree[0] == "NOT" else tree[1]
    return f"{tree[0]}({','.join(sorted(map(text_of, children)))})"


def value(tree, inputs: dict[str, int]) -> int:
    if isinstance(tree, str):
        return inputs[tree]
    if tree[0] == "NOT":
        return 1 - value(tree[1], inputs)
    return (min if tree[0] == "AND" else max)(value(child, inputs) for child in tree[1])


@lru_cache
def brute_force(levels: int, operators: frozenset[str], names: str = "xy") -> dict[str, tuple]:
    """Canonical trees by key."""
    return {text_of(tree): tree for tree in map(canonical, raw(levels, operators, names))}


# --- text -----------------------------------------------------------------------------------------


def refused(tree) -> bool:
    """Has it an unknown variable or operator, or too many characters?"""
    if isinstance(tree, str):
        return tree not in ("x", "y")
    return tree[0] not in ("AND", "OR", "NOT") or any(map(refused, tree[1:]))


def tree_of_line(line: str):
    """A raw tree of the expression on a line; None if it is not of that form."""
    if len(line) > 2000:
        return TOO_LONG
    line = checker.unframed(checker.spaced(line, checker.SPACING))
    pairs = (("\\(", "\\)"), ("\\[", "\\]"))
    for a, b in (*pairs, ("{", "}"), *pairs):
        while line.endswith(b) and line.count(b) > line.count(a):
            line = line[: -len(b)].rstrip(checker.AFTER_A_LINE)
    if len(line) > 1 and line[0] == line[-1] == "'" and line.count("'") == 2:
        line = line[1:-1]
    for a, b in pairs:
        if line.startswith(a) and line.endswith(b) and line.count(a) == line.count(b) == 1:
            line = checker.unframed(line[2:-2]) if len(line) > 3 else line
        line = line.replace(a, "(").replace(b, ")")
    tokens = tokens_of(after_function(line))
    return None if tokens is None else tree_of(tokens)


def after_function(line: str) -> str:
    """What follows "f =" or "f(x, y) :=", where f means nothing else."""
    left, equals, right = line.partition("=")
    name, paren, arguments = left.removesuffix(":").strip(" ").partition("(")
    names = [name.strip(" ")]
    if paren:
        if not arguments.endswith(")"):
            return line
        names += [argument.strip(" ") for argument in arguments[:-1].split(",")]
    number = names[0][1:].removeprefix("_")
    named = names[0][:1] in [*"fghFGH"] and not number.strip(string.digits)
    named = named and (number != "" or len(names[0]) == 1)
    well_formed = all(one and not one.strip(LETTERS + string.digits) for one in names)
    return right if equals and well_formed and named else line


def joins(text: str) -> bool:
    """Has a text beside a box an operator: a sign, a command, or a word in capitals?"""
    words = "".join(c if c in LETTERS + string.digits else " " for c in text).split()
    capitals = {word.upper() for word in (*checker.BINARY_WORDS, "not")}
    commands = (*checker.BINARY_COMMANDS, r"\neg", r"\lnot", r"\overline", r"\bar")
    signs = any(c in checker.SIGNS for c in text)
    return signs or bool(capitals & {*words}) or any(has_command(text, one) for one in commands)


def has_command(text: str, command: str) -> bool:
    return any(rest[:1] not in [*string.ascii_letters] for rest in text.split(command)[1:])


def continues(line: str) -> bool:
    """Does a line begin with an operator between two operands, brackets aside?"""
    while line[:1] in [*" (){}[]"] or line[:2] in (r"\(", r"\)", r"\[", r"\]"):
        line = line[1 + (line[0] == "\\") :]
    word = line[: len(line) - len(line.lstrip(LETTERS + string.digits))]
    commands = checker.BINARY_COMMANDS
    return (
        line[:1] in [*"&|^\u2227\u2228\u2295"]
        or word.lower() in checker.BINARY_WORDS
        or any(line.startswith(one) and has_command(line[: len(one) + 1], one) for one in commands)
    )


def only_names(line: str) -> bool:
    """Has a line words, and are all of them variables and operators?"""
    words = "".join(c if c.isalnum() or c in "_\\" else " " for c in line)
    names = words.replace("\\", " \\").split()
    names = [name for name in names if name != "\\"]
    return names != [] and all(name in ("x", "y") or name.upper() in WORDS for name in names)


def torn(part: checker.Part) -> bool:
    """Does what stands around an expression, or on the next line, go on with it?"""
    beside, _, after = part.after.partition("\n")
    if checker.torn(part, joins) or beside.startswith("'") or continues(beside):
        return True
    for below in (checker.lines_of(part.text)[1:], after.split("\n")):
        lines = checker.lines_of("\n".join(below))
        line = checker.unframed(checker.spaced(lines[0], checker.LATEX)) if lines else ""
        if (continues(line) or only_names(line)) and not line.endswith("|"):
            return True
    return False


def tokens_of(line: str) -> list[str] | None:
    """Operators by their names; a type such as \\text{ and its brace are nothing."""
    tokens, at, types = [], 0, 0
    while at < len(line):
        end = at + 1
        opened = next(
            (
                brace + 1
                for name in checker.TYPES
                if line.startswith(name, at)
                and line[at + len(name) : at + len(name) + 1] in ("{", " ")
                and line[(brace := at + len(name) + spaces(line, at + len(name))) :][:1] == "{"
            ),
            0,
        )
        if line[at] == " ":
            pass
        elif opened:
            types, end = types + 1, opened
        elif line[at] == "}":
            types -= 1
            if types < 0:
                return None
        elif line[at : at + 2] in SIGNS:
            tokens, end = [*tokens, SIGNS[line[at : at + 2]]], at + 2
        elif line[at] in SIGNS:
            tokens.append(SIGNS[line[at]])
        elif line[at] in string.digits:
            while line[end : end + 1] and line[end] in string.digits:
                end += 1
            tokens.append(line[at:end])
        else:
            start = at + (line[at] == "\\")
            end = start + 1
            if line[start : start + 1] not in [*LETTERS]:
                return None
            while line[end : end + 1] and line[end] in LETTERS + string.digits:
                end += 1
            tokens.append(WORDS.get(line[at:end].upper(), line[at:end]))
        at = end
    return None if types else tokens


def spaces(line: str, at: int) -> int:
    return len(line) - at - len(line[at:].lstrip(" "))


def closing(tokens: list[str], at: int) -> int:
    """Where the parenthesis at `at` closes; past the end if it does not."""
    depth_ = 0
    for i in range(at, len(tokens)):
        depth_ += (tokens[i] == "(") - (tokens[i] == ")")
        if depth_ == 0:
            return i
    return len(tokens)


def tree_of(tokens: list[str]):
    """Split at the operators that bind least and stand outside parentheses."""
    infix, at, operand = [], 0, True
    while at < len(tokens):
        token = tokens[at]
        if operand and token == "NOT":
            at += 1
            continue
        if operand:
            prefix = token == "AND" or token in LOOSE
            if token in (")", ",") or (prefix and tokens[at + 1 : at + 2] != ["("]):
                return None
            at = closing(tokens, at + prefix) if prefix or token == "(" else at
        elif token == "AND" or token in LOOSE:
            infix.append(at)
        else:
            return None
        at, operand = at + 1, not operand
    if operand or at > len(tokens):
        return None
    loose = [i for i in infix if tokens[i] in LOOSE]
    cuts = loose or infix
    if cuts:
        operators = {tokens[i] for i in cuts}
        if operators not in ({"AND"}, {"OR"}) and len(cuts) > 1:
            return None
        spans = [*pairwise([-1, *cuts, len(tokens)])]
        return node(operators.pop(), [tokens[a + 1 : b] for a, b in spans])
    if tokens[0] == "NOT":
        return node("NOT", [tokens[1:]])
    if tokens[0] == "(":
        return tree_of(tokens[1:-1])
    if len(tokens) == 1:
        return tokens[0]
    inner, spans, start = tokens[2:-1], [], 0
    for i in range(len(inner)):
        if inner[i] == "," and inner[:i].count("(") == inner[:i].count(")"):
            spans, start = [*spans, inner[start:i]], i + 1
    spans.append(inner[start:])
    if len(spans) < 2 or (len(spans) > 2 and tokens[0] not in ("AND", "OR")):
        return None
    return node(tokens[0], spans)


def node(operator: str, operands: list[list[str]]):
    trees = [tree_of(tokens) for tokens in operands]
    return None if None in trees else (operator, *trees)
