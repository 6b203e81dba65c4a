import functools
from io import BytesIO

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
