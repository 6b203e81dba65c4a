"""p^(outcome) of molecules, by hand and against core."""

import math

import numpy as np
import pytest
import torch

from ipsrl.core.estimators import Likelihood
from ipsrl.core.probability import group_frequency, kernel_frequency
from ipsrl.errors import ConfigError, IpsrlError, RunError
from ipsrl.molecules import Config
from ipsrl.molecules.config import OUTCOMES
from ipsrl.molecules.molecule import similarities
from ipsrl.molecules.search.outcomes import OutcomeProbability

# Toluene, phenol: one scaffold; pyridine with them: one generic scaffold; ethanol: none.
BATCH = ["Cc1ccccc1", "Oc1ccccc1", "c1ccncc1", "CCO", None, "CCO", "CCO", "Cc1ccccc1"]
TOKENS = torch.zeros(8, 1, dtype=torch.int64)


def made(outcome="scaffold", estimator="group", log_p=None, **options) -> OutcomeProbability:
    config = Config(outcome=outcome, estimator=estimator, **options)
    return OutcomeProbability(
        config, lambda ids: np.full(len(ids), -1.0) if log_p is None else log_p
    )


def shown(*args, **kwargs) -> OutcomeProbability:
    probability = made(*args, **kwargs)
    probability.show(BATCH, TOKENS, np.full(8, -1.0))
    return probability


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("smiles", [2, 1, 1, 3]),
        ("scaffold", [3, 3, 1, 3]),
        ("generic-scaffold", [4, 4, 4, 3]),
    ],
)
def test_shares_by_hand(outcome, expected):
    p = shown(outcome)(BATCH[:4], TOKENS[:4])
    assert p.tolist() == [count / 8 for count in expected]  # what is not a molecule counts in G


def test_isomers_are_one_outcome_unless_scaffolds_keep_their_marks():
    isomers = ["C(=C/C1CC1)\\C1CC1", "C(=C\\C1CC1)\\C1CC1"]
    for outcome, stereo, distinct in (
        ("scaffold", False, 1),
        ("scaffold", True, 2),
        ("generic-scaffold", True, 1),
        ("smiles", False, 2),
    ):
        ids = made(outcome, scaffold_stereo=stereo).ids(isomers)
        assert len(set(ids.tolist())) == distinct


def test_the_batch_itself_has_the_group_frequency():
    probability = shown()
    named = [i for i, text in enumerate(BATCH) if text is not None]
    ours = probability([BATCH[i] for i in named], TOKENS[named])
    np.testing.assert_allclose(ours, group_frequency(probability.ids(BATCH))[named], rtol=1e-12)


def test_a_molecule_that_was_not_drawn_was_seen_once():
    assert shown()(["C1CCCCC1"], TOKENS[:1]).tolist() == [1 / 8]


def test_only_the_last_batch_counts_in_a_group():
    probability = shown()
    probability.show(["C1CC1"] * 8, TOKENS, np.full(8, -1.0))
    assert probability(["C1CC1", "CCO"], TOKENS[:2]).tolist() == [1, 1 / 8]


def test_replay_by_hand():
    """Weights of the older batch: pi_now / pi_then = e^{-1 - (-2)} = e; of the newest: 1."""
    probability = made(estimator="replay", replay_batches=2)
    probability.show(["C1CC1"] * 4, TOKENS[:4], np.full(4, -7.0))  # forgotten
    probability.show(["C1CC1", "CCO", "CCO", "CCO"], TOKENS[:4], np.full(4, -2.0))
    probability.show(["C1CC1", "C1CC1", "CCO", None], TOKENS[:4], np.full(4, -9.0))
    p = probability(["C1CC1", "CCO"], TOKENS[:2])
    total = 4 * math.e + 4
    np.testing.assert_allclose(p, [(math.e + 2) / total, (3 * math.e + 1) / total])


def test_replay_truncates_weights():
    probability = made(estimator="replay", replay_batches=2)
    probability.show(["C1CC1"] * 4, TOKENS[:4], np.full(4, -99.0))  # e^98 at most 10
    probability.show(["CCO"] * 4, TOKENS[:4], np.full(4, -1.0))
    assert probability(["CCO"], TOKENS[:1]) == pytest.approx(4 / 44)


def test_likelihood_is_the_probability_of_the_string():
    log_p = np.array([-1.0, -30.0, -90.0])
    p = shown("smiles", "likelihood", log_p)(["CCO", "CO", "C"], TOKENS[:3])
    np.testing.assert_allclose(p, np.exp([-1.0, -30.0, -40.0]))  # core's least log p


def test_kernel_is_the_mean_similarity():
    batch = [text for text in BATCH if text]
    probability = made("similarity", "kernel")
    probability.show(batch, TOKENS[: len(batch)], np.zeros(len(batch)))
    expected = kernel_frequency(similarities(batch, batch))
    np.testing.assert_allclose(probability(batch, TOKENS[: len(batch)]), expected)
    assert probability(["[Xe]"], TOKENS[:1]) == [1 / 7]  # like none: seen once


def test_another_estimator_has_the_evidence_that_it_needs():
    """Likelihood by another name; what is wrong has p^ = 1."""

    class Other:
        needs = ("log_pf", "similarity")

        def init(self, group):
            return ()

        def __call__(self, group, state):
            assert group.similarity.shape == (3, 3)
            return Likelihood()(group, state)

    probability = shown("smiles", log_p=np.array([-1.0, -2.0, -3.0]))
    probability.estimator = Other()
    p = probability(["CCO", "CO", "C"], TOKENS[:3], np.array([True, False, True]))
    np.testing.assert_allclose(p, [np.exp(-1), 1, np.exp(-3)])


def test_no_molecules_no_probabilities():
    assert shown()([], TOKENS[:0]).shape == (0,)


# --- an outcome of one's own ----------------------------------------------------------------------

MINE = """
def rings(smiles):
    return [None if text == "CCO" else text.count("1") // 2 for text in smiles]

def short(smiles):
    return []

def broken(smiles):
    return [1 // (text == "CCO") for text in smiles]

def numbers(smiles):
    return [0.5 for text in smiles]
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return lambda name: f"{tmp_path}/mine.py:{name}"


def test_an_outcome_of_ones_own(mine):
    """Four of eight have one ring, and what has no outcome keeps its reward."""
    p = shown(mine("rings"))(["Cc1ccccc1", "CCO", "C"], TOKENS[:3])
    assert p.tolist() == [4 / 8, 1, 1 / 8]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", "0 outcomes for 1 molecules"),
        ("numbers", "has type .float."),
        ("nothing", "has no 'nothing'"),
    ],
)
def test_a_function_that_cannot_answer_is_refused_at_once(mine, name, message):
    with pytest.raises(IpsrlError, match=message):
        made(mine(name))


def test_a_function_that_fails_later_is_named(mine):
    probability = made(mine("broken"))
    with pytest.raises(RunError, match="mine.py:broken' could not be named .*ZeroDivisionError"):
        probability.ids(["CCO", "C"])


def test_every_named_outcome_has_a_key():
    for outcome in OUTCOMES:
        made(outcome, "kernel" if outcome == "similarity" else "group")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outcome": "scafold"}, "'scafold' is not an outcome. Name one of smiles, scaffold"),
        ({"outcome": "similarity"}, "belong together"),
        ({"estimator": "kernel"}, "belong together"),
        ({"estimator": "likelihood"}, "Set outcome = smiles"),
        ({"replay_batches": 9}, "no effect"),
        ({"method": "grpo", "outcome": "smiles"}, "outcome has no effect with method grpo"),
        ({"method": "reinvent", "kl": 0.1}, "kl has no effect with method reinvent"),
        ({"transform": "log"}, "an invalid SMILES has reward 0, which has no logarithm"),
        ({"memory": 0}, "leaves nothing to replay"),
        (
            {"memory": 0, "replay": 0, "augmentations": 0, "inception": "x.smi"},
            "inception has no effect with memory = 0",
        ),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        Config(**options)
