"""Figures: what was computed, and a warning of what nobody may overlook."""

import pyarrow.parquet as pq

from ipsrl.molecules import ComponentConfig, train


def test_values_that_are_cut_are_counted(config, tmp_path):
    (tmp_path / "user.py").write_text("def f(smiles):\n    return [len(s) - 10 for s in smiles]\n")
    mine = ComponentConfig(kind="function", name="mine", function=f"{tmp_path}/user.py:f")
    parts = [ComponentConfig(kind="qed"), mine]
    result = train(config(components=parts, budget=20), tmp_path / "run")
    calls = pq.read_table(tmp_path / "run" / "calls.parquet").to_pylist()
    outside = sum(not 0 <= call["mine"] <= 1 for call in calls)
    assert outside > 0
    assert result.cut == {"mine": outside}
    told = f"WARNING: {outside} values of the component 'mine' are not in [0, 1], and were cut"
    assert result.warning().startswith(told)
