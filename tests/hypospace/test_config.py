"""A configuration that cannot be is refused."""

from __future__ import annotations

import pytest

from ipsrl.errors import ConfigError
from ipsrl.hypospace.config import Config


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"domain": "boolean", "size": {"nodes": 4}}, "nodes"),
        ({"domain": "voxel", "size": {"min_blocks": 3, "max_blocks": 2}}, "blocks"),
        ({"domain": "chess"}, "domain"),
        ({"domain": "causal", "samples": 0}, "samples"),
        ({"domain": "causal", "data_seed": -1}, "data_seed"),
        ({"domain": "causal", "method": "grpo", "eps": 0.2}, "eps"),
        ({"domain": "causal", "trl": {"seed": 3}}, "seed"),
        ({"domain": "causal", "warm_up": 10}, "warm_up has no effect on the model tiny"),
    ],
)
def test_a_wrong_configuration_is_refused(wrong, words) -> None:
    with pytest.raises(ConfigError, match=words):
        Config(**wrong)
