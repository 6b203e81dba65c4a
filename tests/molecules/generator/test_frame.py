"""What is written around a fragment has it, and its log-probabilities are those of the rest."""

import math

import pytest
import torch

from ipsrl.errors import InvalidInput
from ipsrl.molecules import Prior
from ipsrl.molecules.generator.prior import live, padded
from ipsrl.molecules.molecule import canonical

RECURRENT = 1e-5  # float32, as of any prior
FRAGMENTS = ["CC(=O)N*", "c1ccc(*)cc1", "c1cc2c(cc1*)CCN2*", "O=S(=O)(N*)c1ccc([*:1])cc1"]


@pytest.fixture(scope="module")
def prior(small_prior):
    return Prior.load(small_prior)


@pytest.fixture(scope="module")
def zinc():
    return Prior.load("zinc")


def tokens(prior: Prior, texts: str) -> list[int]:
    """The numbers of tokens, separated by blanks."""
    return [prior.vocabulary.encode(text)[1] for text in texts.split()]


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_every_molecule_contains_the_fragment(zinc, fragment):
    decorated = zinc.decorating(fragment)
    drawn = decorated.sample(64, decorated.generator(0))
    molecules = [canonical(text) for text in decorated.decode(drawn.ids_NT)]
    valid = [text for text in molecules if text]
    assert len(valid) > 48
    assert len(set(valid)) > 32
    assert all(decorated.frame.fragment.is_in(text) for text in valid)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_recurrent_is_parallel(zinc, fragment):
    """What sampling says of each token is what an update says of it; 0 for what is given."""
    decorated = zinc.decorating(fragment)
    drawn = decorated.sample(16, decorated.generator(1))
    with torch.no_grad():
        again = decorated.log_probs(drawn.ids_NT)
    assert (drawn.log_probs_NT - again).abs().max() < RECURRENT
    chosen = decorated.chosen(drawn.ids_NT)
    assert (again[~chosen] == 0).all()
    assert (again[chosen] <= 0).all()
    start = decorated.vocabulary.encode(fragment.partition("*")[0])[1:-1]
    given = min(len(start), 4)  # but for the bracket atom of the last
    assert (drawn.ids_NT[:, :given] == torch.tensor(start[:given])).all()
    assert not chosen[:, :given].any()


def test_log_probabilities_by_hand(prior):
    """CC(*)O, written CC(NC)O: the model chose N, C and the bracket, and END is given."""
    ids = prior.encode(["CC(NC)O"])
    with torch.no_grad():
        start = torch.ones(1, 1, dtype=torch.int64)
        logits = prior.model(input_ids=torch.cat([start, ids[:, :-1]], 1)).logits[0]
    logits = logits[:, : len(prior.vocabulary)]
    starts = [i for i, t in enumerate(prior.vocabulary.tokens) if t not in "$().=#123456789"]
    goes_on = [i for i, token in enumerate(prior.vocabulary.tokens) if token != "$"]
    n, c, closing = tokens(prior, "N C )")
    expected = [
        logits[3, n] - logits[3, starts].logsumexp(0),
        logits[4, c] - logits[4, goes_on].logsumexp(0),
        logits[5, closing] - logits[5, goes_on].logsumexp(0),
    ]
    decorated = prior.decorating("CC(*)O")
    found = decorated.log_probs(ids)[0].detach()
    assert decorated.chosen(ids)[0].int().tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    # Sums over the vocabulary in another order.
    torch.testing.assert_close(found[3:6], torch.stack(expected), rtol=1e-5, atol=1e-5)
    assert decorated.log_likelihood(["CC(NC)O"])[0] == pytest.approx(sum(expected).item(), rel=1e-5)


def test_probabilities_of_what_may_be_written_add_up(prior):
    """Any two tokens after CC( that can be written, before which nothing is chosen."""
    decorated = prior.decorating("CC(*)O")
    first, second = ((~decorated.frame.forbidden_LV[i]).nonzero()[:, 0].tolist() for i in (3, 4))
    assert len(first) < len(second) < len(prior.vocabulary)
    pairs = padded([[*tokens(prior, "C C ("), i, j] for i in first for j in second])
    with torch.no_grad():
        total = decorated.log_probs(pairs).sum(1).exp().sum()
    assert abs(total.item() - 1) < 1e-5  # float32 sums of a few hundred probabilities


def test_a_branch_ends_with_its_own_bracket(prior):
    """The frame gives all of CC(C(N)C)O but C(N)C)."""
    decorated = prior.decorating("CC(*)O")
    chosen = decorated.chosen(prior.encode(["CC(C(N)C)O"]))[0].int().tolist()
    assert chosen == [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0]


def test_two_points_on_one_atom(prior):
    decorated = prior.decorating("CC(*)(*)O")
    chosen = decorated.chosen(prior.encode(["CC(N)(CC)O"]))[0].int().tolist()
    assert chosen == [0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0]


def test_the_last_point_goes_on_to_the_end(prior):
    decorated = prior.decorating("CCO*")
    ids = prior.encode(["CCOC(C)N", "CCOC"])
    assert decorated.chosen(ids).int().tolist() == [
        [0, 0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0, 0],
    ]  # fmt: skip
    assert (decorated.chosen(ids) <= live(ids)).all()


def test_what_cannot_be_written(prior):
    """Not the ring that is open, not an aromatic atom in its ring, not the end before the rest."""
    frame = prior.decorating("c1ccc(*)cc1C*").frame
    assert frame is not None
    told = {
        place: {prior.vocabulary.tokens[i] for i in row.nonzero()[:, 0].tolist()}
        for place, row in enumerate(frame.forbidden_LV) if row.any()
    }  # fmt: skip
    aromatic = {token for token in prior.vocabulary.tokens if token.strip("[")[0].islower()}
    never = {"$", "(", ")", "="} | ({"#"} & {*prior.vocabulary.tokens})
    rings = {token for token in prior.vocabulary.tokens if token.isdigit()}
    assert told == {
        6: never | rings | aromatic,  # c 1 c c c ( and then
        7: {"$", "1"},
        12: never | rings,  # c c 1 C and then: what follows carbon may be aromatic
    }
    assert "c" in aromatic


def test_a_prior_without_a_frame_is_as_it_was(prior):
    ids = prior.encode(["CC(NC)O"])
    assert prior.frame is None
    assert (prior.chosen(ids) == live(ids)).all()
    assert prior.decorating("CC(*)O").model is prior.model
    assert math.isfinite(prior.log_likelihood(["CC(NC)O"])[0])


def test_a_fragment_with_needless_brackets_is_told_without(prior):
    with pytest.raises(InvalidInput, match=r"\['\[CH3\]'\], .* Write C\*\."):
        prior.decorating("[CH3]*")


def test_a_token_that_the_prior_lacks_is_named(prior):
    with pytest.raises(InvalidInput, match=r"\[U\].*was not taught"):
        prior.decorating("CC(*)[U]")
