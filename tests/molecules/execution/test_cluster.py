"""The same components on Ray: what dies at work, an actor or its whole machine, costs no call."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import ray
from components import ETHANE, PHENOL, USER, ComponentSuite
from faulty import assert_none_left, listening, marked, molecules
from helpers import HANGS

from ipsrl.errors import ConfigError, RunError
from ipsrl.molecules import ComponentConfig, Failure, Scoring
from ipsrl.molecules.component import Timeout
from ipsrl.molecules.execution.cluster import Ray
from ipsrl.molecules.scoring.build import build
from ipsrl.molecules.search.oracle import Oracle, Status

# Ray forks when it starts.  JAX, which other tests of this process may have loaded, warns of that.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

OURS = """
import os, subprocess, time

def leaves_a_child(smiles):
    return [subprocess.Popen(["sleep", "600"]).pid for _ in smiles]

def hangs(smiles):
    time.sleep(600)

def changes(smiles):
    with open(__file__, "a") as file:
        file.write("# other values from now on")
    os._exit(3)

def logs(smiles):
    time.sleep(0.05)
    with open(__file__ + ".log", "a") as file:
        file.write(smiles[0] + "\\n")
    return size(smiles)
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


def configured(user: Path, name: str, **options) -> ComponentConfig:
    return ComponentConfig(
        kind="function", function=f"{user}:{name}", version="1", **{"workers": 1} | options
    )


@pytest.fixture(scope="module")
def scoring(user):
    """It starts Ray, and ends it."""
    with Scoring([configured(user, "logs")], "product", executor="ray") as scoring:
        yield scoring
    assert not ray.is_initialized()


class TestRay(ComponentSuite):
    @pytest.fixture
    def component(self, scoring):
        return scoring.components[0]

    def test_same_values_as_in_process(self, component):
        alone = build(component.config)
        assert component([PHENOL, ETHANE, PHENOL]) == alone([PHENOL, ETHANE, PHENOL])
        assert component.identity == alone.identity != ""


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_only_this_machine_reaches_a_cluster_that_we_start(scoring, user):
    scoring.components[0]([PHENOL])
    addresses = listening([os.getpid(), *marked(str(user))])
    assert len(addresses) > 3  # of the driver, the head, the node, a worker
    assert set(addresses) <= LOOPBACK


def test_what_a_component_starts_does_not_outlive_it(scoring, user):
    with Ray(configured(user, "leaves_a_child")) as component:
        (pid,) = component(["C"])
        assert int(pid) in marked(str(user))
    deadline = time.monotonic() + HANGS
    while int(pid) in marked(str(user)):
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.1)


@pytest.mark.slow
def test_failures_limits_and_refusals_are_those_of_a_worker(user):
    with Ray(configured(user, "picky")) as component:
        assert component([PHENOL, ETHANE]) == [1, Failure("ValueError: not ethane")]
    with Ray(configured(user, "hangs", timeout=0.5)) as component:
        assert component(["C"]) == [Timeout("no answer in 0.5 s")]
    with pytest.raises(ConfigError, match="there is no file"):
        Ray(ComponentConfig(kind="function", function="/no/file.py:f", workers=1))


@pytest.mark.slow
def test_a_worker_that_has_changed_ends_the_run(user, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(user.read_text())
    with Ray(configured(mine, "changes")) as component, pytest.raises(RunError, match="Undo"):
        component(["C", "CC", "CCC"])


def every_call_survives(user: Path, scoring: Scoring, kill) -> None:
    """`kill` is called when 20 of 50 molecules are done."""
    log = Path(f"{user}.log")
    log.unlink(missing_ok=True)
    smiles = molecules(60)
    component = scoring.components[0]
    arrivals, launch, launched = component.arrivals, component._launch, []

    def arrivals_with_a_death(texts):
        for i, answer in enumerate(arrivals(texts)):
            if i == 20:
                kill()
            yield answer

    component.arrivals = arrivals_with_a_death
    component._launch = lambda: launched.append(launch())
    oracle = Oracle(scoring, budget=50)
    answers = oracle(smiles)
    assert launched  # what died was one of its actors, and another was sent for
    assert [call.smiles for call in oracle.calls] == smiles[:50]
    assert all(call.status is Status.VALID for call in oracle.calls)
    assert all(call.raw == (len(call.smiles),) for call in oracle.calls)
    assert answers[50:] == [None] * 10
    assert oracle.left == 0
    counts = Counter(log.read_text().split())
    assert set(counts) == set(smiles[:50])
    assert counts.total() <= 51  # at most what the dead one was at was computed twice


def test_an_actor_that_dies_costs_no_call(scoring, user):
    def kill():
        for pid in marked(str(user)):
            if b"ray::Holder" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

    every_call_survives(user, scoring, kill)


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
        with Scoring([configured(user, "logs", workers=2)], "product", executor="ray") as scoring:
            scoring.components[0](molecules(100)[60:])  # by now both are at work
            every_call_survives(
                user, scoring, lambda: cluster.remove_node(second, allow_graceful=False)
            )
        deadline = time.monotonic() + HANGS  # the head notices a death by its heartbeat
        while sum(node["Alive"] for node in ray.nodes()) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        ray.shutdown()
        cluster.shutdown()
