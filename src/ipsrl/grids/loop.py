"""The compiled training loop: sample, score, scale, update, in one `lax.scan`.

Every loss is a function of log-probabilities, so its gradient with respect to them is all that goes
back through the network, once per update.  Seeds are vmapped.  Iteration i of a seed draws from
fold_in(key(seed), i), so a resumed run needs no generator state.
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
from ipsrl.core.methods import changes_rewards
from ipsrl.errors import InvalidInput
from ipsrl.grids.config import TABLE_LIMIT, Learning
from ipsrl.grids.critic import Critic, at_stop, critic_update, generalised_advantages
from ipsrl.grids.evaluation import Evaluation, Evaluator
from ipsrl.grids.explore import Memory, explored_rows, explorer_of, importance, joined
from ipsrl.grids.policy import MLPPolicy, TabularPolicy
from ipsrl.grids.rollout import Everywhere, View, WhereVisited
from ipsrl.grids.table import table_of
from ipsrl.grids.walk import Rollout, Steps


class Learned(NamedTuple):
    """All parameters, or one value for each of them; None for parts that a method lacks."""

    policy: Any
    log_z: Any
    backward: Any
    critic: Any


class Carry(NamedTuple):
    """The state of one seed's training between iterations."""

    learned: Learned
    optimiser: Learned
    reference: Any  # the initial policy
    estimator: Any
    memory: Memory | None
    visited: jax.Array  # whether any trajectory ended in each mode [modes + 1]
    cut: jax.Array  # whether any trajectory was longer than the horizon
    drawn_S: jax.Array | None = None  # visits of each state, if the method reads them


class Batch(NamedTuple):
    """The samples and scores of an iteration, as constants of its loss."""

    steps: Steps
    log_old_TB: jax.Array
    log_ref_TB: jax.Array  # under the initial policy; 0 if nothing reads it
    weights_B: jax.Array | None  # importance weights; None if the policy drew all
    signal: jax.Array  # training signal of each trajectory [B] or step [T, B]
    gains_TB: jax.Array | None = None  # that the critic learns
    scaled: jax.Array | float = jnp.nan  # mean reward as the method has changed it


class Loop:
    """Training of one configuration, compiled once.

        carry = loop.init(seeds)
        carry, evaluations = loop.run(carry, seeds, first_iteration)

    One `run` is a chunk of `checkpoint_every` iterations from a multiple of it on (fewer at the
    end), evaluated every `eval_every`; results are [seeds, evaluations].
    """

    def __init__(self, config: Learning) -> None:
        self.config = config
        self.environment = environment = config.environment()
        self.table = table_of(environment)
        if self.table is None and config.needs_table:
            raise InvalidInput(
                "policy tabular, the method ucb and the estimators replay and exact need a table "
                f"of all states; this environment has none, or more than {TABLE_LIMIT}. Use policy "
                "mlp with the estimator likelihood or group."
            )
        # A pass over all states, or one forward and one back over those that are visited.
        visits = 2 * environment.horizon * config.batch
        self.view: View = WhereVisited(environment)
        if self.table and (config.needs_table or self.table.states <= visits):
            self.view = Everywhere(self.table)
        self.evaluator = Evaluator(config, environment, self.table, self.view)
        self.method, self.estimator = config.shaping(), config.estimates()
        self.explorer = explorer_of(config)
        decay = (config.lr_end or config.lr) / config.lr
        updates = config.iterations * config.epochs
        adam = optax.adam(optax.exponential_decay(config.lr, updates, decay_rate=decay))
        self.optimisers = Learned(
            adam, optax.adam(config.lr_log_z), adam, optax.adam(config.lr_critic)
        )
        self.init = jax.jit(jax.vmap(self._init))
        self.run = jax.jit(jax.vmap(self._chunk, in_axes=(0, 0, None)))
        self.behaviour = jax.jit(jax.vmap(self.evaluator.behaviour))

    def _init(self, seed: jax.Array) -> Carry:
        config, environment = self.config, self.environment
        seen, actions = environment.observation, environment.actions
        first = jax.random.fold_in(jax.random.key(seed), 0)
        keys = [first, *jax.random.split(first, 3)]
        policy: Any = None
        if config.policy == "mlp":
            policy = MLPPolicy(seen, actions, config.hidden, keys[0])
        elif self.table is not None:
            policy = TabularPolicy(self.table.states, actions)
        backward = critic = memory = None
        if config.backward == "learned":
            backward = MLPPolicy(seen, actions - 1, config.hidden, keys[1])
        if config.criticised:
            critic = Critic(seen, config.hidden, keys[2])
        _, _, rollout = self.view.sample(policy, keys[3], config.batch)
        if config.explore == "replay":
            found = (part(rollout.final_B) for part in (self.view.ids, self.view.rewards))
            memory = Memory.empty(config.memory, rollout.final_B)
            memory = memory.with_found(rollout.final_B, *found)
        groups = (config.batch // config.group_size, config.group_size)
        steps = jax.tree.map(jnp.zeros_like, rollout.steps)
        empty = Group(ids=jnp.zeros(groups, jnp.int32), trajectories=steps)
        learned = Learned(policy, jnp.zeros(()), backward, critic)
        optimiser = Learned(
            *(one.init(value) for one, value in zip(self.optimisers, learned, strict=True))
        )
        visited = jnp.zeros(environment.modes + 1, bool)
        never, estimator = jnp.zeros((), bool), self.estimator.init(empty)
        drawn_S = None
        if config.looks_at("visits") and self.table is not None:
            drawn_S = jnp.zeros(self.table.states, jnp.int32)
        return Carry(learned, optimiser, policy, estimator, memory, visited, never, drawn_S)

    def _chunk(self, carry: Carry, seed: jax.Array, first: jax.Array) -> tuple[Carry, Evaluation]:
        config, key = self.config, jax.random.key(seed)
        explored_B = jnp.asarray(explored_rows(config))

        def segment(carry: Carry, start: jax.Array) -> tuple[Carry, Evaluation]:
            stop = jnp.minimum(start + config.eval_every, config.iterations)

            def iterate(i: jax.Array, state: Any) -> Any:
                carry, (_, _, drawn) = state
                # 0 made the initial policy.
                carry, final_B, told = self._iteration(carry, jax.random.fold_in(key, i + 1), i)
                own_B = jnp.where(explored_B, -1, self.view.ids(final_B))
                return carry, (final_B, told, drawn.at[i - start].set(own_B))

            none_drawn = jnp.full((config.eval_every, config.batch), -1, jnp.int32)
            nothing_yet = self.view.starts(config.batch), jnp.zeros(2), none_drawn
            carry, (final_B, told, drawn) = jax.lax.fori_loop(
                start, stop, iterate, (carry, nothing_yet)
            )
            number, last = start // config.eval_every + 1, stop == config.iterations
            so_far = carry.visited, carry.cut
            return carry, self.evaluator(carry.learned, final_B, *so_far, told, drawn, number, last)

        offsets = np.arange(0, config.checkpoint_every, config.eval_every)
        return jax.lax.scan(segment, carry, first + jnp.asarray(offsets))

    def _iteration(
        self, carry: Carry, key: jax.Array, number: jax.Array
    ) -> tuple[Carry, Any, jax.Array]:
        """Draw a batch and learn from it; its outcomes, and loss and mean scaled reward [2]."""
        config, view, learned = self.config, self.view, carry.learned
        log_pi, pullback, rollout, weights_B = self._draw(carry, key)
        steps, final_B = rollout
        log_pb, pullback_back = None, None
        if config.backward == "learned":
            log_pb, pullback_back = view.evaluate_back(learned.backward, steps)
        log_old_TB = view.taken(log_pi, steps)
        log_ref_TB = jnp.zeros(())
        if config.kl > 0 or config.method == "flowrl" or config.looks_at("log_ref"):
            log_ref_TB = view.taken(view.evaluate(carry.reference, steps)[0], steps)
        batch = Batch(steps, log_old_TB, log_ref_TB, weights_B, jnp.zeros(()))
        batch, estimator = self._taught(carry, log_pi, log_pb, batch, final_B, number)

        optimiser, loss, log_first = carry.optimiser, jnp.zeros(()), log_pi
        for epoch in range(config.epochs):
            if epoch > 0:
                log_pi, pullback = view.evaluate(learned.policy, steps)
                if config.backward == "learned":
                    log_pb, pullback_back = view.evaluate_back(learned.backward, steps)
            loss, (from_pi, from_z, from_pb) = jax.value_and_grad(self._loss, argnums=(0, 1, 2))(
                log_pi, learned.log_z, log_pb, batch, log_first
            )
            back = None if pullback_back is None else pullback_back(from_pb)[0]
            gradient = Learned(pullback(from_pi)[0], from_z, back, None)
            learned, optimiser = self._updated(learned, optimiser, gradient)
        if batch.gains_TB is not None:
            critic, state = critic_update(
                learned.critic, optimiser.critic, self.optimisers.critic,
                view.observations(steps), batch.gains_TB, steps.live_TB, config.gae_lambda,
            )  # fmt: skip
            learned = learned._replace(critic=critic)
            optimiser = optimiser._replace(critic=state)
        memory = carry.memory
        if memory is not None:
            memory = memory.with_found(final_B, view.ids(final_B), view.rewards(final_B))
        visited = carry.visited.at[view.modes(final_B)].set(True)
        if carry.drawn_S is not None:
            carry = carry._replace(drawn_S=carry.drawn_S.at[view.ids(final_B)].add(1))
        moves_B = steps.live_TB[-1] & (steps.actions_TB[-1] < self.environment.actions - 1)
        carry = carry._replace(
            learned=learned, optimiser=optimiser, estimator=estimator, memory=memory,
            visited=visited, cut=carry.cut | moves_B.any(),
        )  # fmt: skip
        return carry, final_B, jnp.stack([loss, batch.scaled])

    def _updated(
        self, learned: Learned, optimiser: Learned, gradient: Learned
    ) -> tuple[Learned, Learned]:
        """Parameters and optimisers after a step; parts without a gradient are unchanged."""
        new = []
        for value, state, one, slope in zip(
            learned, optimiser, self.optimisers, gradient, strict=True
        ):
            if slope is not None:
                update, state = one.update(slope, state)
                value = optax.apply_updates(value, update)
            new.append((value, state))
        return Learned(*(value for value, _ in new)), Learned(*(state for _, state in new))

    def _draw(self, carry: Carry, key: jax.Array) -> tuple[Any, Any, Rollout, jax.Array | None]:
        """Log-probabilities, their pullback, a batch, and the weights of its trajectories."""
        config, view, policy = self.config, self.view, carry.learned.policy
        log_pi, pullback, rollout = view.sample(policy, key, config.batch, self.explorer)
        if carry.memory is not None:
            rows_B = explored_rows(config)
            back = carry.memory.trajectories(view, jax.random.fold_in(key, 1), int(rows_B.sum()))
            rollout = joined(rows_B, rollout, back, carry.memory.is_empty)
            log_pi, pullback = view.evaluate(policy, rollout.steps)
            log_pb_B = view.log_backward(rollout.steps).sum(0)
            log_explorer_B = carry.memory.log_probs(view.ids(rollout.final_B), log_pb_B)
        elif self.explorer is not None:
            others = self.explorer.log_probs(log_pi)
            log_explorer_B = view.taken(others, rollout.steps).sum(0)
        else:
            return log_pi, pullback, rollout, None
        log_pf_B = view.taken(log_pi, rollout.steps).sum(0)
        if carry.memory is not None:  # of which an empty one leaves all to the policy: b = pi
            log_explorer_B = jnp.where(carry.memory.is_empty, log_pf_B, log_explorer_B)
        share = config.explored / config.group_size
        return log_pi, pullback, rollout, importance(log_pf_B, log_explorer_B, share)

    def _taught(
        self,
        carry: Carry,
        log_pi: jax.Array,
        log_pb: jax.Array | None,
        batch: Batch,
        final_B: Any,
        number: jax.Array,
    ) -> tuple[Batch, Any]:
        """The batch with its training signal (advantage, or tb's log-reward), and the estimator."""
        config, view, estimator = self.config, self.view, carry.estimator
        rewards_B = earned_B = view.rewards(final_B)
        if config.reward_temperature > 1:
            rest = jnp.maximum(0.0, 1 - 2 * number / config.iterations)
            rewards_B = earned_B ** (config.reward_temperature**-rest)
        if config.method == "tb":
            return batch._replace(signal=jnp.log(rewards_B)), estimator
        if config.method == "ppo":
            back_TB = self._back(log_pb, batch.steps)
            gains_TB = jnp.concatenate([back_TB[1:], jnp.zeros_like(back_TB[:1])])
            gains_TB = gains_TB - batch.log_old_TB
            gains_TB += at_stop(batch.steps.live_TB, jnp.log(rewards_B))
            return self._criticised(carry, batch, gains_TB), estimator
        groups, above, weights_B = (-1, config.group_size), config.success_above, batch.weights_B
        group = Group(
            rewards_B.reshape(groups),
            view.ids(final_B).reshape(groups),
            weights=None if weights_B is None else weights_B.reshape(groups),
            success=None if above is None else earned_B.reshape(groups) > above,
        )
        if self.method.needs:
            group = self._evidence(group, carry, log_pi, log_pb, batch)
        if config.looks_at("p"):
            p_PG, estimator = self.estimator(group, estimator)
            group = group._replace(p=p_PG)
        if changes_rewards(self.method):
            scaled_B = self.method.rewards(group).reshape(-1)
            batch = batch._replace(scaled=jnp.average(scaled_B, weights=weights_B))
            if config.method == "ips-ppo":
                scaled_B = scaled_B / jnp.where(batch.scaled > 0, batch.scaled, 1.0)  # not 0 / 0
                batch = self._criticised(carry, batch, at_stop(batch.steps.live_TB, scaled_B))
                advantages_TB = batch.signal
                if self.method.scale != "none":
                    advantages_TB = advantages_TB / (scaled_B.std() + 1e-4)
                if bound := self.method.advantage_clip:
                    advantages_TB = jnp.clip(advantages_TB, -bound, bound)
                return batch._replace(signal=advantages_TB), estimator
        return batch._replace(signal=self.method(group).advantages.reshape(-1)), estimator

    def _criticised(self, carry: Carry, batch: Batch, gains_TB: jax.Array) -> Batch:
        """The batch with these gains of each step, and the advantages over the critic's values."""
        values_TB = carry.learned.critic(self.view.observations(batch.steps))
        advantages_TB = generalised_advantages(
            gains_TB, values_TB, batch.steps.live_TB, self.config.gae_lambda
        )
        return batch._replace(signal=advantages_TB, gains_TB=gains_TB)

    def _evidence(
        self,
        group: Group,
        carry: Carry,
        log_pi: jax.Array,
        log_pb: jax.Array | None,
        batch: Batch,
    ) -> Group:
        """The group with the fields that an estimator or a method may read."""
        shape, p_PG, history_log_pf, log_ref_PG = group.ids.shape, None, None, None
        if "p" in self.estimator.needs and self.table is not None:
            p_S = self.table.terminal_distribution(log_pi)
            # 1e-12: the float32 probability of what was drawn may vanish
            p_PG = jnp.maximum(p_S, 1e-12)[group.ids]
        if (stored := self.estimator.stored(carry.estimator)) is not None:
            history_log_pf = self.view.taken(log_pi, stored).sum(-2).reshape(-1, *shape)
        if self.config.looks_at("log_ref"):
            log_ref_PG = batch.log_ref_TB.sum(0).reshape(shape)
        return group._replace(
            p=p_PG,
            log_pf=batch.log_old_TB.sum(0).reshape(shape),
            log_pb=self._back(log_pb, batch.steps).sum(0).reshape(shape),
            trajectories=batch.steps,
            history_log_pf=history_log_pf,
            log_ref=log_ref_PG,
            lengths=batch.steps.live_TB.sum(0).reshape(shape),
            visits=None if carry.drawn_S is None else carry.drawn_S[group.ids],
        )

    def _back(self, log_pb: jax.Array | None, steps: Steps) -> jax.Array:
        """log P_B of the move that led to each state [T, B]."""
        if log_pb is None:
            return self.view.log_backward(steps)
        return self.view.taken_back(log_pb, steps)

    def _loss(
        self,
        log_pi: jax.Array,
        log_z: jax.Array,
        log_pb: jax.Array | None,
        batch: Batch,
        log_first: jax.Array,
    ) -> jax.Array:
        """Mean over trajectories, as a function of the log-probabilities of all actions.

        Args:
          log_first: those of the policy that drew the batch.
        """
        config, steps = self.config, batch.steps
        log_new_TB, live_TB = self.view.taken(log_pi, steps), steps.live_TB
        log_new_B, clip = log_new_TB.sum(0), config.clip
        weights_B = 1.0 if batch.weights_B is None else batch.weights_B
        if config.method == "tb":
            log_pb_B = self._back(log_pb, steps).sum(0)
            residual_B = trajectory_balance_residual(log_z, log_new_B, log_pb_B, batch.signal)
            loss = (residual_B**2).mean()
        elif config.method == "flowrl":
            length_B = live_TB.sum(0)
            mean_ref_B = batch.log_ref_TB.sum(0) / length_B
            residual_B = flowrl_residual(
                log_z, log_new_B / length_B, mean_ref_B, batch.signal, beta=config.beta
            )
            ratio_B = jnp.exp(jax.lax.stop_gradient(log_new_B - batch.log_old_TB.sum(0)))
            loss = (jnp.clip(ratio_B, 1 - clip, 1 + clip) * residual_B**2).mean()
        else:
            # An advantage of a step is that of a sequence of one token.
            per_step = batch.signal.ndim == 2
            loss_BT = clipped_surrogate(
                log_new_TB[..., None] if per_step else log_new_TB.T,
                batch.log_old_TB[..., None] if per_step else batch.log_old_TB.T,
                batch.signal,
                clip_low=clip,
                clip_high=clip,
                mask=live_TB[..., None] if per_step else live_TB.T,
            )
            loss = loss_BT.sum() / config.batch
        if config.method == "ppo":
            divergence_TB = self.view.divergence(log_pi, jax.lax.stop_gradient(log_first), steps)
            loss = loss + jnp.where(live_TB, divergence_TB, 0.0).sum(0).mean()
        elif log_pb is not None and config.method != "tb":
            # Maximum likelihood of what the policy draws: P_B tends to P_F(tau | o), p^ to p.
            loss = loss - (weights_B * self.view.taken_back(log_pb, steps).sum(0)).mean()
        if config.kl > 0:
            distance_B = kl_estimate(log_new_TB, batch.log_ref_TB).sum(0)
            loss = loss + config.kl * (weights_B * distance_B).mean()
        if config.entropy > 0:
            weights_TB = weights_B * live_TB
            entropy_TB = jnp.where(live_TB, self.view.entropy(log_pi, steps), 0.0)
            loss = loss - config.entropy * (weights_TB * entropy_TB).sum() / weights_TB.sum()
        return loss
