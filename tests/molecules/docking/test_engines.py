"""An engine answers for every ligand, whatever its program does; Vina gives the same each time."""

import math
import os
import re
import resource
import signal
import stat
import sys
from pathlib import Path

import docking_program
import pytest
from faulty import is_alive
from helpers import limits_from, wait_until

from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.molecules import DockingConfig, Failure, Timeout
from ipsrl.molecules.docking import engines
from ipsrl.molecules.docking.engines import (
    BestOf,
    External,
    Pose,
    TwoStages,
    Vina,
    engine_of,
    read_pose,
)
from ipsrl.molecules.docking.ligand import prepare
from ipsrl.molecules.docking.receptor import Receptor

PROGRAM = Path(docking_program.__file__)
BOX = {"center": [1.0, -2.0, 3.5], "size": [12.0, 13.0, 14.0], "seed": 7}
LINE = (
    "--receptor {receptor} --ligand_directory {ligands} --output_directory {out} --seed {seed} "
    "--num_modes 1 --center_x {center_x} --center_y {center_y} --center_z {center_z} "
    "--size_x {size_x} --size_y {size_y} --size_z {size_z}"
)
TOLD = LINE.split()
ETHANE, PHENOL, BENZENE = (prepare(s).pdbqt for s in ("CC", "Oc1ccccc1", "c1ccccc1"))
# Half a kcal/mol for each atom: 2 carbons; 6 carbons, oxygen and its hydrogen; 6 carbons.
SCORES = [-1.0, -4.0, -3.0]


@pytest.fixture
def receptor(pocket):
    return Receptor(pocket)


def config(behaviour="well", **changes) -> DockingConfig:
    command = [sys.executable, str(PROGRAM), *TOLD, "--behaviour", behaviour]
    values = {"receptor": "r.pdbqt", "engine": "command", "command": command} | BOX | changes
    return DockingConfig(**values)


# --- results --------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [-20, -7.39, -0.001])
def test_a_score_within_the_range_is_read(score):
    text = f"MODEL 1\nREMARK VINA RESULT:   {score:.3f}     0.000     0.000\nATOM\nENDMDL\n"
    assert read_pose(text) == Pose(score, text)


def test_the_first_pose_counts():
    text = "REMARK VINA RESULT: -7.0 0 0\nREMARK VINA RESULT: -9.0 0 0\n"
    assert read_pose(text).score == -7


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("-20.001", "not within"),
        ("0.000", "not within"),  # what a program writes that failed
        ("0.001", "not within"),
        ("1e9", "not within"),
        ("nan", "not within"),
        ("-inf", "not within"),
        ("five", "'five', not a number"),
        ("-7,3", "'-7,3', not a number"),
    ],
)
def test_any_other_score_is_a_failure(said, reason):
    answer = read_pose(f"REMARK VINA RESULT: {said} 0 0\n")
    assert isinstance(answer, Failure)
    assert reason in answer.reason


@pytest.mark.parametrize("text", ["", "ATOM\n", "REMARK VINA RESULT:", "REMARK VINA RESULT: -1"])
def test_an_output_without_a_result_is_a_failure(text):
    assert "no line REMARK VINA RESULT" in read_pose(text).reason


# --- programs -------------------------------------------------------------------------------------


def test_each_ligand_has_its_score_in_order(receptor):
    engine = External(config(), receptor)
    assert [p.score for p in engine([ETHANE, PHENOL, BENZENE])] == SCORES
    assert [p.score for p in engine([BENZENE, ETHANE])] == [SCORES[2], SCORES[0]]
    assert engine([]) == []


@pytest.mark.parametrize(
    ("name", "engine"), [("QuickVina2-GPU-2-1", "quickvina2-gpu"), ("unidock", "uni-dock")]
)
def test_a_ready_command_line_is_what_the_program_documents(
    name, engine, receptor, tmp_path, monkeypatch
):
    """The stand-in knows the options of both, and where QuickVina2-GPU looks for its kernels."""
    program = tmp_path / name
    program.write_text(f"#!{sys.executable}\n{PROGRAM.read_text()}")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    (tmp_path / "Kernel1_Opt.bin").touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    ready = External(DockingConfig(receptor="r.pdbqt", engine=engine, **BOX), receptor)
    assert [p.score for p in ready([ETHANE, PHENOL, BENZENE])] == SCORES


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("skips", "ended with code 0 and no answer"),
        ("fails", "ended with code 139 and no answer.*CUDA error: out of memory"),
        ("crashes", f"ended with code -{int(signal.SIGABRT)} and no answer"),
        ("garbage", "no line REMARK VINA RESULT"),
        ("stops early", "no line REMARK VINA RESULT"),
        ("says:3.2", "^the score is not within"),
        ("says:0.0", "^the score is not within"),
        ("says:-99", "^the score is not within"),
        ("says:nan", "^the score is not within"),
        ("says:***", "not a number"),
    ],
)
def test_what_is_not_answered_is_a_failure_and_the_rest_counts(behaviour, reason, receptor):
    *answered, last = External(config(behaviour), receptor)([ETHANE, PHENOL, BENZENE])
    assert [p.score for p in answered] == SCORES[:2]
    assert isinstance(last, Failure)
    assert re.search(reason, last.reason, re.DOTALL)


def test_what_a_program_prints_fills_no_disk(receptor):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # bytes of a file; also its own
    try:
        (pose,) = External(config("talks"), receptor)([ETHANE])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert pose.score == SCORES[0]


def test_a_program_that_is_called_in_another_way_refuses(receptor):
    """That the stand-in is strict, or the tests above would show nothing."""
    for change in ({"seed": 8}, {"size": [12.0, 13.0, 15.0]}):
        (answer,) = External(config(**change), receptor)([ETHANE])
        assert "ended with code 1 and no answer" in answer.reason
        assert "Command line parse error" in answer.reason


def test_a_script_may_be_named_from_where_one_stands(receptor, monkeypatch, tmp_path):
    monkeypatch.chdir(PROGRAM.parent)
    here = config(command=[sys.executable, PROGRAM.name, *TOLD, "--behaviour", "well"])
    engine = External(here, receptor)
    monkeypatch.chdir(tmp_path)
    assert [pose.score for pose in engine([ETHANE])] == SCORES[:1]


def test_equal_failures_have_equal_reasons(receptor):
    """They are counted.  What the program says names the folder of this call."""
    engine = External(config(seed=8), receptor)
    engine.command[1:1] = ["-c", "import sys; print(sys.argv); sys.exit(3)"]
    (one,), (other,) = engine([ETHANE]), engine([ETHANE])
    assert "/out" in one.reason
    assert one == other


def test_a_program_that_hangs_is_dead_with_its_children(receptor, tmp_path, monkeypatch):
    limits_from(tmp_path / "pids", monkeypatch)
    engine = External(config(f"hangs:{tmp_path / 'pids'}", timeout=0.5), receptor)
    first, last = engine([ETHANE, PHENOL])
    assert first.score == SCORES[0]
    assert last == Timeout("no answer in 0.5 s")
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    wait_until(lambda: not any(map(is_alive, pids)))  # what is killed takes a moment to leave


def test_a_program_that_is_not_there_is_refused_at_once(receptor):
    with pytest.raises(ConfigError, match="'no-such-program' is not found.*PATH"):
        External(config(command=["no-such-program", *TOLD]), receptor)
    with pytest.raises(ConfigError, match="'unidock' is not found"):
        External(DockingConfig(receptor="r.pdbqt", engine="uni-dock", **BOX), receptor)


def test_a_program_that_cannot_be_run_is_a_failure(receptor, tmp_path):
    program = tmp_path / "program"
    program.write_text("no program")
    program.chmod(0o755)
    (answer,) = External(config(command=[str(program), *TOLD]), receptor)([ETHANE])
    assert "cannot be run" in answer.reason


def test_another_program_is_another_version(receptor, tmp_path):
    versions = set()
    for text in ("print(1)", "print(2)"):
        (tmp_path / "program.py").write_text(text)
        command = [sys.executable, str(tmp_path / "program.py"), *TOLD]
        versions.add(External(config(command=command), receptor).version)
    assert len(versions) == 2


# --- several seeds, two stages --------------------------------------------------------------------


class Told:
    """An engine that gives each ligand a score by its text, and remembers what it was asked."""

    version = "1"

    def __init__(self, scores: dict[str, float]) -> None:
        self.scores, self.asked = scores, []

    def __call__(self, pdbqts):
        self.asked += pdbqts
        found = [self.scores.get(one) for one in pdbqts]
        return [Failure("none") if s is None else Pose(s, str(s)) for s in found]


def test_of_several_seeds_the_best_score_counts():
    engine = BestOf([Told({"a": -5.0, "b": -7.0}), Told({"a": -6.0, "c": -3.0})])
    a, b, c, d = engine(["a", "b", "c", "d"])
    assert (a.score, b.score, c.score) == (-6.0, -7.0, -3.0)
    assert d == Failure("none")


def test_only_what_scores_well_gets_the_second_stage():
    cheap = Told({"a": -5.0, "b": -7.0, "c": -6.0})
    dear = Told({"b": -8.0, "c": -5.5, "d": -4.0})
    a, b, c, d = TwoStages(cheap, dear, -6.0)(["a", "b", "c", "d"])
    assert dear.asked == ["b", "c", "d"]  # d has no score in the first
    assert (a.score, b.score, c.score, d.score) == (-5.0, -8.0, -6.0, -4.0)


def test_a_score_does_not_depend_on_the_other_ligands():
    """A worker is asked for a ligand alone, or in a batch."""
    scores = {"a": -5.0, "b": -7.0, "c": -6.0}
    engine = TwoStages(Told(scores), Told({"b": -9.0}), -6.5)
    together = engine(["a", "b", "c"])
    assert [engine([one])[0] for one in "abc"] == together


def test_the_engine_of_a_configuration_has_its_seeds(receptor):
    small = {"receptor": "r.pdbqt", "center": [0.0] * 3, "size": [10.0] * 3, "max_evals": 500}
    each = [Vina(DockingConfig(**small, seed=seed), receptor)([PHENOL])[0] for seed in (4, 5, 6)]
    assert len({pose.pdbqt for pose in each}) == 3
    (found,) = engine_of(DockingConfig(**small, seed=4, seeds=3), receptor)([PHENOL])
    assert found == min(each, key=lambda pose: pose.score)


def test_the_engine_of_a_configuration_has_its_stages(receptor):
    small = {"receptor": "r.pdbqt", "center": [0.0] * 3, "size": [10.0] * 3}
    (cheap,) = Vina(DockingConfig(**small, max_evals=100), receptor)([PHENOL])
    (dear,) = Vina(DockingConfig(**small, max_evals=3000), receptor)([PHENOL])
    assert dear.score < cheap.score
    for limit, expected in ((cheap.score, dear), (cheap.score - 0.1, cheap)):
        staged = DockingConfig(**small, max_evals=3000, first_evals=100, full_below=limit)
        assert engine_of(staged, receptor)([PHENOL]) == [expected]


def test_a_program_has_its_seeds_too(receptor):
    """The stand-in refuses any seed but 7, so of two seeds one has a score."""
    engine = engine_of(config(seed=7, seeds=2), receptor)
    assert [pose.score for pose in engine([ETHANE])] == SCORES[:1]
    (failed,) = engine_of(config(seed=8, seeds=2), receptor)([ETHANE])
    assert isinstance(failed, Failure)


# --- Vina -----------------------------------------------------------------------------------------


@pytest.fixture
def vina(receptor):
    small = DockingConfig(receptor="r.pdbqt", center=[0.0] * 3, size=[10.0] * 3, max_evals=2000)
    return Vina(small, receptor)


def test_the_same_seed_gives_the_same_pose_in_any_order(vina):
    first = vina([PHENOL, BENZENE])
    assert vina([BENZENE, PHENOL])[::-1] == first
    assert all(engines.STRONGEST < pose.score < 0 for pose in first)


def test_another_seed_is_another_search(vina):
    other = Vina(vina.config.model_copy(update={"seed": 2}), vina.receptor)
    assert other([PHENOL])[0].pdbqt != vina([PHENOL])[0].pdbqt


def test_the_maps_are_computed_once(vina):
    vina([PHENOL])
    before = engines._maps.cache_info()
    vina([BENZENE])
    again = Vina(vina.config.model_copy(update={"max_evals": 1000}), Receptor(vina.receptor.pdbqt))
    again([PHENOL])
    after = engines._maps.cache_info()
    assert after.misses == before.misses
    assert after.hits == before.hits + 2


def test_vina_says_nothing(vina, capfd):
    vina([PHENOL, "garbage"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("pdbqt", ["garbage", ETHANE.replace(" C \n", " B \n")])
def test_what_vina_refuses_is_a_failure(vina, pdbqt):
    (answer,) = vina([pdbqt])
    assert isinstance(answer, Failure)
    assert answer.reason.startswith("vina: ")


def test_a_ligand_that_does_not_fit_the_box_is_a_failure(receptor):
    """24 carbons in a row in 3 A: Vina answers 214,365 kcal/mol."""
    small = DockingConfig(receptor="r.pdbqt", center=[0.0] * 3, size=[3.0] * 3, max_evals=500)
    (answer,) = Vina(small, receptor)([prepare("C" * 24).pdbqt])
    assert "is not within [-20, 0)" in answer.reason


def test_a_docked_pose_is_a_minimum(vina):
    """Its three printed decimals of positions move the score by some hundredths."""
    pose = vina([PHENOL])[0]
    lines = [s for s in pose.pdbqt.splitlines() if not s.startswith(("MODEL", "ENDMDL"))]
    assert math.isclose(vina.minimised("\n".join(lines)), pose.score, abs_tol=0.05)


def test_a_ligand_outside_the_box_does_not_end_the_process(vina):
    far = Vina(vina.config.model_copy(update={"center": [7.0, 0.0, 0.0]}), vina.receptor)
    with pytest.raises(InvalidInput, match="reaches out of the box"):
        far.minimised(BENZENE)


def test_a_receptor_that_vina_cannot_read_is_refused_at_once(pocket):
    small = DockingConfig(receptor="r.pdbqt", center=[0.0] * 3)
    with pytest.raises(ConfigError, match="r.pdbqt: PDBQT parsing error: Atom type XY .*again"):
        Vina(small, Receptor(pocket.replace(" OA\n", " XY\n")))
