"""What the values of a search depend on beside its configuration: files and versions.

environment.json of a run holds them, and so does each line of records.jsonl.  A run goes on, and a
record is used again, only where they are the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from ipsrl.functions import source_file
from ipsrl.molecules.config import ComponentConfig, Config
from ipsrl.runs import installed_versions

_LIBRARIES = {"docking": ("vina", "meeko", "openbabel-wheel"), "synthesis": ("syntheseus",)}
_IPSRL = Path(__file__).parents[2]  # what it holds changes with the version, not with the run


def inputs(config: Config) -> dict[str, str]:
    """Versions of libraries, and digests of files by their names in the configuration."""
    kinds = sorted({component.kind for component in config.components})
    libraries = ["rdkit", *(name for kind in kinds for name in _LIBRARIES.get(kind, ()))]
    found = installed_versions(libraries)
    searches = [component.synthesis for component in config.components if component.synthesis]
    if any(search.model == "templates" for search in searches):
        from ipsrl.molecules.synthesis.templates import digest, templates

        found["templates"] = digest(templates())
    if any(search.rule == "all-amide" for search in searches):
        from ipsrl.molecules.synthesis.reactions import IDENTITY

        found["all-amide"] = IDENTITY
    named = {config.prior: str(Path(config.prior, "model.safetensors"))}
    if ":" in config.outcome:
        named[config.outcome] = source_file(config.outcome)
    paths = _existing(named)
    for component in config.components:
        paths |= files(component)
    for name, path in paths.items():
        if not path.absolute().is_relative_to(_IPSRL):
            found[name] = digest_of([path])[:16]
    return found


def files(component: ComponentConfig) -> dict[str, Path]:
    """Files that its values depend on, by the names that the configuration gives them."""
    named: dict[str, str] = {}
    if component.function:
        named[component.function] = source_file(component.function)
    if component.docking:
        named[component.docking.receptor] = component.docking.receptor
    if component.synthesis:
        named[component.synthesis.stock] = component.synthesis.stock
    for command in (component.command, component.docking.command if component.docking else ()):
        named |= {word: shutil.which(word) or word for word in command[:1]}
        named |= {word: word for word in command[1:]}
    return _existing(named)


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 of the contents of files, one after another."""
    return sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _existing(named: dict[str, str]) -> dict[str, Path]:
    return {name: Path(file) for name, file in named.items() if is_file(file)}


def is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # too long for a name: a script in a word
        return False
