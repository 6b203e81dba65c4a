"""A Ray cluster with little room, or none."""

import shutil
import tempfile
from pathlib import Path
from threading import Timer

import pytest
import ray
from components import PHENOL, USER

from ipsrl.errors import RunError
from ipsrl.molecules import ComponentConfig, Scoring
from ipsrl.molecules.execution.cluster import Ray

pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # as in test_cluster.py


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    return ComponentConfig(kind="function", function=f"{tmp_path}/user.py:size", workers=1)


@pytest.fixture
def one_processor(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("one_processor")
def test_components_share_processors(mine):
    """They are asked one after another; of one processor each has a half."""
    parts = [mine.model_copy(update={"name": name}) for name in ("a", "b")]
    with Scoring(parts, "product", executor="ray") as scoring:
        raw = scoring([PHENOL]).raw
    assert raw["a"] == raw["b"] == len(PHENOL)


@pytest.mark.slow
@pytest.mark.usefixtures("one_processor")
def test_who_waits_for_room_says_so(mine, monkeypatch, capsys):
    monkeypatch.setattr("ipsrl.molecules.execution.cluster.WAIT", 0.5)
    first = Ray(mine)
    leaves = Timer(3.0, first.close)
    leaves.start()
    with Ray(mine) as second:
        assert second([PHENOL]) == [len(PHENOL)]
    leaves.join()
    told = "the workers of 'function' wait for room: the Ray cluster has 1 processors"
    assert told in capsys.readouterr().err


@pytest.mark.promise(number=12)
def test_a_cluster_that_somebody_else_wrote_down_is_not_joined(mine, monkeypatch, request):
    """Its answers would be pickles.  Ray looks for the file in a folder that all users share."""
    folder = tempfile.mkdtemp(dir="/tmp")  # a short name, for sockets
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
    monkeypatch.setenv("RAY_TMPDIR", folder)
    (Path(folder) / "ray").mkdir()
    (Path(folder) / "ray" / "ray_current_cluster").write_text("192.0.2.1:6379")
    with Ray(mine) as component:
        assert component([PHENOL]) == [len(PHENOL)]


def test_a_wrong_address_is_an_error(mine, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(RunError, match="no Ray cluster at RAY_ADDRESS = 'nonsense'"):
        Ray(mine)
