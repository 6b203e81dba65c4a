"""The page needs nothing but itself, holds its data as text, and tells the numbers of the files."""

import json
import re
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO

import pytest
import report_runs as runs
from matplotlib.figure import Figure
from PIL import Image

from ipsrl.errors import MissingExtra, NoRun
from ipsrl.grids import Config
from ipsrl.report.page import _read, table_of, write_page, write_report
from ipsrl.report.view import as_json
from ipsrl.runs import Folder, Run
from ipsrl.sweep.results import write_rows

ROW = {
    "cell": runs.HOSTILE,
    "paper_mean_l1": 0.028,
    "mean_l1": {"median": 0.0123456, "low": 0.001, "high": 0.98765},
    "floor_l1": None,
    "trajectories": 12345678,
}


class Reader(HTMLParser):
    """Tags with their attributes, and what is in the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.scripts, self.last = [], [], ""
        self.feed(html)
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.last = tag
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.last == "script":
            self.scripts[-1] += data

    def handle_endtag(self, tag):
        self.last = ""


def figure() -> Figure:
    drawn = Figure()
    drawn.subplots().plot([1, 2])
    return drawn


def of_item(tmp_path, **options) -> Reader:
    out = tmp_path / "index.html"
    write_page(out, **{"title": "t", "figures": {"A line": ("line", figure())}, **options})
    return Reader(out.read_text("utf-8"))


def report(tmp_path, *paths) -> Reader:
    out = tmp_path / "page.html"
    write_report(paths, out)
    return Reader(out.read_text("utf-8"))


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    directory = tmp_path_factory.mktemp("grid") / "run"
    runs.finish_grid(runs.grid_run(directory))
    return directory


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else(tmp_path, grid):
    """By their digests; whatever else is asked for by whom is forbidden."""
    html = report(tmp_path, grid)
    (policy,) = (
        a["content"] for t, a in html.tags if a.get("http-equiv", "").startswith("Content")
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    digests = (b64encode(sha256(text.encode()).digest()).decode() for text in html.scripts[1:])
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert set(rules) == {
        "default-src", "script-src", "style-src", "img-src", "base-uri", "form-action",
    }  # fmt: skip
    assert "http" not in policy


def test_no_tag_loads_anything(tmp_path, grid):
    html = report(tmp_path, grid)
    assert {"link", "iframe", "object", "embed", "base", "img"}.isdisjoint(t for t, _ in html.tags)
    assert not any("src" in attrs or "href" in attrs for _, attrs in html.tags)
    assert not any(name.startswith("on") for _, attrs in html.tags for name in attrs)


@pytest.mark.parametrize(
    "text", [runs.HOSTILE, "</script >", "<!-- <script>", "\u2028", "]]>", "\\u003c/script>"]
)
def test_no_text_ends_the_data(text):
    """An HTML parser sees one script, and JSON the same text."""
    written = as_json({"text": text})
    assert "<" not in written
    assert json.loads(written) == {"text": text}


def test_markup_in_titles_names_and_tables_is_text(tmp_path):
    html = of_item(tmp_path, title=runs.HOSTILE, rows=[{**ROW, runs.HOSTILE: runs.HOSTILE}])
    assert len(html.scripts) == 3
    assert html.data["title"] == runs.HOSTILE
    (table,) = html.data["tables"]
    assert runs.HOSTILE in table["columns"]
    assert table["rows"][0].count(runs.HOSTILE) == 2


def test_numbers_of_the_page_equal_the_table(tmp_path):
    table = json.loads(json.dumps([ROW, {**ROW, "floor_l1": 0.5}]))
    (shown,) = of_item(tmp_path, rows=table).data["tables"]
    assert [dict(zip(shown["columns"], row, strict=True)) for row in shown["rows"]] == table


def test_a_table_within_a_row_is_a_column_for_each_of_its_numbers():
    """As HypoSpace writes them: a mean with its interval, and lists that are curves."""
    row = {"cell": "a", "test": {"rate": [0.5, 0.25, 0.75], "draws": [1, 2, 4, 8], "sets": 4}}
    table = table_of("t", [row, {"cell": "b"}])
    assert table.columns == ["cell", "test rate", "test sets"]
    interval = {"median": 0.5, "low": 0.25, "high": 0.75}
    assert table.rows == [["a", interval, 4], ["b", None, None]]


def test_a_sweep_has_its_table_and_its_picture(tmp_path):
    """A row as `sweep.results.rows_of` makes it; a key of the grid is a column."""
    l1 = {"median": 1.0, "low": 0.5, "high": 2.0, "values": [0.5, 1.0, 2.0]}
    cell = {"cell": "lr=1", "values": {"lr": 1}, "runs": ["lr=1"], "failed": {}}
    cell["measures"] = {"total_l1": l1, "lr": None}
    lost = {"cell": "lr=2", "values": {"lr": 2}, "runs": ["lr=2"], "measures": {"total_l1": None}}
    write_rows(tmp_path / "sweep", [cell, {**lost, "failed": {"lr=2": "ended with code 1"}}])
    Folder(tmp_path / "sweep").write("sweep.svg", b"<svg/>")
    shown = report(tmp_path, tmp_path / "sweep").data
    (table,) = shown["tables"]
    assert table["columns"] == ["lr", "total_l1", "lr, result", "runs failed"]
    assert table["rows"] == [[1, l1, None, None], [2, None, None, "lr=2 ended with code 1"]]
    (picture,) = shown["pictures"]
    assert picture["caption"] == "Median, range and seeds of every cell"
    assert b64decode(picture["src"].removeprefix("data:image/svg+xml;base64,")) == b"<svg/>"


def test_runs_of_a_sweep_that_failed_are_red_whether_they_began_or_not(tmp_path):
    """A process that dies says nothing in its run; a picture of no value is left out."""
    sweep = tmp_path / "sweep"
    Folder.make(sweep)
    runs.lm_run(sweep / "a", steps=1).close()
    row = {"cell": "c", "values": {}, "runs": ["a", "b"], "measures": {"best": None}}
    write_rows(sweep, [row | {"failed": {"a": "ended with code 3", "b": "it said nothing"}}])
    Folder(sweep).write("sweep.svg", b"<svg/>")
    shown = report(tmp_path, sweep).data
    found = {one["label"]: (one["state"], one["alarms"]) for one in shown["runs"]}
    assert found == {
        "a": ("failed", ["The run failed: ended with code 3."]),
        "b": ("unknown", ["b failed: it said nothing"]),
    }
    assert shown["pictures"] == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([{"kind": "qed"}], '[{"kind" = "qed"}]'),
        ({"beta": 0.5}, '{"beta" = 0.5}'),
        ([1, 2, 3], "[1, 2, 3]"),  # not an interval
    ],
)
def test_a_key_of_a_sweep_whose_values_are_tables_or_lists_has_a_column(value, shown):
    row = {"cell": "c", "values": {"key": value}, "runs": ["c"], "failed": {}, "measures": {}}
    assert table_of("t", [row]).rows == [[shown]]


@pytest.mark.parametrize(
    ("sides", "title"),
    [
        ((8, 8), "grpo, ips-grpo (group) on the 8x8 hyper-grid, 3 seeds (2 runs)"),
        (
            (8, 4),
            "grpo on the 8x8 hyper-grid, 3 seeds; ips-grpo (group) on the 4x4 hyper-grid, 3 seeds",
        ),
    ],
)
def test_the_title_of_runs_says_what_was_run(sides, title, tmp_path):
    runs_of = [tmp_path / "runs" / method for method in ("grpo", "ips-grpo")]
    for run, side in zip(runs_of, sides, strict=True):
        Run.create(run, Config(method=run.name, side=side, seeds=3)).close()
    assert report(tmp_path, *runs_of).data["title"] == title
    assert report(tmp_path, tmp_path / "runs").data["title"] == f"runs: {title}"  # which has a name


def test_figures_are_in_the_page_and_beside_it(tmp_path):
    html = of_item(tmp_path)
    beside = (tmp_path / "index-line.png").read_bytes()
    (picture,) = html.data["pictures"]
    assert picture["caption"] == "A line"
    assert b64decode(picture["src"].removeprefix("data:image/png;base64,")) == beside
    Image.open(BytesIO(beside)).verify()


def test_the_page_of_an_item_shows_its_runs_too(tmp_path, grid):
    """Without dates and paths: an item gives the same bytes wherever and whenever it runs."""
    html = of_item(tmp_path, runs={"cell": grid})
    (run,) = html.data["runs"]
    assert (run["label"], run["command"]) == (
        "cell", "ipsrl train hypergrid --config cell/config.toml --out NEW",
    )  # fmt: skip
    assert "files written" not in run["about"]
    assert str(tmp_path.parent) not in json.dumps(html.data)


def test_the_same_runs_give_the_same_bytes(tmp_path, grid):
    written = []
    for name in ("one", "two"):
        write_report([grid], tmp_path / name / "page.html")
        written.append((tmp_path / name / "page.html").read_bytes())
    assert written[0] == written[1]


@pytest.mark.promise(number=19)
def test_lines_of_the_page_are_those_of_the_files(tmp_path, grid):
    """Seed by seed, the median and the range, to the last bit."""
    html = report(tmp_path, grid)
    rows = Run.open(grid).metrics()
    chart = next(one for one in html.data["charts"] if one["title"] == "Distance to the target")
    (line,) = chart["lines"]
    assert line["xs"] == sorted({row["trajectories"] for row in rows})
    for t, x in enumerate(line["xs"]):
        values = sorted(row["total_l1"] for row in rows if row["trajectories"] == x)
        assert [line["low"][t], line["ys"][t], line["high"][t]] == values


def test_numbers_of_seeds_are_median_and_range(tmp_path, grid):
    (run,) = report(tmp_path, grid).data["runs"]
    assert run["summary"]["total L1 to the target"] == {"median": 0.375, "low": 0.25, "high": 0.5}
    assert run["summary"]["trajectories to total L1 0.05"] is None  # never reached
    assert run["summary"]["predicted floor of total L1"] == 0.125


def test_no_run_is_explained_and_leaves_no_page(tmp_path):
    Run.create(tmp_path / "run", Config()).close()
    (tmp_path / "run" / "config.toml").unlink()
    with pytest.raises(NoRun, match="not a run directory"):
        report(tmp_path, tmp_path / "run")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("module", ["plotly", "jinja2"])
def test_without_a_library_the_pip_line_is_named(module, tmp_path, grid, monkeypatch):
    from ipsrl.report import page

    page._plotly.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r'pip install "ipsrl\[report\]"'):
        write_report([grid], tmp_path / "page.html")


def test_a_page_is_small_beside_its_limit(tmp_path, grid):
    """15 MB; nearly all of this one is Plotly."""
    write_report([grid], tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 6e6


def test_there_is_no_markup_that_the_scripts_make_of_text():
    """Whatever is shown goes through text nodes and attributes."""
    from ipsrl.report import page

    source = "".join((page._FILES / name).read_text("utf-8") for name in page._SCRIPTS)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", source)


def test_a_run_that_cannot_be_read_does_not_hide_the_others(tmp_path, grid):
    """Alone it is an error; among others an alarm, as is a path where there is nothing."""
    runs.search_run(tmp_path / "broken", ["CCO"] * 5).close()
    (tmp_path / "broken" / "calls.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(NoRun, match=r"broken/calls\.parquet cannot be read .*Restore"):
        report(tmp_path, tmp_path / "broken")
    html = report(tmp_path, grid, tmp_path / "broken", tmp_path / "typo")
    assert [run["state"] for run in html.data["runs"]] == ["ended", "unknown", "unknown"]
    assert "cannot be read" in html.data["runs"][1]["alarms"][0]
    assert "typo does not exist" in html.data["runs"][2]["alarms"][0]
    assert {line["run"] for chart in html.data["charts"] for line in chart["lines"]} == {"run"}
    assert html.data["title"] == "ips-grpo (group) on the 8x8 hyper-grid, 3 seeds"


@pytest.mark.parametrize("name", ["grid", "lm", "causal", "search"])
def test_whatever_file_is_damaged_a_run_is_shown_or_says_why(name, tmp_path):
    """Each file of a run in turn is cut to nonsense."""
    if name == "grid":
        runs.finish_grid(runs.grid_run(tmp_path / name, evaluations=3))
    elif name == "lm":
        runs.finish_lm(runs.lm_run(tmp_path / name, steps=2))
    elif name == "causal":
        runs.finish_hypospace(runs.hypospace_run(tmp_path / name, steps=2))
    else:
        runs.finish_search(runs.search_run(tmp_path / name, ["CCO"] * 5), 5)
    files = [path for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]
    told = []
    for path in files:
        before = path.read_bytes()
        for nonsense in (b"", b'\xff{"', b"[1]\n"):
            path.write_bytes(nonsense)
            view = _read(tmp_path / name, name, 2)
            told += view.alarms if view.state == "unknown" else []
        path.write_bytes(before)
    assert any("config.toml" in why for why in told)
    assert len(told) > len(files)
    assert all(len(why) > 20 for why in told)


def test_many_runs_share_the_room_of_a_page(tmp_path):
    """Lines of 40 runs have a 40th of the points of a chart, and galleries of the molecules."""
    for i in range(40):
        runs.grid_run(
            tmp_path / "grids" / f"{i}", evaluations=500, seeds=1, lr=0.001 * (i + 1)
        ).close()
    html = report(tmp_path, tmp_path / "grids")
    chart = html.data["charts"][0]
    assert len(chart["lines"]) == 40
    assert all(len(line["xs"]) == 250 for line in chart["lines"])
    assert all((line["xs"][0], line["xs"][-1]) == (2560, 1_280_000) for line in chart["lines"])
    for i in range(3):
        runs.search_run(tmp_path / "searches" / f"{i}", ["CCO"] * 6000, seed=i).close()
    html = report(tmp_path, tmp_path / "searches")
    galleries = [p for run in html.data["runs"] for p in run["parts"] if p["kind"] == "Gallery"]
    assert [len(gallery["rows"]) for gallery in galleries] == [3333] * 3
