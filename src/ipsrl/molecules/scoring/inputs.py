"""The files and versions on which the values of a search depend, beside its configuration.

environment.json of a run holds them, and so does each line of records.jsonl.  A run goes on, and a
record is used again, only where they are the same.
"""

from __future__ import annotations

from ipsrl.functions import source_file
from ipsrl.molecules.config import KINDS, Config
from ipsrl.molecules.identity import existing, files, prior_files
from ipsrl.molecules.molecule import NAMES
from ipsrl.runs import digests, installed_versions


def inputs(config: Config) -> dict[str, str]:
    """Versions of libraries, and digests of files by their names in the configuration."""
    if config.stages:
        each = [inputs(config.of_stage(number)) for number in range(len(config.stages))]
        return {name: value for one in each for name, value in one.items()}
    kinds = sorted({component.kind for component in config.components})
    libraries = ["rdkit", *(name for kind in kinds for name in KINDS[kind].libraries)]
    found = installed_versions(libraries) | {"names of molecules": NAMES}
    searches = [component.synthesis for component in config.components if component.synthesis]
    if any(search.model == "templates" for search in searches):
        from ipsrl.molecules.synthesis.templates import digest, templates

        found["templates"] = digest(templates())
    if any(search.rule == "all-amide" for search in searches):
        from ipsrl.molecules.synthesis.reactions import IDENTITY

        found["all-amide"] = IDENTITY
    named: dict[str, str] = {}
    if config.inception:
        named[config.inception] = config.inception
    if ":" in config.outcome:
        named[config.outcome] = source_file(config.outcome)
    paths = existing(named)
    for component in config.components:
        paths |= files(component)
    of_each = {config.prior: prior_files(config.prior)}
    return found | digests(of_each | {name: [path] for name, path in paths.items()})
