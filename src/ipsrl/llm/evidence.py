"""Evidence of the groups of a TRL trainer: members, log-probabilities, similarities."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather, gather_object
from trl.trainer.utils import pad, use_adapter

from ipsrl.core.estimators import check_stateless
from ipsrl.core.group import Group
from ipsrl.core.methods import Method
from ipsrl.core.outcomes import NO_OUTCOME, outcome_ids
from ipsrl.errors import InvalidInput
from ipsrl.functions import call, name_of
from ipsrl.llm.drawn import DrawnOutcomes
from ipsrl.llm.replay import PromptHistory, Tokens, one_prompt, prompt_ids

logger = logging.getLogger("ipsrl.llm")

_Trainer: Any = object  # whose methods come from the class that follows in the order of bases
_Rows = list[tuple[Tokens, Tokens]]


class Evidence(_Trainer):
    """Base of `IPSMixin`: the part of TRL's trainers that estimates p(outcome) in whole groups."""

    @cached_property
    def drawn(self) -> DrawnOutcomes:
        """Counts of every outcome of every prompt."""
        return DrawnOutcomes()

    def _local(self, count: int) -> slice:
        """Rows of this process in the global batch."""
        start = self.accelerator.process_index * count
        return slice(start, start + count)

    def _whole(self, values_N: np.ndarray, G: int) -> np.ndarray:
        """Gather the values of all processes [P, G]; groups are consecutive in the global batch."""
        if self.accelerator.num_processes == 1:
            return values_N.reshape(-1, G)
        values = torch.as_tensor(values_N, device=self.accelerator.device)
        return gather(values).cpu().numpy().reshape(-1, G)  # pyright: ignore[reportAttributeAccessIssue]

    def _probability(
        self,
        group: Group,
        keys: Sequence[Hashable | None],
        batch: tuple[Any, ...],
    ) -> np.ndarray:
        """Estimate p^ [P, G]; the batch is the one of whose rewards TRL asks."""
        estimator = self.estimator
        if isinstance(estimator, PromptHistory):
            return self._replayed(estimator, group.scaled_ids(estimator), batch)
        if "log_pf" in estimator.needs and group.log_pf is None:
            scaled_N = group.scaled_ids(estimator).reshape(-1) != NO_OUTCOME
            group = self._with_log_probs(group, batch, scaled_N)
        if "similarity" in estimator.needs and group.similarity is None:
            group = self._with_similarity(group, keys)
        return estimator(group, check_stateless(estimator, group))[0]

    def _with_evidence(
        self,
        group: Group,
        method: Method,
        keys: Sequence[Hashable | None] | None,
        batch: tuple[Any, ...],
    ) -> Group:
        """Add the fields that a method reads besides rewards, ids, success and p^."""
        asked = {*method.needs, *method.reads}
        if "log_pf" in asked:
            group = self._with_log_probs(group, batch)
        if "log_ref" in asked:
            rows, every_N = self._token_rows(batch), np.ones(group.rewards.size, bool)
            log_ref_N = self._log_probs_of(rows, every_N, reference=True)
            group = group._replace(log_ref=log_ref_N.reshape(group.rewards.shape))
        if "lengths" in asked:
            lengths_N = np.array([len(text) for text in batch[3]])
            group = group._replace(lengths=self._whole(lengths_N, group.rewards.shape[-1]))
        if "visits" in asked:
            prompts_P = self._prompts(batch, group.rewards.shape[-1])
            group = group._replace(visits=self.drawn.visits(prompts_P, group.ids))
        if "similarity" in asked and self.similarity_fn is not None:
            group = self._with_similarity(group, keys or ())
        return group

    def _with_log_probs(
        self, group: Group, batch: tuple[Any, ...], which_N: np.ndarray | None = None
    ) -> Group:
        """Add log-probabilities of these completions, or of all."""
        rows, shape = self._token_rows(batch), group.rewards.shape
        which_N = np.ones(len(rows), bool) if which_N is None else which_N
        return group._replace(
            log_pf=self._log_probs_of(rows, which_N).reshape(shape),
            samples=outcome_ids(rows).reshape(shape),
        )

    def _log_probs_of(
        self, rows: _Rows, which_N: np.ndarray, *, reference: bool = False
    ) -> np.ndarray:
        """log pi(completion | prompt) [N] of these rows, equal ones once; 0 for the others."""
        log_p_N = np.zeros(len(rows))
        if which_N.any():
            chosen = np.flatnonzero(which_N)
            distinct = list(dict.fromkeys(rows[n] for n in chosen))
            with self._as_reference() if reference else nullcontext(self.model) as model:
                log_p = dict(zip(distinct, self._log_probs(distinct, model), strict=True))
            log_p_N[chosen] = [log_p[rows[n]] for n in chosen]
        return log_p_N

    @contextmanager
    def _as_reference(self) -> Iterator[Any]:
        """The reference model of TRL's KL: a model of its own, or the model without its adapter."""
        if self.ref_model is not None:
            yield self.ref_model
            return
        model = self.accelerator.unwrap_model(self.model)
        # "ref" is a copy of an adapter that is trained further.
        with use_adapter(model, "ref" if "ref" in model.peft_config else None):
            yield self.model

    def _with_similarity(self, group: Group, keys: Sequence[Hashable | None]) -> Group:
        ids_PG = group.scaled_ids(self.estimator)
        return group._replace(similarity=self._similarities(ids_PG, keys))

    def _similarities(self, ids_PG: np.ndarray, keys: Sequence[Hashable | None]) -> np.ndarray:
        """Similarities [P, G, G]; a completion that is not scaled is similar to itself only."""
        everyone = keys if self.accelerator.num_processes == 1 else gather_object(list(keys))
        G = ids_PG.shape[-1]
        similarity_PGG = np.tile(np.eye(G), (len(ids_PG), 1, 1))
        for p, (ids_G, similarity_GG) in enumerate(zip(ids_PG, similarity_PGG, strict=True)):
            scaled_S = np.flatnonzero(ids_G != NO_OUTCOME)
            _, first_K, which_S = np.unique(ids_G[scaled_S], return_index=True, return_inverse=True)
            distinct = [everyone[p * G + g] for g in scaled_S[first_K]]
            if distinct:
                similarity_KK = self._similarity(distinct)
                similarity_GG[np.ix_(scaled_S, scaled_S)] = similarity_KK[np.ix_(which_S, which_S)]
        return similarity_PGG

    def _similarity(self, keys: list[Any]) -> np.ndarray:
        """The result of similarity_fn for different outcome keys [K, K]."""
        returned = call(self.similarity_fn, keys)
        try:
            similarity = torch.as_tensor(returned).detach().double().cpu().numpy()
            found = f"shape {list(similarity.shape)}"
        except (TypeError, ValueError, RuntimeError):
            similarity, found = np.empty(0), f"a {type(returned).__name__}"
        if similarity.shape != (len(keys), len(keys)):
            raise InvalidInput(
                f"{name_of(self.similarity_fn)} returned {found} for {len(keys)} outcome keys. "
                f"Return the similarity of each to each, [{len(keys)}, {len(keys)}]."
            )
        return similarity

    def _replayed(
        self, history: PromptHistory, ids_PG: np.ndarray, batch: tuple[Any, ...]
    ) -> np.ndarray:
        """Estimate p^ [P, G] from the history of each prompt, which is equal in every process."""
        P, G = ids_PG.shape
        prompts_P = self._prompts(batch, G, history.columns)
        if not history.log_probs:
            return history.estimate(prompts_P, ids_PG)
        rows = self._token_rows(batch)
        completions_PG = [[text for _, text in rows[p * G : (p + 1) * G]] for p in range(P)]
        return history.estimate(
            prompts_P,
            ids_PG,
            completions_PG,
            lambda pairs: self._log_probs([(rows[p * G][0], text) for p, text in pairs]),
        )

    def _prompts(self, batch: tuple[Any, ...], G: int, columns: Sequence[str] = ()) -> np.ndarray:
        """An integer for the prompt of each group [P], the same in every process and run."""
        inputs, prompts = batch[:2]
        return one_prompt(self._whole(prompt_ids(prompts, inputs, columns), G))

    def _token_rows(self, batch: tuple[Any, ...]) -> _Rows:
        """Tokens of prompt and completion, of all processes [N]."""
        _, prompts, _, completion_ids = batch
        prompt_tokens, images = self._tokenize_prompts(prompts)[:2]
        if images is not None:
            raise InvalidInput(
                "the prompts have images, and the probability of a completion is computed of text "
                "only. Use estimator='group', or PromptHistory(log_probs=False)."
            )
        tokens = zip(prompt_tokens, completion_ids, strict=True)
        return gather_object([(tuple(prompt), tuple(text)) for prompt, text in tokens])

    @torch.no_grad()
    def _log_probs(self, rows: _Rows, model: Any = None) -> np.ndarray:
        """log pi(completion | prompt) [R] under the policy or this model; processes share it."""
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
                self.model if model is None else model,
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
        for kept in self._remembered():
            if self.args.should_save:
                kept.save(Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        found = [kept.load(Path(checkpoint)) for kept in self._remembered()]
        if not all(found) and self.accelerator.is_main_process:
            logger.warning(
                "%s has no history of prompts, for it was written without one. Training goes on "
                "with an empty history, as if no prompt had been visited yet.", checkpoint,
            )  # fmt: skip

    def _remembered(self) -> list[PromptHistory | DrawnOutcomes]:
        """The stored evidence of earlier visits of a prompt."""
        kept: list[PromptHistory | DrawnOutcomes] = []
        if "visits" in self.method.needs:
            kept.append(self.drawn)
        if isinstance(self.estimator, PromptHistory):
            kept.append(self.estimator)
        return kept
