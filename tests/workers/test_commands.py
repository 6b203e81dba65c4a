"""The command `ipsrl workers install` knows every environment, and says where it lies."""

from hashlib import sha256

import pytest

from ipsrl import workers
from ipsrl.cli import main


def test_the_help_names_every_environment(capsys):
    with pytest.raises(SystemExit):
        main(["workers", "install", "--help"])
    offered = capsys.readouterr().out
    assert all(name in offered for name in workers.names())


@pytest.mark.parametrize("name", workers.names())
def test_only_the_folder_is_printed(name, tmp_path, monkeypatch, capfd):
    """The environment is complete, so nothing is installed."""
    monkeypatch.setenv("IPSRL_WORKERS", str(tmp_path))
    requirements = workers.FOLDER / f"{name}.txt"
    (tmp_path / name).mkdir()
    (tmp_path / name / workers.STAMP).write_text(sha256(requirements.read_bytes()).hexdigest())
    assert main(["workers", "install", name]) == 0
    assert capfd.readouterr() == (f"{tmp_path / name}\n", "")
