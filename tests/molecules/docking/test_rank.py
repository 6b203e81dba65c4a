"""Ranks of settings are compared by hand; their dockings are Vina's own."""

import gzip
import json

import numpy as np
import pytest

from ipsrl.cli import main
from ipsrl.errors import InvalidInput
from ipsrl.molecules import Config, DockingConfig
from ipsrl.molecules.docking import rank
from ipsrl.molecules.docking.rank import (
    CHEAP,
    REFERENCE,
    USUAL,
    Docked,
    Row,
    dock,
    rows,
    spearman,
    text,
)


def test_spearman_by_hand():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(a, a**3) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    # Differences of ranks 0, 0, 1, 1: 1 - 6 * 2 / (4 * 15) = .8
    assert spearman(a, np.array([1.0, 2.0, 4.0, 3.0])) == pytest.approx(0.8)
    # Ties have the mean rank: 1.5, 1.5, 3, 4 against 1, 2, 3, 4; 4.5 / sqrt(4.5 * 5)
    assert spearman(np.array([1.0, 1.0, 2.0, 3.0]), a) == pytest.approx(4.5 / np.sqrt(22.5))
    assert np.isnan(spearman(a, np.ones(4)))


def one(score: float, error: float) -> list[Docked]:
    """Dockings of a ligand: cheap ones are off by `error`, seed by seed in turn."""
    made = [Docked(CHEAP, 1, s, score + error * (-1) ** s, 1.0) for s in range(1, 7)]
    made += [Docked(USUAL, 1, s, score, 4.0) for s in range(1, 7)]
    made += [Docked(USUAL, 3, s, score, 12.0) for s in (1, 2)]
    return [*made, Docked(USUAL, REFERENCE, 1000, score, 64.0)]


def test_a_table_by_hand():
    """Ligand i scores -i; the cheap search of odd seeds has the last two the other way round."""
    ligands = [one(-float(i), 0.0) for i in range(1, 19)] + [one(-19.0, -0.6), one(-20.0, 0.6)]
    found = {row.setting: row for row in rows(ligands)}
    cheap = found["max_evals = 25000"]
    # Odd seeds: -18.4 and -20.6 in place of -19 and -20; even ones -19.6 and -19.4.
    assert (cheap.seconds, cheap.rank) == (1.0, 1.0)
    assert cheap.again == pytest.approx(1 - 6 * 2 / (20 * (400 - 1)))
    three = found["max_evals = 25000, seeds = 3"]
    assert (three.seconds, three.again) == (3.0, 1.0)
    usual = found["max_evals = 100000"]
    assert (usual.seconds, usual.rank, usual.again, usual.found) == (4.0, 1.0, 1.0, 1.0)
    assert (usual.low, usual.high) == (1.0, 1.0)
    staged = found["max_evals = 100000, seeds = 3, first_evals = 25000 (best 25%)"]
    assert staged.seconds == 3 + 12 * 5 / 20
    # The best of three seeds: -19.6 and -20.6.
    assert staged.below == pytest.approx(np.quantile([*range(-18, 0), -19.6, -20.6], 0.25))
    assert found[f"reference: exhaustiveness = {REFERENCE}"].seconds == 64


def test_noise_lowers_both_correlations():
    rng = np.random.default_rng(0)
    ligands = [one(float(-i), float(rng.normal(0, 20))) for i in range(40)]
    found = {row.setting: row for row in rows(ligands)}
    noisy, good = found["max_evals = 25000"], found["max_evals = 100000"]
    assert noisy.low <= noisy.rank <= noisy.high < 1
    assert noisy.again < noisy.rank < good.rank == 1
    assert noisy.found < good.found == 1


def test_few_ligands_say_nothing():
    with pytest.raises(InvalidInput, match="9 ligands.*fewer than 10"):
        rows([one(-1.0, 0.0)] * 9)


def test_vinas_budgets_alone_are_compared():
    other = DockingConfig(receptor="r.pdbqt", center=[0.0] * 3, engine="uni-dock")
    with pytest.raises(InvalidInput, match="vina alone"):
        dock(other, ["C"] * 10, count=10, minutes=1)


LIGANDS = ["Oc1ccccc1", "Cc1ccccc1"]


@pytest.fixture
def small(pocket, tmp_path, monkeypatch):
    """A pocket, a file of ligands, and budgets that a test has time for."""
    monkeypatch.setattr(rank, "CHEAP", 4000)
    monkeypatch.setattr(rank, "USUAL", 5000)
    (tmp_path / "receptor.pdbqt").write_text(pocket)
    (tmp_path / "receptor.toml").write_text(
        '[[components]]\nkind = "docking"\n'
        'transform = {kind = "reverse-sigmoid", low = -16.0, high = 0.0}\n'
        '[components.docking]\nreceptor = "receptor.pdbqt"\ncenter = [0.0, 0.0, 0.0]\n'
        "size = [10.0, 10.0, 10.0]\nseeds = 2\n"
    )
    groups = ["", "C", "O", "N", "F", "Cl"]
    ligands = [f"{a}c1ccc({b})cc1" for a in groups for b in groups[1:] if a <= b]
    ligands += ["CCO.CCN", "C("]
    (tmp_path / "l.smi.gz").write_bytes(gzip.compress("\n".join(ligands).encode()))
    return tmp_path


def test_every_budget_and_seed_is_docked_within_the_time(small, monkeypatch):
    (component,) = Config.load(small / "receptor.toml").components
    monkeypatch.setattr(rank, "FEWEST", 2)
    found = dict(dock(component.docking, [*LIGANDS, "CCO.CCN"], count=3, minutes=5))
    assert found.pop("CCO.CCN") == []  # fragments are not docked
    assert set(found) == set(LIGANDS)
    for dockings in found.values():
        seeds = [(d.evals, d.searches, d.seed) for d in dockings]
        assert len(set(seeds)) == len(seeds) == 15
        assert all(-20 <= d.score < 0 and d.seconds >= 0 for d in dockings)
    assert list(dock(component.docking, LIGANDS, count=9, minutes=-1.0)) == []


def test_the_command_writes_what_it_prints(small, capsys):
    words = ["--config", str(small / "receptor.toml"), "--smiles", str(small / "l.smi.gz")]
    words += ["-o", str(small / "out"), "--n", "12", "--json"]
    assert main(["molecules", "rank", *words]) == 0
    table = json.loads((small / "out/table.json").read_text())
    assert json.loads(capsys.readouterr().out) == table
    assert table["ligands"] + table["left_out"] == 12
    assert list(table["lines_left_out"].values()) == [1]
    said = text([Row(**row) for row in table["rows"]], table["ligands"])
    assert all(row["setting"] in said for row in table["rows"])
    lines = (small / "out/dockings.jsonl").read_text().splitlines()
    assert len(lines) == table["ligands"] >= 10


def test_too_few_ligands_are_refused_before_any_is_docked(small, capsys):
    (small / "few.smi").write_text("\n".join(LIGANDS))
    words = ["--config", str(small / "receptor.toml"), "--out", str(small / "out")]
    for smiles, n, few in (("few.smi", 200, 2), ("l.smi.gz", 9, 9)):
        assert main(["molecules", "rank", *words, "--smiles", str(small / smiles), "--n", f"{n}"])
        assert f"{few} ligands would be docked" in capsys.readouterr().err
    assert not (small / "out").exists()


def test_a_configuration_without_docking_is_refused(small, capsys):
    (small / "qed.toml").write_text('[[components]]\nkind = "qed"\n')
    words = ["--config", str(small / "qed.toml"), "--smiles", str(small / "l.smi.gz")]
    assert main(["molecules", "rank", *words, "-o", str(small / "out")]) == 2
    assert "has no docking component" in capsys.readouterr().err
