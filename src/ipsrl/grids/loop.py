"""The compiled training loop on a grid: sample, score, scale, update, in one `lax.scan`.

Every loss is a sum over trajectories of coef(tau) log pi(tau), so its gradient with respect to the
table of log-probabilities is all that goes back through the network, once per update.  Seeds are
vmapped.  Iteration i of a seed draws from fold_in(key(seed), i), so a resumed run needs no
generator state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ipsrl.core.group import Group
from ipsrl.core.losses import (
    clipped_surrogate,
    flowrl_residual,
    kl_estimate,
    trajectory_balance_residual,
)
from ipsrl.core.metrics import coverage, effective_outcomes, total_l1
from ipsrl.core.probability import group_frequency
from ipsrl.grids.config import Learning
from ipsrl.grids.policy import MLPPolicy, TabularPolicy
from ipsrl.grids.rollout import Everywhere, Rollout, Steps, View, WhereVisited


class Carry(NamedTuple):
    """All that one seed's training remembers between iterations."""

    policy: Any
    log_z: jax.Array
    optimiser: Any
    reference: Any  # the initial policy
    estimator: Any


class Evaluation(NamedTuple):
    """What is recorded at one moment of one seed."""

    total_l1: jax.Array
    mode_mass: jax.Array
    modes_found: jax.Array
    effective_outcomes: jax.Array
    expected_reward: jax.Array
    loss: jax.Array
    final_B: jax.Array  # outcomes of the last batch


class Loop:
    """Training of one configuration, compiled once.

        carry = loop.init(seeds)
        carry, evaluations = loop.run(carry, seeds, first_iteration)

    One `run` is a chunk of `checkpoint_every` iterations from a multiple of it on (fewer at the
    end), evaluated every `eval_every`; results are [seeds, evaluations].
    """

    def __init__(self, config: Learning) -> None:
        self.config = config
        self.grid = grid = config.grid()
        self.view: View = Everywhere(grid) if config.tabulated else WhereVisited(grid)
        self.method, self.estimator = config.shaping(), config.estimates()
        decay = (config.lr_end or config.lr) / config.lr
        updates = config.iterations * config.epochs
        schedule = optax.exponential_decay(config.lr, updates, decay_rate=decay)
        self.optimiser = optax.partition(
            {"policy": optax.adam(schedule), "log_z": optax.adam(config.lr_log_z)},
            ("policy", "log_z"),
        )
        self.init = jax.jit(jax.vmap(self._init))
        self.run = jax.jit(jax.vmap(self._chunk, in_axes=(0, 0, None)))
        self.behaviour = jax.jit(jax.vmap(self._behaviour))

    def _init(self, seed: jax.Array) -> Carry:
        config, grid = self.config, self.grid
        if config.policy == "mlp":
            policy = MLPPolicy(grid, config.hidden, jax.random.fold_in(jax.random.key(seed), 0))
        else:
            policy = TabularPolicy(grid)
        log_z = jnp.zeros(())
        groups = (config.batch // config.group_size, config.group_size)
        nothing = jnp.zeros((grid.horizon, config.batch), jnp.int32)
        steps = Steps(nothing, nothing, jnp.zeros(nothing.shape, bool))
        empty = Group(ids=jnp.zeros(groups, jnp.int32), trajectories=steps)
        params: Any = (policy, log_z)
        return Carry(policy, log_z, self.optimiser.init(params), policy, self.estimator.init(empty))

    def _chunk(self, carry: Carry, seed: jax.Array, first: jax.Array) -> tuple[Carry, Evaluation]:
        config, key = self.config, jax.random.key(seed)

        def segment(carry: Carry, start: jax.Array) -> tuple[Carry, Evaluation]:
            stop = jnp.minimum(start + config.eval_every, config.iterations)
            nothing_yet = jnp.zeros(config.batch, jnp.int32), jnp.zeros(())

            def iterate(i: jax.Array, state: Any) -> Any:
                # 0 made the initial policy.
                return self._iteration(state[0], jax.random.fold_in(key, i + 1))

            carry, (final_B, loss) = jax.lax.fori_loop(start, stop, iterate, (carry, nothing_yet))
            return carry, self._evaluate(carry, final_B, loss)

        offsets = np.arange(0, config.checkpoint_every, config.eval_every)
        return jax.lax.scan(segment, carry, first + jnp.asarray(offsets))

    def _iteration(self, carry: Carry, key: jax.Array) -> tuple[Carry, tuple[jax.Array, jax.Array]]:
        """Draw a batch, learn from it `epochs` times; returns its outcomes and last loss too."""
        config, view = self.config, self.view
        log_pi, pullback, rollout = view.sample(carry.policy, key, config.batch)
        log_old_TB = view.taken(log_pi, rollout.steps)
        signal_B, estimator = self._signal(carry, log_pi, log_old_TB, rollout)
        log_ref_TB = jnp.zeros(())  # not used
        if config.kl > 0 or config.method == "flowrl":
            log_ref_TB = view.taken(view.log_probs(carry.reference, rollout.steps), rollout.steps)

        params: Any = (carry.policy, carry.log_z)
        optimiser, loss = carry.optimiser, jnp.zeros(())
        for epoch in range(config.epochs):
            if epoch > 0:
                log_pi, pullback = jax.vjp(lambda p: view.log_probs(p, rollout.steps), params[0])
            loss, (log_pi_grad, log_z_grad) = jax.value_and_grad(self._loss, argnums=(0, 1))(
                log_pi, params[1], rollout.steps, log_old_TB, log_ref_TB, signal_B
            )
            (policy_grad,) = pullback(log_pi_grad)
            updates, optimiser = self.optimiser.update((policy_grad, log_z_grad), optimiser)
            params = optax.apply_updates(params, updates)
        carry = Carry(params[0], params[1], optimiser, carry.reference, estimator)
        return carry, (rollout.final_B, loss)

    def _signal(
        self, carry: Carry, log_pi: jax.Array, log_old_TB: jax.Array, rollout: Rollout
    ) -> tuple[jax.Array, Any]:
        """What each trajectory is taught [B]: an advantage, or its log-reward for tb."""
        config = self.config
        rewards_B = self.view.rewards(rollout.final_B)
        if config.method == "tb":
            return jnp.log(rewards_B), carry.estimator
        groups, above = (-1, config.group_size), config.success_above
        rewards_PG, ids_PG = rewards_B.reshape(groups), rollout.final_B.reshape(groups)
        success_PG = None if above is None else rewards_PG > above
        group, estimator = Group(rewards_PG, ids_PG, success=success_PG), carry.estimator
        if self.method.needs:
            group = self._evidence(group, estimator, log_pi, log_old_TB, rollout)
        if config.needs("p"):
            p_PG, estimator = self.estimator(group, estimator)
            group = group._replace(p=p_PG)
        return self.method(group).advantages.reshape(-1), estimator

    def _evidence(
        self, group: Group, state: Any, log_pi: jax.Array, log_old_TB: jax.Array, rollout: Rollout
    ) -> Group:
        """The group with what an estimator or a method may look at."""
        shape, p_PG, history_log_pf = group.ids.shape, None, None
        if "p" in self.estimator.needs:
            p_S = self.grid.terminal_distribution(log_pi)
            # 1e-12: a float32 product of probabilities may vanish although it was drawn
            p_PG = jnp.maximum(p_S, 1e-12)[group.ids]
        if (stored := self.estimator.stored(state)) is not None:
            history_log_pf = self.view.taken(log_pi, stored).sum(-2).reshape(-1, *shape)
        return group._replace(
            p=p_PG,
            log_pf=log_old_TB.sum(0).reshape(shape),
            log_pb=self.view.log_backward(rollout.steps).reshape(shape),
            trajectories=rollout.steps,
            history_log_pf=history_log_pf,
        )

    def _loss(
        self,
        log_pi: jax.Array,
        log_z: jax.Array,
        steps: Steps,
        log_old_TB: jax.Array,
        log_ref_TB: jax.Array,
        signal_B: jax.Array,
    ) -> jax.Array:
        """Mean over trajectories, as a function of the log-probabilities of all actions."""
        config = self.config
        log_new_TB, live_TB = self.view.taken(log_pi, steps), steps.live_TB
        log_new_B = log_new_TB.sum(0)
        if config.method == "tb":
            log_pb_B = self.view.log_backward(steps)
            loss = (trajectory_balance_residual(log_z, log_new_B, log_pb_B, signal_B) ** 2).mean()
        elif config.method == "flowrl":
            length_B = live_TB.sum(0)
            mean_ref_B = log_ref_TB.sum(0) / length_B
            residual_B = flowrl_residual(
                log_z, log_new_B / length_B, mean_ref_B, signal_B, beta=config.beta
            )
            ratio_B = jnp.exp(jax.lax.stop_gradient(log_new_B - log_old_TB.sum(0)))
            loss = (jnp.clip(ratio_B, 1 - config.clip, 1 + config.clip) * residual_B**2).mean()
        else:
            loss_BT = clipped_surrogate(
                log_new_TB.T,
                log_old_TB.T,
                signal_B,
                clip_low=config.clip,
                clip_high=config.clip,
                mask=live_TB.T,
            )
            loss = loss_BT.sum(-1).mean()
        if config.kl > 0:
            loss = loss + config.kl * kl_estimate(log_new_TB, log_ref_TB).sum(0).mean()
        if config.entropy > 0:
            entropy_TB = jnp.where(live_TB, self.view.entropy(log_pi, steps), 0.0)
            loss = loss - config.entropy * entropy_TB.sum() / live_TB.sum()
        return loss

    def _behaviour(self, policy: Any) -> tuple[jax.Array, jax.Array]:
        """Exact terminal distribution [S], and the probabilities of all actions [S, A]."""
        log_pi = policy.table(self.grid)
        return self.grid.terminal_distribution(log_pi), jnp.exp(log_pi)

    def _evaluate(self, carry: Carry, final_B: jax.Array, loss: jax.Array) -> Evaluation:
        """Exact where the grid can be enumerated; else from the last batch, distances unknown."""
        grid = self.grid
        modes = grid.num_modes
        if not self.config.tabulated:
            share = jnp.zeros(modes + 1).at[grid.modes_of(final_B, jnp)].add(1 / len(final_B))
            return Evaluation(
                total_l1=jnp.asarray(jnp.nan),
                mode_mass=share[:-1],
                modes_found=(share[:-1] > 0).sum(),
                effective_outcomes=jnp.exp(-jnp.log(group_frequency(final_B)).mean()),
                expected_reward=self.view.rewards(final_B).mean(),
                loss=loss,
                final_B=final_B,
            )
        p_S = grid.terminal_distribution(carry.policy.table(grid))
        p_S = p_S / p_S.sum()  # float32 rounding
        target_S = jnp.asarray(grid.target, jnp.float32)
        mode_S = jnp.asarray(grid.modes_of(np.arange(grid.states)))
        mass, wanted = (jnp.zeros(modes + 1).at[mode_S].add(q_S)[:-1] for q_S in (p_S, target_S))
        return Evaluation(
            total_l1=total_l1(p_S, target_S),
            mode_mass=mass,
            modes_found=jnp.round(coverage(mass, wanted) * modes) if modes else jnp.zeros(()),
            effective_outcomes=effective_outcomes(p_S),
            expected_reward=p_S @ self.view.rewards(jnp.arange(grid.states)),
            loss=loss,
            final_B=final_B,
        )
