"""Run directories: what a run leaves behind, and how it goes on after an interruption."""

from ipsrl.runs.environment import differences, digest_of, digests, installed_versions
from ipsrl.runs.folder import Folder, check_folder, check_free, write_whole
from ipsrl.runs.live import logging_to
from ipsrl.runs.loudness import progress, speaking
from ipsrl.runs.parts import Parts
from ipsrl.runs.run import Run

__all__ = [
    "Folder",
    "Parts",
    "Run",
    "check_folder",
    "check_free",
    "differences",
    "digest_of",
    "digests",
    "installed_versions",
    "logging_to",
    "progress",
    "speaking",
    "write_whole",
]
