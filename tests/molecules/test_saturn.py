"""A configuration of Saturn means the same here, and what cannot be said is named."""

import copy
import json

import numpy as np
import pytest

from ipsrl.cli import main
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.molecules import Config, Scoring
from ipsrl.molecules.saturn import translate
from ipsrl.molecules.search.diversity import DiversityFilter


def component(name, function="no_transformation", weight=1, specific=None, **parameters):
    shaping = {"transformation_function": function, "parameters": parameters}
    return {
        "name": name, "weight": weight, "preliminary_check": False,
        "specific_parameters": specific or {}, "reward_shaping_function_parameters": shaping,
    }  # fmt: skip


SATURN = {
    "logging": {"logging_frequency": 10000, "logging_path": "log"},
    "oracle": {
        "budget": 1000, "allow_oracle_repeats": False, "aggregator": "product",
        "components": [
            component("tpsa", "sigmoid", low=75, high=350, k=0.15),
            component("mw", "double_sigmoid", 2, low=0, high=350, coef_div=500, coef_si=250,
                      coef_se=200),
            component("num_rings", "step", 3, low=2, high=5),
            component("smarts_alerts", specific={"smarts": ["[N+](=O)[O-]", "C=O"]}),
        ],
    },
    "goal_directed_generation": {
        "reinforcement_learning": {
            "prior": "x.prior", "agent": "x.prior", "batch_size": 32, "learning_rate": 0.0002,
            "sigma": 64.0, "augmented_memory": True, "augmentation_rounds": 10,
            "selective_memory_purge": True,
        },
        "experience_replay": {"memory_size": 50, "sample_size": 5, "smiles": []},
        "diversity_filter": {"name": "IdenticalMurckoScaffold", "bucket_size": 10},
        "hallucinated_memory": {"execute_hallucinated_memory": False},
        "beam_enumeration": {"execute_beam_enumeration": False},
    },
    "running_mode": "goal_directed_generation", "model_architecture": "mamba", "device": "cuda",
    "seed": 7,
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def of(*changes):
        """With values at paths of keys, such as ("oracle", "budget", 5)."""
        given = copy.deepcopy(SATURN)
        for *keys, last, value in changes:
            part = given
            for key in keys:
                part = part[key]
            part[last] = value
        (tmp_path / "saturn.json").write_text("\ufeff" + json.dumps(given))
        return translate(tmp_path / "saturn.json")

    return of


def test_the_keys_of_the_search(read):
    config = Config(**read().values)
    assert (config.method, config.batch, config.lr, config.sigma) == ("reinvent", 32, 2e-4, 64)
    assert (config.budget, config.memory, config.replay, config.seed) == (1000, 50, 5, 7)
    assert (config.augmentations, config.purge) == (10, "zero")


def test_the_reward_is_theirs(read):
    """Written anew from reward_aggregator.py and reward_shaping_function.py."""
    config = Config(**read().values)
    smiles = ["CC(=O)Nc1ccc(O)cc1", "c1ccc2[nH]ccc2c1", "CCN(CC)CCNS(=O)(=O)c1ccc2ncccc2c1"]
    scores = Scoring(config.components, config.aggregation)(smiles)
    tpsa, weight = scores.raw["tpsa"], scores.raw["weight"]
    shaped = [
        1 / (1 + 10 ** (10 * 0.15 * (tpsa - (75 + 350) / 2) / (75 - 350))),
        1 / (1 + 10 ** (-200 / 500 * (weight - 0))) - 1 / (1 + 10 ** (-250 / 500 * (weight - 350))),
        (scores.raw["rings"] >= 2) & (scores.raw["rings"] <= 5),
        scores.raw["alert"],
    ]
    weights = np.array([1, 2, 3, 1])
    product = np.prod([s ** (w / weights.sum()) for s, w in zip(shaped, weights)], axis=0)  # noqa: B905
    # The band of the double sigmoid is wide: both forms are 1 in it to 1e-12.
    np.testing.assert_allclose(scores.rewards, product, atol=1e-6)
    assert 0 < scores.rewards[2] < 1
    assert scores.rewards[0] == 0  # one ring, and an amide among the alerts


def test_a_similarity_is_theirs(read):
    """Their defaults: radius 3, counts and features."""
    specific = {"reference_smiles": ["CCO"], "use_features": False}
    made = read(("oracle", "components", [component("tanimoto_similarity", specific=specific)]))
    (ours,) = Config(**made.values).components
    assert (ours.smiles, ours.radius, ours.counts, ours.features) == (["CCO"], 3, True, False)


def test_a_bucket_pays_as_often(read):
    """Saturn's is full when it has counted more than bucket_size."""
    config = Config(
        **read(("goal_directed_generation", "diversity_filter", "bucket_size", 3)).values
    )
    ours, paid = DiversityFilter(config), []
    for history in range(6):
        paid.append((bool(ours.penalise(np.ones(1), ["a"])[0]), not history > 3))
        ours.add(["a"], [1.0])
    assert all(one == other for one, other in paid)
    assert sum(one for one, _ in paid) == 4


def test_the_words_that_mean_something_else_are_explained(read):
    told = dict(read().told)
    assert "geometric mean" in told["aggregator = product"]
    assert "more than bucket_size" in told["bucket_size = 10"]
    assert "subtracts" in told["components[1] mw: double_sigmoid"]


@pytest.mark.parametrize(
    ("change", "key", "ours", "value"),
    [
        (("augmented_memory", False), "augmentations", 0, "none"),
        (("selective_memory_purge", False), "augmentations", 10, "none"),
    ],
)
def test_what_is_switched_off(read, change, key, ours, value):
    made = read(("goal_directed_generation", "reinforcement_learning", *change))
    assert (made.values[key], made.values["purge"]) == (ours, value)


LOST = [
    (("oracle", "aggregator", "sum"), "aggregator = sum"),
    (("oracle", "allow_oracle_repeats", True), "allow_oracle_repeats"),
    (("oracle", "budgets", 3), "oracle.budgets"),
    (
        ("oracle", "components", 0, "preliminary_check", True),
        "components[0] tpsa: preliminary_check",
    ),
    (("oracle", "components", 0, "specific_parameters", {"a": 1}), "components[0] tpsa.a"),
    (("oracle", "components", 0, component("gnina")), "components[0] gnina"),
    (("oracle", "components", 0, component("homo")), "components[0] homo"),
    (
        ("goal_directed_generation", "beam_enumeration", "execute_beam_enumeration", True),
        "beam_enumeration",
    ),
    (
        ("goal_directed_generation", "hallucinated_memory", "execute_hallucinated_memory", True),
        "hallucinated_memory",
    ),
    (("goal_directed_generation", "new", 1), "goal_directed_generation.new"),
    (("new", 1), "new"),
]


@pytest.mark.parametrize(("change", "key"), LOST, ids=lambda value: value[-1] if value else None)
def test_what_cannot_be_translated_is_named(read, change, key):
    usual = {name for name, _ in read().lost}
    assert usual == {"prior = x.prior", "agent = x.prior"}  # pickles
    made = read(change)
    assert {name for name, _ in made.lost} - usual == {key}
    assert all(why for _, why in made.lost)
    assert key in made.toml()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("running_mode", "scoring"), "running_mode is 'scoring'"),
        (("oracle", 3), "not a configuration of Saturn"),
        (("oracle", "components", [{}]), r"components\[0\]: the key 'name' is missing"),
        (("oracle", "components", [component("qed", weight="heavy")]), r"components\[0\].*heavy"),
        (("run_type", "reinforcement_learning"), "a key of REINVENT, .* nothing of version 3"),
        (("oracle", "components", []), "nothing of the reward"),
        (("oracle", "components", [component("gnina")]), "nothing of the reward.*gnina"),
        (("oracle", "components", [component("qed", "cubic")]), "cubic"),
    ],
)
def test_what_is_no_configuration_is_refused(read, change, says):
    with pytest.raises(InvalidInput, match=says):
        read(change)


def test_what_is_refused_here_names_its_key(read):
    with pytest.raises(ConfigError, match="translated, batch = 1"):
        read(("goal_directed_generation", "reinforcement_learning", "batch_size", 1))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (component("tpsa"), "'tpsa' are not in"),
        (component("smarts_alerts", specific={"smarts": ["[C"]}), "is not a SMARTS"),
        (component("tanimoto_similarity", specific={"reference_smiles": ["xx"]}), "'xx' is not a"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_component_that_is_refused_here_costs_no_other(read, bad, says):
    made = read(("oracle", "components", [component("qed"), bad]))
    assert [one["kind"] for one in made.values["components"]] == ["qed"]
    assert says in dict(made.lost)[f"components[1] {bad['name']}"]


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "[" * 10**5, "\0"])
def test_files_that_are_something_else(text, tmp_path):
    (tmp_path / "saturn.json").write_text(text)
    with pytest.raises(InvalidInput, match="not a configuration of Saturn"):
        translate(tmp_path / "saturn.json")


def test_the_file_that_is_written_says_the_same(read, tmp_path, capsys):
    made, out = read(), tmp_path / "mine.toml"
    assert main(["molecules", "translate", str(tmp_path / "saturn.json"), "-o", str(out)]) == 0
    assert Config.load(out) == Config(**made.values)
    told = capsys.readouterr()
    assert "prod s^(w / sum w)" in told.out
    assert "NOT TRANSLATED: prior = x.prior: a pickle" in told.err
    words = ["molecules", "translate", str(tmp_path / "saturn.json"), "-o", str(tmp_path / "again")]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["out"] == str(tmp_path / "again")
    assert found["translated"] == [list(pair) for pair in made.told]
    assert found["lost"] == [list(pair) for pair in made.lost]
    assert main(["molecules", "translate", str(tmp_path / "saturn.json"), "-o", str(out)]) == 1
