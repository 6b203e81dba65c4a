"""Runs side by side: seeds are pooled, what differs is marked, references are drawn once."""

from __future__ import annotations

from typing import Any

from ipsrl.report.comparison import alike, charts, differing, groups, interval, overview
from ipsrl.report.view import Curve, View


def view(label: str, *curves: Curve, family: str = "grids", **options: Any) -> View:
    config = {"method": "grpo", "seed": "0", **options.pop("config", {})}
    state = "stopped" if "progress" in options else "ended"
    return View(label, family, "a run", state, config=config, curves=curves, **options)


def curve(xs: list, *ys: list, name: str = "", **options: Any) -> Curve:
    return Curve("Reward", "step", "mean", xs, ys, name, **options)


def test_runs_that_differ_in_the_seed_alone_are_one_line():
    """Worked by hand: values 1 and 3 have the median 2."""
    views = [
        view("ips/seed-0", curve([1, 2], [1.0, 5.0])),
        view("ips/seed-1", curve([1, 2], [3.0, 5.0]), config={"seed": "1"}),
        view("grpo/seed-0", curve([1, 2], [0.0, 0.0])),
    ]
    (chart,) = charts(views)
    ips, grpo = chart.lines
    assert (ips.run, ips.ys, ips.low, ips.high, ips.seeds) == ("ips", [2, 5], [1, 5], [3, 5], 2)
    assert (grpo.run, grpo.ys, grpo.low, grpo.seeds) == ("grpo/seed-0", [0.0, 0.0], [], 1)


def test_seeds_of_a_sweep_are_one_line():
    views = [
        view(f"lr=0.1,seed={seed}", curve([1], [seed]), config={"seed": str(seed)})
        for seed in range(3)
    ]
    (chart,) = charts(views)
    (line,) = chart.lines
    assert (line.run, line.ys, line.seeds) == ("lr=0.1", [1], 3)


def test_seeds_of_one_run_and_of_others_are_pooled():
    views = [
        view("a-seed0", curve([1], [1.0], [2.0], [9.0])),
        view("a-seed1", curve([1], [3.0], [4.0]), config={"seed": "1"}),
    ]
    ((line,),) = (chart.lines for chart in charts(views))
    assert (line.ys, line.low, line.high, line.seeds) == ([3.0], [1.0], [9.0], 5)


def test_another_configuration_is_another_line():
    views = [
        view("a/seed-0", curve([1], [1.0])),
        view("a/seed-1", curve([1], [1.0]), config={"seed": "1", "lr": "2"}),
    ]
    assert list(groups(views)) == ["a/seed-0", "a/seed-1"]


def test_the_name_of_seeds_is_not_that_of_another_run():
    """In whatever order: no group may take the place of another."""
    seeds = [view("a-seed-0"), view("a-seed-1", config={"seed": "1"})]
    other = view("a", config={"lr": "2"})
    for views in ([*seeds, other], [other, *seeds]):
        assert sorted(map(len, groups(views).values())) == [1, 2]
    own = view("a", config={"seed": "2"})
    assert list(groups([*seeds, own])) == ["a"]


def test_a_seed_that_is_not_so_far_counts_as_far_as_it_is():
    """At 1 the median of 1, 3 and 2, at 2 of 5 and 3, which is on the line from 2 to 4."""
    views = [
        view("a/seed-0", curve([1, 2, 3], [1.0, 5.0, 6.0])),
        view("a/seed-1", curve([1], [3.0]), config={"seed": "1"}),
        view("a/seed-2", curve([1, 3], [2.0, 4.0]), config={"seed": "2"}),
    ]
    ((line,),) = (chart.lines for chart in charts(views))
    assert (line.xs, line.ys) == ([1, 2, 3], [2.0, 4.0, 5.0])
    assert line.low == [1.0, 3.0, 4.0]


def test_gaps_stay_gaps():
    views = [
        view("a/seed-0", curve([1, 2], [None, 1.0])),
        view("a/seed-1", curve([1, 2], [None, None]), config={"seed": "1"}),
    ]
    ((line,),) = (chart.lines for chart in charts(views))
    assert (line.ys, line.low) == ([None, 1.0], [None, 1.0])


def test_what_runs_are_compared_with_is_drawn_once():
    reference = curve([1], [0.5], name="uniform", reference=True)
    (chart,) = charts([view("a", curve([1], [1.0]), reference), view("b", reference)])
    assert [(line.run, line.name) for line in chart.lines] == [("a", ""), ("", "uniform")]


def test_charts_of_families_are_apart():
    found = charts([view("a", curve([1], [1.0])), view("b", curve([1], [1.0]), family="llm")])
    assert [chart.family for chart in found] == ["grids", "llm"]


def test_a_chart_that_the_first_run_lacks_stands_in_its_place():
    def of(label: str, *titles: str) -> View:
        return view(label, *(Curve(title, "step", "mean", [1], [[1.0]]) for title in titles))

    found = charts([of("a", "raw", "loss"), of("b", "raw", "scaled", "loss", "KL")])
    assert [chart.title for chart in found] == ["raw", "scaled", "loss", "KL"]


def test_what_differs_is_what_has_several_values():
    """A key of one method only, such as eps, goes with it; other families have other keys."""
    views = [
        view("a", config={"method": "grpo"}),
        view("b", config={"method": "ips", "eps": "0.1"}),
        view("c", family="llm", config={"method": "flowrl", "lora": "16"}),
    ]
    assert differing(views) == ["method"]
    assert differing(views[:1]) == []
    assert differing([*views, view("d", config={"eps": "0.2"})]) == ["method", "eps"]


def test_numbers_come_before_what_differs_and_families_apart():
    views = [
        view("a", summary={"l1": [0.5, 0.25, 1.0]}, about={"files written": "today"}),
        view("b", progress="7 of 9", summary={"steps": 7}, config={"seed": "1"}),
        view("c", family="llm", summary={"reward": 1.0}, config={"lora": "16"}),
    ]
    found, settings, other = overview(views)
    assert found.title == "Runs, grids"
    assert found.columns == ["run", "state", "l1", "steps", "files written"]
    assert found.rows == [
        ["a", "ended", {"median": 0.5, "low": 0.25, "high": 1.0}, None, "today"],
        ["b", "stopped, 7 of 9", None, 7, ""],
    ]
    assert (settings.columns, settings.rows) == (["run", "seed"], [["a", "0"], ["b", "1"]])
    assert (other.title, other.columns[2:]) == ("Runs, llm", ["reward", "files written"])
    assert [one.title for one in overview(views[2:])] == ["Runs"]


def test_what_is_told_of_all_runs_is_told_once():
    about = {"files written": "today", "versions": "ipsrl 1"}
    views = [view("a", about=about), view("b", about={**about, "files written": "now"})]
    assert alike(views) == {"versions": "ipsrl 1"}
    assert alike([]) == {}


def test_what_some_seeds_never_reach_is_said():
    assert interval([10, None, 30]) == "20 in 2 of 3"
    assert interval([None, None]) is None
    assert interval("budget") == "budget"
