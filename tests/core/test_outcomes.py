import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import HANGS, seconds_where_promised, steps
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import outcome_keys

from ipsrl import NO_OUTCOME, outcome_ids
from ipsrl.errors import InvalidInput

KEYS = ["CCO", "", b"CCO", 7, -1, 2**80, ("a", 1, ("b",)), frozenset({"x", "y", 3}), None, (None,)]


def one(key) -> int:
    return int(outcome_ids([key])[0])


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_ids_are_the_same_in_every_process(hash_seed):
    code = f"from ipsrl import outcome_ids; print(outcome_ids({KEYS!r}).tolist())"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS,
    )
    assert answer.stdout.strip() == str(outcome_ids(KEYS).tolist())


def test_an_id_is_pinned():
    # blake2b of b"sCCO" in 8 bytes, big endian, without its lowest bit: ids in old files stay valid
    assert one("CCO") == 9_208_917_541_985_671_926


@settings(deadline=None, max_examples=200)
@given(outcome_keys(), outcome_keys())
def test_equal_keys_and_only_they_have_equal_ids(a, b):
    assert one(a) == one(a)
    assert (one(a) == one(b)) == (a == b)


def test_order_within_a_frozenset_does_not_matter():
    parts = ["a", "b", "c", (1, 2)]
    assert len({one(frozenset(order)) for order in itertools.permutations(parts)}) == 1
    assert one(("a", "b")) != one(("b", "a"))


def test_kinds_are_told_apart():
    keys = [
        "1",
        1,
        b"1",
        (1,),
        ("1",),
        (b"1",),
        frozenset({1}),
        ((1,),),
        (1, 1),
        "11",
        11,
        (),
        "",
        b"",
    ]
    keys += [frozenset(), (None,), "None", ("a", "b"), ("ab",), (("a",), "b"), ("a", ("b",))]
    assert len(set(outcome_ids(keys))) == len(keys)


@pytest.mark.parametrize(
    "number", [np.int64(5), np.int32(5), np.uint8(5), np.array(5)], ids=lambda n: type(n).__name__
)
def test_numpy_integers_are_integers(number):
    assert one(number) == one(5)
    assert one((number,)) == one((5,))


def test_true_is_one():
    assert one(True) == one(1)
    assert one(False) == one(0)


@settings(deadline=None, max_examples=50)
@given(st.lists(outcome_keys(), max_size=8), st.randoms())
def test_an_id_does_not_depend_on_the_keys_beside_it(keys, random):
    keys = [*keys, *keys, "a", b"a", 1, True, np.int64(1), (1,), (True,)]
    random.shuffle(keys)
    assert outcome_ids(keys).tolist() == [one(key) for key in keys]


@pytest.mark.parametrize(
    ("seen", "equal"), [(1, 1.0), ((1,), (1.0,)), (frozenset({1}), frozenset({1.0})), (True, 1.0)]
)
def test_what_is_refused_is_refused_after_an_equal_key(seen, equal):
    assert hash(seen) == hash(equal)
    with pytest.raises(InvalidInput, match="'float'"):
        outcome_ids([seen, seen, equal])


def test_text_of_another_type_is_text():
    class Name(str):
        pass

    assert outcome_ids(["a", Name("a"), np.str_("a")]).tolist() == [one("a")] * 3


def test_repeated_keys_cost_a_look():
    """Work of 1,000 equal keys over that of 1,000 different ones."""
    same, different = ["key"] * 1000, [f"key{i}" for i in range(1000)]
    assert steps(lambda: outcome_ids(same)) < steps(lambda: outcome_ids(different)) / 2


def test_none_has_no_outcome():
    assert outcome_ids([None, "a", None]).tolist() == [NO_OUTCOME, one("a"), NO_OUTCOME]
    assert NO_OUTCOME == -1


def test_ids_have_63_bits_and_do_not_collide():
    n = 100_000  # of each kind; a collision has probability (2e5)^2 / 2^64 = 2e-9
    ids = outcome_ids([*range(n), *(str(i) for i in range(n))])
    assert ids.dtype == np.int64
    assert ids.min() >= 0
    assert len(np.unique(ids)) == 2 * n
    assert ids.max() > 2**62  # the high bit is used


def test_empty_list():
    assert outcome_ids([]).shape == (0,)
    assert outcome_ids([]).dtype == np.int64


def test_keys_may_come_from_a_generator_or_an_array():
    assert outcome_ids(k for k in "ab").tolist() == outcome_ids(["a", "b"]).tolist()
    assert outcome_ids(np.array([3, 4])).tolist() == outcome_ids([3, 4]).tolist()


def test_integers_of_any_size_are_keys():
    # A voxel structure as a bit mask has thousands of digits, more than Python prints at once.
    assert one(2**20_000) != one(2**20_000 + 1)


def test_text_that_is_not_valid_unicode_is_a_key():
    assert one("\ud800") != one("\ud801")
    assert one("a\x00b") != one("a")


@pytest.mark.parametrize(
    ("keys", "teaches"),
    [
        ([0.5], r"'float'.*round a float"),
        ([["a"]], r"'list'.*Use a str, int, bytes, or a tuple"),
        ([{"a"}], r"'set'.*frozenset"),
        ([("a", 0.5)], r"'float'"),
        ([{"a": 1}], r"'dict'"),
        ("abc", r"single key 'abc'.*list with one key per sample"),
        (b"abc", r"single key b'abc'.*list with one key per sample"),
    ],
)
def test_other_keys_are_refused(keys, teaches):
    with pytest.raises(InvalidInput, match=teaches):
        outcome_ids(keys)


@pytest.mark.parametrize(
    "wrap", [lambda k: (k,), lambda k: frozenset([k])], ids=["tuple", "frozenset"]
)
@pytest.mark.promise(number=4)
def test_hostile_nesting_is_refused_at_once(wrap, record_property):
    """In as many steps as what is hardly too deep."""

    def refused():
        with pytest.raises(InvalidInput, match="deeper than 100 levels.*Flatten it"):
            outcome_ids([key])

    key = "a"
    for _ in range(101):
        key = wrap(key)
    refused()  # the first call compiles the pattern
    few = steps(refused)
    for _ in range(100_000):
        key = wrap(key)
    assert steps(refused) == few
    seconds_where_promised(refused, 0.1)
    record_property("figure", "outcome keys nested 100,000 deep")
    while not isinstance(key, str):  # taken apart here: its destructor would recurse
        (key,) = key


def test_nesting_that_people_write_is_accepted():
    key = "a"
    for _ in range(100):
        key = (key,)
    assert one(key) != one(key[0])
