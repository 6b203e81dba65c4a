"""The test of an environment of one's own."""

from __future__ import annotations

from ipsrl.grids.evaluation import total_reward
from ipsrl.grids.laws import checked
from ipsrl.grids.table import table_of


def check_environment(environment: object) -> None:
    """Test whether an environment keeps the laws of `Environment`, and of what else it is.

    Attributes have their types, and methods their shapes and dtypes under `jax.jit`.  In the first
    2,000 states of 64 random trajectories an action is legal; observations are in their range, and
    differ where states do; `legal_back` and `step_back` undo the last step, and whatever they undo
    leads forward again; a reward is finite and not negative, and a mode has its number; `index` and
    `state` are inverse; and the trajectory stops within the horizon.  All states of an `Enumerable`
    of at most 2^20 are then tested for circles, for the horizon, for a reward above 0, and for the
    sum of `reward_counts`.

    It takes about a second, and `ipsrl train env` does it before it trains.

    Args:
      environment: an object with the attributes and methods of `Environment`.
    Raises:
      InvalidInput: naming the first attribute or method that is wrong, what it gives, and what it
        should give.
    """
    kept = checked(environment, type(environment).__name__)
    total_reward(kept, table_of(kept))
