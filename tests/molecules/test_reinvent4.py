"""A configuration of REINVENT4 means the same here, and what cannot be said is named."""

import json
import re
import tomllib

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from ipsrl.cli import main
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.molecules import Config, Scoring
from ipsrl.molecules.molecule import generic_scaffold
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
        (tmp_path / "theirs.toml").write_text("\ufeff" + text)
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
        "stage[0].min_steps = 5",
    }


def test_what_a_filter_counts_otherwise_is_told(read, tmp_path):
    """RDKit's scaffolds, which are theirs, keep the oxygen of a carbonyl in a ring."""
    (tmp_path / "one.toml").write_text(PROPERTIES)
    told = dict(read(SEARCH + STAGE).told)["diversity_filter.type = IdenticalTopologicalScaffold"]
    assert "drawn again scores 0 there" in told
    assert "=O of a ring or link counts as an atom" in told
    ketone = MurckoScaffold.GetScaffoldForMol(Chem.MolFromSmiles("O=C1CCCCC1"))
    assert Chem.MolToSmiles(MurckoScaffold.MakeScaffoldGeneric(ketone)) == "CC1CCCCC1"
    assert generic_scaffold("O=C1CCCCC1") == "C1CCCCC1"


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
    made = read(head + PROPERTIES)
    assert [name for name, _ in made.lost] == [key]
    assert ("scoring.type" in dict(made.told)) != key.startswith("scoring.type")


FILTER = '[stage.diversity_filter]\ntype = "IdenticalMurckoScaffold"\nbucket_size = 7\n'
GLOBAL = SEARCH[SEARCH.index("[diversity_filter]") : SEARCH.index("[inception]")]


@pytest.mark.parametrize(
    ("stages", "search", "bucket", "lost"),
    [
        ([STAGE + FILTER], SEARCH, 3, []),  # that of the search counts in REINVENT4 too
        ([STAGE + FILTER], SEARCH.replace(GLOBAL, ""), 7, []),
        ([STAGE + FILTER] * 2, SEARCH.replace(GLOBAL, ""), 7, []),
        ([STAGE, STAGE + FILTER], SEARCH.replace(GLOBAL, ""), 10, ["stage[1].diversity_filter"]),
    ],
)
def test_a_filter_of_a_stage(read, tmp_path, stages, search, bucket, lost):
    (tmp_path / "one.toml").write_text(PROPERTIES)
    made = read(search + "".join(stages))
    assert Config(**made.values).bucket == bucket
    assert [key for key, _ in made.lost if "diversity_filter" in key] == lost
    memories = [key for key, _ in made.lost if "purge_memories" in key]
    assert len(memories) == (len(stages) > 1)


def test_the_scaffolds_of_libinvent_are_another_option(read, tmp_path):
    (tmp_path / "one.toml").write_text(PROPERTIES)
    made = read(SEARCH.replace("batch_size", 'smiles_file = "s.smi"\nbatch_size') + STAGE)
    assert "decorate" in dict(made.lost)["parameters.smiles_file = s.smi"]


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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"it has no \[\[stage\]\], \[scoring\] or \[\[component\]\]\)"),
        ('run_type = "sampling"\n', r"it has no \[\[stage\]\]"),
        ('[[components]]\nkind = "qed"\n', "are ipsrl's own"),
        ("[scoring]\n", "scoring has no component"),
        ("[[component]]\n[component.QED]\n", r"component\[0\]: the key 'endpoint' is missing"),
        ('[[component]]\n[[component.QED.endpoint]]\nweight = "heavy"\n',
         r"component\[0\] QED: could not convert .* 'heavy'"),
        ("[[component]]\nQED = 3\n", r"component\[0\]: a table, list, text or number is missing"),
        (SEARCH + STAGE, r"of stage\[0\]\.scoring are in one\.toml, but there is no such file"),
        (SEARCH + STAGE.replace("one.toml", "a.json"), r"are in a\.json, but it is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_without_names_of_python(read, text, says):
    with pytest.raises(InvalidInput, match=says) as refused:
        read(text)
    assert "Error" not in str(refused.value)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"theirs\.toml cannot be read"):
        translate(tmp_path / "theirs.toml")


def test_nothing_of_the_reward(read):
    with pytest.raises(InvalidInput, match="nothing of the reward.*pmi"):
        read("[[component]]\n[[component.pmi.endpoint]]\nweight = 1\n")


def test_what_is_refused_here_names_its_key(read, tmp_path):
    (tmp_path / "one.toml").write_text(PROPERTIES)
    with pytest.raises(ConfigError, match="translated, batch = 1"):
        read((SEARCH + STAGE).replace("batch_size = 32", "batch_size = 1"))


def similarity(references, name="TanimotoDistance"):
    text = f"[component.{name}.params]\nradius = 2\nuse_counts = true\nuse_features = true\n"
    ends = (f"[[component.{name}.endpoint]]\nparams.smiles = {one}\n" for one in references)
    return "[[component]]\n" + text + "".join(ends)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[component]]\n[[component.SAScore.endpoint]]\nweight = 1\n", "Give a transform"),
        (ALERTS.replace("C#N", "[C"), "'\\[C' is not a SMARTS"),
        (similarity(['["xx"]']), "'xx' is not a molecule"),
        ("[[component]]\n[[component.TPSA.endpoint]]\ntransform.type = 'double_sigmoid'\n"
         "transform.low = 3\ntransform.high = 1\n", "low = 3.0 is not below high"),
    ],
)  # fmt: skip
def test_one_component_that_is_refused_here_costs_no_other(read, text, says):
    made = read(text + PROPERTIES)
    ((key, why),) = made.lost
    assert key.startswith("component[0] ")
    assert re.search(says, why)
    assert made.values["components"] == read(PROPERTIES).values["components"]


def test_of_several_references_it_is_said_which_count(read):
    alone = dict(read(similarity(['["CC", "CCO"]'])).told)
    assert "with the first alone" in alone["component[0] TanimotoDistance: smiles"]
    two = dict(read(similarity(['["CC", "CCO"]', '["C"]'])).told)
    assert "of all references" in two["component[0] TanimotoDistance: smiles"]
    assert "component[0] TanimotoDistance endpoint[1]: smiles" not in two


def test_the_file_that_is_written_says_the_same(read, tmp_path, capsys):
    made, out = read(ALERTS + PROPERTIES), tmp_path / "mine.toml"
    assert main(["molecules", "translate", str(tmp_path / "theirs.toml"), "-o", str(out)]) == 0
    assert Config.load(out) == Config(**made.values)
    told = capsys.readouterr().out
    assert "of weights that add up to 1, times filters and penalties" in told
    assert json.dumps("[#8][#8]") in told
