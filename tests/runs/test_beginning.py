"""A run begins in an empty folder only, and is not begun anew."""

from __future__ import annotations

import pytest
from run_families import NAMES, contents, resumed, started
from small_runs import Toy, advance, plant

from ipsrl.cli import main
from ipsrl.errors import RunError
from ipsrl.runs import Folder, Run


@pytest.mark.promise(number=22)
@pytest.mark.parametrize("name", NAMES)
def test_no_run_begins_in_a_folder_of_the_users(name, families, tmp_path, capsys, record_property):
    out = tmp_path / "mine"
    plant(out)
    before = contents(out)
    words = started(families[name], tmp_path / "run")[:-1]
    assert main([*words, str(out)]) == 1
    message = capsys.readouterr().err
    assert f"{out} is not empty (it holds" in message
    assert "Choose another --out" in message
    assert main(resumed(families[name], out)) == 2
    assert "not a run directory" in capsys.readouterr().err
    assert contents(out) == before
    record_property("figure", f"{name}: a folder with {len(before)} files is refused")


@pytest.mark.parametrize(
    "name",
    ["config.toml", "environment.json", "metrics.jsonl", "result.json", "files.json", ".hidden",
     "lock.json.bak", "checkpoints/step-000000000001.json", "config.toml.tmp"],
)  # fmt: skip
def test_a_single_foreign_file_is_enough_to_refuse(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine = 1")
    before = contents(tmp_path)
    with pytest.raises(RunError):
        Run.create(tmp_path, Toy())
    with pytest.raises(RunError):
        Run.resume(tmp_path, Toy())
    assert contents(tmp_path) == before


def test_an_empty_folder_is_taken(tmp_path):
    with Run.create(tmp_path, Toy()) as run:
        advance(run, 1)
    assert {"config.toml", "metrics.jsonl", "outcomes.parquet"} <= Folder(tmp_path).listed


def test_a_run_without_its_configuration_is_not_begun_anew(tmp_path):
    with Run.create(tmp_path, Toy()) as run:
        for step in (1, 2):
            advance(run, step)
    content = (tmp_path / "config.toml").read_bytes()
    (tmp_path / "config.toml").unlink()
    before = contents(tmp_path)
    with pytest.raises(RunError, match=r"config\.toml is missing.*Put config\.toml back"):
        Run.create(tmp_path, Toy())
    assert contents(tmp_path) == before
    (tmp_path / "config.toml").write_bytes(content)
    with Run.resume(tmp_path, Toy()) as run:
        assert run.restore()[0] == 2
