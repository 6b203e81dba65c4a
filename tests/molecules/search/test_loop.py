"""What a step learns from: the batch, the memory, random SMILES of both, and nothing else."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers import steps

from ipsrl.molecules import ComponentConfig, Config, Prior, Scoring, Sequences
from ipsrl.molecules.fragment import Fragment
from ipsrl.molecules.generator.prior import MAX_TOKENS
from ipsrl.molecules.generator.weights import pack
from ipsrl.molecules.molecule import canonical
from ipsrl.molecules.search import loop
from ipsrl.molecules.search.diversity import DiversityFilter
from ipsrl.molecules.search.loop import LOST, Made, Sample, Search, Tally
from ipsrl.molecules.search.memory import Entry
from ipsrl.molecules.search.oracle import Call, Oracle, Status
from ipsrl.molecules.search.result import filter_of, result_of, table_of
from ipsrl.molecules.search.state import state_of

USER = """
def length(smiles):
    return [len(text) / 20 for text in smiles]

def no_bromine(smiles):
    return [0.0 if "Br" in text else len(text) / 20 for text in smiles]

def no_nitrogen(smiles):
    return [float("nan") if "N" in text else len(text) / 20 for text in smiles]
"""

NOTHING = Sample("C(", None, torch.zeros(1), None)  # which is not a molecule


class Update(NamedTuple):
    """What one update was made of, and the memory at that time."""

    texts: list[str]
    signal: list[float]  # of REINVENT: the rewards after the filter
    memory: list[Entry]
    exemplars: list[str]

    @property
    def pairs(self) -> Counter[tuple[str | None, float]]:
        return Counter(zip(map(canonical, self.texts), self.signal, strict=True))


class Followed:
    """A search, and the updates of each of its steps."""

    def __init__(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        scoring = Scoring(config.components, config.aggregation)
        self.search = Search(config, scoring, Prior.load(config.prior))
        self.updates: list[Update] = []
        self.patch, real = monkeypatch, loop.update

        def update(config, agent, prior, optimiser, ids_NT, signal_N, exemplars_ET):
            texts = [text or "" for text in agent.decode(ids_NT)]
            memory = list(self.search.memory.entries)
            exemplars = [] if exemplars_ET is None else agent.decode(exemplars_ET)
            self.updates.append(Update(texts, signal_N.tolist(), memory, exemplars))
            return real(config, agent, prior, optimiser, ids_NT, signal_N, exemplars_ET)

        monkeypatch.setattr(loop, "update", update)

    def step(self, *texts: str) -> list[Update]:
        """One step on these texts, if there are any, and else on what the agent draws."""

        def told(prior, count, generator):
            return Sequences(ids := prior.encode(texts), torch.zeros(ids.shape))

        self.updates.clear()
        with self.patch.context() as patch:
            if texts:
                patch.setattr(Prior, "sample", told)
            self.row = self.search.step()
        return list(self.updates)


@pytest.fixture
def follow(small_prior, tmp_path, monkeypatch):
    (tmp_path / "user.py").write_text(USER)

    def begin(function: str = "length", **options) -> Followed:
        mine = ComponentConfig(kind="function", function=f"{tmp_path}/user.py:{function}")
        ours = {
            "components": [mine], "prior": str(small_prior), "method": "reinvent", "batch": 12,
            "lr": 5e-4, "bucket": 0, "replay": 0, "augmentations": 0, "budget": 200,
        }  # fmt: skip
        return Followed(Config(**ours | options), monkeypatch)

    return begin


# --- the batch ------------------------------------------------------------------------------------

BATCH = ["OCC", "CCO", "CCO", "C(", "NCC"]  # ethanol three times, no molecule, ethylamine


def test_reinvent_learns_a_molecule_once(follow):
    """As it was written first, and nothing that is not a molecule."""
    (update,) = follow().step(*BATCH)
    assert update.texts == ["OCC", "NCC"]
    assert update.signal == [3 / 20, 3 / 20]  # of 3 characters each


def test_a_group_is_all_that_was_drawn(follow):
    (update,) = follow(method="grpo", kl=0.0).step(*BATCH)
    assert update.texts == BATCH
    # Rewards .15, .15, .15, 0, .15: mean .12, deviation .0671, and 1e-4 is added to it.
    # .03 / .0672 = .4465, -.12 / .0672 = -1.7862
    np.testing.assert_allclose(update.signal, [0.4465] * 3 + [-1.7862, 0.4465], atol=1e-4)


@pytest.mark.parametrize("method", ["reinvent", "grpo", "ips-grpo", "flowrl"])
@pytest.mark.parametrize(
    "options", [{"budget": 1}, {"function": "no_nitrogen"}], ids=["left out", "failed"]
)
def test_what_has_no_reward_is_not_learned(follow, method, options):
    """Neither what the budget leaves out, nor what failed: 0 would be a lie."""
    followed = follow(method=method, augmentations=1, **options)
    batch, augmented = followed.step(*BATCH)
    assert batch.texts == (["OCC"] if method == "reinvent" else ["OCC", "CCO", "CCO", "C("])
    assert set(map(canonical, augmented.texts)) == {"CCO"}
    assert [entry.smiles for entry in followed.search.memory.entries] == ["CCO"]


# --- a fragment -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["reinvent", "ips-grpo"])
def test_every_call_contains_the_fragment(follow, method):
    search = follow(method=method, decorate="c1ccc(*)cc1").search
    fragment = Fragment("c1ccc(*)cc1")
    for _ in range(3):
        search.step()
    calls = search.oracle.calls
    assert len(calls) > 5
    assert all(fragment.is_in(call.smiles) for call in calls)
    assert search.agent.frame is search.prior.frame is not None


def test_what_lacks_the_fragment_is_not_a_molecule(follow):
    """It costs no call, and a group learns that it has no reward."""
    followed = follow(method="grpo", kl=0.0, decorate="CC(*)C")
    (update,) = followed.step("CC(O)C", "CC(=O)C")  # a bond to * that is not single
    assert [call.smiles for call in followed.search.oracle.calls] == ["CC(C)O"]
    assert update.texts == ["CC(O)C", "CC(=O)C"]
    assert update.signal[0] == -update.signal[1] > 0


# --- exemplars ------------------------------------------------------------------------------------


def test_there_is_one_exemplar_of_each_right_outcome(follow):
    """As it was written last, of what earns more than the threshold; and in every update."""
    options = {"success_above": 0.1, "outcome": "smiles", "augmentations": 1, "kl": 0.0}
    followed = follow(method="exemplar-replay", **options)
    batch, augmented = followed.step("OCC", "NCC", "C", "C(")  # C earns .05
    assert batch.exemplars == augmented.exemplars == ["OCC", "NCC"]
    batch, _ = followed.step("CCO", "CCC")
    assert batch.exemplars == ["NCC", "CCO", "CCC"]
    # Rewards .15 and .15: nothing but the exemplars teaches.
    assert batch.signal == [0.0, 0.0]


def test_the_bank_is_bounded(follow):
    followed = follow(method="exemplar-replay", outcome="smiles", exemplar_replay_size=2)
    (update,) = followed.step("OCC", "NCC", "CCC")
    assert update.exemplars == ["NCC", "CCC"]


def test_other_methods_have_no_exemplars(follow):
    assert [update.exemplars for update in follow(method="grpo").step(*BATCH)] == [[]]


def test_what_the_memory_purges_is_no_exemplar(follow):
    """Benzene's scaffold is full with two, and is taught no more once the batch is learned."""
    options = {"outcome": "scaffold", "bucket": 2, "purge": "full"}
    followed = follow(method="exemplar-replay", **options)
    followed.step("Cc1ccccc1", "CCc1ccccc1")
    assert [entry.written for entry in followed.search.exemplars.values()] == ["CCc1ccccc1"]
    followed.step("CCCc1ccccc1")
    assert not followed.search.exemplars
    assert not followed.search.memory.entries


# --- the memory -----------------------------------------------------------------------------------


def test_the_update_of_a_batch_replays_some_of_the_memory(follow):
    followed, earlier = follow(replay=4), 0
    for _ in range(3):
        (update,) = followed.step()
        drawn = set(followed.search.probability.molecules)
        batch, replayed = update.texts[: len(drawn)], update.texts[len(drawn) :]
        assert set(map(canonical, batch)) == drawn
        assert len(replayed) == len(set(replayed)) == 4
        told = zip(replayed, update.signal[len(drawn) :], strict=True)
        assert set(told) <= {(entry.written, entry.reward) for entry in update.memory}
        earlier += sum(canonical(text) not in drawn for text in replayed)
    assert earlier > 0


def test_the_scaled_reward_is_that_of_the_batch_alone(follow):
    """With alpha = 0 nothing is scaled; the memory holds the best."""
    followed = follow(method="ips-grpo", alpha=0.0, replay=4)
    for _ in range(2):
        (update,) = followed.step()
    assert len(update.texts) == 12 + 4
    assert followed.row["ips/reward"] == followed.row["penalised"] > 0


def test_a_scaffold_that_pays_no_more_is_purged(follow):
    """After it was replayed, before the rounds of random SMILES; and no other one."""
    followed = follow(bucket=2, replay=10, augmentations=1)
    followed.step("Cc1ccccc1", "CCc1ccccc1", "C1CCCCC1")  # 2 benzenes, 1 cyclohexane
    batch, augmented = followed.step("CCCc1ccccc1", "CC1CCCCC1")  # the 3rd, which pays nothing
    rewards = {"CCCc1ccccc1": 0, "CC1CCCCC1": 9 / 20, "C1CCCCC1": 8 / 20}
    assert sorted(map(canonical, batch.texts)) == sorted(
        [*rewards, "Cc1ccccc1", "CCc1ccccc1", "CC1CCCCC1"]
    )
    assert batch.signal[:2] == [0, 9 / 20]
    kept = ["CC1CCCCC1", "C1CCCCC1"]
    assert [entry.smiles for entry in augmented.memory] == kept
    learned = ["CCCc1ccccc1", "CC1CCCCC1", *kept]
    assert augmented.pairs == Counter((text, rewards[text]) for text in learned)
    followed.step("CCO", "CCN")  # cyclohexane is full by now, but none was drawn
    assert {entry.smiles for entry in followed.search.memory.entries} == {*kept, "CCO", "CCN"}


@pytest.mark.parametrize(
    ("purge", "left"),
    [
        ("full", {"Cc1ccccc1", "C1CCCCC1", "CCO"}),
        ("zero", {"C1CCCCC1"}),  # each scaffold of which a molecule has exactly 0
        ("none", {"Cc1ccccc1", "C1CCCCC1", "CCO"}),
    ],
)
def test_what_is_purged_of_rewards_of_zero(follow, purge, left):
    """Saturn forgets a scaffold for one molecule without a reward, full or not."""
    followed = follow(function="no_bromine", purge=purge)
    followed.step("Cc1ccccc1", "C1CCCCC1", "CCO")
    followed.step("Brc1ccccc1", "CC1CCCCC1", "CCBr")
    assert {entry.smiles for entry in followed.search.memory.entries} == left | {"CC1CCCCC1"}


@pytest.mark.parametrize(("purge", "left"), [("full", set()), ("zero", set()), ("none", {"first"})])
def test_what_is_purged_of_a_full_bucket(follow, purge, left):
    followed = follow(bucket=1, purge=purge)
    followed.step("Cc1ccccc1")
    followed.step("CCc1ccccc1")  # which pays nothing any more
    names = {"Cc1ccccc1": "first"}
    assert {names[entry.smiles] for entry in followed.search.memory.entries} == left


# --- known molecules ------------------------------------------------------------------------------


def test_no_way_to_write_a_molecule_is_longer_than_what_the_agent_could_draw(follow, tmp_path):
    """A chain of 128 atoms has 128 tokens, and 130 if it begins at an atom within."""
    (tmp_path / "known.smi").write_text("C" * MAX_TOKENS)
    followed = follow(inception=str(tmp_path / "known.smi"), augmentations=3)
    _, *augmented = followed.step(*BATCH)
    assert [max(map(len, update.texts)) for update in augmented] == [MAX_TOKENS] * 3


def test_known_molecules_are_scored_and_the_memory_begins_with_them(follow, tmp_path):
    """Once each, as they are written first; step 0; invalid lines are no calls."""
    (tmp_path / "known.smi").write_text("OCC ethanol\nC(\nCCO\nCc1ccccc1\nCBr\n[Xe]\n")
    followed = follow(function="no_bromine", inception=str(tmp_path / "known.smi"), replay=10)
    batch, *_ = followed.step("NCC")
    search = followed.search
    calls = [(call.smiles, made.step) for call, made in zip(search.oracle.calls, search.made)]  # noqa: B905
    assert calls == [("CCO", 0), ("Cc1ccccc1", 0), ("CBr", 0), ("[Xe]", 0), ("CCN", 1)]
    # Bromine earns nothing, and xenon cannot be written.
    assert set(batch.texts) == {"NCC", "OCC", "Cc1ccccc1"}
    assert not search.filter.counts["c1ccccc1"]
    followed.step("CCO", "NCCC")
    assert [call.smiles for call in search.oracle.calls[5:]] == ["CCCN"]  # a repeat is free
    found = result_of(search)
    assert found.left_out == {"RDKit cannot read it, as 'C(' in line 2": 1}
    assert "known molecules that are left out: 1 (RDKit cannot read it, as" in found.warning()


def test_known_molecules_count_within_the_budget(follow, tmp_path):
    (tmp_path / "known.smi").write_text("CCO\nCCCO\nCCCCO\n")
    followed = follow(inception=str(tmp_path / "known.smi"), budget=2, threshold=0.15)
    followed.step("NCC")
    assert [call.smiles for call in followed.search.oracle.calls] == ["CCO", "CCCO"]
    assert followed.search.ended == "budget"
    assert followed.search.tally.hits == len(followed.search.hits) == 1


def test_the_best_known_molecules_stay(follow, tmp_path):
    (tmp_path / "known.smi").write_text("\n".join("C" * i for i in range(1, 9)))
    followed = follow(inception=str(tmp_path / "known.smi"), memory=3)
    followed.step("CO")
    assert [e.smiles for e in followed.search.memory.entries] == ["C" * i for i in (8, 7, 6)]


# --- random SMILES --------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_so_many_rounds_of_random_smiles(follow, rounds):
    followed = follow(augmentations=rounds)
    assert [len(followed.step()) for _ in range(2)] == [1 + rounds] * 2


def test_rounds_are_of_the_batch_and_of_the_whole_memory(follow):
    """Each molecule with its reward, written anew in each round."""
    followed = follow(augmentations=2, bucket=3)
    for _ in range(3):
        batch, *rounds = followed.step()
        written = {*batch.texts, *(entry.written for entry in rounds[0].memory)}
        memory = Counter((entry.smiles, entry.reward) for entry in rounds[0].memory)
        assert memory - batch.pairs or followed.search.tally.steps == 1  # of earlier batches
        for update in rounds:
            assert update.pairs == batch.pairs + memory
            as_before = sum(text in written for text in update.texts)
            assert as_before < len(update.texts) / 2
        assert rounds[0].texts != rounds[1].texts


def test_what_the_vocabulary_cannot_write_stays_as_it_was(follow):
    """Some ways to write bicyclopropyl open a ring 2, which the corpus never does."""
    _, *rounds = follow(augmentations=10).step("C1CC1C1CC1", "CCO")
    texts = [text for update in rounds for text in update.texts]
    assert not any("2" in text for text in texts)
    assert "C1CC1C1CC1" in texts


# --- the price of a step --------------------------------------------------------------------------


def after(config, earlier: int) -> Search:
    """A search that has made so many calls, of molecules that nobody draws."""
    chosen = config(budget=earlier + 1000, augmentations=0)
    search = Search(
        chosen, Scoring(chosen.components, chosen.aggregation), Prior.load(chosen.prior)
    )
    calls = [
        Call(i + 1, f"molecule {i}", f"scaffold {i}", Status.VALID, "", (0.5,), 0.9)
        for i in range(earlier)
    ]
    search.oracle = Oracle(search.oracle.scoring, chosen.budget, calls)
    search.made = [Made(0, 0.9)] * earlier
    search.filter = DiversityFilter(chosen, {call.scaffold: 1 for call in calls})
    search.step()  # the first of all imports what the others find
    return search


def test_a_step_after_100_000_calls_is_as_much_work_as_after_none(config):
    """Also what is written at a checkpoint.  Both searches draw the same molecules."""
    work, written = [], []
    for earlier in (0, 100_000):
        search = after(config, earlier)
        filter_of(search)
        first = len(search.oracle.calls)
        work.append(steps(lambda search=search: (search.step(), search.ended)))
        arrays = state_of(search)
        size = sum(array.nbytes for name, array in arrays.items() if name != "memo")
        tables = table_of(search, first), filter_of(search)
        written.append([size, *(table.num_rows for table in tables)])
        assert len(arrays["memo"]) < 20_000  # 100 molecules of the memory, and the tally
    assert written[0] == written[1]
    assert written[0][1] > 0
    # Numbers of calls have more digits, and one dictionary is larger: nothing of 100,000.
    assert work[1] < work[0] * 1.01


# --- drift ----------------------------------------------------------------------------------------


def test_the_drift_guard_brings_the_moments_back(follow, monkeypatch):
    """The best agent is that of the third batch: after two updates, which Adam remembers."""
    followed, seen, unpack = follow(method="ips-grpo", replay=5), [], loop.unpack

    def unpacked(arrays, *parts):
        seen.append(pack(*parts))
        unpack(arrays, *parts)
        seen.append(pack(*parts))

    monkeypatch.setattr(loop, "unpack", unpacked)
    search = followed.search
    followed.step("C", "CO", "CCO")
    followed.step("CC", "CCN", "CCCO")
    best = pack(search.agent.model, search.optimiser)
    followed.step("CCCC", "CCCCN", "CCCCCO")  # the longest
    moments = [name for name in best if name.endswith(("exp_avg", "exp_avg_sq"))]
    assert len(moments) == 2 * sum(name.startswith("model/") for name in best)
    assert any(best[name].any() for name in moments)
    while not search.tally.restored:
        followed.step("C(", "C(", "C(")
        assert search.tally.steps < 20
    lost, back = seen
    assert back.keys() == lost.keys() == best.keys()
    for name, array in best.items():
        np.testing.assert_array_equal(back[name], array)
    assert not any(np.array_equal(lost[name], best[name]) for name in moments if best[name].any())


def test_the_drift_guard_restores_agent_and_optimiser(config):
    chosen = config()
    search = Search(
        chosen, Scoring(chosen.components, chosen.aggregation), Prior.load(chosen.prior)
    )
    search.step()
    best = {name: array.copy() for name, array in search.best.items()}
    with torch.no_grad():  # the agent is lost: it writes nothing that is a molecule
        for value in search.agent.model.parameters():
            value.mul_(0).add_(0.3)
    for value in search.optimiser.state.values():
        value["exp_avg"].fill_(9.0)
    for _ in range(LOST):
        assert search.tally.restored == 0
        search._guard([NOTHING] * chosen.batch)
    assert search.tally.restored == 1
    state = state_of(search)
    assert {name for name in state if name.startswith("model/")} <= set(best)
    for name, array in best.items():
        np.testing.assert_array_equal(state[name], array)
    if not any(name.startswith("optimiser/") for name in best):  # the best was the prior
        assert not search.optimiser.state


def test_a_bad_batch_between_good_ones_is_no_drift(config):
    chosen = config()
    search = Search(
        chosen, Scoring(chosen.components, chosen.aggregation), Prior.load(chosen.prior)
    )
    search.step()
    call = search.oracle.calls[0]
    found = Sample(call.smiles, call.smiles, torch.zeros(1), call)
    for _ in range(3 * LOST):
        search._guard([NOTHING, NOTHING, found])
        search._guard([found] * 3)
    assert search.tally.restored == 0


def test_a_prior_that_writes_little_that_is_valid_has_not_drifted(config):
    """It is compared with itself: one in four is what the best batch had."""
    chosen = config()
    search = Search(
        chosen, Scoring(chosen.components, chosen.aggregation), Prior.load(chosen.prior)
    )
    search.step()
    search.best, search.tally = {}, Tally()
    call = search.oracle.calls[0]
    found = Sample(call.smiles, call.smiles, torch.zeros(1), call)
    for _ in range(3 * LOST):
        assert not search._guard([NOTHING, NOTHING, NOTHING, found])
    assert search.tally.restored == 0


def test_nothing_is_learned_from_what_a_lost_agent_drew(config, monkeypatch):
    chosen = config()
    search = Search(
        chosen, Scoring(chosen.components, chosen.aggregation), Prior.load(chosen.prior)
    )
    search.step()
    best = {name: array.copy() for name, array in search.best.items()}
    search.tally.lost = LOST - 1
    monkeypatch.setattr(Prior, "molecule", lambda *_: None)
    row = search.step()
    assert (row["restored"], row["valid"]) == (1, 0.0)
    for name, array in best.items():
        np.testing.assert_array_equal(state_of(search)[name], array)
