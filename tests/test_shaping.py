import subprocess
import sys
from dataclasses import fields

import pytest

from ipsrl.core.estimators import ESTIMATORS, Replay
from ipsrl.core.methods import GRPO, IPS, METHODS, ExemplarReplay, MaxRL
from ipsrl.errors import ConfigError
from ipsrl.grids.config import Config as Grids
from ipsrl.hypospace.config import Config as HypoSpace
from ipsrl.llm.config import Config as LLM
from ipsrl.molecules.config import Config as Molecules
from ipsrl.shaping import option_key

FAMILIES = {
    "grids": (Grids, {}),
    "llm": (LLM, {"dataset": "d.jsonl", "reward": "r.py:r", "outcome": "r.py:o"}),
    "hypospace": (HypoSpace, {"domain": "causal"}),
    "molecules": (Molecules, {}),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    model, given = FAMILIES[request.param]
    return lambda **options: model(**{**given, **options})


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_in_every_family(family, name):
    known = {"known": 3} if name == "gapo" else {}
    method = family(method=name, **{f"gapo_{key}": value for key, value in known.items()}).shaping()
    assert type(method) is METHODS[name]
    assert method == METHODS[name](**known)


def test_options_reach_the_method(family):
    config = family(eps=0.25, alpha=0.5, advantage_clip=2.0)
    assert config.shaping() == IPS(eps=0.25, alpha=0.5, advantage_clip=2.0)


def test_every_option_of_a_method_and_an_estimator_is_a_key():
    for name, kind in (METHODS | ESTIMATORS).items():
        for one in fields(kind):
            if "help" in one.metadata:
                assert option_key(name, one) in Grids.model_fields


def test_no_key_belongs_to_two_things():
    """Options with one key are one wish: they have the same help in every class."""
    helps = {}
    for name, kind in (METHODS | ESTIMATORS).items():
        for one in fields(kind):
            if "help" in one.metadata:
                key = option_key(name, one)
                assert helps.setdefault(key, one.metadata["help"]) == one.metadata["help"]


def test_a_loss_of_the_family_builds_on_grpo(family):
    assert family(method="flowrl").shaping() == GRPO()


@pytest.mark.parametrize(("name", "size"), [("llm", 32), ("hypospace", 32), ("molecules", 100)])
def test_a_loss_has_options_of_its_own(name, size):
    model, given = FAMILIES[name]
    config = model(**given, method="exemplar-replay")
    assert config.shaping() == ExemplarReplay(size=size)
    config = model(**given, method="exemplar-replay", exemplar_replay_weight=2.0,
                   exemplar_replay_size=3, success_above=0.5)  # fmt: skip
    assert config.shaping() == ExemplarReplay(weight=2.0, size=3)
    with pytest.raises(ConfigError, match="exemplar_replay_weight has no effect.*only with exemp"):
        model(**given, exemplar_replay_weight=2.0)
    with pytest.raises(ConfigError, match="exemplar_replay_size|size is 0"):
        model(**given, method="exemplar-replay", exemplar_replay_size=0)


def test_a_loss_is_offered_by_the_families_that_have_it():
    with pytest.raises(ConfigError, match="method = 'exemplar-replay'"):
        Grids(method="exemplar-replay")


def test_the_resolved_configuration_lists_what_is_read(family):
    text = family(eps=0.25).dump()
    assert "eps = 0.25\n" in text
    assert "alpha = 1.0\n" in text
    assert 'estimator = "group"\n' in text
    other = family(method="maxrl").dump()
    assert not [word for word in ("eps =", "alpha =", "estimator =") if f"\n{word}" in other]


def test_a_configuration_reads_back_what_it_dumps(tmp_path):
    for config in (Grids(estimator="replay"), Grids(method="maxrl"), Grids(method="tb")):
        (tmp_path / "config.toml").write_text(config.dump())
        assert Grids.load(tmp_path / "config.toml") == config


def test_an_estimator_has_its_size_and_each_family_its_own():
    sizes = {Grids: 64, LLM: 8, HypoSpace: 8, Molecules: 4}
    for model, given in FAMILIES.values():
        assert model(**given, estimator="replay").estimates() == Replay(batches=sizes[model])
    assert Grids(estimator="replay", replay_batches=3).estimates() == Replay(batches=3)


def test_estimators_are_those_that_the_samples_have_evidence_for():
    for model, name in ((Grids, "kernel"), (Molecules, "exact"), (LLM, "exact")):
        given = next(given for kind, given in FAMILIES.values() if kind is model)
        with pytest.raises(ConfigError, match=f"estimator = '{name}'"):
            model(**given, estimator=name)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "grpo", "eps": 0.2}, "eps has no effect with method grpo, only with ips-grpo"),
        ({"method": "maxrl", "estimator": "replay"}, "estimator has no effect with method maxrl"),
        (
            {"method": "grpo", "success_above": 0.5},
            "success_above has no effect.*only with ips-grpo",
        ),
        ({"replay_batches": 3}, "replay_batches has no effect with estimator group.* with replay"),
        ({"eps": 1.5}, "eps is 1.5.*clips a probability"),
        ({"alpha": -1.0}, "alpha is -1.0"),
        ({"advantage_clip": -1.0}, "advantage_clip is -1.0"),
        ({"method": "reinforce"}, "method = 'reinforce'.*maxrl"),
        ({"method": ["grpo"]}, "method"),
    ],
    ids=str,
)
def test_what_has_no_effect_or_cannot_be_is_refused(family, options, says):
    with pytest.raises(ConfigError, match=says):
        family(**options)


def test_own_options_of_a_method_begin_with_its_name(family):
    assert family(method="rs", rs_beta=3.0).shaping() == METHODS["rs"](beta=3.0)
    with pytest.raises(ConfigError, match="rs_beta has no effect with method pkpo, only with rs"):
        family(method="pkpo", rs_beta=3.0)


def test_what_a_method_must_be_given_is_asked_for(family):
    with pytest.raises(ConfigError, match="known is 0.*gapo_known"):
        family(method="gapo")


def test_success_is_a_threshold_on_the_reward(family):
    assert family(success_above=0.5).success_above == 0.5
    assert family().success_above is None


def test_maxrl_takes_no_scale():
    """It has none: a standard deviation of its own would change what it is."""
    assert "scale" not in {one.name for one in fields(MaxRL)}
    with pytest.raises(ConfigError, match="scale has no effect with method maxrl"):
        Grids(method="maxrl", scale="none")


FOREIGN = """
from dataclasses import dataclass
import numpy as np
from ipsrl import METHODS, Group, GroupAdvantage, Method

@dataclass(frozen=True)
class Sure(Method):
    needs = ("log_pf",)
    def advantages(self, group):
        log_pf = group.needed("log_pf", self)
        return GroupAdvantage(log_pf - log_pf.mean(-1, keepdims=True), log_pf[..., 0] > 1)

@dataclass(frozen=True)
class Alike(Sure):
    needs = ("similarity",)

METHODS |= {"sure": Sure, "alike": Alike}
"""


def test_a_family_offers_methods_whose_evidence_it_has():
    """And hands it over: a step of the grid with a method that looks at log-probabilities."""
    code = f"""{FOREIGN}
from typing import get_args
from ipsrl.grids import Config, train
from ipsrl.llm.config import Config as LLM
from ipsrl.molecules.config import Config as Molecules
for model in (Config, LLM, Molecules):
    offered = get_args(model.model_fields["method"].annotation)
    print([name for name in ("sure", "alike") if name in offered])
tiny = dict(side=3, policy="tabular", group_size=4, batch=4, seeds=1, iterations=2, eval_every=1)
train(Config(method="sure", **tiny))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[:3] == ["['sure']", "['sure', 'alike']", "['sure', 'alike']"]
