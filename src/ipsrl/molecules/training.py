"""Run a search for molecules to the end of its budget, in a directory that can be resumed."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pyarrow.csv as csv
import pyarrow.parquet as pq

from ipsrl.molecules.config import Config
from ipsrl.molecules.inputs import inputs
from ipsrl.molecules.oracle import Status
from ipsrl.molecules.prior import Prior
from ipsrl.molecules.scoring import Scoring
from ipsrl.molecules.search import Result, Search
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
    prior = Prior.load(config.prior)
    scoring = Scoring(
        config.components, config.aggregation, executor=config.executor, cache=config.cache
    )
    with scoring:
        return _search(config, scoring, prior, out, resume)


def _search(config: Config, scoring: Scoring, prior: Prior, out: Path, resume: bool) -> Result:
    run = (Run.resume if resume else Run.create)(out, config, inputs(config))
    search = Search(config, scoring, prior)
    if resume and (restored := run.restore()):
        search.restore(restored[1], pq.read_table(out / "calls.parquet").to_pylist())
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
            if search.steps % config.checkpoint_every == 0 or search.ended:
                run.append("calls", search.table(written))
                written = len(search.oracle.calls)
                run.checkpoint(search.steps, search.state())
    csv.write_csv(pq.read_table(out / "calls.parquet"), out / "calls.csv")
    hits = sorted(search.hits, key=lambda call: -call.reward)
    (out / "molecules.smi").write_text("".join(f"{c.smiles} {c.reward:.6f}\n" for c in hits))
    search.agent.save(out / "agent")
    result = search.result()
    run.finish(asdict(result))
    if warning := result.warning():
        print(warning, file=sys.stderr)
    return result
