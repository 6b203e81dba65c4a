"""Arrays are written as they are, however they lie in memory."""

import numpy as np
import pytest

STRIDED = {
    "column": np.arange(6.0).reshape(2, 3)[:, -1],
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "backwards": np.arange(6.0)[::-1],
    "scalar": np.array(0.5),
    "empty": np.zeros((0, 3)),
}


@pytest.mark.parametrize("name", STRIDED)
def test_arrays_of_any_layout_in_memory_survive(name, run):
    run.checkpoint(1, {name: STRIDED[name]})
    np.testing.assert_array_equal(run.restore()[1][name], STRIDED[name])
    run.finish({}, {name: STRIDED[name]})
    np.testing.assert_array_equal(run.arrays()[name], STRIDED[name])
