"""One update of the agent from a group of SMILES: REINVENT, FlowRL, exemplars, methods of core.

    reinvent   L = mean (log P_prior(y) + sigma R - log P(y))^2
    grpo       L = mean (clipped surrogate of A + kl KL(P || P_prior)),   A of R within the group
               the same of every method in `ipsrl.core.methods`, such as ips-grpo (Eq. 9), or
               A of sigma R + log P_prior(y) - log P(y) with `prior_in_advantage`
    exemplar-replay   L = that of A = R - mean R, + weight mean_e -(1/T_e) log P(e)
    flowrl     L = mean w (log Z + log P(y)/T - beta A - log P_prior(y)/T)^2

A group is whatever goes into one update: a batch with some of the memory, or random SMILES of both.
FlowRL's log Z is at its minimum over the group (VarGrad), since there is one prompt.
Sources: Olivecrona et al. 2017 (1704.07555); GRPO (2402.03300); the paper, section 4; FlowRL
(2509.15207).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ipsrl.core.group import Group
from ipsrl.core.losses import (
    clipped_surrogate,
    exemplar_loss,
    flowrl_residual,
    kl_estimate,
    reinvent_residual,
)
from ipsrl.core.methods import GRPO, ExemplarReplay, RewardMethod, changes_rewards
from ipsrl.molecules.config import Config
from ipsrl.molecules.generator.prior import Prior, live
from ipsrl.molecules.search.outcomes import OutcomeProbability


class Lesson(NamedTuple):
    """The data of one update.

    Attributes:
      ids_NT: tokens.
      smiles: canonical; None for what is not a molecule.
      rewards_N: after the filter; 0 for what is not a molecule.
    """

    ids_NT: torch.Tensor
    smiles: list[str | None]
    rewards_N: np.ndarray


class Signal(NamedTuple):
    """What the sequences of a lesson are taught.

    Attributes:
      taught_N: the reward of each, or its advantage.
      scaled_N: rewards as the method changed them; None if it leaves them as they are.
    """

    taught_N: np.ndarray
    scaled_N: np.ndarray | None = None


def signal(config: Config, probability: OutcomeProbability, lesson: Lesson, prior: Prior) -> Signal:
    """What each sequence of the lesson is taught."""
    if config.method == "reinvent":
        return Signal(lesson.rewards_N)
    rewards, above = lesson.rewards_N, config.success_above
    group = Group(rewards, success=None if above is None else rewards > above)
    if config.looks_at("ids"):
        group = group._replace(ids=probability.ids(lesson.smiles))
    if config.looks_at("log_pf"):
        log_pf_N = probability.log_likelihood(lesson.ids_NT)
        group = group._replace(log_pf=np.minimum(log_pf_N, 0.0))  # rounded above it
    if config.looks_at("log_ref"):
        log_ref_N = prior.total_log_probs(lesson.ids_NT, batch=config.micro_batch).numpy()
        group = group._replace(log_ref=np.minimum(log_ref_N, 0.0))
    if config.looks_at("lengths"):
        group = group._replace(lengths=prior.chosen(lesson.ids_NT).sum(1).numpy())
    if config.looks_at("visits"):
        group = group._replace(visits=probability.visits(group.ids))
    if config.looks_at("similarity") and config.outcome == "similarity":
        group = group._replace(similarity=probability.similarities(lesson.smiles))
    if config.looks_at("p"):
        named = [i for i, text in enumerate(lesson.smiles) if text is not None]
        p = np.ones(len(rewards))
        right = None if group.success is None else group.success[named]
        smiles = [lesson.smiles[i] or "" for i in named]
        p[named] = probability(smiles, lesson.ids_NT[named], right)
        group = group._replace(p=p)
    method = config.shaping()
    scaled_N = method.rewards(group) if changes_rewards(method) else None
    if not config.prior_in_advantage:
        return Signal(method(group).advantages, scaled_N)
    assert isinstance(method, RewardMethod)  # for the type checker: the configuration sees to it
    log_prior = prior.total_log_probs(lesson.ids_NT, batch=config.micro_batch).numpy()
    target = config.sigma * method.rewards(group) + log_prior
    compared = GRPO(method.advantage_clip, method.scale, method.baseline, method.std_eps)
    target = target - probability.log_likelihood(lesson.ids_NT)
    return Signal(compared(Group(target)).advantages, scaled_N)


def update(
    config: Config,
    agent: Prior,
    prior: Prior,
    optimiser: torch.optim.Optimizer,
    ids_NT: torch.Tensor,
    signal_N: np.ndarray,
    exemplars_ET: torch.Tensor | None = None,
) -> float:
    """`epochs` steps of the optimiser on one lesson and on exemplars; returns the last loss."""
    device = agent.model.device
    signals = torch.as_tensor(signal_N, dtype=torch.float32)
    uses_prior = config.method in ("reinvent", "flowrl") or config.kl > 0
    parts = []
    lengths_N = live(ids_NT).sum(1)
    # Sequences of like length together, so that little of a part lies beyond their ends.
    for rows in lengths_N.argsort(stable=True).split(config.micro_batch):
        ids, part = ids_NT[rows, : lengths_N[rows].max()].to(device), signals[rows].to(device)
        log_prior = _frozen(prior, ids) if uses_prior else torch.zeros(ids.shape, device=device)
        # On a first and only step the ratio is 1, and needs no second pass.
        log_old = _frozen(agent, ids) if config.epochs > 1 else None
        parts.append((ids, part, agent.chosen(ids), log_prior, log_old))
    loss = torch.zeros((), dtype=torch.float64, device=device)
    for _ in range(config.epochs):
        optimiser.zero_grad()
        log_z = _log_z(config, agent, parts) if config.method == "flowrl" else torch.zeros(())
        loss.zero_()
        for ids, part, mask, log_prior, log_old in parts:
            log_new = agent.log_probs(ids)
            log_old = log_new.detach() if log_old is None else log_old
            losses = _losses(config, log_new, mask, part, log_prior, log_old, log_z)
            mean = losses.sum() / len(ids_NT)
            mean.backward()
            loss += mean.detach()
        if exemplars_ET is not None:
            loss += _replay(config, agent, exemplars_ET)
        optimiser.step()
    return loss.item()


def _replay(config: Config, agent: Prior, exemplars_ET: torch.Tensor) -> torch.Tensor:
    """Add the gradient of the exemplars' weighted loss, and return it."""
    method = config.shaping()
    assert isinstance(method, ExemplarReplay)  # for the type checker: no other has exemplars
    loss = torch.zeros((), device=agent.model.device)
    for ids in exemplars_ET.to(agent.model.device).split(config.micro_batch):
        losses = exemplar_loss(agent.log_probs(ids), mask=agent.chosen(ids))
        mean = method.weight * losses.sum() / len(exemplars_ET)
        mean.backward()
        loss += mean.detach()
    return loss


def _losses(
    config: Config,
    log_new: torch.Tensor,
    mask: torch.Tensor,
    signal: torch.Tensor,
    log_prior: torch.Tensor,
    log_old: torch.Tensor,
    log_z: torch.Tensor,
) -> torch.Tensor:
    """One loss per sequence."""
    if config.method == "reinvent":
        residual = reinvent_residual(log_prior.sum(-1), log_new.sum(-1), signal, sigma=config.sigma)
        return residual**2
    if config.method == "flowrl":
        residual = log_z + _balance(config, mask, signal, log_new, log_prior)
        ratio = torch.exp((log_new - log_old).sum(-1).detach())
        return ratio.clip(1 - config.clip, 1 + config.clip) * residual**2
    surrogate = clipped_surrogate(
        log_new, log_old, signal, clip_low=config.clip, clip_high=config.clip, mask=mask
    )
    if config.kl == 0:
        return surrogate.sum(-1)
    return (surrogate + config.kl * kl_estimate(log_new, log_prior)).sum(-1)


def _log_z(config: Config, agent: Prior, parts: list) -> torch.Tensor:
    """The log Z at which the mean residual of the group is 0."""
    balances = [
        _balance(config, mask, signal, _frozen(agent, ids), log_prior)
        for ids, signal, mask, log_prior, _ in parts
    ]
    return -torch.cat(balances).mean()


def _balance(
    config: Config,
    mask: torch.Tensor,
    signal: torch.Tensor,
    log_new: torch.Tensor,
    log_prior: torch.Tensor,
) -> torch.Tensor:
    """FlowRL's residual of each sequence, but for log Z."""
    length = mask.sum(-1)
    new, prior = log_new.sum(-1) / length, log_prior.sum(-1) / length
    return flowrl_residual(new.new_zeros(()), new, prior, signal, beta=config.beta)


def _frozen(model: Prior, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.log_probs(ids)
