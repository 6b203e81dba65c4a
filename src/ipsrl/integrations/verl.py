"""verl: IPS between the rewards and the advantage, in both of its trainers.

    compute_score -> {"score": r, "outcome": o}      o: a string; None: no outcome, weight 1
    token_level_rewards += (w - 1) token_level_scores,   w = max(p^(o), eps)^(-alpha)

so that the reward is scaled and a KL penalty in it is not.  p^ is the share of the group, which is
whatever has one uid.  What a method of `ipsrl.METHODS` computes that does not only change rewards
takes the place of verl's advantages.  Options: `+algorithm.ips_method=ips-grpo`, and those of the
method, `+algorithm.ips_eps=0.2`, `+algorithm.ips_alpha=1.0`; `+algorithm.ips_success_above=0.5`
for the scores that are right, where others earn something too.

    v1        trainer.v1.trainer_mode=ips_sync     `IPSTrainerSync`
    legacy    trainer.use_v1=False                 `compute_advantage` is wrapped, for any option

`import verl` imports this module through the entry point group `verl.plugins`, and that registers
both.  verl hides the error of a plugin that fails, so ask:  python -m ipsrl.integrations.verl
"""

# pyright: reportMissingImports=false
# verl has an environment of its own: ipsrl.workers.

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import numpy as np

from ipsrl.core.group import Group
from ipsrl.core.methods import METHODS, Method, RewardMethod
from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import ConfigError, InvalidInput, MissingExtra
from ipsrl.shaping import option_key

try:
    import torch
    import transfer_queue
    import verl
    from tensordict import TensorDict
    from verl.trainer.ppo import ray_trainer
    from verl.trainer.ppo.v1 import PPOTrainer, PPOTrainerSync, register_trainer
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY
except ImportError as error:
    raise MissingExtra("verl", error.name or "verl") from error

TRAINER = "ips_sync"
MODULE = "ipsrl.integrations.verl"


class ScoresShaped(NamedTuple):
    """The result of a method for the scores [N]: weights, or advantages that replace verl's."""

    weights: np.ndarray
    advantages: np.ndarray | None


def shape(
    scores: np.ndarray,
    outcomes: Sequence[Hashable | None],
    uids: Iterable,
    algorithm: Any,
    known: Mapping[str, np.ndarray] | None = None,
) -> ScoresShaped:
    """Apply the method to every sample, within the group of its uid.

    Args:
      scores: raw scores [N], >= 0 where they are right.
      outcomes: outcome keys, or None [N].
      uids: samples with the same uid are one group, of any size [N].
      algorithm: verl's algorithm section, with the options of this module.
      known: fields of `Group` that verl's batch has [N]: log_pf, log_ref and lengths.
    Returns:
      weights of the scores [N], float64, and the advantages of a method that computes them [N].
    Raises:
      InvalidInput: for negative scores, an outcome without an identity, or options that cannot be.
      ConfigError: see `_method`.
    """
    method, above = _method(algorithm), algorithm.get("ips_success_above")
    right_N = np.ones(len(scores), bool) if above is None else scores > above
    scales = isinstance(method, RewardMethod) and "p" in method.needs
    if scales and (scores[right_N] < 0).any():
        raise InvalidInput(
            f"compute_score gave a negative score ({scores[right_N].min():g}): division by p would "
            "punish rare outcomes hardest. Shift the scores so that the worst is 0 (penalties too, "
            "such as the overlong buffer of the dapo reward manager), or say which are right: "
            "+algorithm.ips_success_above."
        )
    # Groups of any size as rows of one array.
    seen: dict[Any, int] = {}
    row_N = np.array([seen.setdefault(uid, len(seen)) for uid in uids], int)
    sizes = np.bincount(row_N, minlength=len(seen))
    order = np.argsort(row_N, kind="stable")
    column_N = np.empty_like(row_N)
    column_N[order] = np.arange(len(row_N)) - np.repeat(np.cumsum(sizes) - sizes, sizes)

    def rows(values_N: np.ndarray) -> np.ndarray:
        values_PG = np.zeros((len(seen), sizes.max(initial=1)), values_N.dtype)
        values_PG[row_N, column_N] = values_N
        return values_PG

    group = Group(
        rewards=rows(np.asarray(scores, float)),
        ids=rows(outcome_ids(_key(outcome) for outcome in outcomes)),
        mask=rows(np.ones(len(row_N), bool)),
        success=None if above is None else rows(right_N),
        **{field: rows(values_N) for field, values_N in (known or {}).items()},
    )
    if not isinstance(method, RewardMethod):
        return ScoresShaped(np.ones(len(scores)), method(group).advantages[row_N, column_N])
    return ScoresShaped(method.weights(group)[row_N, column_N], None)


def _method(algorithm: Any) -> Method:
    """The method that the options name.

    Raises:
      ConfigError: for options that do not exist or have no effect, or that verl would undo.
    """
    name = algorithm.get("ips_method") or "ips-grpo"
    if name not in METHODS:
        raise ConfigError(f"algorithm.ips_method is {name!r}. Use one of {', '.join(METHODS)}.")
    kind = METHODS[name]
    if unknown := sorted(set(kind.needs) - {"ids", "p", *_KNOWN}):
        raise ConfigError(
            f"algorithm.ips_method={name} needs {' and '.join(unknown)}, which verl does not know: "
            "a prompt has another uid at every step. Use another method, or train with TRL."
        )
    keys = {option_key(name, one): one.name for one in fields(kind)}
    if issubclass(kind, RewardMethod):  # verl compares and scales the rewards itself
        hosts = {one.name for one in fields(RewardMethod)}
        keys = {key: one for key, one in keys.items() if one not in hosts}
    read = {*keys, "success_above"} if "success" in kind.reads else {*keys}
    for key in sorted(_given(algorithm) - read - {"method"}):
        raise ConfigError(
            f"algorithm.ips_{key} has no effect with ips_method={name}, which reads "
            f"{', '.join(f'ips_{one}' for one in sorted(read)) or 'no option'}. Leave it out."
        )
    estimator = algorithm.get("adv_estimator")
    if estimator == "gdpo":
        raise ConfigError(
            "algorithm.adv_estimator is 'gdpo', which reads its rewards from elsewhere and would "
            "ignore IPS. Use 'grpo', or leave out the options algorithm.ips_*."
        )
    if not issubclass(kind, RewardMethod) and (
        algorithm.get("use_kl_in_reward") or estimator == "gae"
    ):
        raise ConfigError(
            f"{name} replaces the advantages, and with them a KL penalty in the reward or a critic "
            "(algorithm.use_kl_in_reward, adv_estimator=gae). Use adv_estimator=grpo, and the KL "
            "term of the loss."
        )
    given = {one: algorithm.get(f"ips_{key}") for key, one in keys.items()}
    return kind(**{one: value for one, value in given.items() if value is not None})


_KNOWN = {"log_pf": "old_log_probs", "log_ref": "ref_log_prob", "lengths": "response_mask"}
"""Fields of `Group`, and the columns of verl's batches that they are sums of."""


def _asked(algorithm: Any) -> dict[str, str]:
    """The parts of verl's batch that the method reads: fields of `Group` and columns."""
    method = _method(algorithm)
    return {field: _KNOWN[field] for field in (*method.needs, *method.reads) if field in _KNOWN}


def _known(algorithm: Any, columns: Iterable[str], total: Callable) -> dict[str, np.ndarray]:
    """Fields of `Group` [N]: sums over the tokens of each sample.

    Raises:
      ConfigError: for a batch without what the method needs.
    """
    known, there = {}, set(columns)
    for field, column in _asked(algorithm).items():
        if column not in there:
            raise ConfigError(
                f"algorithm.ips_method={algorithm.get('ips_method')} needs verl's {column}, which "
                "this batch lacks. For a reference, set actor_rollout_ref.actor.use_kl_loss=True."
            )
        known[field] = total(column)
        if field != "lengths":
            known[field] = np.minimum(known[field], 0.0)  # rounded above it
    return known


def _given(algorithm: Any) -> set[str]:
    """The options of this module that are set in the configuration."""
    keys = [str(key) for key in algorithm if str(key).startswith("ips_")]
    return {key.removeprefix("ips_") for key in keys if algorithm.get(key) is not None}


def _counts(algorithm: Any) -> bool:
    """True if outcomes are needed."""
    return "ids" in _method(algorithm).needs


class IPSTrainerSync(PPOTrainerSync):
    """verl's synchronous v1 trainer with IPS; logs ips/weight_max and outcomes/distinct."""

    def __init__(self, config: Any) -> None:
        # verl takes every mode but "sync" for an asynchronous one: another replay buffer, refills.
        config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        data = transfer_queue.kv_batch_get(
            keys=batch.keys,
            partition_id=batch.partition_id,
            select_fields=["uid", "rm_scores", "extra_fields", "outcome"],
        )
        raw = list(data["rm_scores"].unbind())
        outcomes = _outcomes(data, _counts(self.config.algorithm))

        # A session of several turns is one sample, and its last turn holds the score.
        last, session = {}, [key.rsplit("_", 1)[0] for key in batch.keys]
        for row in sorted(range(len(session)), key=lambda r: int(batch.keys[r].rsplit("_", 1)[1])):
            last[session[row]] = row
        rows, uids = list(last.values()), list(data["uid"])
        scores = np.array([float(raw[row].sum()) for row in rows])

        def total(column: str) -> np.ndarray:
            """Sums over the tokens of all turns of each session."""
            of = dict.fromkeys(last, 0.0)
            masks = tokens["response_mask"].unbind()
            for s, values, mask in zip(session, tokens[column].unbind(), masks, strict=True):
                of[s] += float((values * mask).sum())
            return np.array(list(of.values()))

        tokens: Any = {}
        if asked := _asked(self.config.algorithm):
            tokens = transfer_queue.kv_batch_get(
                keys=batch.keys, partition_id=batch.partition_id,
                select_fields=[*{"response_mask", *asked.values()}],
            )  # fmt: skip
        known = _known(self.config.algorithm, tokens.keys(), total)
        sampled = [outcomes[row] for row in rows]
        groups = [uids[row] for row in rows]
        weights, advantages = shape(scores, sampled, groups, self.config.algorithm, known)
        of_session = dict(zip(last, weights.tolist(), strict=True))

        real = [i for i, row in enumerate(rows) if not batch.tags[row].get("is_padding", False)]
        distinct = {(groups[i], _key(sampled[i])) for i in real if sampled[i] is not None}
        metrics["ips/weight_max"] = float(weights[real].max(initial=1.0))
        metrics["outcomes/distinct"] = len(distinct) / max(len({groups[i] for i in real}), 1)

        weighted = [of_session[s] * row for s, row in zip(session, raw, strict=True)]
        self._put(batch, rm_scores=weighted)
        try:
            computed = super()._compute_advantage(batch, metrics)
        finally:
            self._put(batch, rm_scores=raw)  # verl's own metrics and dumps show unscaled scores
        if advantages is not None:
            of_session = dict(zip(last, advantages.tolist(), strict=True))
            mask = transfer_queue.kv_batch_get(
                keys=batch.keys, partition_id=batch.partition_id, select_fields=["response_mask"]
            )["response_mask"].unbind()
            ours = [of_session[s] * row.float() for s, row in zip(session, mask, strict=True)]
            self._put(batch, advantages=ours, returns=ours)
        return computed

    @staticmethod
    def _put(batch: Any, **columns: list[torch.Tensor]) -> None:
        nested = {
            name: torch.nested.as_nested_tensor(rows, layout=torch.jagged)
            for name, rows in columns.items()
        }
        content = TensorDict(nested, batch_size=len(batch.keys))
        transfer_queue.kv_batch_put(
            keys=batch.keys, partition_id=batch.partition_id, fields=content
        )


def _outcomes(data: Any, needed: bool) -> list[Hashable | None]:
    """Outcomes of the rows, from the place where verl left the results of compute_score."""
    returned = [fields.get("reward_extra_info", {}) for fields in data["extra_fields"]]
    if not any(returned) and "outcome" in data.keys():  # noqa: SIM118  # no Mapping
        return list(data["outcome"])  # scored beside the trainer
    for info in returned:
        if needed and "outcome" not in info:
            raise _no_outcome(info)
    return [info.get("outcome") for info in returned]


def _no_outcome(found: Iterable[str]) -> InvalidInput:
    return InvalidInput(
        "compute_score returned no 'outcome', by which IPS counts what is frequent (found: "
        f"{', '.join(sorted(found)) or 'nothing'}). Let it return "
        '{"score": score, "outcome": key}, with key a string, or None where there is no outcome.'
    )


def _key(outcome: Any) -> Hashable | None:
    # verl stacks outcomes with np.array, which makes rows of tuples.
    return tuple(outcome.tolist()) if isinstance(outcome, np.ndarray) else outcome


def _scaling(compute_advantage: Callable) -> Callable:
    """The legacy trainer's function, wrapped in IPS if the config has one of its options."""
    signature = inspect.signature(compute_advantage)

    @functools.wraps(compute_advantage)
    def scaled(data: Any, *args: Any, **kwargs: Any) -> Any:
        algorithm = signature.bind(data, *args, **kwargs).arguments.get("config")
        advantages_N = None
        if algorithm is not None and _given(algorithm):
            uids = data.non_tensor_batch["uid"]
            if "outcome" not in data.non_tensor_batch and _counts(algorithm):
                raise _no_outcome(data.non_tensor_batch)
            raw = data.batch["token_level_scores"]

            def total(column: str) -> np.ndarray:
                return (data.batch[column] * data.batch["response_mask"]).sum(-1).cpu().numpy()

            weights, advantages_N = shape(
                raw.sum(-1).double().cpu().numpy(),
                list(data.non_tensor_batch.get("outcome", [None] * len(uids))),
                uids,
                algorithm,
                _known(algorithm, data.batch.keys(), total),
            )
            extra = torch.as_tensor(weights - 1, dtype=raw.dtype, device=raw.device)
            rewards = data.batch["token_level_rewards"]
            data.batch["token_level_rewards"] = rewards + extra[:, None] * raw
        data = compute_advantage(data, *args, **kwargs)
        if advantages_N is not None:
            mask = data.batch["response_mask"]
            ours = torch.as_tensor(advantages_N, dtype=torch.float32, device=mask.device)
            data.batch["advantages"] = data.batch["returns"] = ours[:, None] * mask
        return data

    return scaled


def _refusing(init: Callable) -> Callable:
    """Refuse another v1 trainer, which would silently run without IPS."""

    @functools.wraps(init)
    def checked(self: Any, config: Any) -> None:
        if _given(config.algorithm) and not isinstance(self, IPSTrainerSync):
            raise ConfigError(
                f"an option algorithm.ips_* is set, but trainer.v1.trainer_mode is "
                f"{config.trainer.v1.trainer_mode!r}, which does not scale rewards. "
                f"Use trainer.v1.trainer_mode={TRAINER}, or leave it out."
            )
        init(self, config)

    return checked


def register() -> None:
    """Make verl find IPS; calling it again is harmless."""
    if TRAINER not in TRAINER_REGISTRY:
        register_trainer(TRAINER)(IPSTrainerSync)
        PPOTrainer.__init__ = _refusing(PPOTrainer.__init__)
        # The v1 trainer holds the original, since its modules are imported by now.
        ray_trainer.compute_advantage = _scaling(ray_trainer.compute_advantage)


def check() -> bool:
    """Print which parts of ipsrl verl finds; True if none is missing."""
    plugins = {entry.value for entry in entry_points(group="verl.plugins")}
    found = {
        "entry point in the group verl.plugins": MODULE in plugins,
        f"trainer.v1.trainer_mode={TRAINER}": TRAINER in TRAINER_REGISTRY,
        "compute_advantage of the legacy trainer": (
            ray_trainer.compute_advantage.__code__.co_filename == __file__
        ),
    }
    print(f"verl {verl.__version__}, options +algorithm.ips_method, ips_eps, ips_alpha, ...")
    for what, there in found.items():
        print(f"{'ok     ' if there else 'MISSING'} {what}")
    return all(found.values())


if __name__ == "__main__":  # a second copy, which must see what `import verl` registered
    sys.exit(not check())
register()
