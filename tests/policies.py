"""Policies in an environment, away from uniform, so that a mix-up of states or actions shows."""

import jax
from jax import Array

from ipsrl.grids import Enumerable, Table
from ipsrl.grids.policy import MLPPolicy, TabularPolicy


def policy_of(kind: str, environment: Enumerable, seed: int = 0) -> MLPPolicy | TabularPolicy:
    """A policy of this kind, "mlp" or "tabular"."""
    key, actions = jax.random.key(seed), environment.actions
    if kind == "mlp":
        policy = MLPPolicy(environment.observation, actions, 16, key)
        return jax.tree.map(lambda x: 3 * x, policy)
    logits = jax.random.normal(key, (environment.states, actions))
    return jax.tree.map(lambda _: logits, TabularPolicy(environment.states, actions))


def log_probs_of(policy: MLPPolicy | TabularPolicy, table: Table) -> Array:
    """Log-probabilities of all actions in all states [S, A]."""
    return policy.table(table.observations, table.legal)
