"""Each family's runs, in whatever state, become a view with the numbers of their files."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import report_runs as runs

from ipsrl import grids
from ipsrl.errors import RunError
from ipsrl.molecules import ComponentConfig, Config
from ipsrl.report.readers import grids as grids_reader
from ipsrl.report.readers import molecules, read
from ipsrl.report.view import Bars, Frequencies, Gallery, Planes, Table, Tiles, as_json
from ipsrl.runs import Run


def part(view, kind, title=""):
    found = [one for one in view.parts if isinstance(one, kind) and title in one.title]
    assert len(found) == 1
    return found[0]


def curve(view, chart, name=""):
    (found,) = [one for one in view.curves if (one.chart, one.name) == (chart, name)]
    return found


# --- what all share -------------------------------------------------------------------------------


def test_a_run_is_running_then_ended(tmp_path):
    run = runs.grid_run(tmp_path / "run")
    view = read(tmp_path / "run", "mine")
    assert (view.label, view.state, view.progress) == (
        "mine",
        "running",
        "76,800 of 76,800 trajectories",
    )
    runs.finish_grid(run)
    view = read(tmp_path / "run", "mine")
    assert (view.state, view.progress, view.resume) == ("ended", "", "")


def test_the_command_is_the_one_that_was_typed(tmp_path, monkeypatch):
    anew = f"ipsrl train hypergrid --config {tmp_path / 'run' / 'config.toml'} --out NEW"
    monkeypatch.setattr("sys.argv", ["/bin/ipsrl", "train", "hypergrid", "--side", "8"])
    runs.grid_run(tmp_path / "run", evaluations=2).close()
    view = read(tmp_path / "run", "mine")
    assert (view.command, view.again) == ("ipsrl train hypergrid --side 8", anew)


def test_a_stopped_run_says_how_to_go_on(tmp_path):
    runs.grid_run(tmp_path / "run", evaluations=5).close()
    view = read(tmp_path / "run", "mine")
    assert (view.state, view.progress) == ("stopped", "12,800 of 12,800 trajectories")
    assert view.resume == f"ipsrl train hypergrid --resume {tmp_path / 'run'}"


def test_a_failed_run_says_why(tmp_path):
    with pytest.raises(ValueError, match="no"), runs.grid_run(tmp_path / "run"):
        raise ValueError("no memory left")
    view = read(tmp_path / "run", "mine")
    assert view.state == "failed"
    assert view.alarms == ["The run failed: ValueError: no memory left"]


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    run = runs.grid_run(tmp_path / "run", evaluations=3, seeds=1)
    with run.metrics_path.open("ab") as file:
        file.write(b'{"trajectories": 10240, "se')
    assert curve(read(tmp_path / "run", "r"), "Distance to the target").xs == [2560, 5120, 7680]


def test_a_run_that_has_only_begun_has_a_view(tmp_path):
    Run.create(tmp_path / "run", grids.Config())
    view = read(tmp_path / "run", "r")
    assert (view.state, view.progress, view.curves) == ("running", "0 of 384,000 trajectories", [])


def test_the_configuration_and_the_versions_are_told(tmp_path):
    run = runs.lm_run(tmp_path / "run", steps=3)
    view = read(tmp_path / "run", "r")
    assert view.config["trl.max_steps"] == "3"
    assert view.progress == "3 of 3 steps"
    assert {"step", "reward"} <= view.summary.keys()
    assert view.config["dataset"].endswith("colours.jsonl")
    assert f"numpy {np.__version__}" in view.about["versions"]
    assert view.about["seed"] == "0"
    assert view.about["files written"].endswith(" UTC")
    run.close()


def test_what_no_reader_knows_is_shown_by_its_numbers(tmp_path):
    """A family that is new, or the training of a prior."""
    from small_runs import Toy

    run = Run.create(tmp_path / "run", Toy())
    run.log({"step": step, "loss": 1 / step, "phase": "warm-up"} for step in (1, 2, 4))
    view = read(tmp_path / "run", "r")
    (line,) = view.curves
    assert (line.chart, line.xs, line.ys_ST) == ("loss", [1, 2, 4], [[1.0, 0.5, 0.25]])


def test_no_run_is_explained(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        read(tmp_path, "r")


# --- grids ----------------------------------------------------------------------------------------


def test_long_runs_are_thinned_to_values_of_their_files(tmp_path):
    """First and last stay, and nothing is averaged."""
    run = runs.grid_run(tmp_path / "run", evaluations=1000, seeds=2)
    line = curve(read(tmp_path / "run", "r"), "Distance to the target")
    assert len(line.xs) == 400
    assert (line.xs[0], line.xs[-1]) == (2560, 2_560_000)
    values = {(row["trajectories"], row["seed"]): row["total_l1"] for row in run.metrics()}
    for seed in range(2):
        assert line.ys_ST[seed] == [values[x, seed] for x in line.xs]


def test_the_scaled_reward_stands_beside_the_raw_one(tmp_path):
    """An evaluation of one seed that lacks it is left out."""
    run = runs.grid_run(tmp_path / "run", evaluations=3, seeds=1)
    first, *others = run.metrics()
    del first["ips/reward"]
    run.metrics_path.write_bytes(b"")
    run.log([first, *others])
    view = read(tmp_path / "run", "r")
    assert curve(view, "Reward, raw").xs == [2560, 5120, 7680]
    assert curve(view, "Reward, scaled").xs == [5120, 7680]
    assert curve(view, "Reward, scaled").ys_ST == [[29, 28]]


def test_frequencies_of_a_grid_count_every_sample(tmp_path):
    runs.grid_run(tmp_path / "run", evaluations=30)
    stack = part(read(tmp_path / "run", "r"), Frequencies)
    assert np.sum(stack.counts_KW, axis=0).tolist() == [3 * 256] * 30
    assert stack.starts == stack.ends == [10 * 256 * (t + 1) for t in range(30)]
    assert stack.names[0] in {f"(0, {x})" for x in range(8)}  # states 0, 1, ... of 8x8
    totals = np.sum(stack.counts_KW, axis=1).tolist()
    assert totals == sorted(totals, reverse=True)


def test_planes_are_the_target_and_the_median_best_and_worst_seed(tmp_path):
    runs.finish_grid(runs.grid_run(tmp_path / "run"))
    planes = part(read(tmp_path / "run", "r"), Planes)
    assert planes.names == [
        "target",
        "median seed, 1: total L1 0.375",
        "best seed, 0: total L1 0.250",
        "worst seed, 2: total L1 0.500",
    ]
    # State 8 x + y: the row of y holds every x.
    expected = np.linspace(0, 2 / 64, 64, dtype=np.float32).reshape(8, 8).T
    # Four digits, as many as are shown.
    np.testing.assert_allclose(planes.planes[1], expected, rtol=5e-4)


def test_a_seed_that_diverged_leaves_the_others_their_lines_and_is_the_worst(tmp_path):
    """Seed 0, without a number from the second evaluation on, and with NaN at the end."""
    run = runs.grid_run(tmp_path / "run", evaluations=3)
    rows = run.metrics()
    for row in rows[3:]:
        row["total_l1"] = row["total_l1"] if row["seed"] else None
    run.metrics_path.write_bytes(b"")
    run.log(rows)
    runs.finish_grid(run)
    arrays, result = run.arrays(), run.result()
    arrays["terminal"][0] = np.nan
    run.finish({**result, "total_l1": [None, *result["total_l1"][1:]]}, arrays)
    view = read(tmp_path / "run", "r")
    line = curve(view, "Distance to the target")
    assert len(line.xs) == 3
    assert [row["total_l1"] for row in rows if row["seed"] == 1] == line.ys_ST[1]
    assert line.ys_ST[0][1:] == [None, None]
    planes = part(view, Planes)
    assert planes.names[-1] == "worst seed, 0: total L1 unknown"
    assert planes.planes[-1][0][0] is None
    as_json(view)


def test_a_plane_of_a_large_grid_is_of_blocks():
    """A million cells would be 30 MB of page; each number is the sum of 3 x 3."""
    terminal = np.arange(500.0**2) / 1e10
    arrays = {"target": np.full(500**2, 1 / 500**2), "terminal": terminal[None]}
    config, result = {"dims": 2, "side": 500}, {"total_l1": [0.5]}
    (planes,) = grids_reader._distributions(config, result, arrays, among=1)
    assert planes.block == 3
    assert "sum of 3 x 3" in planes.note
    rows = np.array(planes.planes[1])
    assert rows.shape == (167, 167)
    whole = terminal.reshape(500, 500).T
    assert rows[1, 2] == pytest.approx(whole[3:6, 6:9].sum(), rel=5e-4)
    assert rows[-1, -1] == pytest.approx(whole[498:, 498:].sum(), rel=5e-4)
    assert rows.sum() == pytest.approx(terminal.sum(), rel=5e-4)


def test_a_loss_that_is_not_finite_is_an_alarm_and_the_other_seeds_go_on(tmp_path):
    run = runs.grid_run(tmp_path / "run", evaluations=2, seeds=2)
    lost, other = ({**row, "trajectories": 7680} for row in run.metrics()[-2:])
    run.log([{**lost, "loss": None, "total_l1": None}, other])
    view = read(tmp_path / "run", "r")
    assert view.alarms == ["The loss is no longer finite: seed 0 diverged."]
    l1 = curve(view, "Distance to the target")
    assert l1.xs == [2560, 5120, 7680]
    assert [line[-1] for line in l1.ys_ST] == [None, other["total_l1"]]


@pytest.mark.parametrize(("keep", "ends"), [(60, 51200), (None, 0)])
def test_metrics_that_were_cut_off_are_an_alarm(tmp_path, keep, ends):
    """The first 20 of 30 evaluations of three seeds are left, or all but the last seed's."""
    runs.finish_grid(runs.grid_run(tmp_path / "run"))
    assert read(tmp_path / "run", "r").alarms == []
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    kept = lines[:keep] if ends else [line for line in lines if json.loads(line)["seed"] < 2]
    path.write_bytes(b"".join(kept))
    (alarm,) = read(tmp_path / "run", "r").alarms
    assert alarm.startswith(f"metrics.jsonl ends at {ends:,} of 76,800 trajectories")


# --- language models ------------------------------------------------------------------------------


def test_completions_that_are_missing_are_an_alarm(tmp_path):
    runs.finish_lm(runs.lm_run(tmp_path / "run"))
    assert read(tmp_path / "run", "r").alarms == []
    for file in sorted((tmp_path / "run" / "trainer" / "completions").iterdir())[::2]:
        file.unlink()
    (alarm,) = read(tmp_path / "run", "r").alarms
    assert alarm.startswith("20 of 40 steps that were logged have completions")


def test_a_collapse_is_told_in_the_words_of_diagnose(tmp_path):
    runs.finish_lm(runs.lm_run(tmp_path / "run"))
    view = read(tmp_path / "run", "r")
    assert view.verdict[0].startswith("COLLAPSED at step")
    assert view.summary["reward"] == 0.875
    assert curve(view, "Coverage", "first quarter").ys_ST[0][-1] > 5
    assert curve(view, "Coverage", "last quarter").ys_ST[0][-1] < 4


def test_answers_are_counted_of_late_and_before(tmp_path):
    """Every completion with an outcome is right here, so that all are counted once."""
    runs.lm_run(tmp_path / "run", steps=40, outcomes=12)
    view = read(tmp_path / "run", "r")
    (question,) = part(view, Tiles).questions
    assert (question.prompt, question.known) == ("Name a colour.", False)
    late, before = (sum(answer[i] for answer in question.answers) for i in (1, 2))
    assert late + question.wrong == 10 * 16
    assert 0 < before < 30 * 16
    assert question.answers[0][0] == "colour 0"  # what the collapse leaves
    assert (question.answers[-1][1], question.answers[-1][2] > 0) == (0, True)


def test_samples_are_evenly_over_the_run(tmp_path):
    runs.lm_run(tmp_path / "run", steps=40)
    table = part(read(tmp_path / "run", "r"), Table, "Samples")
    assert table.columns == ["step", "completion", "outcome", "reward", "ips_weight", "advantage"]
    assert len(table.rows) == 300
    assert (table.rows[0][0], table.rows[-1][0]) == (1, 40)
    assert table.note == "300 of 640 completions, evenly over the run."


def test_messages_are_shown_with_who_says_them(tmp_path):
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A colour?"}]
    runs.lm_run(tmp_path / "run", steps=3, prompt=prompt)
    (question,) = part(read(tmp_path / "run", "r"), Tiles).questions
    assert question.prompt == "system: Be brief.\nuser: A colour?"


def test_a_file_of_completions_that_is_being_written_waits(tmp_path):
    run = runs.lm_run(tmp_path / "run", steps=12)
    (tmp_path / "run/trainer/completions/completions_00013.parquet").write_bytes(b"PAR1half")
    assert read(tmp_path / "run", "r").state == "running"
    run.close()


def test_a_damaged_file_of_completions_is_an_alarm_and_the_others_are_shown(tmp_path):
    """The run has ended, or ends there; if no file is left, nothing is said of outcomes."""
    runs.finish_lm(runs.lm_run(tmp_path / "run"))
    files = sorted((tmp_path / "run" / "trainer" / "completions").iterdir())
    files[-1].write_bytes(files[-1].read_bytes()[:50])
    view = read(tmp_path / "run", "r")
    (alarm,) = view.alarms
    assert alarm.startswith("1 of 40 files of completions cannot be read, and what is said")
    assert files[-1].name in alarm
    assert part(view, Frequencies).ends[-1] == 39
    for file in files:
        file.write_bytes(b"")
    view = read(tmp_path / "run", "r")
    assert view.alarms[0].startswith("40 of 40 files of completions cannot be read")
    assert (view.verdict, view.parts) == ([], [])


@pytest.mark.parametrize("name", ["outcomes.parquet", "metrics.jsonl", "arrays.safetensors"])
def test_the_error_of_a_damaged_file_names_it(name, tmp_path):
    runs.finish_grid(runs.grid_run(tmp_path / "run", evaluations=2))
    (tmp_path / "run" / name).write_bytes(b"no more\n")
    with pytest.raises(RunError, match=f"run/{name} cannot be read .*Restore it from a copy"):
        read(tmp_path / "run", "r")


def test_completions_without_a_reward_are_an_alarm(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    runs.lm_run(tmp_path / "run", steps=12)
    rows = [{"step": 13, "prompt": "Name a colour.", "completion": "x", "outcome": None,
             "raw_reward": None, "ips_weight": 1.0, "advantage": 0.0}] * 16  # fmt: skip
    schema = pq.read_schema(tmp_path / "run/trainer/completions/completions_00001.parquet")
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, tmp_path / "run/trainer/completions/completions_00013.parquet")
    assert read(tmp_path / "run", "r").alarms == ["16 of 208 completions have no reward."]


# --- HypoSpace ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "drawing"), [("causal", "graph"), ("voxel", "voxels"), ("boolean", "")]
)
def test_all_right_answers_of_a_prompt_are_there(domain, drawing, tmp_path):
    """Found or not: the policy knows the first half of them."""
    runs.finish_hypospace(runs.hypospace_run(tmp_path / "run", domain))
    view = read(tmp_path / "run", "r")
    tiles = part(view, Tiles, "Right answers")
    assert tiles.drawing == drawing
    sets = {s["prompt"]: s for s in runs.answers_of(tmp_path / "run/data.jsonl")}
    assert {q.prompt for q in tiles.questions} == {
        prompt for prompt, one in sets.items() if one["split"] == "train"
    }
    for question in tiles.questions:
        admissible = sets[question.prompt]["admissible"]
        assert question.known
        assert {answer[0] for answer in question.answers} == set(admissible)
        assert question.name == "; ".join(sets[question.prompt]["observations"])
        never = {key for key, late, before in question.answers if late + before == 0}
        assert never >= set(admissible[max(1, len(admissible) // 2) :])


def test_no_right_answer_is_said_as_such(tmp_path):
    """Four prompts, three steps, groups of 16; which answers are missing is shown all the same."""
    runs.hypospace_run(tmp_path / "run", steps=3, rightly=0.0)
    view = read(tmp_path / "run", "r")
    assert view.verdict == ["None of the 192 completions is a right answer."]
    assert all(late == before == 0 for _, late, before in part(view, Tiles).questions[0].answers)


def test_recovery_stands_beside_its_references(tmp_path):
    runs.finish_hypospace(runs.hypospace_run(tmp_path / "run"))
    view = read(tmp_path / "run", "r")
    assert curve(view, "Recovery, test half").ys_ST == [[0.125, 0.25, 0.375]]
    assert curve(view, "Recovery, test half", "uniform sampler").reference
    assert view.summary["recovery rate, test"] == {"median": 0.375, "low": 0.25, "high": 0.5}
    assert part(view, Bars, "test half").values == [12, 4]


def test_a_run_that_still_trains_has_a_view(tmp_path):
    runs.hypospace_run(tmp_path / "run")
    view = read(tmp_path / "run", "r")
    assert view.state == "running"
    assert part(view, Tiles).questions


# --- molecules ------------------------------------------------------------------------------------

MOLECULES = ["c1ccccc1O", "CCN", runs.HOSTILE, "C[C@H](N)C(=O)O"]


def unpacked(gallery: Gallery) -> dict[str, list]:
    return json.loads(zlib.decompress(base64.b64decode(gallery.drawings)))


def test_calls_without_a_value_are_an_alarm_with_their_reasons(tmp_path):
    run = runs.search_run(tmp_path / "run", MOLECULES * 5, failed=3)
    runs.finish_search(run, 20, 3)
    view = read(tmp_path / "run", "r")
    assert view.alarms == [
        "3 of 20 oracle calls have no value (3 failed, 0 ran out of time), and nothing was "
        "learned from them."
    ]
    reasons = part(view, Bars)
    assert (reasons.names, reasons.values, reasons.note) == (["no pose"], [3], "")


def test_every_call_without_a_value_is_in_a_bar(tmp_path):
    """35 reasons, of which none begins as another does: 20 bars and one of all others."""
    run = runs.search_run(tmp_path / "run", ["CCO"] * 35, failed=35)
    path = tmp_path / "run" / "calls.parquet"
    calls = pq.read_table(path)
    place = calls.column_names.index("reason")
    pq.write_table(calls.set_column(place, "reason", [[f"part{i}: no" for i in range(35)]]), path)
    bars = part(read(tmp_path / "run", "r"), Bars)
    assert len(bars.names) == 21
    assert (bars.names[-1], bars.values[-1], sum(bars.values)) == ("others (15)", 15, 35)
    run.close()


def test_calls_without_a_value_are_an_alarm_before_the_first_checkpoint(tmp_path):
    """The table of calls comes with a checkpoint; the count is in the metrics of each step."""
    config = Config(components=[ComponentConfig(kind="qed")])
    with Run.create(tmp_path / "run", config) as run:
        run.log([{"step": 1, "calls": 57, "failed": 14, "timeouts": 2, "hits": 0, "reward": None}])
        view = read(tmp_path / "run", "r")
    assert view.alarms == [
        "16 of 57 oracle calls have no value (14 failed, 2 ran out of time), and nothing was "
        "learned from them."
    ]


def test_the_gallery_holds_every_call_the_best_first(tmp_path):
    runs.search_run(tmp_path / "run", MOLECULES * 5, failed=3)
    gallery = part(read(tmp_path / "run", "r"), Gallery)
    assert gallery.columns == ["call", "reward", "penalised", "qed", "sa"]
    rewards = [row[5] for row in gallery.rows]
    assert rewards[-3:] == [None] * 3
    assert rewards[:-3] == sorted(rewards[:-3], reverse=True)
    assert sorted(row[4] for row in gallery.rows) == list(range(1, 21))
    assert set(unpacked(gallery)) == {"c1ccccc1O", "CCN", "C[C@H](N)C(=O)O"}


def test_a_search_that_goes_on_shows_its_molecules(tmp_path):
    """It reads both parts of the calls, and shows the same once they are one table."""
    run = runs.search_run(tmp_path / "run", MOLECULES * 20, failed=3, going_on=True)
    before = read(tmp_path / "run", "r")
    assert before.state == "running"
    assert len(part(before, Gallery).rows) == 80
    opened = Run.open(tmp_path / "run")
    run.join_parts("calls")
    assert molecules.read(opened, "r").parts == before.parts  # who looked just before
    assert read(tmp_path / "run", "r").parts == before.parts


def test_a_search_without_a_call_has_a_view(tmp_path):
    config = Config(components=[ComponentConfig(kind="qed")])
    with Run.create(tmp_path / "run", config) as run:
        run.add_part("calls", 1, pa.table({"step": pa.array([], pa.int64())}))
        assert read(tmp_path / "run", "r").parts == []


def test_hits_are_those_of_the_metrics(tmp_path):
    run = runs.search_run(tmp_path / "run", ["CCO"] * 200, threshold=0.3)
    line = curve(read(tmp_path / "run", "r"), "Hits")
    assert line.xs == [50, 100, 150, 200]
    assert line.ys_ST == [[row["hits"] for row in run.metrics()]]


def test_a_component_is_on_one_axis_however_many_calls_there_are(tmp_path):
    """60 windows, of which each has one or two of 100 calls, or one of 50."""
    for calls in (100, 50):
        runs.search_run(tmp_path / str(calls), ["CCO"] * calls)
        line = curve(read(tmp_path / str(calls), "r"), "Component: qed")
        assert line.y == "raw value, mean of a 60th of the calls"
        assert (len(line.xs), line.xs[-1]) == (min(calls, 60), calls)


def test_scaffolds_are_counted(tmp_path):
    """Every third call has no ring."""
    run = runs.search_run(tmp_path / "run", ["CCO"] * 30, threshold=0.3)
    table = part(read(tmp_path / "run", "r"), Table, "Scaffolds")
    assert {row[0]: row[2] for row in table.rows} == dict.fromkeys(
        [*runs.SCAFFOLDS[:2], "no ring"], 10
    )
    assert sum(row[1] for row in table.rows) == run.metrics()[-1]["hits"]


def test_coverage_is_of_the_first_and_the_last_quarter(tmp_path):
    """One sample is one outcome, and all samples find all that there are."""
    runs.grid_run(tmp_path / "run", evaluations=40, seeds=2)
    view = read(tmp_path / "run", "r")
    for name in ("first quarter", "last quarter"):
        line = curve(view, "Coverage", name)
        # Logarithms of factorials of thousands of samples leave ten digits.
        assert [ys[0] for ys in line.ys_ST] == pytest.approx([1.0, 1.0], rel=1e-9)
        assert all(ys == sorted(ys) for ys in line.ys_ST)
    # Later there are four or five outcomes, see `grid_run`.
    assert max(curve(view, "Coverage", "last quarter").ys_ST[0]) <= 6


def test_coverage_of_one_checkpoint_is_one_line(tmp_path):
    """Its first and its last quarter are the same."""
    runs.grid_run(tmp_path / "run", evaluations=1)
    lines = [one for one in read(tmp_path / "run", "r").curves if one.chart == "Coverage"]
    assert [line.name for line in lines] == [""]


def test_a_window_says_its_first_and_its_last_step(tmp_path):
    """120 checkpoints, of which 60 windows hold two each."""
    with Run.create(tmp_path / "run", grids.Config(seeds=1, batch=256)) as run:
        for step in range(10, 1201, 10):
            run.log_outcomes(step, np.zeros((1, 8), int), np.ones((1, 8)))
        stack = part(read(tmp_path / "run", "r"), Frequencies)
    assert (stack.starts[:2], stack.ends[:2]) == ([2560, 7680], [5120, 10240])


def test_ids_of_outcomes_may_be_hashes(tmp_path):
    """Three outcomes of 2^60 and more: nothing is as long as an id is large."""
    with Run.create(tmp_path / "run", grids.Config(seeds=1)) as run:
        run.log_outcomes(10, 2**60 + np.array([[0, 0, 5, 7]]), np.ones((1, 4)))
        view = read(tmp_path / "run", "r")
    assert curve(view, "Coverage").ys_ST == [pytest.approx([1, 1 + 5 / 6, 3])]
    assert part(view, Frequencies).counts_KW == [[2], [1], [1]]


def test_arrows_lead_where_the_policy_ends():
    """A walk that always goes right ends in the corner; one that tosses a coin in C(7, 4) / 2^7."""
    from ipsrl.report.readers.grids import ends, visited

    right = np.tile([1.0, 0.0, 0.0], (64, 1))
    assert visited(right)[7, 0] == 1.0
    coin = np.tile([0.5, 0.5, 0.0], (64, 1))
    assert visited(coin)[4, 3] == 35 / 128
    target = np.zeros(64)
    target[[8 * 6 + 1, 8 * 4 + 3]] = 0.5
    assert ends(target) == {"A": (4, 3), "B": (6, 1)}


def test_responses_after_training_are_judged(tmp_path):
    """The first two right answers of a test set, one of them twice, and what is not an answer."""
    from ipsrl.hypospace.domains import make_task

    run = runs.hypospace_run(tmp_path / "run", "boolean")
    asked = max(
        (s for s in runs.answers_of(tmp_path / "run/data.jsonl") if s["split"] == "test"),
        key=lambda s: len(s["admissible"]),
    )
    one, two = asked["admissible"][:2]
    task = make_task("boolean", {})
    responses = [task.answer(key) for key in (one, two, two)] + ["I do not know."]
    run.files.write("responses.jsonl", b"".join(
        json.dumps({"id": asked["id"], "response": text}).encode() + b"\n" for text in responses
    ))  # fmt: skip
    runs.finish_hypospace(run)
    tiles = part(read(tmp_path / "run", "r"), Tiles, "Responses")
    (question,) = tiles.questions
    assert question.answers[:2] == [(two, 2, 0), (one, 1, 0)]
    assert {key for key, *_ in question.answers} == set(asked["admissible"])
    assert question.wrong == 1
