"""The selective scan of Mamba, by hand: many times faster on a CPU than automatic differentiation.

    h_t = exp(dt_t A) h_{t-1} + u_t B_t,   u = dt x,   y_t = sum_n C_tn h_tn      (h_-1 = 0)

Backwards, with g_t = dL/dh_t (all that comes through y_t and h_{t+1}):

    g_t = C_t dL/dy_t + exp(dt_{t+1} A) g_{t+1}
    dL/du_t = sum_n B_tn g_tn        dL/dB_t = sum_d u_td g_td        dL/dC_t = sum_d h_td dL/dy_td
    dL/d(dt_t A) = g_t exp(dt_t A) h_{t-1}

Source: Gu and Dao 2023 (2312.00752), Algorithm 2.
"""

from __future__ import annotations

import logging
import math
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from transformers import MambaForCausalLM, PreTrainedModel
from transformers.models.mamba.modeling_mamba import MambaMixer

LOG2_E = math.log2(math.e)  # exp2 takes a third of the time of exp
IN_CACHE = 32  # sequences whose states fit into a processor's cache
CACHE = next(
    name
    for name in ("cache", "cache_params")
    if name in signature(MambaForCausalLM.forward).parameters
)
"""What a Mamba calls its cache, taken and returned: transformers 5.24 renamed it."""


class SelectiveScan(torch.autograd.Function):
    """y [T, B, 1, D] of u, dt [T, B, 1, D], A [N, D], B, C [T, B, N, 1].

    Channels are last, so that every operation of a step runs over contiguous memory; time is
    first, so that a step is one piece.  The states of all steps are kept for the way back, but not
    exp(dt A); where there is no way back, only two are.
    """

    @staticmethod
    def forward(ctx: Any, u: Any, dt: Any, A: Any, B: Any, C: Any) -> torch.Tensor:
        steps, batch, _, channels = u.shape
        states = u.new_empty(steps if any(ctx.needs_input_grad) else 2, batch, len(A), channels)
        y = torch.empty_like(u)
        rows, binary = C.mT, A * LOG2_E
        state = torch.mul(u[0], B[0], out=states[0])
        torch.bmm(rows[0], state, out=y[0])
        for t in range(1, steps):
            decay = torch.mul(dt[t], binary, out=states[t % len(states)]).exp2_()
            state = decay.mul_(state).addcmul_(u[t], B[t])
            torch.bmm(rows[t], state, out=y[t])
        ctx.save_for_backward(u, dt, A, B, C, states)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        u, dt, A, B, C, states = ctx.saved_tensors
        dy = gradients[0].contiguous()
        du, dB, dC = torch.empty_like(u), torch.empty_like(B), torch.empty_like(C)
        ddt = torch.zeros_like(u)  # the first state decays nothing
        g = torch.zeros_like(states[0])
        dA, term, binary = torch.zeros_like(g), torch.empty_like(g), A * LOG2_E
        for t in reversed(range(len(u))):
            g.addcmul_(C[t], dy[t])
            torch.bmm(states[t], dy[t].mT, out=dC[t])
            torch.bmm(B[t].mT, g, out=du[t])
            torch.bmm(g, u[t].mT, out=dB[t])
            if t > 0:
                g.mul_(torch.mul(dt[t], binary, out=term).exp2_())
                torch.mul(g, states[t - 1], out=term)
                dA.addcmul_(term, dt[t])
                torch.sum(term.mul_(A), 1, keepdim=True, out=ddt[t])
        return du, ddt, dA.sum(0), dB, dC


class StepCache:
    """The memory of the blocks while a sequence is written token by token.

    Attributes:
      inputs: of each block, what its convolution still sees [K, b, D].
      states: of each block, h [b, N, D].
    """

    def __init__(self) -> None:
        self.inputs: dict[int, torch.Tensor] = {}
        self.states: dict[int, torch.Tensor] = {}

    def reorder_cache(self, rows: torch.Tensor) -> None:
        """Keep these sequences, in this order; the name is that of transformers' caches."""
        self.inputs = {i: value[:, rows] for i, value in self.inputs.items()}
        self.states = {i: value[rows] for i, value in self.states.items()}


class FastMixer(MambaMixer):
    """The block of transformers with the same weights.  Whole sequences go through
    `SelectiveScan`, and single tokens with a `StepCache` through one step of it; other caches and
    masks take the way that they took."""

    def forward(self, hidden_states: Any, **context: Any) -> Any:
        cache = context.get(CACHE)
        if isinstance(cache, StepCache):
            return self._step(hidden_states[:, 0], cache)[:, None]
        if any(value is not None for value in context.values()):
            return super().forward(hidden_states, **context)
        inner, gate = self.in_proj(hidden_states.transpose(0, 1)).chunk(2, dim=-1)
        width = self.conv_kernel_size
        padded = F.pad(inner, (0, 0, 0, 0, width - 1, 0))
        x = self._convolved([padded[i : i + len(inner)] for i in range(width)])
        dt, B, C = self._projected(x)
        y: Any = SelectiveScan.apply(
            (dt * x).unsqueeze(2),
            dt.unsqueeze(2),
            -torch.exp(self.A_log).mT.contiguous(),
            B.unsqueeze(-1).contiguous(),
            C.unsqueeze(-1).contiguous(),
        )
        return self._output(y.squeeze(2), x, gate).transpose(0, 1)

    def _step(self, hidden_states: torch.Tensor, cache: StepCache) -> torch.Tensor:
        """One token of each sequence [b, H]."""
        inner, gate = self.in_proj(hidden_states).chunk(2, dim=-1)
        i, width = self.layer_idx, self.conv_kernel_size
        seen = cache.inputs.setdefault(i, inner.new_zeros(width, *inner.shape))
        cache.inputs[i] = torch.cat([seen[1:], inner[None]])
        x = self._convolved(list(cache.inputs[i]))
        dt, B, C = self._projected(x)
        rates = -LOG2_E * torch.exp(self.A_log).mT.contiguous()
        state = cache.states.setdefault(i, x.new_zeros(len(x), *rates.shape))
        size = IN_CACHE if state.is_cpu else len(state)
        pieces = (value.split(size) for value in (state, dt[:, None], (dt * x)[:, None], B))
        for h, dt_piece, u_piece, B_piece in zip(*pieces, strict=True):
            decay = (dt_piece * rates).exp2_()
            h.mul_(decay).addcmul_(u_piece, B_piece[..., None])
        return self._output(torch.bmm(C[:, None], state)[:, 0], x, gate)

    def _convolved(self, seen: list[torch.Tensor]) -> torch.Tensor:
        """The output of the convolution for inputs at K positions, the newest last."""
        x: Any = self.conv1d.bias
        weight: Any = self.conv1d.weight
        for i, value in enumerate(seen):
            x = torch.addcmul(x, value, weight[:, 0, i])
        return F.silu(x)

    def _projected(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """dt, B and C, which depend on the input."""
        sizes = [self.time_step_rank, self.ssm_state_size, self.ssm_state_size]
        dt, B, C = self.x_proj(x).split(sizes, dim=-1)
        return F.softplus(self.dt_proj(dt)), B, C

    def _output(self, y: torch.Tensor, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return self.out_proj((y + self.D * x) * F.silu(gate))


def empty_cache(model: PreTrainedModel) -> dict[str, Any]:
    """The cache for the first step of writing; a transformer makes its own."""
    if isinstance(model, MambaForCausalLM):
        return {CACHE: StepCache()}
    return {}


def accelerate(model: PreTrainedModel) -> PreTrainedModel:
    """The same model; the blocks of a Mamba now use `SelectiveScan`."""
    if isinstance(model, MambaForCausalLM):
        # transformers warns that steps are slow without a CUDA kernel, which is not asked.
        logging.getLogger("transformers.integrations.hub_kernels").setLevel(logging.ERROR)
        blocks: Any = model.backbone.layers
        for block in blocks:
            block.mixer.__class__ = FastMixer  # the weights stay where they are
    return model
