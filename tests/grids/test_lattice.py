"""Two equal outcomes behind 35 and 7 paths: the counts, the rules, and who keeps both."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environment_suite import EnumerableSuite
from policies import log_probs_of, policy_of

from ipsrl.config import shipped_configs
from ipsrl.grids import Config, Lattice, LatticeConfig, Table, train
from ipsrl.grids.loop import Loop
from ipsrl.grids.policy import TabularPolicy
from ipsrl.grids.rollout import Everywhere, WhereVisited
from ipsrl.report.lattice import shares_of_a
from ipsrl.runs import Run

A, B, STEPS = (4, 3), (6, 1), 7
FLOAT32 = 1e-5  # products of seven probabilities, in two orders


class TestFree(EnumerableSuite):
    environment = Lattice()


class TestRestricted(EnumerableSuite):
    environment = Lattice(free=False)


@pytest.fixture(params=[True, False], ids=["free", "restricted"])
def lattice(request):
    return Lattice(free=request.param)


def state_of(lattice, cell):
    return int(np.dot(cell, lattice.strides[:-1]))


def walks(lattice):
    """Every legal sequence of moves until a stop is the only choice, by its end."""
    ends: dict[tuple[int, int], list[tuple[int, ...]]] = {}

    def walk(cell, moves):
        right, up, stop = lattice.legal_at(np.array(cell))
        if stop:
            ends.setdefault(cell, []).append(moves)
        if right:
            walk((cell[0] + 1, cell[1]), (*moves, 0))
        if up:
            walk((cell[0], cell[1] + 1), (*moves, 1))

    walk((0, 0), ())
    return ends


def terminal(lattice, policy):
    table = Table(lattice)
    return np.asarray(table.terminal_distribution(log_probs_of(policy, table)), float)


# --- counts ---------------------------------------------------------------------------------------


def test_thirty_five_and_seven_paths(lattice):
    ends = walks(lattice)
    assert len(ends[A]) == len(set(ends[A])) == 35 == math.comb(7, 3)
    assert len(ends[B]) == len(set(ends[B])) == 7 == math.comb(7, 1)
    assert {len(moves) for paths in ends.values() for moves in paths} == {STEPS}


def test_the_free_lattice_has_every_end_and_the_restricted_one_two():
    free = walks(Lattice())
    assert {end: len(paths) for end, paths in free.items()} == {
        (x, STEPS - x): math.comb(STEPS, x) for x in range(STEPS + 1)
    }
    assert set(walks(Lattice(free=False))) == {A, B}


def test_a_uniform_walker_finds_35_and_7_of_128():
    """Each of the 2^7 free paths has the same chance; by dynamic programming and by hand."""
    lattice = Lattice()
    p = terminal(lattice, TabularPolicy(lattice.states, lattice.actions))
    assert p[state_of(lattice, A)] == pytest.approx(35 / 128, rel=FLOAT32)
    assert p[state_of(lattice, B)] == pytest.approx(7 / 128, rel=FLOAT32)
    assert p.sum() == pytest.approx(1, rel=FLOAT32)
    assert (p > 0).sum() == STEPS + 1


@pytest.mark.parametrize("kind", ["mlp", "tabular"])
def test_dynamic_programming_is_the_sum_over_walks(lattice, kind):
    policy = policy_of(kind, lattice)
    pi = np.exp(np.asarray(log_probs_of(policy, Table(lattice)), float))
    expected = np.zeros(lattice.states)
    for end, paths in walks(lattice).items():
        for moves in paths:
            x, chance = np.array([0, 0]), 1.0
            for move in moves:
                chance *= pi[state_of(lattice, x), move]
                x[move] += 1
            expected[state_of(lattice, end)] += chance
    np.testing.assert_allclose(terminal(lattice, policy), expected, rtol=FLOAT32, atol=1e-7)


def test_only_a_and_b_are_rewarded(lattice):
    rewarded = {tuple(lattice.coordinates[s]) for s in np.flatnonzero(lattice.rewards)}
    assert rewarded == {A, B}
    assert set(lattice.rewards) == {0.0, 1.0}
    np.testing.assert_array_equal(
        lattice.modes_of(np.arange(lattice.states)) == 2, lattice.rewards == 0
    )
    modes = lattice.modes_of(np.array([state_of(lattice, A), state_of(lattice, B)]))
    np.testing.assert_array_equal(modes, [0, 1])
    assert lattice.modes == 2
    np.testing.assert_array_equal(lattice.target[lattice.rewards > 0], [0.5, 0.5])


# --- rules ----------------------------------------------------------------------------------------


def test_every_state_has_a_legal_action(lattice):
    legal = Table(lattice).legal
    assert legal.any(-1).all()
    ended = lattice.coordinates.sum(-1) >= STEPS
    np.testing.assert_array_equal(legal[:, 2], ended)
    np.testing.assert_array_equal(legal[:, :2].any(-1), ~ended)


def test_rules_are_the_same_for_jax(lattice):
    cells, states = jnp.asarray(lattice.coordinates), jnp.arange(lattice.states)
    np.testing.assert_array_equal(
        lattice.legal_at(cells, jnp), lattice.legal_at(lattice.coordinates)
    )
    np.testing.assert_array_equal(lattice.rewards_of(states, jnp), lattice.rewards)
    np.testing.assert_array_equal(
        lattice.modes_of(states, jnp), lattice.modes_of(np.arange(lattice.states))
    )


@pytest.mark.parametrize(
    ("kind", "view"), [("mlp", "everywhere"), ("tabular", "everywhere"), ("mlp", "visited")]
)
def test_every_trajectory_has_seven_moves_and_a_stop(lattice, kind, view):
    policy, table = policy_of(kind, lattice), Table(lattice)
    view = Everywhere(table) if view == "everywhere" else WhereVisited(lattice)
    _, _, (steps, final) = view.sample(policy, jax.random.key(1), 2000)
    states, actions, live = (np.asarray(part) for part in steps)
    assert states.shape == (STEPS + 1, 2000)
    assert live.all()
    assert (actions[:STEPS] < 2).all()
    assert (actions[STEPS] == 2).all()
    assert table.legal[states, actions].all()
    np.testing.assert_array_equal(states[-1], final)
    ends = {tuple(lattice.coordinates[s]) for s in set(np.asarray(final).tolist())}
    assert ends <= set(walks(lattice))


def test_both_views_see_the_same(lattice):
    policy, key = policy_of("mlp", lattice), jax.random.key(3)
    everywhere, visited = Everywhere(Table(lattice)), WhereVisited(lattice)
    table, pull_table, rollout = everywhere.sample(policy, key, 64)
    rows, pull_rows, same = visited.sample(policy, key, 64)
    for a, b in zip(jax.tree.leaves(rollout), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)
    steps = rollout.steps
    by_table, by_rows = everywhere.taken(table, steps), visited.taken(rows, steps)
    np.testing.assert_allclose(by_table, by_rows, atol=FLOAT32)
    np.testing.assert_allclose(
        everywhere.entropy(table, steps), visited.entropy(rows, steps), atol=FLOAT32
    )
    np.testing.assert_array_equal(
        everywhere.rewards(rollout.final_B), visited.rewards(rollout.final_B)
    )
    np.testing.assert_allclose(everywhere.log_backward(steps), visited.log_backward(steps))
    one = pull_table(jax.grad(lambda x: everywhere.taken(x, steps).sum())(table))
    other = pull_rows(jax.grad(lambda x: visited.taken(x, steps).sum())(rows))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)  # sums of 64 * 8 float32 terms


# --- training -------------------------------------------------------------------------------------

TOY = {"group_size": 8, "batch": 8, "iterations": 10, "seeds": 2, "eval_every": 5,
       "checkpoint_every": 10, "hidden": 8, "lr": 0.05}  # fmt: skip


def trained(**settings):
    """Policies before and after."""
    config = LatticeConfig(**{**TOY, **settings})
    loop, seeds = Loop(config), jnp.arange(config.seeds)
    before = loop.init(seeds)
    after, _ = loop.run(before, seeds, 0)
    return before.learned.policy, after.learned.policy


def same(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(bool((a == b).all()) for a, b in pairs)


@pytest.mark.parametrize("policy", ["mlp", "tabular"])
def test_where_every_end_is_rewarded_grpo_does_not_move(policy):
    """All rewards of a group are 1, so every advantage is zero."""
    assert same(*trained(method="grpo", policy=policy, geometry="restricted"))


def test_what_moves_the_others():
    """The same ten iterations, but for one setting each."""
    still = {"method": "grpo", "policy": "mlp", "geometry": "restricted"}
    for change in ({"entropy": 0.1}, {"geometry": "free"}):
        assert not same(*trained(**{**still, **change}))


@pytest.mark.parametrize(("method", "geometry"), [("grpo", "free"), ("ips-grpo", "restricted")])
def test_a_run_keeps_the_masses_of_a_and_b(method, geometry, tmp_path):
    config = LatticeConfig(**{**TOY, "method": method, "policy": "tabular", "geometry": geometry})
    result = train(config, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.config(LatticeConfig) == config
    assert result.modes_total == 2
    grid, rows = config.environment(), run.metrics()
    p = run.arrays()["terminal"]
    last = [row["mode_mass"] for row in rows if row["trajectories"] == 80]
    for seed in range(2):
        masses = [p[seed, state_of(grid, end)] for end in (A, B)]
        np.testing.assert_allclose(last[seed], masses, rtol=FLOAT32)
        assert shares_of_a(run.directory)[seed] == pytest.approx(
            masses[0] / sum(masses), rel=FLOAT32
        )
        if geometry == "restricted":
            assert sum(masses) == pytest.approx(1, rel=FLOAT32)


def test_geometry_is_checked():
    from ipsrl.errors import ConfigError

    with pytest.raises(ConfigError, match="geometry = 'open'"):
        LatticeConfig(geometry="open")


# --- shipped configurations -----------------------------------------------------------------------

LATTICE = shipped_configs("lattice/figure-3")
EPS = shipped_configs("hypergrid/eps")


def test_ten_variants_and_four_clips_are_shipped():
    assert len(LATTICE) == 10
    assert len(EPS) == 4
    loaded = [LatticeConfig.load(path) for path in LATTICE] + [Config.load(path) for path in EPS]
    assert len({config.digest() for config in loaded}) == 14
    assert all(config.seeds >= 5 for config in loaded)


def test_names_of_the_variants_say_what_is_in_them():
    for path in LATTICE:
        config, name = LatticeConfig.load(path), path.stem
        assert config.method == ("ips-grpo" if "ips" in name else "grpo")
        assert config.policy == ("mlp" if "mlp" in name else "tabular")
        assert config.geometry == ("restricted" if "restricted" in name else "free")
        assert (config.entropy == 0) == ("no-entropy" in name)
        usual = 64 if config.method == "ips-grpo" else 16
        named = [int(word[1:]) for word in name.split("-") if word[0] == "G"]
        assert config.group_size == (named or [usual])[0]
        if config.policy == "tabular":
            assert config.lr == 0.1


def test_names_of_the_clips_say_what_is_in_them():
    for path in EPS:
        config = Config.load(path)
        assert path.stem == f"{config.side}x{config.side}-eps{config.eps:g}"
        assert (config.method, config.estimator) == ("ips-grpo", "group")
        assert config.eps * config.group_size > 1  # else it has no effect


@pytest.mark.parametrize("path", LATTICE + EPS, ids=lambda path: path.stem)
def test_a_shipped_configuration_trains(path, tmp_path):
    kind = LatticeConfig if path in LATTICE else Config
    smaller = {"iterations": 2, "seeds": 2, "hidden": 4, "eval_every": 1, "checkpoint_every": 2}
    if kind is Config:
        smaller |= {"side": 3, "group_size": 32, "batch": 32}
    config = kind(**{**kind.load(path).model_dump(), **smaller})
    result = train(config, tmp_path / "run")
    assert all(0 <= l1 <= 2 for l1 in result.total_l1)
    assert (result.floor_l1 is not None) == (config.method == "ips-grpo")
    losses = [row["loss"] for row in Run.open(tmp_path / "run").metrics()]
    assert len(losses) == 4
    assert None not in losses


# --- acceptance -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "ips-grpo"])
def test_ips_keeps_both_outcomes_and_grpo_mostly_one(name, tmp_path):
    (path,) = (path for path in LATTICE if path.stem == name)
    config = LatticeConfig.load(path)
    assert (config.policy, config.geometry, config.seeds) == ("tabular", "free", 20)
    train(config, tmp_path / "run")
    shares = shares_of_a(tmp_path / "run")
    assert len(shares) == 20
    if name == "ips-grpo":
        assert config.group_size == 64
        assert sum(0.4 <= share <= 0.6 for share in shares) >= 0.9 * len(shares)
    else:
        assert (config.group_size, config.lr) == (16, 0.1)
        assert sum(share > 0.9 or share < 0.1 for share in shares) > len(shares) / 2
