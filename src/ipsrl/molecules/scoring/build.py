"""The component that a configuration names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import PurePath

from ipsrl.molecules.component import Component
from ipsrl.molecules.config import ComponentConfig
from ipsrl.molecules.identity import files
from ipsrl.molecules.molecule import Fingerprint
from ipsrl.molecules.scoring.own import Function, Program
from ipsrl.molecules.scoring.properties import PROPERTIES, Property, Similarity, Smarts
from ipsrl.runs import digest_of


def build(config: ComponentConfig) -> Component:
    """The component that a configuration names.

    Raises:
      ConfigError, InvalidInput, MissingExtra: if it cannot be built.
    """
    return _MAKERS[config.kind](config)


def _identity(config: ComponentConfig) -> str:
    """A description of everything on which the values of a function or program depend."""
    found = files(config)
    # By its name: where a file lies says nothing of what it holds.
    named = [config.function] if config.function else config.command
    source = [PurePath(word).name if word in found else word for word in named]
    digest = digest_of(found.values())
    return f"{config.kind} {json.dumps(source)} {config.version} sha256 {digest}"


def _docking(config: ComponentConfig) -> Component:
    from ipsrl.molecules.docking.docking import Docking

    assert config.docking is not None  # for the type checker: the configuration is complete
    return Docking(config.docking)


def _synthesis(config: ComponentConfig) -> Component:
    from ipsrl.molecules.synthesis.planner import Synthesis

    assert config.synthesis is not None
    return Synthesis(config.synthesis)


def _qsar(config: ComponentConfig) -> Component:
    from ipsrl.molecules.scoring.qsar import Qsar

    assert config.qsar is not None
    return Qsar(config.qsar)


_MAKERS: dict[str, Callable[[ComponentConfig], Component]] = {
    **dict.fromkeys(PROPERTIES, lambda config: Property(PROPERTIES[config.kind])),
    "smarts": lambda config: Smarts(config.smarts, alert=False),
    "alert": lambda config: Smarts(config.smarts, alert=True),
    "similarity": lambda config: Similarity(
        config.smiles, Fingerprint(config.radius, config.counts, config.features)
    ),
    "function": lambda config: Function(config.function, _identity(config)),
    "program": lambda config: Program(config.command, config.timeout, _identity(config)),
    "docking": _docking,
    "synthesis": _synthesis,
    "qsar": _qsar,
}
"""What makes each kind of `config.KINDS`."""
