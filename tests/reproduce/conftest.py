import functools
import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def compiled():
    """The real loop, compiled once per configuration."""
    import ipsrl.grids.loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipsrl.grids.loop, "Loop", functools.cache(ipsrl.grids.loop.Loop))
        yield


@pytest.fixture(scope="session")
def pictures():
    """Names of the PNG files of a folder, each of which can be read."""

    def names(directory):
        for path in directory.glob("*.png"):
            Image.open(BytesIO(path.read_bytes())).verify()
        return {path.name for path in directory.glob("*.png")}

    return names


@pytest.fixture
def beside_receptor_and_stock(tmp_path, monkeypatch):
    """The working directory has the files that Table 3 is measured with, by the names it uses."""
    chem = Path(os.environ.get("IPSRL_SHARED", "../shared")) / "data" / "chem"
    if not chem.is_dir():
        pytest.skip(f"no data in {chem}; set IPSRL_SHARED")
    (tmp_path / "7uvu").mkdir()
    files = {
        "7uvu-2-monomers-pdbfixer.pdbqt": "7uvu/receptor.pdbqt",
        "bb_sigma_20k.smi.gz": "stock.smi.gz",
    }
    for theirs, ours in files.items():
        (tmp_path / ours).symlink_to((chem / theirs).resolve())
    monkeypatch.chdir(tmp_path)
