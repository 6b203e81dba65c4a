"""The memory keeps the best molecules, once each."""

import numpy as np

from ipsrl.molecules.search.memory import Entry, Memory


def entry(smiles: str, reward: float, scaffold: str = "") -> Entry:
    return Entry(smiles, smiles, scaffold, reward)


def names(memory: Memory) -> str:
    return "".join(one.smiles for one in memory.entries)


def test_the_best_are_kept_zero_excluded():
    memory = Memory(3)
    memory.add([entry("a", 0.1), entry("b", 0.0), entry("c", 0.3)])
    assert names(memory) == "ca"
    memory.add([entry("d", 0.2), entry("e", 0.4)])
    assert names(memory) == "ecd"


def test_a_molecule_is_kept_once_with_its_first_reward():
    memory = Memory(3)
    memory.add([entry("a", 0.1), entry("a", 0.9)])
    memory.add([entry("a", 0.5)])
    assert memory.entries == [entry("a", 0.1)]


def test_among_equals_the_older_stays():
    memory = Memory(2)
    memory.add([entry("a", 0.5), entry("b", 0.5)])
    memory.add([entry("c", 0.5)])
    assert names(memory) == "ab"


def test_purge_forgets_scaffolds():
    memory = Memory(4)
    memory.add([entry("a", 0.5, "x"), entry("b", 0.4, "y"), entry("c", 0.3, "x")])
    memory.purge({"x"})
    assert names(memory) == "b"


def test_draws_are_different_entries():
    memory = Memory(10)
    memory.add(entry(name, 0.5) for name in "abcdef")
    drawn = memory.draw(4, np.random.default_rng(0))
    assert len({one.smiles for one in drawn}) == 4
    assert len(memory.draw(99, np.random.default_rng(0))) == 6
    seen = {e.smiles for seed in range(40) for e in memory.draw(1, np.random.default_rng(seed))}
    assert seen == set("abcdef")
