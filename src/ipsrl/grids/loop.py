"""The compiled training loop of the hyper-grid: sample, score, scale, update, in one `lax.scan`.

One iteration evaluates the policy once, on all states; sampling is table look-up; and because every
loss is a sum over trajectories of coef(tau) log pi(tau), its gradient with respect to the table is
all that goes back through the network.  Seeds are vmapped.  Iteration i of a seed draws from
fold_in(key(seed), i), so a resumed run needs no generator state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ipsrl.core.advantage import group_advantage
from ipsrl.core.losses import (
    clipped_surrogate,
    flowrl_residual,
    kl_estimate,
    policy_entropy,
    trajectory_balance_residual,
)
from ipsrl.core.metrics import coverage, effective_outcomes, total_l1
from ipsrl.core.probability import (
    Estimator,
    Exact,
    GroupFrequency,
    LeaveOneOut,
    Likelihood,
    Replay,
    Samples,
    group_frequency,
)
from ipsrl.core.scaling import ips_rewards
from ipsrl.grids.config import Config
from ipsrl.grids.hypergrid import HyperGrid
from ipsrl.grids.policy import MLPPolicy, TabularPolicy

ESTIMATORS: dict[str, Callable[[Config], Estimator]] = {
    "group": lambda config: GroupFrequency(),
    "leave-one-out": lambda config: LeaveOneOut(),
    "replay": lambda config: Replay(batches=config.replay_batches),
    "likelihood": lambda config: Likelihood(),
    "exact": lambda config: Exact(),
}
TRANSFORMS = {"id": lambda r: r, "sqrt": jnp.sqrt, "log": jnp.log}


class Rollout(NamedTuple):
    """A batch of trajectories: step t of trajectory b was in a state, and took an action there."""

    states_TB: jax.Array
    actions_TB: jax.Array
    live_TB: jax.Array  # False after the stop
    final_B: jax.Array


class Carry(NamedTuple):
    """All that one seed's training remembers between iterations."""

    policy: Any
    log_z: jax.Array
    optimiser: Any
    reference: Any  # the initial policy
    estimator: Any
    history_TB: Any  # (states, actions, live) of the replayed batches [M, T, B], or ()


class Evaluation(NamedTuple):
    """What is recorded at one moment of one seed."""

    total_l1: jax.Array
    modes_found: jax.Array
    effective_outcomes: jax.Array
    expected_reward: jax.Array
    loss: jax.Array
    final_B: jax.Array  # outcomes of the last batch


class Loop:
    """Training of one configuration, compiled once.

        carry = loop.init(seeds)
        carry, evaluations = loop.run(carry, seeds, first_iteration)   # one chunk

    Chunks end on multiples of `config.checkpoint_every`, or at `config.iterations`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.grid = grid = config.grid()
        self.tabulated = config.tabulated
        self.estimator = ESTIMATORS[config.estimator](config)
        decay = (config.lr_end or config.lr) / config.lr
        schedule = optax.exponential_decay(
            config.lr, config.iterations * config.epochs, decay_rate=decay
        )
        self.optimiser = optax.partition(
            {"policy": optax.adam(schedule), "log_z": optax.adam(config.lr_log_z)},
            ("policy", "log_z"),
        )
        self.strides = jnp.asarray(grid.strides)
        if self.tabulated:
            self.rewards_S = jnp.asarray(grid.rewards, jnp.float32)
            self.target_S = jnp.asarray(grid.target, jnp.float32)
            self.parents_S = jnp.asarray(np.log(np.maximum((grid.coordinates > 0).sum(-1), 1)))
        self.init = jax.jit(jax.vmap(self._init))
        self.run = jax.jit(jax.vmap(self._chunk, in_axes=(0, 0, None)))
        self.terminal_distribution = jax.jit(
            jax.vmap(lambda policy: grid.terminal_distribution(policy.table(grid)))
        )

    # --- one seed -----------------------------------------------------------------------------

    def _init(self, seed: jax.Array) -> Carry:
        config, grid = self.config, self.grid
        if config.policy == "mlp":
            policy = MLPPolicy(grid, config.hidden, jax.random.key(seed))
        else:
            policy = TabularPolicy(grid)
        log_z = jnp.zeros(())
        shape = (config.batch // config.group_size, config.group_size)
        history = ()
        if config.uses("replay"):
            steps = (config.replay_batches, grid.horizon, config.batch)
            history = (
                jnp.zeros(steps, jnp.int32),
                jnp.zeros(steps, jnp.int32),
                jnp.zeros(steps, bool),
            )
        return Carry(
            policy,
            log_z,
            self.optimiser.init((policy, log_z)),
            policy,
            self.estimator.init(Samples(jnp.zeros(shape, jnp.int32))),
            history,
        )

    def _chunk(self, carry: Carry, seed: jax.Array, first: jax.Array) -> tuple[Carry, Evaluation]:
        """`checkpoint_every` iterations, evaluated every `eval_every` of them."""
        config = self.config

        def segment(carry: Carry, start: jax.Array) -> tuple[Carry, Evaluation]:
            stop = jnp.minimum(start + config.eval_every, config.iterations)
            batch = jnp.zeros(config.batch, jnp.int32), jnp.zeros(())

            def iterate(i: jax.Array, state: Any) -> Any:
                return self._iteration(state[0], jax.random.fold_in(jax.random.key(seed), i + 1))

            carry, (final_B, loss) = jax.lax.fori_loop(start, stop, iterate, (carry, batch))
            return carry, self._evaluate(carry, final_B, loss)

        starts = first + config.eval_every * jnp.arange(config.checkpoint_every // config.eval_every)
        return jax.lax.scan(segment, carry, starts)

    def _iteration(self, carry: Carry, key: jax.Array) -> Any:
        config = self.config
        params = (carry.policy, carry.log_z)
        log_pi, pullback, rollout = self._sample(carry.policy, key)
        log_old_TB = self._step_log_probs(log_pi, rollout)
        signal_B, estimator, history_TB = self._signal(carry, log_pi, log_old_TB, rollout)
        log_ref_TB = None
        if config.kl > 0 or config.method == "flowrl":
            reference = self._log_probs(carry.reference, rollout)
            log_ref_TB = self._step_log_probs(reference, rollout)

        loss_of = jax.value_and_grad(self._loss, argnums=(0, 1))
        optimiser, loss = carry.optimiser, jnp.zeros(())
        for epoch in range(config.epochs):
            if epoch > 0:
                log_pi, pullback = jax.vjp(lambda p: self._log_probs(p, rollout), params[0])
            loss, (table_grad, log_z_grad) = loss_of(
                log_pi, params[1], rollout, log_old_TB, log_ref_TB, signal_B
            )
            (policy_grad,) = pullback(table_grad)
            updates, optimiser = self.optimiser.update((policy_grad, log_z_grad), optimiser)
            params = optax.apply_updates(params, updates)
        carry = Carry(*params, optimiser, carry.reference, estimator, history_TB)
        return carry, (rollout.final_B, loss)

    # --- samples ------------------------------------------------------------------------------

    def _log_probs(self, policy: Any, rollout: Rollout) -> jax.Array:
        """Log-probabilities of all actions: in all states [S, A], or in the visited [T, B, A]."""
        if self.tabulated:
            return policy.table(self.grid)
        return policy.at(self.grid, self.grid.coordinates_of(rollout.states_TB, jnp))

    def _sample(self, policy: Any, key: jax.Array) -> tuple[jax.Array, Callable, Rollout]:
        """A batch, with the log-probabilities it was drawn from and their pullback."""
        grid, batch = self.grid, self.config.batch
        uniforms_TB = jax.random.uniform(key, (grid.horizon, batch))
        log_pi = pullback = None
        if self.tabulated:
            log_pi, pullback = jax.vjp(lambda p: p.table(grid), policy)
            thresholds_SA = jnp.cumsum(jnp.exp(log_pi), -1)[:, :-1]

        def step(state, uniform_B):
            state_B, live_B = state
            if self.tabulated:
                thresholds_BA = thresholds_SA[state_B]
            else:
                at_BA = policy.at(grid, grid.coordinates_of(state_B, jnp))
                thresholds_BA = jnp.cumsum(jnp.exp(at_BA), -1)[:, :-1]
            # The number of thresholds passed is the action: inversion of the cumulative sum.
            action_B = (uniform_B[:, None] > thresholds_BA).sum(-1)
            # At a border, rounding of the sum may pass a move of probability 0: stop instead.
            follows_B = state_B + self.strides[action_B]
            action_B = jnp.where(self._legal(state_B, action_B), action_B, grid.dims)
            follows_B = jnp.where(live_B & (action_B < grid.dims), follows_B, state_B)
            return (follows_B, live_B & (action_B < grid.dims)), (state_B, action_B, live_B)

        start = jnp.zeros(batch, jnp.int32), jnp.ones(batch, bool)
        (final_B, _), steps = jax.lax.scan(step, start, uniforms_TB)
        rollout = Rollout(*steps, final_B)
        if not self.tabulated:
            log_pi, pullback = jax.vjp(lambda p: self._log_probs(p, rollout), policy)
        return log_pi, pullback, rollout

    def _legal(self, state_B: jax.Array, action_B: jax.Array) -> jax.Array:
        stride_B = jnp.maximum(self.strides[action_B], 1)
        below_border = state_B // stride_B % self.grid.side < self.grid.side - 1
        return below_border | (action_B == self.grid.dims)

    def _step_log_probs(self, log_pi: jax.Array, rollout: Any) -> jax.Array:
        """log pi of the actions taken [T, B], 0 after the stop."""
        states, actions, live = rollout[:3]
        if self.tabulated:
            taken = log_pi.reshape(-1)[states * self.grid.actions + actions]
        else:
            taken = jnp.take_along_axis(log_pi, actions[..., None], -1)[..., 0]
        return jnp.where(live, taken, 0.0)

    def _log_pb(self, rollout: Rollout) -> jax.Array:
        """log P_B(tau | o) [B] of the uniform backward policy: any parent with equal chance."""
        if self.tabulated:
            per_state = self.parents_S[rollout.states_TB]
        else:
            parents = (self.grid.coordinates_of(rollout.states_TB, jnp) > 0).sum(-1)
            per_state = jnp.log(jnp.maximum(parents, 1))
        return -jnp.where(rollout.live_TB, per_state, 0.0).sum(0)

    # --- score, scale, loss -------------------------------------------------------------------

    def _signal(
        self, carry: Carry, log_pi: jax.Array, log_old_TB: jax.Array, rollout: Rollout
    ) -> tuple[jax.Array, Any, Any]:
        """What each trajectory is taught [B]: an advantage, or its log-reward for tb."""
        config = self.config
        rewards_B = self._rewards(rollout.final_B)
        if config.method == "tb":
            return jnp.log(rewards_B), carry.estimator, carry.history_TB
        groups = (-1, config.group_size)
        rewards_PG = rewards_B.reshape(groups)
        estimator, history = carry.estimator, carry.history_TB
        if config.method == "ips-grpo":
            ids_PG = rollout.final_B.reshape(groups)
            probability = history_log_pf = None
            if config.estimator == "exact":
                p_S = self.grid.terminal_distribution(log_pi)
                # 1e-12: a float32 product of probabilities may vanish though it was drawn
                probability = jnp.maximum(p_S, 1e-12)[ids_PG]
            if config.estimator == "replay":
                history_log_pf = self._step_log_probs(log_pi, history).sum(-2)
                slot = estimator.turn % config.replay_batches
                history = tuple(
                    stored.at[slot].set(new)
                    for stored, new in zip(history, rollout[:3], strict=True)
                )
                history_log_pf = history_log_pf.reshape(-1, *ids_PG.shape)
            samples = Samples(
                ids_PG,
                log_pf=log_old_TB.sum(0).reshape(groups),
                log_pb=self._log_pb(rollout).reshape(groups),
                probability=probability,
                history_log_pf=history_log_pf,
            )
            p_PG, estimator = self.estimator(samples, estimator)
            rewards_PG = ips_rewards(
                rewards_PG, ids_PG, p=p_PG, eps=config.eps, alpha=config.alpha
            )
            rewards_PG = TRANSFORMS[config.transform](rewards_PG)
        advantages_PG, _ = group_advantage(rewards_PG, scale=config.scale)
        if config.advantage_clip > 0:
            advantages_PG = jnp.clip(advantages_PG, -config.advantage_clip, config.advantage_clip)
        return advantages_PG.reshape(-1), estimator, history

    def _loss(
        self,
        log_pi: jax.Array,
        log_z: jax.Array,
        rollout: Rollout,
        log_old_TB: jax.Array,
        log_ref_TB: jax.Array | None,
        signal_B: jax.Array,
    ) -> jax.Array:
        """Mean over trajectories, as a function of the log-probabilities of all actions."""
        config = self.config
        log_new_TB, live_TB = self._step_log_probs(log_pi, rollout), rollout.live_TB
        log_new_B = log_new_TB.sum(0)
        if config.method == "tb":
            residual = trajectory_balance_residual(
                log_z, log_new_B, self._log_pb(rollout), signal_B
            )
            loss = (residual**2).mean()
        elif config.method == "flowrl":
            length_B = live_TB.sum(0)
            residual = flowrl_residual(
                log_z, log_new_B / length_B, log_ref_TB.sum(0) / length_B, signal_B,
                beta=config.beta,
            )  # fmt: skip
            ratio_B = jnp.exp(jax.lax.stop_gradient(log_new_B - log_old_TB.sum(0)))
            ratio_B = jnp.clip(ratio_B, 1 - config.clip, 1 + config.clip)
            loss = (ratio_B * residual**2).mean()
        else:
            losses_BT = clipped_surrogate(
                log_new_TB.T, log_old_TB.T, signal_B,
                clip_low=config.clip, clip_high=config.clip, mask=live_TB.T,
            )  # fmt: skip
            loss = losses_BT.sum(-1).mean()
        if config.kl > 0:
            kl_TB = kl_estimate(log_new_TB, log_ref_TB)
            loss = loss + config.kl * kl_TB.sum(0).mean()
        if config.entropy > 0:
            entropy = policy_entropy(log_pi)
            entropy_TB = entropy[rollout.states_TB] if self.tabulated else entropy
            loss = loss - config.entropy * jnp.where(live_TB, entropy_TB, 0.0).sum() / live_TB.sum()
        return loss

    # --- evaluation ---------------------------------------------------------------------------

    def _rewards(self, states: jax.Array) -> jax.Array:
        return self.rewards_S[states] if self.tabulated else self.grid.rewards_of(states, jnp)

    def _evaluate(self, carry: Carry, final_B: jax.Array, loss: jax.Array) -> Evaluation:
        """Exact where the grid can be enumerated; else from the last batch, distances unknown."""
        grid = self.grid
        if not self.tabulated:
            visited = jnp.zeros(grid.num_modes + 1).at[grid.modes_of(final_B, jnp)].set(1)[:-1]
            share_B = group_frequency(final_B)
            return Evaluation(
                total_l1=jnp.asarray(jnp.nan),
                modes_found=visited.sum().astype(jnp.int32),
                effective_outcomes=jnp.exp(-jnp.log(share_B).mean()),
                expected_reward=self._rewards(final_B).mean(),
                loss=loss,
                final_B=final_B,
            )
        p_S = grid.terminal_distribution(carry.policy.table(grid))
        p_S = p_S / p_S.sum()  # float32 rounding
        return Evaluation(
            total_l1=total_l1(p_S, self.target_S),
            modes_found=self._modes_found(p_S),
            effective_outcomes=effective_outcomes(p_S),
            expected_reward=p_S @ self.rewards_S,
            loss=loss,
            final_B=final_B,
        )

    def _modes_found(self, p_S: jax.Array) -> jax.Array:
        count = self.grid.num_modes
        if count == 0:
            return jnp.zeros((), jnp.int32)
        modes_S = jnp.asarray(self.grid.modes_of(np.arange(self.grid.states)))
        mass, wanted = (
            jnp.zeros(count + 1).at[modes_S].add(q_S)[:-1] for q_S in (p_S, self.target_S)
        )
        return jnp.round(coverage(mass, wanted) * count).astype(jnp.int32)
