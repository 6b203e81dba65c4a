"""A checkpoint holds all of a search: what goes on from it is the same search."""

import numpy as np
import pytest

from ipsrl.molecules import Prior, Scoring
from ipsrl.molecules.search.loop import Search
from ipsrl.molecules.search.result import filter_of, result_of, table_of
from ipsrl.molecules.search.state import restore, state_of


def begun(config) -> Search:
    scoring = Scoring(config.components, config.aggregation)
    return Search(config, scoring, Prior.load(config.prior))


@pytest.mark.parametrize(
    "options",
    [
        {"estimator": "group"},
        {"estimator": "replay"},
        {"method": "ucb"},
        {"method": "exemplar-replay", "success_above": 0.3},
        {"filter": "similarity", "penalty": "tanh", "filter_above": 0.3},
        {"filter": "generic-scaffold", "penalty": "linear", "purge": "zero"},
        {"inception": "known.smi"},
        {"prior_in_advantage": True, "scaffold_stereo": True},
    ],
)
def test_restored_is_the_same_search(config, options, tmp_path):
    if "inception" in options:
        (tmp_path / options["inception"]).write_text("CCO\nCc1ccccc1\n")
        options = {"inception": str(tmp_path / options["inception"])}
    chosen = config(budget=100, **options)
    search, again = begun(chosen), begun(chosen)
    for _ in range(3):
        search.step()
    tables = table_of(search, 0).to_pylist(), filter_of(search).to_pylist()
    restore(again, state_of(search), *tables)
    for _ in range(2):
        before, now = state_of(search), state_of(again)
        assert now.keys() == before.keys()
        for name, array in before.items():
            np.testing.assert_array_equal(now[name], array)
        assert table_of(again, 0).equals(table_of(search, 0))
        assert result_of(again) == result_of(search)
        assert again.filter.counts == search.filter.counts
        assert again.step() == search.step()
