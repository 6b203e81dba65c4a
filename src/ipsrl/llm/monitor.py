"""A callback that watches for collapse while a TRL trainer runs, and can stop it.

    monitor = CollapseMonitor(outcome_fn, stop_below=1.5)
    GRPOTrainer(..., reward_funcs=[monitor.watch(reward)], callbacks=[monitor])

    IPSGRPOTrainer(..., callbacks=[CollapseMonitor(stop_below=1.5)])     # measures by itself

A callback sees no completions, so a reward function is watched.  What it measures goes through
TRL's `log_metric`, and so reaches `state.log_history` and every logger.  In `on_log` it would be
too late: the history is written before, and the callbacks of the loggers are called first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import InvalidInput, MissingExtra
from ipsrl.functions import is_coroutine
from ipsrl.llm.collapse import outcome_statistics
from ipsrl.llm.completions import OutcomeFunction, call_outcome_fn
from ipsrl.llm.outcomes import OUTCOMES, named
from ipsrl.llm.rewards import checked

try:
    import torch
    from accelerate import PartialState
    from accelerate.utils import gather
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingExtra("llm", error.name or "transformers") from None

_METRIC = "outcomes/effective"


class CollapseMonitor(TrainerCallback):
    """Logs `outcome_statistics` as `outcomes/...`, and stops a run that has collapsed.

    Args:
      outcome_fn: outcome_fn(prompts, completions, completion_ids, **columns), one key per
        completion, None for none; or a name of `ipsrl.llm.outcomes.OUTCOMES`; not needed by a
        trainer that measures by itself.
      stop_below: stop once the effective outcomes per group were below it in `patience` logs in
        a row; None never stops.
      patience: number of logs.
      num_generations: group size; that of the trainer if not given.
    Raises:
      InvalidInput: for an argument that cannot be; in training, if nothing measures outcomes.
    """

    def __init__(
        self,
        outcome_fn: OutcomeFunction | str | None = None,
        *,
        stop_below: float | None = None,
        patience: int = 3,
        num_generations: int | None = None,
    ) -> None:
        outcome_fn = named(outcome_fn)
        if outcome_fn is not None and not callable(outcome_fn):
            raise InvalidInput(
                f"outcome_fn is {outcome_fn!r}, which cannot be called. Pass a function "
                f"(prompts, completions, **columns) -> keys, or one of {', '.join(OUTCOMES)}."
            )
        if stop_below is not None and not stop_below > 1:
            raise InvalidInput(
                f"stop_below is {stop_below}, but a group with an outcome has at least 1 effective "
                "outcome, so it would never stop. Choose more than 1, such as 1.5."
            )
        for name, value in (("patience", patience), ("num_generations", num_generations)):
            if value is not None and (value != int(value) or value < 1):
                raise InvalidInput(f"{name} is {value}. Choose a whole number, at least 1.")
        self.outcome_fn = outcome_fn
        self.stop_below = stop_below
        self.patience = patience
        self.num_generations = num_generations
        self._group_sizes = {"train": num_generations, "eval": num_generations}
        self._mode = "eval"
        self._measured = False
        self._below: list[int] = []  # steps of the latest logs, all of them below

    def watch(self, reward_fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same reward function, which also measures the completions that it receives.

        Watch one of several: all of them get the same completions.

        Args:
          reward_fn: TRL's kind of reward function, a coroutine or not.
        Returns:
          a function of the same name, with the same rewards.
        Raises:
          InvalidInput: if the monitor has no outcome_fn, or reward_fn is not a function.
        """
        if self.outcome_fn is None:
            raise InvalidInput(
                "the monitor has no outcome_fn, so it does not know which completions mean the "
                "same. Make it as CollapseMonitor(outcome_fn)."
            )
        if not callable(reward_fn) or isinstance(reward_fn, torch.nn.Module):
            raise InvalidInput(
                f"reward_fn is a {type(reward_fn).__name__}, which is not a function and cannot be "
                "watched. Watch a function; reward models can stand beside it in reward_funcs."
            )
        rewards_of = checked(reward_fn)

        @functools.wraps(rewards_of)
        def watched(*args: Any, **columns: Any) -> Any:
            self._measure(columns)
            return rewards_of(*args, **columns)

        @functools.wraps(rewards_of)
        async def watched_later(*args: Any, **columns: Any) -> Any:
            self._measure(columns)  # before anything is awaited: processes gather in step
            return await rewards_of(*args, **columns)

        return watched_later if is_coroutine(reward_fn) else watched

    def _measure(self, columns: dict[str, Any]) -> None:
        log_metric = columns.get("log_metric")
        if log_metric is None or self.outcome_fn is None:  # not called by a trainer
            return
        ids = outcome_ids(call_outcome_fn(self.outcome_fn, **columns))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # A group may straddle processes.
            here = torch.as_tensor(ids, device=PartialState().device)
            ids = gather(here).cpu().numpy()  # pyright: ignore[reportAttributeAccessIssue]
        group_size = self._group_sizes[self._mode]
        if group_size is None or len(ids) % group_size:
            raise InvalidInput(
                f"{len(ids)} completions are not whole groups of {group_size}. Pass the monitor in "
                "callbacks too, so that it knows num_generations of the trainer."
            )
        for name, value in outcome_statistics(ids.reshape(-1, group_size)).items():
            log_metric(f"outcomes/{name}", value)

    # --- events of the trainer ------------------------------------------------------------------

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Learn the group size."""
        known = getattr(args, "num_generations", None)
        if known is not None and self.num_generations not in (None, known):
            raise InvalidInput(
                f"num_generations is {self.num_generations}, but {known} for the trainer. "
                "Leave it out."
            )
        size = self.num_generations or known
        evaluation = getattr(args, "num_generations_eval", None)
        self._group_sizes = {"train": size, "eval": evaluation or size}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start again; a monitor that was added later has not seen `on_init_end`."""
        self.on_init_end(args, state, control)
        self._measured, self._below = False, []
        for row in state.log_history:  # of the checkpoint from which training continues
            self._count(row.get(_METRIC), row["step"])

    def _count(self, value: float | None, step: int) -> None:
        """Number of consecutive steps whose log was below the threshold."""
        if value is not None:
            self._measured = True
            low = self.stop_below is not None and value < self.stop_below
            self._below = [*self._below, step] if low else []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Completions that are scored until the end of the step are for training."""
        self._mode = "train"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Completions that are scored between steps are for evaluation."""
        self._mode = "eval"

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Stop if the logged effective outcomes stayed below the threshold.

        Raises:
          InvalidInput: if the first log of training has none.
        """
        value = (logs or {}).get(_METRIC)
        if value is None:
            if "loss" in (logs or {}) and not self._measured:
                raise InvalidInput(
                    f"the trainer logged no {_METRIC!r}, so CollapseMonitor sees nothing. Use "
                    "IPSGRPOTrainer, or reward_funcs=[monitor.watch(reward_fn)] with "
                    "monitor = CollapseMonitor(outcome_fn)."
                )
            return  # evaluation, or a step that reused completions
        self._count(value, state.global_step)
        if len(self._below) < self.patience or control.should_training_stop:
            return
        control.should_training_stop = True
        if state.is_world_process_zero:
            none = logs.get("outcomes/no_outcome", 0.0)
            remedy = (
                "larger groups, a smaller eps or estimator='replay'"
                if self.outcome_fn is None
                else "IPSGRPOTrainer"
            )
            print(
                f"CollapseMonitor stops the run at step {state.global_step}: {value:.2f} effective "
                f"outcomes per group, below {self.stop_below:g} in {self.patience} logs in a row "
                f"since step {self._below[0]}"
                + (f" ({none:.0%} of the completions have no outcome)" if none > 0.5 else "")
                + f". Checkpoints in {args.output_dir} are kept: continue from one before step "
                f"{self._below[0]} with {remedy}.",
                flush=True,
            )
