"""A model of scikit-learn predicts what it predicted where it was trained, and runs no code."""

import sys

import numpy as np
import onnx
import pytest
import skops.io
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from skl2onnx import to_onnx
from sklearn import cluster, ensemble, neural_network, preprocessing, svm
from sklearn import linear_model as linear
from sklearn.pipeline import make_pipeline

from ipsrl.errors import ConfigError, MissingExtra
from ipsrl.molecules import ComponentConfig, Config, QsarConfig, Scoring, train
from ipsrl.molecules.component import Failure
from ipsrl.molecules.identity import files
from ipsrl.molecules.molecule import Fingerprint, fingerprint_rows
from ipsrl.molecules.scoring.build import build

BITS, TREE = 64, "sklearn.tree._tree.Tree"
TRAINED = ["CCO", "CCN", "c1ccccc1", "CC(=O)O", "CCCCCC", "C1CCNCC1", "Oc1ccccc1", "CC#N"]
NEW = ["CCCO", "c1ccncc1", "CC(=O)NC"]


def fingerprints(smiles, *, counts=False, bits=BITS):
    """Bit by bit, with RDKit's other functions."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=bits)
    rows = []
    for text in smiles:
        molecule = Chem.MolFromSmiles(text)
        if counts:
            found = generator.GetCountFingerprint(molecule)
        else:
            found = generator.GetFingerprint(molecule)
        rows.append([found[i] for i in range(bits)])
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize("counts", [False, True])
def test_the_rows_are_the_fingerprints(counts):
    rows = fingerprint_rows(TRAINED, Fingerprint(2, counts), BITS)
    np.testing.assert_array_equal(rows, fingerprints(TRAINED, counts=counts))
    assert rows.dtype == np.float32
    assert (rows.max() > 1) == counts


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "a.pkl"}, "A pickle runs code.*skops.io.dump"),
        ({"model": "a.joblib"}, "neither a .skops nor an .onnx file"),
        ({"model": "a.onnx", "trusted": [TREE]}, "trusted has no effect"),
    ],
)
def test_what_is_refused_without_reading(options, says):
    with pytest.raises(ConfigError, match=says):
        QsarConfig(**options)


@pytest.mark.parametrize(
    ("suffix", "library", "module"),
    [(".skops", "skops", "skops.io"), (".onnx", "onnxruntime", "onnxruntime")],
)
def test_without_the_library_nothing_is_begun(
    suffix, library, module, config, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / f"a{suffix}").write_bytes(b"")
    part = ComponentConfig(kind="qsar", qsar={"model": str(tmp_path / f"a{suffix}")})
    with pytest.raises(MissingExtra, match=rf"'{library}' .*pip install \"ipsrl\[qsar\]\""):
        train(config(components=[part]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- with the libraries ---------------------------------------------------------------------------


@pytest.fixture
def targets():
    return np.array([0.1, 0.2, 0.9, 0.4, 0.3, 0.6, 0.8, 0.5])


@pytest.fixture
def made(tmp_path):
    """The file of a model that was trained on the molecules, and the model."""

    def of(model, targets, kind="skops", counts=False):
        path = tmp_path / f"model.{kind}"
        rows = fingerprints(TRAINED, counts=counts)
        model.fit(rows, targets)
        if kind == "skops":
            skops.io.dump(model, path)
        else:
            path.write_bytes(to_onnx(model, rows[:1]).SerializeToString())
        return str(path)

    return of


def component(path, **options):
    qsar = {"model": path, "bits": BITS} | options
    return ComponentConfig(kind="qsar", qsar=qsar)


KINDS = pytest.mark.parametrize("kind", ["skops", "onnx"])
# ONNX sums trees in float32, scikit-learn in float64.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@KINDS
@pytest.mark.parametrize("counts", [False, True])
def test_a_regression_predicts_the_same(kind, counts, made, targets):
    model = ensemble.RandomForestRegressor(7, random_state=0)
    path = made(model, targets, kind, counts)
    options = {"trusted": [TREE]} if kind == "skops" else {}
    found = build(component(path, counts=counts, **options))(NEW)
    np.testing.assert_allclose(found, model.predict(fingerprints(NEW, counts=counts)), **CLOSE)
    assert len(set(found)) > 1


@KINDS
def test_of_two_classes_the_second_is_told(kind, made, targets):
    model = linear.LogisticRegression()
    path = made(model, (targets > 0.45).astype(int), kind)
    found = build(component(path))(NEW)
    np.testing.assert_allclose(found, model.predict_proba(fingerprints(NEW))[:, 1], **CLOSE)


@KINDS
def test_it_is_a_component_of_a_reward(kind, made, targets):
    path = made(linear.LogisticRegression(), (targets > 0.45).astype(int), kind)
    config = Config(components=[component(path), ComponentConfig(kind="qed")])
    scores = Scoring(config.components, config.aggregation)(NEW)
    expected = np.sqrt(scores.raw["qsar"] * scores.raw["qed"])
    np.testing.assert_allclose(scores.rewards, expected, rtol=1e-12)


def test_types_that_nobody_trusts_are_named(made, targets):
    path = made(ensemble.RandomForestRegressor(3), targets)
    with pytest.raises(ConfigError, match=rf'trusted = \["{TREE}"\]'):
        build(component(path))
    with pytest.raises(ConfigError, match="does not know for harmless"):
        build(component(path, trusted=["sklearn.tree._tree.Other"]))


class Own:
    """A type of somebody, which runs code when it is made."""

    made = 0

    def __setstate__(self, state):
        Own.made += 1

    def fit(self, rows, targets):
        self.rows = rows

    def predict(self, rows):
        return rows[:, 0]


def test_code_of_a_file_does_not_run(made, targets):
    path = made(Own(), targets)
    with pytest.raises(ConfigError, match=r"Own"):
        build(component(path))
    assert Own.made == 0


@KINDS
def test_three_classes_are_refused(kind, made, targets):
    path = made(linear.LogisticRegression(), np.digitize(targets, [0.3, 0.6]), kind)
    with pytest.raises(ConfigError, match=r"shape \[2, 3\].*one number, or the prob.* two classes"):
        build(component(path))


LABELS, MARGINS = "labels without probabilities", r"no probabilities|shape \[2, 1\]"
NO_MODEL = "neither a regression nor a classifier"


@pytest.mark.parametrize(
    ("kind", "model", "says"),
    [
        ("skops", svm.SVC(), LABELS),
        ("skops", make_pipeline(preprocessing.StandardScaler(), linear.RidgeClassifier()), LABELS),
        ("onnx", linear.SGDClassifier(), MARGINS),
        ("onnx", linear.RidgeClassifier(), MARGINS),
        ("skops", cluster.KMeans(2), NO_MODEL),
        ("onnx", cluster.KMeans(2), MARGINS),  # its distances are two columns
        ("skops", preprocessing.StandardScaler(), NO_MODEL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_predicts_neither_a_value_nor_a_probability_is_refused(
    kind, model, says, made, targets
):
    path = made(model, (targets > 0.45).astype(int), kind)
    with pytest.raises(ConfigError, match=says):
        build(component(path))


@KINDS
def test_two_values_are_not_two_classes(kind, made, targets):
    path = made(linear.Ridge(), np.stack([targets, targets], 1), kind)
    with pytest.raises(ConfigError, match=r"shape \[2, 2\]"):
        build(component(path))


def test_two_labels_at_once_are_not_two_classes(made, targets):
    model = neural_network.MLPClassifier(2, solver="lbfgs", random_state=0)
    path = made(model, np.stack([targets > 0.3, targets > 0.6], 1))
    with pytest.raises(ConfigError, match="no probabilities, which would add up to 1"):
        build(component(path))


def test_a_file_without_a_model(tmp_path):
    skops.io.dump({"a": 1}, tmp_path / "a.skops")
    with pytest.raises(ConfigError, match=f"holds a dict, which is {NO_MODEL}"):
        build(component(str(tmp_path / "a.skops")))


def test_an_onnx_file_with_labels_alone(made, targets):
    path = made(linear.LogisticRegression(), (targets > 0.45).astype(int), "onnx")
    graph = onnx.load(path)
    del graph.graph.output[1:]
    onnx.save(graph, path)
    with pytest.raises(ConfigError, match=LABELS):
        build(component(path))


@KINDS
def test_another_fingerprint_is_refused(kind, made, targets):
    path = made(linear.Ridge(), targets, kind)
    with pytest.raises(ConfigError, match="fingerprints of 128 bits.*as it was trained with"):
        build(component(path, bits=128))


@KINDS
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04N."])
def test_a_file_that_is_not_a_model(kind, content, tmp_path):
    (tmp_path / f"model.{kind}").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"model.{kind} cannot be loaded"):
        build(component(str(tmp_path / f"model.{kind}")))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"a\.skops cannot be loaded"):
        build(component(str(tmp_path / "a.skops")))


def test_a_prediction_that_is_not_a_number_is_a_failure(made, targets):
    model = linear.Ridge()
    path = made(model, targets)
    built = build(component(path))
    built.model = built.model._replace(predict=lambda rows: np.full(len(rows), np.nan))
    assert all(isinstance(value, Failure) for value in built(NEW))
    assert built([]) == []


def test_the_identity_is_that_of_the_model(made, targets):
    path = made(linear.Ridge(), targets)
    first = component(path)
    assert list(map(str, files(first).values())) == [path]
    one, same = build(first).identity, build(first).identity
    made(linear.Ridge(alpha=7.0), targets)
    assert one == same != build(first).identity
    assert "scikit-learn" in one


def test_a_search_with_a_model(made, targets, config, tmp_path):
    path = made(linear.LogisticRegression(), (targets > 0.45).astype(int))
    result = train(config(components=[component(path)]), tmp_path / "run")
    assert result.calls == 60
    assert result.failed == 0
    assert 0 < result.best < 1
