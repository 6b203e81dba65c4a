"""Run a search for molecules to the end of its budget, in a directory that can be resumed."""

from __future__ import annotations

import sys
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import pyarrow.csv as csv
import pyarrow.parquet as pq

from ipsrl.molecules.config import Config
from ipsrl.molecules.generator.prior import Prior
from ipsrl.molecules.scoring.aggregate import Scoring
from ipsrl.molecules.scoring.inputs import inputs
from ipsrl.molecules.search.loop import Search
from ipsrl.molecules.search.oracle import Status
from ipsrl.molecules.search.result import Result, result_of, table_of
from ipsrl.molecules.search.state import restore, state_of
from ipsrl.runs import Run, progress


def train(config: Config, out: Path, *, resume: bool = False) -> Result:
    """Search until the oracle's budget is spent.

    Args:
      config: what to search for, and how.
      out: run directory: calls.parquet and calls.csv, molecules.smi (hits, best first),
        metrics.jsonl, agent/ (a prior again), result.json.
      resume: continue the run in `out` from its last checkpoint, bit for bit.
    Raises:
      ConfigError, InvalidInput: if a component or the prior cannot be loaded.
      RunError: if `out` holds a run and `resume` is False, or the other way round; if a run that
        goes on was started with other files or versions.
    """
    with (Run.resume if resume else Run.create)(out, config, inputs(config)) as run:
        if run.finished:
            return Result(**run.result())
        prior = Prior.load(config.prior)
        with Scoring(
            config.components, config.aggregation, executor=config.executor, cache=config.cache
        ) as scoring:
            result = _search(config, run, Search(config, scoring, prior), resume)
    if warning := result.warning():
        print(warning, file=sys.stderr)
    return result


def _search(config: Config, run: Run, search: Search, resume: bool) -> Result:
    calls = run.directory / "calls.parquet"
    if resume and (restored := run.restore()):
        restore(search, restored[1], pq.read_table(calls).to_pylist())
    written = len(search.oracle.calls)
    with progress(f"molecules {config.method}", config.budget) as advance:
        while not search.ended:
            row = search.step()
            run.log([row])
            lost = sum(call.status is not Status.VALID for call in search.oracle.calls)
            mean = "none" if row["reward"] is None else f"{row['reward']:.3f}"
            note = f"reward {mean}, {row['hits']} hits"
            if row["restored"]:
                note += f", agent put back {row['restored']} times"
            advance(row["calls"], note + (f", {lost} calls without a value" if lost else ""))
            if search.tally.steps % config.checkpoint_every == 0 or search.ended:
                run.append("calls", table_of(search, written))
                written = len(search.oracle.calls)
                run.checkpoint(search.tally.steps, state_of(search))
    table = BytesIO()
    csv.write_csv(pq.read_table(calls), table)
    run.write("calls.csv", table.getvalue())
    hits = sorted(search.hits, key=lambda call: -call.reward)
    lines = (f"{call.smiles} {call.reward:.6f}\n" for call in hits)
    run.write("molecules.smi", "".join(lines).encode())
    search.agent.save(run.own_folder("agent"))
    result = result_of(search)
    run.finish(asdict(result))
    return result
