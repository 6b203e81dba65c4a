"""FlowRL (2509.15207): match a reward distribution over completions, on TRL's GRPO trainer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import gather
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from ipsrl.core.losses import flowrl_residual
from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import ConfigError, RunError

_MAX_RATIO = 10.0


class FlowRLTrainer(GRPOTrainer):
    """TRL's `GRPOTrainer` with FlowRL's loss instead of the clipped surrogate and the KL.

        L = w (log Z(x) + (1/T) log pi(y|x) - beta r^ - (1/T) log pi_ref(y|x))^2

    r^ is the group-relative advantage as TRL computes it; w the importance ratio of the sequence,
    without gradient.  At the fixed point pi^(1/T) is proportional to pi_ref^(1/T) exp(beta r^):
    completions are weighed, not outcomes (the paper, section 5.1).  Source: FlowRL, Eq. 6.

    Args:
      beta: inverse temperature; GRPOConfig's own beta, the weight of a KL term, stays 0.
      log_z: "mlp", two hidden layers on the mean hidden state of the prompt, as in FlowRL, learned
        with the policy's optimiser; "table", a running mean per prompt of the value that
        minimises the loss, for a fixed set of prompts.
      clip: of w: "paper", to [1 - epsilon, 1 + epsilon_high]; "none", as in FlowRL's released
        code; "max", from above at 10, as in a later port.
    Raises:
      ConfigError: for unknown settings, a KL coefficient in GRPOConfig, or a model that TRL cannot
        load a second time as pi_ref.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any,
        args: GRPOConfig | None = None,
        *rest: Any,
        beta: float = 15.0,
        log_z: Literal["mlp", "table"] = "mlp",
        clip: Literal["paper", "none", "max"] = "paper",
        **kwargs: Any,
    ) -> None:
        if log_z not in ("mlp", "table") or clip not in ("paper", "none", "max"):
            raise ConfigError(
                f"FlowRLTrainer got log_z={log_z!r} and clip={clip!r}. Use log_z 'mlp' or 'table', "
                "and clip 'paper', 'none' or 'max'."
            )
        if not beta > 0:
            raise ConfigError(
                f"FlowRLTrainer got beta={beta}. Use an inverse temperature > 0; the paper's is 15."
            )
        args = copy.copy(args or GRPOConfig("FlowRL"))
        if args.beta not in (0.0, beta):
            raise ConfigError(
                f"GRPOConfig has beta={args.beta}, the weight of a KL term, which FlowRL's loss "
                "does not have. Leave it at 0, and pass FlowRL's inverse temperature to "
                "FlowRLTrainer."
            )
        path = model if isinstance(model, str) else model.config.name_or_path
        adapters = kwargs.get("peft_config") or isinstance(model, PeftModel)
        if not path and not adapters:
            raise ConfigError(
                "pi_ref is a second copy of the model, which TRL loads from the same place as the "
                "first, but this model was built in Python. Save it with its tokenizer and pass "
                "the folder, or pass a peft_config: without its adapters it is pi_ref itself."
            )
        args.beta = beta  # anything but 0 makes TRL compute the log-probabilities of pi_ref
        super().__init__(model, reward_funcs, args, *rest, **kwargs)
        self.clip = clip
        if log_z == "table":
            self.log_z = LogZTable()
        else:
            decoder = self.accelerator.unwrap_model(self.model).get_decoder()
            self.log_z = self.accelerator.prepare_model(LogZMLP(decoder.config.hidden_size))

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Mean of w delta^2 over the batch."""
        train = model.training
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        log_pi, prompt_state = self._forward(model, inputs)
        log_old = inputs.get("old_per_token_logps")
        log_old = log_pi.detach() if log_old is None else log_old
        length = mask.sum(-1).clamp(min=1)
        mean_log_pi = (log_pi * mask).sum(-1) / length
        mean_log_ref = (inputs["ref_per_token_logps"] * mask).sum(-1) / length
        ratio = ((log_pi - log_old) * mask).sum(-1).detach().exp()
        if self.clip == "paper":
            ratio = ratio.clamp(1 - self.epsilon_low, 1 + self.epsilon_high)
        elif self.clip == "max":
            ratio = ratio.clamp(max=_MAX_RATIO)
        if isinstance(self.log_z, LogZTable):
            best = self.beta * inputs["advantages"] + mean_log_ref - mean_log_pi.detach()
            prompts = [
                tuple(ids[seen].tolist())
                for ids, seen in zip(
                    inputs["prompt_ids"], inputs["prompt_mask"].bool(), strict=True
                )
            ]
            log_z = self.log_z(outcome_ids(prompts), best, ratio, learn=train)
        else:
            log_z = self.log_z.train(train)(prompt_state)
        residual = flowrl_residual(
            log_z, mean_log_pi, mean_log_ref, inputs["advantages"], beta=self.beta
        )
        metrics = self._metrics["train" if train else "eval"]
        metrics["flowrl/log_z"].append(gather(log_z.detach()).mean().item())  # pyright: ignore
        metrics["flowrl/ratio_max"].append(gather(ratio).max().item())  # pyright: ignore
        loss = (ratio * residual**2).mean()
        return loss / (self.current_gradient_accumulation_steps if train else 1)

    def _forward(self, model: Any, inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of the completion tokens [B, T] and mean state of the prompt [B, H]."""
        prompt_mask = inputs["prompt_mask"]
        states = []
        decoder = self.accelerator.unwrap_model(model).get_decoder()
        hook = decoder.register_forward_hook(
            lambda *call: states.append(call[-1].last_hidden_state)
        )
        try:
            log_pi = self._get_per_token_logps_and_entropies(
                model,
                torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
                torch.cat([prompt_mask, inputs["completion_mask"]], dim=1),
                inputs["completion_ids"].size(1),
                **{name: inputs[name] for name in _IMAGES if name in inputs},
            )[0]
        finally:
            hook.remove()
        # Detached: log Z describes the prompt, and must not move the policy through its features.
        state = states[0][:, : prompt_mask.size(1)].detach().float()
        weight = prompt_mask[..., None] / prompt_mask.sum(-1)[:, None, None]
        return log_pi, (state * weight).sum(1)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """The policy's optimiser, which also learns log Z."""
        optimizer = super().create_optimizer(*args, **kwargs)
        known = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if isinstance(self.log_z, nn.Module):
            weights = [p for p in self.log_z.parameters() if id(p) not in known]
            if weights:
                decay = self.args.weight_decay
                optimizer.add_param_group({"params": weights, "weight_decay": decay})
                # The trainer clears the gradients of its model, but not these.
                optimizer.register_step_post_hook(lambda *_: _clear(weights))
        return optimizer

    # Between the model and trainer_state.json, which the trainer writes last.
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            log_z = self.log_z
            if isinstance(log_z, nn.Module):
                log_z = self.accelerator.unwrap_model(log_z)
            save_file(dict(log_z.state_dict()), Path(output_dir) / _LOG_Z)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / _LOG_Z
        if not path.is_file():
            raise RunError(
                f"{checkpoint} has no {_LOG_Z}, so it was not written by FlowRLTrainer. "
                "Pass it as the model to start from, not as a checkpoint to resume."
            )
        log_z = self.log_z
        if isinstance(log_z, nn.Module):
            log_z = self.accelerator.unwrap_model(log_z)
        log_z.load_state_dict(load_file(path))


def _clear(weights: list[nn.Parameter]) -> None:
    for weight in weights:
        weight.grad = None


_LOG_Z = "log_z.safetensors"
_IMAGES = ("pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "image_sizes",
           "token_type_ids", "mm_token_type_ids")  # fmt: skip


class LogZMLP(nn.Module):
    """log Z of a prompt from its mean hidden state [B, H] -> [B]; FlowRL, appendix."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Dropout(0.1)]
        self.net = nn.Sequential(*layers, nn.Linear(hidden, 1))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.net(state)[:, 0]


class LogZTable:
    """log Z of each prompt: the running mean of the value that minimises the weighted loss."""

    def __init__(self, rate: float = 0.1) -> None:
        self.rate = rate
        self.values: dict[int, float] = {}

    def __call__(
        self, prompts: Any, best: torch.Tensor, weights: torch.Tensor, *, learn: bool
    ) -> torch.Tensor:
        """log Z [B]; a prompt that has not been seen before starts at its own minimiser.

        Args:
          prompts: an integer per row, equal for equal prompts [B].
          best: log Z at which the residual of the row is 0 [B].
          weights: importance ratios [B].
          learn: whether to update the table.
        """
        keys = torch.as_tensor(prompts, device=best.device)
        every: list[Any] = [gather(keys), gather(best), gather(weights)]
        values = dict(self.values)
        for key in every[0].unique().tolist():
            rows = every[0] == key
            mean = ((every[1] * every[2])[rows].sum() / every[2][rows].sum()).item()
            old = values.get(key, mean)
            values[key] = old + self.rate * (mean - old)
        if learn:
            self.values = values
        return torch.tensor([values[key] for key in keys.tolist()], device=best.device)

    def state_dict(self) -> dict[str, torch.Tensor]:
        keys = torch.tensor(list(self.values), dtype=torch.int64)
        values = torch.tensor(list(self.values.values()), dtype=torch.float64)
        return {"prompt": keys, "log_z": values}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.values = dict(zip(state["prompt"].tolist(), state["log_z"].tolist(), strict=True))
