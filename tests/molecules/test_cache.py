"""The cache answers with what was computed, under the same conditions only, whoever is killed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty import molecules

from ipsrl.errors import ConfigError
from ipsrl.molecules import ComponentConfig, Failure, Scoring
from ipsrl.molecules.cache import Cached, rdBase
from ipsrl.molecules.oracle import Oracle, Status
from ipsrl.molecules.scoring import Timeout

USER = """
calls = []

def size(smiles):
    calls.extend(smiles)
    return [len(text) if text != "CC" else float("nan") for text in smiles]
"""


class Counting:
    """A component that knows what it was asked."""

    def __init__(self, identity="it 1", add=0.0):
        self.identity, self.add, self.asked = identity, add, []

    def __call__(self, smiles):
        self.asked += smiles
        special = {"CC": Failure("no"), "CCC": Timeout("late")}
        return [special.get(text, len(text) + self.add) for text in smiles]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "cache.sqlite")


def test_what_was_computed_is_not_asked_again(path):
    first, second = Counting(), Counting()
    answers = [1.0, Failure("no"), Timeout("late"), 1.0, 4.0]
    smiles = ["C", "CC", "CCC", "C", "CCCC"]
    assert Cached(first, path)(smiles) == answers
    assert Cached(second, path)(smiles) == answers
    assert first.asked == ["C", "CC", "CCC", "CCCC"]
    assert second.asked == ["CC", "CCC"]  # a failure is never kept
    assert Cached(second, path)([]) == []


@pytest.mark.parametrize("value", [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, -7.0])
def test_every_bit_of_a_number_comes_back(path, value):
    first = Cached(Counting(add=value - 1), path)(["C"])
    (again,) = Cached(Counting(), path)(["C"])
    assert again.hex() == float(first[0]).hex()


def test_no_stale_hit_after_a_change(path, monkeypatch):
    Cached(Counting("it 1"), path)(["C"])
    other = Counting("it 2", add=10.0)
    assert Cached(other, path)(["C"]) == [11.0]
    assert Cached(Counting("it 1"), path)(["C"]) == [1.0]
    monkeypatch.setattr(rdBase, "rdkitVersion", "2099.1")  # whose canonical SMILES may differ
    assert Cached(Counting("it 1", add=5.0), path)(["C"]) == [6.0]


def test_only_what_says_what_it_depends_on_is_kept(tmp_path, path):
    (tmp_path / "user.py").write_text(USER)
    base = {"kind": "function", "function": f"{tmp_path}/user.py:size"}
    configs = [
        ComponentConfig(kind="qed"),
        ComponentConfig(name="unnamed", **base),
        ComponentConfig(name="named", version="1", **base),
    ]
    Scoring(configs, "product", cache=path)(["C", "CC"])
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT smiles, identity, value FROM answers").fetchall()
    ((smiles, identity, value),) = rows
    assert (smiles, value) == ("C", 1.0)
    for part in ("function", "user.py:size", " 1 sha256 ", rdBase.rdkitVersion):
        assert part in identity


def test_another_project_with_the_same_names_is_not_mistaken_for_this(tmp_path, path, monkeypatch):
    answers = []
    for name, value in (("a", 0.1), ("b", 0.9)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Path("mine.py").write_text(f"def f(smiles):\n    return [{value}] * len(smiles)\n")
        Path("mine.sh").write_text(f"while read line; do echo '{{\"value\": {value}}}'; done")
        configs = [
            ComponentConfig(kind="function", function="mine.py:f", version="1"),
            ComponentConfig(kind="program", command=["sh", "mine.sh"], version="1"),
        ]
        scores = Scoring(configs, "product", cache=path)(["C"])
        answers.append([scores.raw[kind].tolist() for kind in ("function", "program")])
    assert answers == [[[0.1], [0.1]], [[0.9], [0.9]]]


def test_a_cached_answer_counts_as_a_call_and_is_the_same(tmp_path, path):
    (tmp_path / "user.py").write_text(USER)
    config = ComponentConfig(
        kind="function", function=f"{tmp_path}/user.py:size", name="size", version="1", workers=1
    )
    calls = []
    for _ in range(2):
        with Scoring([config], "product", cache=path) as scoring:
            oracle = Oracle(scoring, 3)
            oracle(["CCC", "CC", "C", "CCCC"])
            calls.append([(c.number, c.smiles, c.status, c.reason, c.raw) for c in oracle.calls])
            assert oracle.left == 0
    assert str(calls[0]) == str(calls[1])  # text, because NaN is not itself
    assert [status for _, _, status, *_ in calls[0]] == [Status.VALID, Status.FAILED, Status.VALID]


def test_what_workers_answered_is_kept_though_the_run_is_killed(tmp_path, path):
    """One answers, the other hangs: the answer must not be lost with the batch."""
    (tmp_path / "user.py").write_text(
        "import time\ndef f(smiles):\n    time.sleep(600 * (smiles == ['CC']))\n    return [7]"
    )
    run = f"""
from ipsrl.molecules import ComponentConfig, Scoring
config = ComponentConfig(kind="function", function={str(tmp_path / "user.py") + ":f"!r},
                         version="1", workers=2)
with Scoring([config], "product", cache={path!r}) as scoring:
    scoring(["CC", "C"])
"""
    with subprocess.Popen([sys.executable, "-c", run]) as process:
        while not rows(path):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert rows(path) == [("C", 7.0)]


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    for content in (b"not a database, but long enough to look like something" * 9, None):
        file = tmp_path / "file"
        if content:
            file.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be used"):
            Cached(Counting(), str(file if content else tmp_path))
    with sqlite3.connect(tmp_path / "other") as database:
        database.execute("CREATE TABLE answers (question TEXT)")
    with pytest.raises(ConfigError, match="no such column"):
        Cached(Counting(), str(tmp_path / "other"))


def test_a_cache_that_breaks_costs_no_answer(path):
    cached = Cached(Counting(), path)
    cached(["C"])
    with open(path, "wb") as file:
        file.write(b"nonsense" * 1000)
    with pytest.warns(UserWarning, match="cannot be") as warned:
        assert cached(["C", "CO"]) == [1.0, 2.0]
    assert len(warned) == 2  # read, and written


def test_a_file_of_somebody_else_brings_no_code_and_no_nonsense(tmp_path, path):
    """Promise 12: a pickle that would run, as the file and in it, and values that are no number."""
    canary = tmp_path / "canary"
    payload = b"cposix\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."
    (tmp_path / "pickle").write_bytes(payload)
    with pytest.raises(ConfigError, match="cannot be used"):
        Cached(Counting(), str(tmp_path / "pickle"))
    cached = Cached(Counting(), path)
    for value in (payload, "7; DROP TABLE answers", float("inf"), None, "1 + 1"):
        with sqlite3.connect(path) as database:
            row = ("CO", cached.identity, value)
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)
        assert cached(["CO", "'); DROP TABLE answers; --"]) == [2.0, 26.0]
    assert not canary.exists()


# --- promise 11 -----------------------------------------------------------------------------------

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from faulty import molecules
from ipsrl.molecules.cache import Cached

class Component:
    identity, computed = sys.argv[3], 0
    def __call__(self, smiles):
        self.computed += 1
        return [float(len(text)) + float(sys.argv[3]) for text in smiles]

component = Component()
cached = Cached(component, sys.argv[2])
texts = molecules(int(sys.argv[4]))
for i in range(0, len(texts), 5):
    before = component.computed
    assert cached(texts[i : i + 5]) == Component()(texts[i : i + 5])
    if component.computed > before:
        print("wrote", flush=True)
"""


def rows(path):
    if not os.path.exists(path):
        return []
    with sqlite3.connect(path, timeout=60) as database:
        try:
            return database.execute("SELECT smiles, value FROM answers").fetchall()
        except sqlite3.OperationalError:  # it is being made
            return []


def killed_writers(path, processes: int, writes: int, kills: int) -> None:
    """Each process writes a version of its own; each kill hits one that has written, and writes."""
    here = os.path.dirname(os.path.dirname(__file__))
    rng = random.Random(0)

    def start(version):
        words = [sys.executable, "-c", WRITER, here, path, str(1000 * version), str(writes)]
        return subprocess.Popen(words, stdout=subprocess.PIPE)

    def end(i):
        running[i].communicate()
        return running[i].returncode

    versions, used = list(range(processes)), processes
    running = [start(version) for version in versions]
    while kills:
        i = rng.randrange(processes)
        wrote = [running[i].stdout.readline() for _ in range(rng.randrange(1, 20))]
        running[i].kill()
        if end(i) == -signal.SIGKILL and wrote[0]:
            kills -= 1
        else:  # it had come to its end; the next one has all to write again
            versions[i], used = used, used + 1
        running[i] = start(versions[i])
    assert [end(i) for i in range(processes)] == [0] * processes
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = database.execute("SELECT smiles, identity, value FROM answers").fetchall()
    assert len(found) == used * writes  # each molecule once for each version
    for smiles, identity, value in found:
        assert value == len(smiles) + float(identity.split(",")[0])
    assert {smiles for smiles, _, _ in found} == set(molecules(writes))


def test_killed_writers_tear_nothing(path):
    killed_writers(path, processes=3, writes=200, kills=3)


@pytest.mark.slow
@pytest.mark.promise(number=11)
def test_eight_writers_of_a_thousand(path, record_property):
    killed_writers(path, processes=8, writes=1000, kills=40)
    record_property("figure", "40 kills, each of a process that had written, and no torn row")
