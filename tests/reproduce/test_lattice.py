"""`ipsrl reproduce figure-3`: table and page say the same as the runs."""

import json
import statistics

import pytest

from ipsrl.cli import main
from ipsrl.errors import RunError
from ipsrl.grids import LatticeConfig
from ipsrl.report.lattice import shares_of_a
from ipsrl.reproduce import lattice, reproduce

TOY = {"policy": "tabular", "group_size": 8, "batch": 8, "iterations": 4, "eval_every": 2,
       "checkpoint_every": 4, "seeds": 3, "lr": 0.1}  # fmt: skip
VARIANTS = {
    "grpo": {"method": "grpo"},
    "ips-grpo": {},
    "variant-ips-restricted": {"geometry": "restricted"},
}


@pytest.fixture(scope="module")
def figure_3(compiled, tmp_path_factory):
    """Small configurations in place of the shipped ones; everything behind them is real."""
    folder, out = tmp_path_factory.mktemp("configs"), tmp_path_factory.mktemp("figure-3")
    for name, changes in VARIANTS.items():
        (folder / f"{name}.toml").write_text(LatticeConfig(**{**TOY, **changes}).dump())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lattice, "shipped_configs", lambda _: sorted(folder.glob("*.toml")))
        reproduce("figure-3", "paper", out)
        yield out


def contents(directory):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in directory.rglob("*") if p.is_file()}


def test_the_table_counts_the_seeds_of_every_variant(figure_3):
    rows = json.loads((figure_3 / "table.json").read_text())
    assert [row["variant"] for row in rows] == list(VARIANTS)
    for row in rows:
        shares = shares_of_a(figure_3 / row["variant"])
        assert row == {
            "variant": row["variant"],
            "share_of_a": {
                "median": statistics.median(shares), "low": min(shares), "high": max(shares)
            },
            "balanced": len([s for s in shares if 0.4 <= s <= 0.6]),
            "on_a": len([s for s in shares if s > 0.9]),
            "on_b": len([s for s in shares if s < 0.1]),
            "seeds": 3,
        }  # fmt: skip


def test_figure_3_leaves_its_figures_and_a_page_of_them(figure_3, pictures):
    assert pictures(figure_3) == {"index-figure-3.png", "index-variants.png"}
    page = (figure_3 / "index.html").read_text()
    assert all(name in page for name in VARIANTS)
    assert page.count('"src":"data:image/png;base64,') == 2


def test_finished_variants_are_used_again(figure_3):
    before = {name: contents(figure_3 / name) for name in VARIANTS}
    files = {path: path.read_bytes() for path in figure_3.iterdir() if path.is_file()}
    reproduce("figure-3", "paper", figure_3)
    assert {name: contents(figure_3 / name) for name in VARIANTS} == before
    assert {path: path.read_bytes() for path in files} == files


def test_the_quick_preset_is_not_mixed_with_the_full_one(figure_3):
    before = contents(figure_3)
    with pytest.raises(RunError, match=r"holds a run of another configuration.*--out"):
        reproduce("figure-3", "quick", figure_3)
    assert contents(figure_3) == before


def test_the_command_prints_every_variant(figure_3, capsys):
    assert main(["reproduce", "figure-3", "--preset", "paper", "--out", str(figure_3)]) == 0
    printed = capsys.readouterr().out
    for row in json.loads((figure_3 / "table.json").read_text()):
        (line,) = (text for text in printed.splitlines() if f" {row['variant']} " in text)
        assert f" {row['share_of_a']['median']:.3f} [" in line
        numbers = [part.strip() for part in line.strip("│┃ ").split("│")][-4:]
        assert numbers == [str(row[key]) for key in ("balanced", "on_a", "on_b", "seeds")]
    assert str(figure_3 / "index.html") in printed
