"""Run a search for molecules to the end of its budget, in a directory that can be resumed."""

from __future__ import annotations

import sys
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import pyarrow.csv as csv

from ipsrl.molecules.config import Config
from ipsrl.molecules.generator.device import device_input, device_of
from ipsrl.molecules.generator.prior import Prior
from ipsrl.molecules.scoring.aggregate import Scoring
from ipsrl.molecules.scoring.inputs import inputs
from ipsrl.molecules.search.loop import Search
from ipsrl.molecules.search.result import Result, filter_of, result_of, table_of
from ipsrl.molecules.search.state import restore, state_of
from ipsrl.runs import Parts, Run, digest_of, progress


def train(config: Config, out: Path, *, resume: bool = False) -> Result:
    """Search until the oracle's budget is spent.

    Args:
      config: what to search for, and how.
      out: run directory: calls.parquet and calls.csv, molecules.smi (hits, best first),
        metrics.jsonl, agent/ (a prior again), result.json; with stages all of it in a folder for
        each, and the result of the last.
      resume: continue the run in `out` from its last checkpoint, bit for bit.
    Raises:
      ConfigError, InvalidInput: if a component or the prior cannot be loaded, or the device is
        not there.
      RunError: if `out` holds a run and `resume` is False, or the other way round; if a run that
        goes on was started with other files or versions.
    """
    return _train_stages(config, out, resume) if config.stages else _train(config, out, resume)


def _train_stages(config: Config, out: Path, resume: bool) -> Result:
    """Each stage is a run of its own in the folder of the whole, stage-1, stage-2 ..."""
    found = inputs(config) | device_input(device_of(config.device))
    with (Run.resume if resume else Run.create)(out, config, found) as run:
        if run.finished:
            return Result(**run.result())
        for number in range(1, len(config.stages)):  # before calls of the first are spent
            with _scoring(config.of_stage(number)):
                pass
        agent = result = None
        for number in range(len(config.stages)):
            folder = run.own_folder(f"stage-{number + 1}")
            begun = (folder / "config.toml").exists()
            result = _train(config.of_stage(number), folder, begun, agent)
            agent = folder / "agent"
        assert result is not None  # for the type checker: there is a stage
        run.finish(asdict(result))
    return result


def _train(config: Config, out: Path, resume: bool, start: Path | None = None) -> Result:
    """One search, whose agent starts where another ended, or as the prior."""
    device = device_of(config.device)
    found = inputs(config) | device_input(device)
    if start is not None:
        found["agent of the stage before"] = digest_of([start / "model.safetensors"])[:16]
    with (Run.resume if resume else Run.create)(out, config, found) as run:
        if run.finished:
            return Result(**run.result())
        prior = Prior.load(config.prior).to(device)
        agent = None if start is None else Prior.load(start).to(device)
        with _scoring(config) as scoring:
            result = _search(config, run, Search(config, scoring, prior, agent), resume)
    if warning := result.warning():
        print(warning, file=sys.stderr)
    return result


def _scoring(config: Config) -> Scoring:
    return Scoring(
        config.components, config.aggregation, executor=config.executor, cache=config.cache
    )


def _search(config: Config, run: Run, search: Search, resume: bool) -> Result:
    if resume and (restored := run.restore("calls", "filter")):
        parts = (Parts(run.files, name).rows().to_pylist() for name in ("calls", "filter"))
        restore(search, restored[1], *parts)
    written = len(search.oracle.calls)
    objective = ", ".join(search.oracle.scoring.names[:4])  # qed, if no components were given
    with progress(f"molecules {config.method} for {objective}", config.budget) as advance:
        while not search.ended:
            row = search.step()
            run.log([row])
            mean = "none" if row["reward"] is None else f"{row['reward']:.3f}"
            note = f"reward {mean}, {row['hits']} hits"
            if row["restored"]:
                note += f", agent put back {row['restored']} times"
            lost = row["failed"] + row["timeouts"]
            advance(row["calls"], note + (f", {lost} calls without a value" if lost else ""))
            if search.tally.steps % config.checkpoint_every == 0 or search.ended:
                calls = table_of(search, written)
                run.add_part("calls", search.tally.steps, calls)
                run.show("calls", calls)
                run.add_part("filter", search.tally.steps, filter_of(search))
                written = len(search.oracle.calls)
                run.checkpoint(search.tally.steps, state_of(search))
    calls = run.join_parts("calls")
    run.join_parts("filter")
    table = BytesIO()
    csv.write_csv(calls, table)
    run.write("calls.csv", table.getvalue())
    hits = sorted(search.hits, key=lambda call: -call.reward)
    lines = (f"{call.smiles} {call.reward:.6f}\n" for call in hits)
    run.write("molecules.smi", "".join(lines).encode())
    search.agent.save(run.own_folder("agent"))
    result = result_of(search)
    run.finish(asdict(result))
    return result
