"""The cache answers with what was computed, under the same conditions only, whoever is killed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import faulty
import pytest
from faulty import molecules
from helpers import promised

from ipsrl.errors import ConfigError
from ipsrl.molecules import ComponentConfig, Failure, Scoring
from ipsrl.molecules.component import Timeout
from ipsrl.molecules.execution import cache
from ipsrl.molecules.execution.cache import Cached, rdBase
from ipsrl.molecules.execution.processes import Elsewhere
from ipsrl.molecules.search.oracle import Oracle, Status

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
    assert len(warned) == 1  # of reading; writing was not tried any more


class Arriving(Counting, Elsewhere):
    """Its answers come one by one."""

    def arrivals(self, smiles):
        return zip(smiles, self(list(smiles)), strict=True)

    def close(self):
        pass

    __call__ = Counting.__call__


@pytest.fixture
def attempts(monkeypatch):
    """What is tried with the file, of which another process would be waited for."""
    monkeypatch.setattr(cache, "WAIT", 0.01)
    made, connect = [], Cached._open

    def counted(self):
        made.append(self.path)
        return connect(self)

    monkeypatch.setattr(Cached, "_open", counted)
    return made


@pytest.mark.parametrize("kind", [Counting, Arriving])
def test_a_locked_file_is_waited_for_once_in_a_batch_and_nothing_is_lost(path, attempts, kind):
    component = kind()
    cached = Cached(component, path)
    del attempts[:]
    holder = sqlite3.connect(path)
    holder.execute("BEGIN IMMEDIATE")  # as a process does that writes, and is stopped there
    batches = (["C", "CO", "CCO", "CC"], ["CN", "C", "CCN", "CCCN"])
    with pytest.warns(UserWarning, match="cannot be written: database is locked") as warned:
        first, second = map(cached, batches)
    assert first == [1.0, 2.0, 3.0, Failure("no")]
    assert second == [2.0, 1.0, 3.0, 4.0]
    assert component.asked == ["C", "CO", "CCO", "CC", "CN", "CCN", "CCCN"]  # each once
    assert len(warned) == 1
    assert len(attempts) == 4  # of each batch a read, which a writer does not stop, and one write
    holder.rollback()
    assert cached(["N"]) == [1.0]  # with which all are written
    kept = ["C", "CO", "CCO", "CN", "CCN", "CCCN", "N"]
    assert dict(rows(path)) == {text: len(text) for text in kept}
    holder.execute("BEGIN IMMEDIATE")
    with pytest.warns(UserWarning, match="database is locked"):  # it had been well again
        assert cached(["NO"]) == [2.0]
    holder.close()


def test_a_file_that_cannot_even_be_read_is_tried_once_in_a_batch(path, attempts):
    cached = Cached(Arriving(), path)
    del attempts[:]
    holder = sqlite3.connect(path)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.warns(UserWarning, match="cannot be read: database is locked") as warned:
        assert cached(["C", "CO", "CCO"]) == [1.0, 2.0, 3.0]
    assert len(warned) == len(attempts) == 1
    holder.close()


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
from ipsrl.molecules.execution.cache import Cached

class Component:
    identity, computed = sys.argv[3], 0
    def __call__(self, smiles):
        self.computed += 1
        return [float(len(text)) + float(sys.argv[3]) for text in smiles]

component = Component()
cached = Cached(component, sys.argv[2])
texts = molecules(int(sys.argv[4]))
for i in range(int(sys.argv[5]), len(texts), 5):
    sys.stdin.readline()  # may go on; at the end of the file as fast as it can
    assert cached(texts[i : i + 5]) == Component()(texts[i : i + 5])
    print(i + 5, flush=True)
"""


def rows(path):
    if not os.path.exists(path):
        return []
    with sqlite3.connect(path, timeout=60) as database:
        try:
            return database.execute("SELECT smiles, value FROM answers").fetchall()
        except sqlite3.OperationalError:  # it is being made
            return []


@pytest.mark.promise(number=11)
def test_killed_writers_tear_nothing(path, record_property) -> None:
    """Each of them is killed after it has written and before it has written all."""
    processes, writes, kills = promised(8, 3), promised(1000, 200), promised(40, 3)
    here = os.path.dirname(faulty.__file__)
    rng = random.Random(0)
    done = [0] * processes

    def start(i):
        version = str(1000 * (i % 2))  # two writers of the same rows, and of others
        words = [sys.executable, "-c", WRITER, here, path, version, str(writes), str(done[i])]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, bufsize=1)

    running = [start(i) for i in range(processes)]
    share = writes // 5 // kills  # batches of each between two kills
    for kill in range(kills):
        for process in running:
            process.stdin.write("\n" * share)
        victim = kill % processes
        for i, process in enumerate(running):
            for _ in range(share if i != victim else rng.randrange(1, share)):
                done[i] = int(process.stdout.readline())
        time.sleep(rng.uniform(0, 0.01))  # into one of the batches that are left
        running[victim].kill()
        running[victim].communicate()
        assert running[victim].returncode == -signal.SIGKILL
        assert 0 < done[victim] < writes
        running[victim] = start(victim)
    for process in running:
        process.communicate()
    assert [process.returncode for process in running] == [0] * processes
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = database.execute("SELECT smiles, identity, value FROM answers").fetchall()
    assert len(found) == 2 * writes  # each molecule once for each version
    for smiles, identity, value in found:
        assert value == len(smiles) + float(identity.split(",")[0])
    assert {smiles for smiles, _, _ in found} == set(molecules(writes))
    record_property("figure", f"{processes} x {writes:,} writes, {kills} kills, 0 torn or lost")
