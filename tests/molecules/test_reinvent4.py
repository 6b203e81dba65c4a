"""A configuration of REINVENT4 means the same here, and what cannot be said is named."""

import json
import tomllib

import numpy as np
import pytest

from ipsrl.cli import main
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.molecules import Config, Scoring
from ipsrl.molecules.reinvent4 import translate
from ipsrl.molecules.search.diversity import DiversityFilter

ALERTS = """
[[component]]
[component.custom_alerts]
[[component.custom_alerts.endpoint]]
name = "Unwanted SMARTS"
weight = 0.79
params.smarts = ["[#8][#8]", "C#N"]
"""
SUBSTRUCTURE = """
[[component]]
[component.MatchingSubstructure]
[[component.MatchingSubstructure.endpoint]]
params.smarts = "c1ccccc1"
params.use_chirality = false
"""
PROPERTIES = """
[[component]]
[component.QED]
[[component.QED.endpoint]]
name = "QED"
weight = 0.5
[[component]]
[component.MolecularWeight]
[[component.MolecularWeight.endpoint]]
name = "Molecular weight"
weight = 0.3
transform.type = "double_sigmoid"
transform.high = 180.0
transform.low = 120.0
transform.coef_div = 100.0
transform.coef_si = 2.0
transform.coef_se = 3.0
[[component]]
[component.num-rings]
[[component.num-rings.endpoint]]
name = "Rings"
weight = 0.2
transform.type = "sigmoid"
transform.high = 0
transform.low = 2
transform.k = 0.1
"""
SEARCH = """
run_type = "staged_learning"
device = "cuda:0"
seed = 7
[parameters]
prior_file = "priors/reinvent.prior"
agent_file = "priors/reinvent.prior"
summary_csv_prefix = "x"
batch_size = 32
[learning_strategy]
type = "dap"
sigma = 64
rate = 0.0002
[diversity_filter]
type = "IdenticalTopologicalScaffold"
bucket_size = 3
minscore = 0.5
[inception]
smiles_file = "known.smi"
memory_size = 50
sample_size = 5
"""
STAGE = """
[[stage]]
chkpt_file = "one.chkpt"
max_score = 0.6
min_steps = 5
max_steps = 40
[stage.scoring]
type = "geometric_mean"
filename = "one.toml"
filetype = "toml"
"""
SMILES = ["CC(=O)Nc1ccc(O)cc1", "N#Cc1ccccc1", "CCN(CC)CCO", "C1CCCCC1C1CCCCC1", "COO"]


@pytest.fixture
def read(tmp_path):
    def of(text):
        (tmp_path / "theirs.toml").write_text(text)
        return translate(tmp_path / "theirs.toml")

    return of


def rewards(made):
    config = Config(**made.values)
    return Scoring(config.components, config.aggregation)(SMILES)


def stable_sigmoid(x, k):
    return 1 / (1 + np.exp(-k * np.log(10) * x))


@pytest.mark.parametrize("factors", ["", ALERTS, SUBSTRUCTURE, ALERTS + SUBSTRUCTURE])
def test_the_reward_is_theirs(read, factors):
    """Written anew from means.py, sigmoids.py, double_sigmoid.py and scorer.py."""
    scores = rewards(read(factors + PROPERTIES))
    weight, rings = scores.raw["Molecular_weight"], scores.raw["Rings"]
    left = stable_sigmoid(weight - 120, 2 / 100)
    right = 1 - stable_sigmoid(weight - 180, 3 / 100)
    shaped = [
        scores.raw["QED"],
        np.where(weight < 150, left, right),
        stable_sigmoid(rings - 1, 10 * 0.1 / (0 - 2)),  # falls, for low is above high
    ]
    shares = np.array([0.5, 0.3, 0.2])
    expected = np.prod([s ** (w / shares.sum()) for s, w in zip(shaped, shares, strict=True)], 0)
    if ALERTS in factors:
        assert scores.raw["Unwanted_SMARTS"].tolist() == [1, 0, 1, 1, 0]
        expected = expected * scores.raw["Unwanted_SMARTS"]
    if SUBSTRUCTURE in factors:
        expected = expected * np.array([1, 1, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(scores.rewards, expected, rtol=1e-12)
    assert (scores.rewards[2:4] > 0).all()


TRANSFORMS = [  # of the values 0, 1, 2, 3 rings
    ('type = "step"\ntransform.low = 1\ntransform.high = 2', [0, 1, 1, 0]),
    ('type = "left_step"\ntransform.low = 1', [1, 1, 0, 0]),
    ('type = "right-step"\ntransform.high = 2', [0, 0, 1, 1]),
    ('type = "Reverse_Sigmoid"\ntransform.low = 0\ntransform.high = 2\ntransform.k = 0.2',
     (1 - stable_sigmoid(np.arange(4) - 1.0, 1.0)).tolist()),
    ('type = "double_sigmoid"\ntransform.low = 1\ntransform.high = 2',  # 100, 150 and 150
     [10**-1.5 / (1 + 10**-1.5), 0.5, 0.5, 10**-1.5 / (1 + 10**-1.5)]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TRANSFORMS, ids=lambda value: value[6:14])
def test_a_transform_is_theirs(read, text, expected):
    made = read(f"[[component]]\n[[component.NumRings.endpoint]]\ntransform.{text}\n")
    config = Config(**made.values)
    rings = ["CC", "C1CC1", "C1CC1C1CC1", "C1CC1C1CC1C1CC1"]
    found = Scoring(config.components, config.aggregation)(rings).rewards
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_similarity_is_theirs(read):
    text = """
[[component]]
[component.TanimotoSimilarity.params]
radius = 3
use_counts = true
use_features = false
[[component.TanimotoSimilarity.endpoint]]
name = "to aspirin"
params.smiles = ["CC(=O)OC1=CC=CC=C1C(=O)O"]
"""
    (ours,) = Config(**read(text).values).components
    assert (ours.name, ours.radius, ours.counts, ours.features) == ("to_aspirin", 3, True, False)


def test_a_search_of_one_stage(read, tmp_path):
    (tmp_path / "one.toml").write_text(PROPERTIES)
    (tmp_path / "known.smi").write_text("CCO\n")
    made = read(SEARCH + STAGE)
    config = Config(**made.values)
    assert (config.method, config.batch, config.lr, config.sigma) == ("reinvent", 32, 2e-4, 64)
    assert (config.budget, config.until, config.seed) == (40 * 32, 0.6, 7)
    assert (config.memory, config.replay, config.augmentations) == (50, 5, 0)
    assert (config.filter, config.bucket, config.filter_above) == ("generic-scaffold", 3, 0.5)
    assert {key for key, _ in made.lost} == {
        "prior_file = priors/reinvent.prior",
        "agent_file = priors/reinvent.prior",
    }


def test_a_bucket_pays_as_often(read, tmp_path):
    """Theirs counts a molecule first, and pays it if there are not more than bucket_size."""
    (tmp_path / "one.toml").write_text(PROPERTIES)
    ours, paid = DiversityFilter(Config(**read(SEARCH + STAGE).values)), []
    for number in range(1, 6):
        paid.append((bool(ours.penalise(np.ones(1), ["a"])[0]), not number > 3))
        ours.add(["a"], [1.0])
    assert all(one == other for one, other in paid)


def test_stages_are_stages(read, tmp_path):
    (tmp_path / "one.toml").write_text(ALERTS + PROPERTIES)
    (tmp_path / "two.toml").write_text(PROPERTIES)
    made = read(SEARCH + STAGE + STAGE.replace("one", "two").replace("0.6", "0.7"))
    config = Config(**made.values)
    assert [stage.until for stage in config.stages] == [0.6, 0.7]
    assert [len(stage.components) for stage in config.stages] == [4, 3]
    # One aggregation for all: shares of the weights, which add up to 1, in a product.
    assert config.aggregation == "product"
    assert sum(one.weight for one in config.stages[1].components) == pytest.approx(1)
    (tmp_path / "mine.toml").write_text(made.toml())
    values = tomllib.loads((tmp_path / "mine.toml").read_text())
    assert Config(**values) == config


LOST = [
    ('[[component]]\n[[component.DockStream.endpoint]]\nname = "D"\n', "component[3] DockStream"),
    ('[[component]]\n[[component.Qptuna.endpoint]]\nname = "Q"\n', "component[3] Qptuna"),
    ("[[component]]\n[[component.Csp3.endpoint]]\nweight = 1\n", "component[3] Csp3"),
    ('[[component]]\n[[component.pmi.endpoint]]\nparams.property = "a"\n', "component[3] pmi"),
    ('[[component]]\n[[component.TPSA.endpoint]]\ntransform.type = "exponential_decay"\n',
     "component[3] TPSA"),
    ("[[component]]\n[[component.HBondDonors.endpoint]]\nnew = 1\n",
     "component[3] HBondDonors.new"),
    ("[[component]]\n[[component.MatchingSubstructure.endpoint]]\n"
     'params.smarts = "[C@H]"\nparams.use_chirality = true\n',
     "component[3] MatchingSubstructure: use_chirality"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key"), LOST, ids=lambda value: value[-12:])
def test_what_cannot_be_translated_is_named(read, text, key):
    made = read(PROPERTIES + text)
    assert [name for name, _ in made.lost] == [key]
    assert all(why for _, why in made.lost)
    assert f"# Not translated: {key}: " in made.toml()


@pytest.mark.parametrize(
    ("head", "key"),
    [
        ('type = "arithmetic_mean"\n', "scoring.type = arithmetic_mean"),
        ("use_pumas = true\n", "scoring.use_pumas"),
        ("new = 1\n", "scoring.new"),
    ],
)
def test_what_the_whole_loses_is_named(read, head, key):
    assert [name for name, _ in read(head + PROPERTIES).lost] == [key]


def test_two_endpoints_of_one_name_have_columns_of_their_own(read):
    one = '[[component]]\n[[component.QED.endpoint]]\nname = "smiles"\n'
    names = [one["name"] for one in read(2 * one).values["components"]]
    assert names == ["smiles_2", "smiles_3"]


@pytest.mark.parametrize(
    "text",
    ["", "a = [", "\0", "[scoring]\n", "component = 3\n", "[[component]]\nQED = 3\n",
     "[[component]]\n[component.QED]\nendpoint = [1]\n"],
)  # fmt: skip
def test_files_that_are_something_else(text, read):
    with pytest.raises(InvalidInput, match="not a configuration of REINVENT4"):
        read(text)


def test_a_file_that_is_missing_is_named(read):
    with pytest.raises(InvalidInput, match=r"there is no one\.toml beside it"):
        read(SEARCH + STAGE)


def test_nothing_of_the_reward(read):
    with pytest.raises(InvalidInput, match="nothing of the reward.*pmi"):
        read("[[component]]\n[[component.pmi.endpoint]]\nweight = 1\n")


def test_what_is_refused_here_names_its_key(read):
    with pytest.raises(ConfigError, match="translated, .*'sa' are not in"):
        read("[[component]]\n[[component.SAScore.endpoint]]\nweight = 1\n")


def test_the_file_that_is_written_says_the_same(read, tmp_path, capsys):
    made, out = read(ALERTS + PROPERTIES), tmp_path / "mine.toml"
    assert main(["molecules", "translate", str(tmp_path / "theirs.toml"), "-o", str(out)]) == 0
    assert Config.load(out) == Config(**made.values)
    told = capsys.readouterr().out
    assert "of weights that add up to 1, times filters and penalties" in told
    assert json.dumps("[#8][#8]") in told
