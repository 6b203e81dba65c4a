"""Trajectory balance on the hyper-grid with torchgfn (runs in its own environment).

The model and the loop are those of the library's simple hyper-grid example with its uniform
backward policy, without gradient clipping, validation and progress bar. Of the library's ways to
get log P_F, the fastest here is used: sample without a graph, then evaluate the whole batch in one
vectorised pass (``recalculate_all_logprobs=True``, its default). Keeping the log-probabilities
while sampling, and compiling the estimators, were both slower on one CPU core.
"""

from __future__ import annotations

from importlib.metadata import version

import torch
from contract import R0, R1, R2, Stopwatch, check_rewards, parse_task, report
from gfn.estimators import DiscretePolicyEstimator
from gfn.gflownet import TBGFlowNet
from gfn.gym import HyperGrid
from gfn.preprocessors import KHotPreprocessor
from gfn.samplers import Sampler
from gfn.utils.modules import MLP, UniformModule

WARMUP_ITERATIONS = 20


def main() -> None:
    task = parse_task()
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)

    env = HyperGrid(
        task.dims,
        task.side,
        reward_fn_str="original",
        reward_fn_kwargs={"R0": R0, "R1": R1, "R2": R2},
        calculate_partition=False,
        store_all_states=False,
        debug=False,
    )
    diagonal = torch.arange(task.side)[:, None].expand(task.side, task.dims)
    check_rewards(task.side, env.reward(env.states_from_tensor(diagonal)).tolist())

    encoder = KHotPreprocessor(height=task.side, ndim=task.dims)
    network = MLP(encoder.output_dim, env.n_actions, hidden_dim=task.hidden, n_hidden_layers=2)
    forward = DiscretePolicyEstimator(network, env.n_actions, preprocessor=encoder)
    backward = DiscretePolicyEstimator(
        UniformModule(env.n_actions - 1), env.n_actions, preprocessor=encoder, is_backward=True
    )
    gflownet = TBGFlowNet(forward, backward, init_logZ=0.0, debug=False)
    sampler = Sampler(forward)
    optimizer = torch.optim.Adam(
        [
            {"params": gflownet.pf_pb_parameters(), "lr": 1e-3},
            {"params": gflownet.logz_parameters(), "lr": 0.1},
        ]
    )

    def train(iterations: int) -> torch.Tensor:
        loss = torch.empty(())
        for _ in range(iterations):
            with torch.no_grad():
                trajectories = sampler.sample_trajectories(env, n=task.batch)
            optimizer.zero_grad()
            loss = gflownet.loss(env, trajectories, recalculate_all_logprobs=True)
            loss.backward()
            optimizer.step()
        return loss

    train(WARMUP_ITERATIONS)
    watch = Stopwatch()
    loss = train(task.iterations)
    report(task, "torchgfn", version("torchgfn"), watch.stop(), loss.item())


if __name__ == "__main__":
    main()
