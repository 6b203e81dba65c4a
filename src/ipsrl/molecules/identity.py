"""Files that a run and the values of a component depend on, and their digests."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from ipsrl.functions import source_file
from ipsrl.molecules.config import ComponentConfig

_IPSRL = Path(__file__).parents[1]  # what it holds changes with the version, not with the run


def files(component: ComponentConfig) -> dict[str, Path]:
    """Files that its values depend on, by the names that the configuration gives them."""
    named: dict[str, str] = {}
    if component.function:
        named[component.function] = source_file(component.function)
    if component.docking:
        named[component.docking.receptor] = component.docking.receptor
    if component.qsar:
        named[component.qsar.model] = component.qsar.model
    if component.synthesis:
        named[component.synthesis.stock] = component.synthesis.stock
    for command in (component.command, component.docking.command if component.docking else ()):
        named |= {word: shutil.which(word) or word for word in command[:1]}
        named |= {word: word for word in command[1:]}
    return existing(named)


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 of the contents of files, one after another."""
    return sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def digests(named: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Short digests by name; what has no file, or comes with ipsrl, has none."""
    return {
        name: digest_of(paths)[:16]
        for name, paths in named.items()
        if paths and not paths[0].absolute().is_relative_to(_IPSRL)
    }


def prior_files(prior: str) -> list[Path]:
    """Files of the prior that a configuration names; none if it comes with ipsrl."""
    kinds = ("*.safetensors", "config.json", "tokenizer.json")
    folder = Path(prior)
    return sorted(path for kind in kinds if folder.is_absolute() for path in folder.glob(kind))


def existing(named: dict[str, str]) -> dict[str, Path]:
    return {name: Path(file) for name, file in named.items() if is_file(file)}


def is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # too long for a name: a script in a word
        return False
