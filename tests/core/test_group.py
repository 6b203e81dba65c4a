import numpy as np
import pytest
from helpers import assert_same, numpy_of

from ipsrl import GroupFrequency
from ipsrl.core.group import Group
from ipsrl.errors import InvalidInput


def test_what_is_scaled_has_its_id_and_the_rest_none(xp):
    ids = xp.integers([[4, 4, -1, 9]])
    assert Group(ids=ids).scaled_ids(None) is ids
    right = xp.booleans([[True, False, True, True]])
    scaled = Group(ids=ids, success=right).scaled_ids(None)
    assert numpy_of(scaled).tolist() == [[4, -1, -1, 9]]


def test_success_may_be_zeros_and_ones(xp):
    ids = xp.integers([[4, 4, 9]])
    by_number = Group(ids=ids, success=xp.integers([[1, 0, 1]])).scaled_ids(None)
    by_truth = Group(ids=ids, success=xp.booleans([[True, False, True]])).scaled_ids(None)
    assert_same(by_number, by_truth)


@pytest.mark.parametrize("field", Group._fields)
def test_a_field_that_is_missing_is_named(field):
    with pytest.raises(InvalidInput, match=rf"GroupFrequency needs `{field}`.*{field}=\.\.\."):
        Group().needed(field, GroupFrequency())
    assert Group(**{field: 1}).needed(field, None) == 1


def test_success_must_be_aligned_with_the_ids(xp):
    group = Group(ids=xp.integers([[4, 4]]), success=xp.booleans([True, True]))
    with pytest.raises(InvalidInput, match="ids and success have shapes"):
        group.scaled_ids(None)
    with pytest.raises(InvalidInput, match="True and False"):
        Group(ids=np.array([[4, 4]]), success=np.array([[0.5, 1.0]])).scaled_ids(None)
