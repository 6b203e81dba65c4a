"""The same components on Ray: what dies at work, an actor or its whole machine, costs no call."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from faulty import assert_none_left, marked, molecules
from test_scoring import ETHANE, PHENOL, USER, ComponentSuite

from ipsrl.errors import ConfigError
from ipsrl.molecules import ComponentConfig, Scoring
from ipsrl.molecules.oracle import Oracle, Status
from ipsrl.molecules.scoring import Timeout, build

ray = pytest.importorskip("ray")
Ray = pytest.importorskip("ipsrl.molecules.cluster").Ray

OURS = """
import time

def hangs(smiles):
    time.sleep(600)

def logs(smiles):
    time.sleep(0.05)
    with open(__file__ + ".log", "a") as file:
        file.write(smiles[0] + "\\n")
    return [float(len(text)) for text in smiles]
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """The file with the functions; nothing that is started in this module is left at its end."""
    file = tmp_path_factory.mktemp("user") / "user.py"
    file.write_text(USER + OURS)
    os.environ["MARK"] = text = str(file)
    yield file
    del os.environ["MARK"]
    assert_none_left(text)


@pytest.fixture(scope="module")
def picky(user):
    """The first: it starts Ray, and ends it."""
    config = ComponentConfig(kind="function", function=f"{user}:picky", version="1", workers=1)
    with Ray(config) as component:
        yield component
    assert not ray.is_initialized()


class TestRay(ComponentSuite):
    @pytest.fixture
    def component(self, picky):
        return picky

    def test_same_values_and_failures_as_in_process(self, picky):
        alone = build(picky.config)
        assert picky([PHENOL, ETHANE, PHENOL]) == alone([PHENOL, ETHANE, PHENOL])
        assert picky.identity == alone.identity != ""


def test_what_cannot_be_built_is_told_at_once(picky):
    with pytest.raises(ConfigError, match=r"'C\(' is no SMARTS"):
        Ray(ComponentConfig(kind="alert", smarts=["C("], workers=1))


def test_its_limits_are_those_of_a_worker(picky, user):
    config = ComponentConfig(kind="function", function=f"{user}:hangs", workers=1, timeout=0.5)
    with Ray(config) as component:
        assert component(["C"]) == [Timeout("no answer in 0.5 s")]


def every_call_survives(user: Path, workers: int, kill) -> None:
    """`kill` is called when 20 of 50 molecules are done."""
    log = Path(f"{user}.log")
    log.unlink(missing_ok=True)
    config = ComponentConfig(
        kind="function", function=f"{user}:logs", name="length", workers=workers
    )  # fmt: skip
    smiles = molecules(60)
    with Scoring([config], "product", executor="ray") as scoring:
        component = scoring.components[0]
        arrivals, launch, launched = component.arrivals, component._launch, []

        def arrivals_with_a_death(texts):
            for i, answer in enumerate(arrivals(texts)):
                if i == 20:
                    kill(component)
                yield answer

        component.arrivals = arrivals_with_a_death
        component._launch = lambda: launched.append(launch())
        oracle = Oracle(scoring, budget=50)
        answers = oracle(smiles)
    assert len(launched) == 1  # what died was one of its actors, and another was sent for
    assert [call.smiles for call in oracle.calls] == smiles[:50]
    assert all(call.status is Status.VALID for call in oracle.calls)
    assert all(call.raw == (len(call.smiles),) for call in oracle.calls)
    assert answers[50:] == [None] * 10
    assert oracle.left == 0
    counts = Counter(log.read_text().split())
    assert set(counts) == set(smiles[:50])
    assert counts.total() <= 51  # at most what the dead one was at was computed twice


def test_an_actor_that_dies_costs_no_call(picky, user):
    def kill(component):
        for pid in marked(str(user)):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"ray::Holder" in file.read() and pid not in before:
                    os.kill(pid, signal.SIGKILL)

    before = marked(str(user))
    every_call_survives(user, 1, kill)


@pytest.mark.slow
def test_a_node_that_dies_at_work_costs_no_call(user):
    """Two nodes, one worker on each; one node is killed with all that is on it."""
    from ray.cluster_utils import Cluster

    if ray.is_initialized():
        ray.shutdown()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    head = {"include_dashboard": False, **small}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(**small)
        ray.init(address=cluster.address, log_to_driver=False)
        every_call_survives(user, 2, lambda _: cluster.remove_node(second, allow_graceful=False))
        assert sum(node["Alive"] for node in ray.nodes()) == 1
    finally:
        ray.shutdown()
        cluster.shutdown()
