"""Exemplar replay: Dr.GRPO plus the likelihood of a right completion of every outcome found."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors.numpy import save
from trl.trainer.utils import pad

from ipsrl.core.group import Group
from ipsrl.core.losses import exemplar_loss
from ipsrl.core.methods import ExemplarReplay, Method
from ipsrl.errors import ConfigError
from ipsrl.llm.kept import check_rows, reading
from ipsrl.llm.trl import IPSGRPOTrainer
from ipsrl.runs import write_whole

FILE = "exemplars.safetensors"
_KEY = "exemplar_prompt"  # in TRL's batches: whose bank a row belongs to


class ExemplarReplayTrainer(IPSGRPOTrainer):
    """TRL's `GRPOTrainer` with exemplar replay (ReplayDr.GRPO).

        A = r - mean r,   L = L(A) + weight (1/B) sum_e -(1/T_e) log pi(e)

    L(A) is TRL's loss, which is Dr.GRPO's with its `loss_type="dr_grpo"`.  e goes through the bank
    of the prompt: the newest right completion of each of its B outcomes, those of the present group
    included.  The loss of the exemplars is a mean over the prompts of the batch, and 0 for a prompt
    with an empty bank.  Banks are the same in every process, and part of checkpoints.  Each step
    costs a pass over the banks of its prompts, at most `size` completions each.

    Args:
      *args: as TRL's.
      method: `ExemplarReplay`, with its options.
      **kwargs: as those of `IPSMixin` and TRL.
    Raises:
      ConfigError: for another method, or completions that are not written by the model alone.
    """

    def __init__(self, *args: Any, method: Method | None = None, **kwargs: Any) -> None:
        method = ExemplarReplay() if method is None else method
        if not isinstance(method, ExemplarReplay):
            raise ConfigError(
                f"ExemplarReplayTrainer got the method {type(method).__name__}, which remembers no "
                "exemplars. Pass ExemplarReplay(...), or use IPSGRPOTrainer."
            )
        super().__init__(*args, method=method, **kwargs)
        if any(getattr(self, name, None) for name in ("tools", "rollout_func")):
            raise ConfigError(
                "ExemplarReplay memorises completions, but with tools, environments or "
                "rollout_func a part of them is not written by the model. Use another method."
            )
        self.replayed = method
        self.bank = Exemplars()
        self._prompts_N: np.ndarray | None = None

    def _judged(
        self, group: Group, raw_NK: np.ndarray, scored_NK: np.ndarray, keys: Any, batch: Any
    ) -> Group:
        """The group, whose right completions have been added to the bank."""
        group = super()._judged(group, raw_NK, scored_NK, keys, batch)
        G = group.rewards.shape[-1]
        prompts_P = self._prompts(batch, G)
        texts = gather_object([tuple(text) for text in batch[3]])
        right_PG = group.right(self.replayed)
        for p, prompt in enumerate(prompts_P.tolist()):
            ids_G = group.ids[p].tolist()
            found = [(ids_G[g], texts[p * G + g]) for g in np.flatnonzero(right_PG[p])]
            self.replayed.remember(self.bank.of[prompt], found)
        self._prompts_N = np.repeat(prompts_P, G)
        return group

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """TRL's batch of this process, with the banks of its rows."""
        output = super()._generate_and_score_completions(inputs)
        if self._prompts_N is not None:
            advantages = output["advantages"]
            mine = self._prompts_N[self._local(len(advantages))]
            output[_KEY] = torch.as_tensor(mine, device=advantages.device)
            self._prompts_N = None
        return output

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """TRL's loss, plus the loss of the exemplars in training."""
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not (model.training and _KEY in inputs):
            return loss
        replayed = self._exemplar_loss(model, inputs)
        metrics = self._metrics["train"]
        metrics["exemplars/loss"].append(self.accelerator.gather(replayed.detach()).mean().item())
        sizes = [len(self.bank.of[prompt]) for prompt in inputs[_KEY].tolist()]
        size = torch.tensor(np.mean(sizes), device=loss.device)
        metrics["exemplars/outcomes"].append(self.accelerator.gather(size).mean().item())
        weight = self.replayed.weight / self.current_gradient_accumulation_steps
        return loss + weight * replayed

    def _exemplar_loss(self, model: Any, inputs: Any) -> torch.Tensor:
        """Mean loss of the banks over the rows of the batch."""
        prompts = inputs[_KEY].tolist()
        texts, shares, of = [], [], []
        for prompt, rows in Counter(prompts).items():
            bank = self.bank.of[prompt]
            texts += bank.values()
            of += [prompts.index(prompt) for _ in bank]
            shares += [rows / len(prompts) / len(bank) for _ in bank]
        device = inputs["prompt_ids"].device
        if not texts:
            return torch.zeros((), device=device)
        text = pad([torch.tensor(text, dtype=torch.long) for text in texts]).to(device)
        mask = pad([torch.ones(len(text), dtype=torch.long) for text in texts]).to(device)
        log_pi = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"][of], text], dim=1),
            torch.cat([inputs["prompt_mask"][of], mask], dim=1),
            text.shape[1],
        )[0]
        shares = torch.tensor(shares, device=device, dtype=log_pi.dtype)
        return (shares * exemplar_loss(log_pi, mask=mask.bool())).sum()

    def _remembered(self) -> list[Any]:
        return [*super()._remembered(), self.bank]


class Exemplars:
    """The newest right completion of each outcome of every prompt.

    Attributes:
      of: of each prompt, from `prompt_ids`: token ids by outcome id, the oldest first.
    """

    def __init__(self) -> None:
        self.of: defaultdict[int, dict[int, tuple[int, ...]]] = defaultdict(dict)

    def save(self, checkpoint: Path) -> None:
        """Write the banks to a file of their own, as a whole or not at all."""
        rows = [(prompt, *item) for prompt, bank in self.of.items() for item in bank.items()]
        rows_R3 = np.array([(p, o, len(text)) for p, o, text in rows], np.int64).reshape(-1, 3)
        tokens = np.array([token for *_, text in rows for token in text], np.int64)
        write_whole(checkpoint / FILE, save({"exemplars": rows_R3, "tokens": tokens}))

    def load(self, checkpoint: Path) -> bool:
        """Replace these banks by those of a checkpoint.

        Returns:
          whether it has some; without, nothing right was found yet.
        Raises:
          RunError: if its file is damaged, or another one.
        """
        path = checkpoint / FILE
        self.of.clear()
        if not path.exists():
            return False
        with reading(path, "the exemplars", "begin with empty banks") as arrays:
            rows_R3, tokens = arrays["exemplars"], arrays["tokens"]
            check_rows(rows_R3)
            lengths = rows_R3[:, 2]
            # Each is checked, because a sum of huge ones may overflow to the right number.
            if ((lengths < 0) | (lengths > tokens.size)).any() or lengths.sum() != tokens.size:
                raise ValueError("the number of tokens is not the one that it states")
        first = 0
        for prompt, outcome, length in rows_R3.tolist():
            self.of[prompt][outcome] = tuple(tokens[first : first + length].tolist())
            first += length
        return True
