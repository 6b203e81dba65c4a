"""The paper's theory, executable: gradient flows (`flows`) and finite groups (`groups`)."""

from ipsrl.theory.advice import Advice, advise
from ipsrl.theory.groups import expected_update, needed_group_size, simulate

__all__ = ["Advice", "advise", "expected_update", "needed_group_size", "simulate"]
