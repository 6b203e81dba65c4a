"""IPS in TRL: change one class and name the outcome.

    trainer = IPSGRPOTrainer(model, reward_funcs=reward, outcome_fn=outcome, ...)

`_calculate_rewards` is the one place where a group is whole: reward functions see the slice of
their own process, and later the batch is shuffled.  There a method that changes rewards changes
them, and everything else stays as TRL computes it; what another method computes takes the place of
TRL's advantages.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate.utils import gather, gather_object
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer
from trl.trainer.utils import pad

from ipsrl.core.check import check_groups
from ipsrl.core.estimators import Estimator, GroupFrequency
from ipsrl.core.group import Group
from ipsrl.core.methods import GRPO, Method, RewardMethod
from ipsrl.core.outcomes import outcome_ids
from ipsrl.core.probability import group_frequency
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.functions import call
from ipsrl.llm.collapse import outcome_statistics
from ipsrl.llm.given import (
    OutcomeFn,
    as_estimator,
    as_method,
    as_success,
    check_config,
    check_host,
    check_outcome_fn,
    keys_of,
)
from ipsrl.llm.replay import PromptHistory, Tokens, one_prompt, prompt_ids
from ipsrl.llm.rewards import checked_all

logger = logging.getLogger("ipsrl.llm")

_Trainer: Any = object  # whose methods come from the class that follows in the order of bases


class IPSMixin(_Trainer):
    """Shapes the rewards of a group-relative trainer by the probability of their outcomes.

        r~ = r / max(p^(outcome), eps)^alpha

    Put it in front of the trainer: `class MyTrainer(IPSMixin, GRPOTrainer)`.  Evaluation is not
    scaled.  Logged beside TRL's metrics, whose rewards are the scaled ones: `raw_reward`,
    `raw_rewards/NAME/mean`, `ips/weight_max` and `outcomes/...`.  Source: the paper, Eq. 9 and
    Algorithm 1.

    Args:
      outcome_fn: called as a reward function is, `outcome_fn(prompts=, completions=,
        completion_ids=, **columns)`; returns one key per completion: a str, int, or a tuple or
        frozenset of these; None where it has no outcome, whose reward is left alone.  Or the name
        of a column that a reward function logs with `log_extra`.  Only a method that asks for no
        outcomes, such as MaxRL, can do without.
      eps: lower clip of p^, in [0, 1]; at or below 1/G it has no effect on the group frequency.
      alpha: exponent >= 0; outcomes settle in proportion to r^(1/alpha), 0 leaves rewards alone.
      method: another method of `ipsrl.METHODS`, such as `GRPO()`, which only counts outcomes; IPS
        with this eps and alpha if not given.  What is compared with what is TRL's business under a
        method that changes rewards only (`scale_rewards`), and the method's under any other.
      estimator: of p^, by its name: "group", the share of the group; "replay", importance-weighted
        counts over the last visits of the prompt, for prompts with more outcomes than G; or a
        `PromptHistory`, or an `Estimator` that needs nothing but outcomes.
      success: which completions are right, and so scaled: a total reward above this number, or
        positive rewards of all reward functions of these names.  All if not given.
      negative_rewards: scaling a negative reward would push rare outcomes away, so it is refused.
        "keep" leaves a completion unscaled whose total reward is negative (a penalty).
    Raises:
      ConfigError: for a trainer or a configuration under which scaling would not be what it says.
      InvalidInput: in training, for outcomes or rewards that cannot be scaled.
    """

    def __init__(
        self,
        *args: Any,
        outcome_fn: OutcomeFn | str | None = None,
        eps: float = 0.0,
        alpha: float = 1.0,
        method: Method | None = None,
        estimator: str | Estimator | PromptHistory = "group",
        success: float | Sequence[str] | None = None,
        negative_rewards: Literal["refuse", "keep"] = "refuse",
        **kwargs: Any,
    ) -> None:
        self.method = as_method(method, eps, alpha)
        if outcome_fn is not None or "ids" in self.method.needs:
            check_outcome_fn(outcome_fn)
        self.estimator = as_estimator(estimator)
        if negative_rewards not in ("refuse", "keep"):
            raise ConfigError(f"negative_rewards is {negative_rewards!r}. Use 'refuse' or 'keep'.")
        check_host(type(self), getattr(super(), "_calculate_rewards", None))
        if not isinstance(self.method, GRPO):
            check_config(kwargs.get("args", args[2] if len(args) > 2 else None), self.method)
        if "reward_funcs" in kwargs:
            kwargs["reward_funcs"] = checked_all(kwargs["reward_funcs"])
        elif len(args) > 1:
            args = (args[0], checked_all(args[1]), *args[2:])
        super().__init__(*args, **kwargs)

        self.outcome_fn, self.negative_rewards = outcome_fn, negative_rewards
        self.success = as_success(success, self.reward_func_names)
        self._weights_K = self.reward_weights.double().cpu().numpy()
        self._generations = self._problems = 0
        self._advantages_N: np.ndarray | None = None

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> torch.Tensor:
        """TRL's rewards [N, K] of all processes, shaped if the method does that."""
        rewards_NK = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._check_gathered(len(rewards_NK), len(prompts))
        mode = "train" if self.model.training else "eval"
        # An attribute of its own in newer TRL; older TRL evaluates with the same G.
        G = self.num_generations
        if mode == "eval":
            G = getattr(self, "num_generations_eval", G)
        keys = ids_PG = p_PG = None
        metrics: dict[str, float] = {}
        if self.outcome_fn is not None:
            keys = self._outcomes(inputs, prompts, completions, completion_ids_list)
            ids_PG = self._whole(outcome_ids(keys), G)
            p_PG = group_frequency(ids_PG)
            statistics = outcome_statistics(ids_PG, p_PG)
            metrics |= {f"outcomes/{key}": value for key, value in statistics.items()}
        if mode == "train":
            raw_NK = rewards_NK.double().cpu().numpy()
            scored_NK = ~np.isnan(raw_NK)
            raw_NK = np.where(scored_NK, raw_NK, 0.0)
            group = self._group(raw_NK, scored_NK, Group(ids=ids_PG, p=p_PG))
            group = self._judged(group, raw_NK, inputs, prompts, completion_ids_list)
            rewards_NK, weights_N = self._shaped(group, rewards_NK)
            metrics |= self._raw_metrics(raw_NK, scored_NK, group)
            metrics["ips/weight_max"] = weights_N.max()
            self._log_columns(keys, group, weights_N, len(prompts))
        for name, value in metrics.items():
            self._metrics[mode][name].append(float(value))
        return rewards_NK

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """TRL's batch of this process, with the advantages of the method."""
        output = super()._generate_and_score_completions(inputs)
        advantages = output["advantages"]
        if self._advantages_N is not None:
            whole = torch.as_tensor(self._advantages_N).to(advantages)
            output["advantages"] = whole[self._local(len(advantages))]
            logged = self._logs["advantages"]
            for _ in range(min(len(whole), len(logged))):
                logged.pop()
            logged.extend(whole.tolist())
            self._advantages_N = None
        elif (bound := self.method.advantage_clip) > 0 and self.model.training:
            output["advantages"] = advantages.clamp(-bound, bound)
        return output

    def _check_gathered(self, rewards: int, prompts: int) -> None:
        completions = prompts * self.accelerator.num_processes
        if completions != rewards:
            raise ConfigError(
                f"{type(self).__name__} got {rewards} rewards for {completions} completions of all "
                "processes: this TRL does not gather rewards in _calculate_rewards, so groups "
                "cannot be whole there. Use the TRL versions that ipsrl[llm] names."
            )

    def _group(self, raw_NK: np.ndarray, scored_NK: np.ndarray, group: Group) -> Group:
        """The group with its rewards."""
        totals_PG = (raw_NK @ self._weights_K).reshape(-1, self.num_generations)
        if not np.isfinite(totals_PG).all():
            raise InvalidInput(
                "a completion has an infinite reward, which would take its whole group with it. "
                "Return finite rewards, or None for what cannot be scored."
            )
        if isinstance(self.method, RewardMethod):  # TRL leaves out what has no reward
            return group._replace(rewards=totals_PG)
        scored_PG = scored_NK.any(axis=1).reshape(totals_PG.shape)
        return group._replace(rewards=totals_PG, mask=scored_PG)

    def _judged(
        self, group: Group, raw_NK: np.ndarray, inputs: Any, prompts: Any, completion_ids: Any
    ) -> Group:
        """The group with what the method needs: what is right, and p^."""
        if not self.method.needs:
            return group
        group = group._replace(success=self._right(raw_NK, group.rewards))
        counted = isinstance(self.estimator, GroupFrequency) and group.success is None
        if "p" in self.method.needs and not counted:
            group = group._replace(p=self._probability(group, inputs, prompts, completion_ids))
        self._generations += 1
        if self._generations & (self._generations - 1) == 0:  # 1, 2, 4, 8, ...
            self._warn(group)
        return group

    def _right(self, rewards_NK: np.ndarray, totals_PG: np.ndarray) -> np.ndarray | None:
        """Which completions are right [P, G]; None for all."""
        right_PG: Any = None
        if isinstance(self.success, float):
            right_PG = totals_PG > self.success
        elif self.success:
            right_PG = (rewards_NK[:, self.success] > 0).all(axis=1).reshape(totals_PG.shape)
        negative_PG = totals_PG < 0 if right_PG is None else right_PG & (totals_PG < 0)
        if not negative_PG.any():
            return right_PG
        if self.negative_rewards == "keep":
            return ~negative_PG if right_PG is None else right_PG & ~negative_PG
        raise InvalidInput(
            f"a completion has the total reward {totals_PG[negative_PG].min():g}. Scaling would "
            "push rare outcomes with a negative reward away the most. Shift the rewards to be "
            ">= 0, say which completions are right (success=...), or pass negative_rewards='keep' "
            "to leave such completions unscaled."
        )

    def _probability(
        self, group: Group, inputs: Any, prompts: Any, completion_ids: Any
    ) -> np.ndarray:
        """p^ [P, G]."""
        if isinstance(self.estimator, PromptHistory):
            ids_PG = group.scaled_ids(self.estimator)
            return self._replayed(self.estimator, ids_PG, inputs, prompts, completion_ids)
        return self.estimator(group, self.estimator.init(group))[0]

    def _shaped(self, group: Group, rewards_NK: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        """What TRL is to take for the rewards, and the weight of each completion [N]."""
        if not isinstance(self.method, RewardMethod):
            self._advantages_N = self.method(group).advantages.reshape(-1)
            return rewards_NK, np.ones(len(rewards_NK))
        weights_N = self.method.weights(group).reshape(-1)
        # All columns alike, which scales their weighted sum; None stays None.
        return rewards_NK * torch.from_numpy(weights_N).to(rewards_NK)[:, None], weights_N

    def _raw_metrics(
        self, raw_NK: np.ndarray, scored_NK: np.ndarray, group: Group
    ) -> dict[str, float]:
        scored = np.count_nonzero(scored_NK.any(axis=1))
        metrics = {"raw_reward": group.rewards.sum() / scored if scored else np.nan}
        totals_K, counts_K = raw_NK.sum(axis=0), scored_NK.sum(axis=0)
        for name, total, n in zip(self.reward_func_names, totals_K, counts_K, strict=True):
            metrics[f"raw_rewards/{name}/mean"] = total / n if n else np.nan
        return metrics

    def _log_columns(self, keys: Any, group: Group, weights_N: np.ndarray, count: int) -> None:
        """Columns of TRL's table of completions."""
        if not self.log_completions:
            return
        local, logged = self._local(count), self._pending_extra_logs
        # Replaced: a reward function may use these names.
        if keys is not None and self.outcome_fn != "outcome":
            logged["outcome"] = [None if key is None else str(key) for key in keys]
        logged["raw_reward"] = group.rewards.reshape(-1)[local].tolist()
        logged["ips_weight"] = weights_N[local].tolist()

    def _local(self, count: int) -> slice:
        """Rows of this process in the global batch."""
        start = self.accelerator.process_index * count
        return slice(start, start + count)

    def _outcomes(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids: Any
    ) -> Sequence[Hashable | None]:
        """Outcome keys of this process's completions."""
        if isinstance(self.outcome_fn, str):
            keys = self._pending_extra_logs.get(self.outcome_fn)
            if keys is None:
                raise InvalidInput(
                    f"no reward function has logged the column {self.outcome_fn!r}, which names "
                    f"the outcome. Call log_extra({self.outcome_fn!r}, values) in one, or pass a "
                    "function as outcome_fn."
                )
        else:
            columns = {
                name: [row[name] for row in inputs]
                for name in inputs[0]
                if name not in ("prompt", "completion", "completion_ids")
            }
            batch = {"prompts": prompts, "completions": completions}
            outcome_fn: Any = self.outcome_fn
            keys = call(outcome_fn, **batch, completion_ids=completion_ids, **columns)
        return keys_of(keys, self.outcome_fn, len(prompts))  # type: ignore[arg-type]

    def _whole(self, values_N: np.ndarray, G: int) -> np.ndarray:
        """Values of all processes [P, G]: groups are consecutive in the global batch."""
        if self.accelerator.num_processes == 1:
            return values_N.reshape(-1, G)
        values = torch.as_tensor(values_N, device=self.accelerator.device)
        return gather(values).cpu().numpy().reshape(-1, G)  # pyright: ignore[reportAttributeAccessIssue]

    def _replayed(
        self,
        history: PromptHistory,
        ids_PG: np.ndarray,
        inputs: Any,
        prompts: Any,
        completion_ids: Any,
    ) -> np.ndarray:
        """p^ [P, G] from the history of each prompt, which is the same in every process."""
        P, G = ids_PG.shape
        prompts_P = one_prompt(self._whole(prompt_ids(prompts, inputs, history.columns), G))
        if not history.log_probs:
            return history.estimate(prompts_P, ids_PG)
        prompt_tokens, images = self._tokenize_prompts(prompts)[:2]
        if images is not None:
            raise InvalidInput(
                "the prompts have images, and the probability of a completion is computed of text "
                "only. Use estimator='group', or PromptHistory(log_probs=False)."
            )
        tokens = zip(prompt_tokens, completion_ids, strict=True)
        rows = gather_object([(tuple(prompt), tuple(text)) for prompt, text in tokens])
        completions_PG = [[text for _, text in rows[p * G : (p + 1) * G]] for p in range(P)]
        return history.estimate(
            prompts_P,
            ids_PG,
            completions_PG,
            lambda pairs: self._log_probs([(rows[p * G][0], text) for p, text in pairs]),
        )

    @torch.no_grad()
    def _log_probs(self, rows: list[tuple[Tokens, Tokens]]) -> np.ndarray:
        """log pi(completion | prompt) [R] under the current policy; processes share the work."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        share = -(-len(rows) // processes)
        mine = (rows + rows[-1:] * (share * processes - len(rows)))[rank * share :][:share]
        prompt = pad([torch.tensor(p) for p, _ in mine], padding_side="left")
        text = pad([torch.tensor(c, dtype=torch.long) for _, c in mine])
        mask = pad([torch.ones(len(c)) for _, c in mine])
        seen = pad([torch.ones(len(p), dtype=torch.long) for p, _ in mine], padding_side="left")
        device = self.accelerator.device
        self.model.eval()  # dropout would make the ratios noise, and draw random numbers
        try:
            log_probs = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([prompt, text], dim=1).to(device),
                torch.cat([seen, mask.long()], dim=1).to(device),
                text.shape[1],
                batch_size=self.args.per_device_train_batch_size,
            )[0]
        finally:
            self.model.train()
        totals = gather((log_probs * mask.to(device)).sum(dim=1).float())
        return totals[: len(rows)].double().cpu().numpy()  # pyright: ignore

    # Between the model and trainer_state.json, which the trainer writes last.
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if isinstance(self.estimator, PromptHistory) and self.args.should_save:
            self.estimator.save(Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or not isinstance(self.estimator, PromptHistory):
            return
        if not self.estimator.load(Path(checkpoint)) and self.accelerator.is_main_process:
            logger.warning(
                "%s has no history of prompts, for it was written without one. Training goes on "
                "with an empty history, as if no prompt had been visited yet.", checkpoint,
            )  # fmt: skip

    def _warn(self, group: Group) -> None:
        """Say what stands against scaling, and again only when there is more of it."""
        p_PG = None if isinstance(self.estimator, GroupFrequency) else group.p
        eps, ids_PG = getattr(self.method, "eps", 0.0), group.scaled_ids(self.method)
        problems = check_groups(group.rewards, ids_PG, eps=eps, mask=group.mask, p=p_PG).warnings
        if len(problems) > self._problems and self.accelerator.is_main_process:
            for problem in problems:
                logger.warning(problem)
        self._problems = max(self._problems, len(problems))


class IPSGRPOTrainer(IPSMixin, GRPOTrainer):
    """TRL's `GRPOTrainer` with inverse probability scaling (IPS-GRPO); see `IPSMixin`."""


class IPSRLOOTrainer(IPSMixin, RLOOTrainer):
    """TRL's `RLOOTrainer` with inverse probability scaling; see `IPSMixin`."""
