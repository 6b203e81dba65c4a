"""Python code, which is parsed and never run."""

from __future__ import annotations

import ast
import builtins
import warnings

from ipsrl.llm.outcomes.answer import code_blocks, spoken

_LONGEST = 50_000  # characters of code
_NEVER = frozenset(dir(builtins))
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def python(text: str) -> str | None:
    """The code of the blocks that define a name, or of all blocks if none does.

    A name is defined by a function, class, assignment, import or loop.  So a block that only calls
    the solution, or shows its output, does not count.  A text without blocks is code as a whole.
    Equal: up to comments, docstrings, type hints, formatting, and the names that the code itself
    gives to variables, arguments, functions and classes; not those of attributes, methods and
    keywords.  Two ways to compute the same are two outcomes.
    None: without code that parses, in blocks of up to 50,000 characters; if no block defines a name
    and one that is marked as Python does not parse, as that may have been the solution.
    """
    text = spoken(text)
    blocks = [block for block in code_blocks(text) if block[0].lower() in _LANGUAGES]
    trees = [(language, _tree(code)) for language, code in blocks or [("", text)]]
    read = [tree for _, tree in trees if tree is not None]
    defining = [tree for tree in read if _bound(tree)]
    if not read or (not defining and any(name and tree is None for name, tree in trees)):
        return None
    whole = ast.Module([part for tree in defining or read for part in tree.body], [])
    try:
        return ast.unparse(_Renamed().visit(whole))
    except (ValueError, RecursionError, MemoryError):
        return None


_LANGUAGES = ("", "python", "python3", "py", "py3")


def _tree(code: str) -> ast.Module | None:
    """The parsed code; None for code that does not parse, and for words."""
    if len(code) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings
            tree = ast.parse(code.strip())
        tree = _Bare().visit(tree)
        words = all(isinstance(node, ast.Expr) and _is_word(node.value) for node in tree.body)
        return None if words else tree
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_word(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Constant)


class _Bare(ast.NodeTransformer):
    """Removes docstrings and type hints."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
            if not node.body and not isinstance(node, ast.Module):
                node.body = [ast.Pass()]
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:
            return node
        return ast.Assign(targets=[node.target], value=node.value, lineno=node.lineno)


class _Renamed(ast.NodeTransformer):
    """Renames the names that each scope binds to v0_0, v0_1, ... in their order of appearance."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, str]] = []

    def _name(self, name: str) -> str:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), name)

    def _enter(self, node: ast.AST) -> None:
        depth = len(self.scopes)
        bound = [name for name in dict.fromkeys(_bound(node)) if name not in _NEVER]
        self.scopes.append({name: f"v{depth}_{i}" for i, name in enumerate(bound)})

    def generic_visit(self, node: ast.AST) -> ast.AST:
        opens = isinstance(node, ast.Module | _Function | _Comprehension)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.name = self._name(node.name)  # of the scope around it
        if opens:
            self._enter(node)
        super().generic_visit(node)
        if isinstance(node, ast.Name):
            node.id = self._name(node.id)
        elif isinstance(node, ast.arg):
            node.arg = self._name(node.arg)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [self._name(name) for name in node.names]
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            node.name = self._name(node.name)
        elif isinstance(node, ast.alias) and (name := node.asname or node.name) in self.scopes[-1]:
            node.asname = self._name(name)
        if opens:
            self.scopes.pop()
        return node


def _bound(scope: ast.AST) -> list[str]:
    """The names that a scope binds itself, in their order of appearance."""
    names: list[str] = []
    given_away: set[str] = set()
    waiting = list(ast.iter_child_nodes(scope))[::-1]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.append(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.append(name)
                continue
            case ast.ClassDef(name=name):
                names.append(name)
                continue
            case ast.alias(name=name, asname=other):
                names.append(other or name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                names.append(name)
            case ast.MatchStar(name=str(name)):
                names.append(name)
            case ast.Global(names=others) | ast.Nonlocal(names=others):
                given_away.update(others)
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp():
                continue
            case ast.GeneratorExp():
                continue
        waiting.extend(list(ast.iter_child_nodes(node))[::-1])
    return [name for name in names if name not in given_away]
