"""The pages of the documentation, and the blocks of code on them."""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "src").rglob("*.py"))
    if re.search(r"^__all__ = ", path.read_text(), re.MULTILINE)
]
"""Modules with public names."""
PROGRAMS = (
    "ipsrl", "python", "python3", ".venv/bin/python", "pip", "make", "pytest", "trl", "ray", "ln",
    "git",
)  # fmt: skip
"""What an indented block of commands is known by."""
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n) {4}.*\n(?:\n* {4}.*\n)*")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
      page: where it stands, from the root.
      line: its first line there.
      language: python, diff, sh, toml, yaml, or text, which is not run.
      code: what it says.
    """

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The file that it is, if its first line names one: `# mine.toml`."""
        named = re.match(r"# (\w+\.(?:toml|py))\n", self.code)
        return named[1] if named else ""

    def commands(self) -> list[str]:
        """The commands, each in one line: what follows a `$`, or all lines if none has one."""
        lines = self.code.replace("\\\n", " ").splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return prompted or [line for line in lines if not re.match(r"\s*(#|$)", line)]


def blocks(page: Path) -> list[Block]:
    """All blocks of a page; what language an indented one has is seen from what it says."""
    text, name = page.read_text(), str(page.relative_to(ROOT))
    found = [(m.start(), m[1], m[2]) for m in _FENCED.finditer(text)]
    rest = _FENCED.sub(lambda m: "\n" * m[0].count("\n"), text)  # keeps the number of a line
    line_of = [m.start() for m in re.finditer(r"^", text, re.MULTILINE)]
    for m in _INDENTED.finditer(rest):
        code = textwrap.dedent(m[0])
        found.append((line_of[rest.count("\n", 0, m.start())], _language(code), code))
    return [
        Block(name, text.count("\n", 0, start) + 1, language, code)
        for start, language, code in sorted(found)
    ]


def code_of(page: str) -> list[str]:
    """The fenced Python of a page."""
    return [m[2] for m in _FENCED.finditer((ROOT / page).read_text()) if m[1] == "python"]


def _is_command(line: str) -> bool:
    return line.startswith("$ ") or line.startswith(tuple(f"{program} " for program in PROGRAMS))


def _language(code: str) -> str:
    if any(map(_is_command, code.splitlines())):
        return "sh"
    try:
        if any(isinstance(n, ast.Import | ast.ImportFrom | ast.FunctionDef)
               for n in ast.walk(ast.parse(code))):  # fmt: skip
            return "python"
    except SyntaxError:
        pass
    try:
        return "toml" if tomllib.loads(code) else "text"
    except tomllib.TOMLDecodeError:
        return "text"
