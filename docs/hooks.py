"""Links that leave `docs`, or name a folder, lead somewhere on the site too.

In the repository such a link shows the file or the folder.  The site gets a page for each of them,
below `repository`: a file as it is, a folder as the list of its files.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages."""
    for page in list(files.documentation_pages()):
        for target in LINK.findall(page.content_string):
            path = _outside(page, target)
            if path and not files.get_file_from_path(_uri(path)):
                files.append(File.generated(config, _uri(path), content=_content(path)))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Link to them."""

    def on_the_site(match: re.Match[str]) -> str:
        path = _outside(page.file, match[1])
        return os.path.relpath(_uri(path), Path(page.file.src_uri).parent) if path else match[1]

    return LINK.sub(on_the_site, markdown)


def _outside(page: File, target: str) -> Path | None:
    """What a link leads to, if it has no page of its own."""
    if page.abs_src_path is None:
        return None
    path = Path(page.abs_src_path).parent.joinpath(target).resolve()
    inside = path.is_relative_to(DOCS) and not path.is_dir()
    return path if path.is_relative_to(ROOT) and path.exists() and not inside else None


def _uri(path: Path) -> str:
    return f"repository/{path.relative_to(ROOT).as_posix().removesuffix('.md')}.md"


def _content(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text()
    parts = [f"# {path.relative_to(ROOT)}"]
    up = "../" * _uri(path).count("/")
    for file in [path] if path.is_file() else sorted(filter(Path.is_file, path.rglob("*"))):
        if file.is_relative_to(DOCS):  # the site has it
            parts.append(f"- [{file.relative_to(path)}]({up}{file.relative_to(DOCS)})")
        else:
            parts.append(f"## {file.name}\n\n```{file.suffix[1:]}\n{file.read_text()}```")
    return "\n\n".join(parts)
