"""Files that a run and the values of a component depend on."""

from __future__ import annotations

import shutil
from pathlib import Path

from ipsrl.functions import source_file
from ipsrl.molecules.config import ComponentConfig


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
