"""The page needs nothing but itself, shows data as text, and tells the numbers of the files."""

import json
import re
import sys
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ipsrl import hypospace
from ipsrl.errors import MissingExtra, RunError
from ipsrl.grids import Config
from ipsrl.molecules import PretrainConfig
from ipsrl.report.page import write_report
from ipsrl.runs import Run

HOSTILE = "<script>alert(1)</script>"
ROW = {
    "cell": HOSTILE,
    "paper_mean_l1": 0.028,
    "mean_l1": {"median": 0.0123456, "low": 0.001, "high": 0.98765},
    "floor_l1": None,
    "trajectories": 12345678,
    "to_0.05": 1234567.5,
    "modes_found": 3,
}


def finished(directory, dims=2, l1=(0.25, 0.5)):
    run = Run.create(directory, Config(dims=dims, side=3, seeds=len(l1)))
    run.log({"trajectories": 256, "seed": s, "total_l1": value} for s, value in enumerate(l1))
    states = 3**dims
    known = None not in l1
    uniform = np.full((len(l1), states), 1 / states, np.float32)
    arrays = {"target": uniform[0], "terminal": uniform} if known else {}
    run.finish({"total_l1": list(l1), "floor_l1": 0.1 if known else None}, arrays)
    return directory


class Reader(HTMLParser):
    """Tags with their attributes, and the table as text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.cells, self.text, self.inside = [], [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.cells.append([])
        self.inside = tag in ("td", "th")
        if self.inside:
            self.cells[-1].append("")

    def handle_data(self, data):
        self.text += data
        if self.inside:
            self.cells[-1][-1] += data

    def handle_endtag(self, tag):
        self.inside = False

    def images(self) -> list[bytes]:
        prefix = "data:image/png;base64,"
        sources = [attrs["src"] for tag, attrs in self.tags if tag == "img"]
        assert all(source.startswith(prefix) for source in sources)
        return [b64decode(source[len(prefix) :], validate=True) for source in sources]


def page(tmp_path, runs=None, **options) -> Reader:
    runs = runs or {"ours": finished(tmp_path / "run")}
    out = tmp_path / "page.html"
    write_report(runs, out, **options)
    return Reader(out.read_text("utf-8"))


def test_nothing_is_requested(tmp_path):
    """No tag that loads, and no attribute or style that names anything outside of the page."""
    html = page(tmp_path, title="t", rows=[ROW])
    loading = {"script", "link", "iframe", "object", "embed", "audio", "video", "base", "form"}
    assert loading.isdisjoint(tag for tag, _ in html.tags)
    assert all(not attrs.get("src", "data:").split("data:")[0] for _, attrs in html.tags)
    assert not any("href" in attrs or "srcset" in attrs for _, attrs in html.tags)
    assert not any(name.startswith("on") for _, attrs in html.tags for name in attrs)
    source = re.sub(r"base64,[A-Za-z0-9+/=]*", "", (tmp_path / "page.html").read_text())
    assert not re.search(r"https?:|//|@import|url\(", source)


def test_markup_in_data_is_text(tmp_path):
    runs = {HOSTILE: finished(tmp_path / "run")}
    rows = [{**ROW, f"{HOSTILE}key": HOSTILE}]
    html = page(tmp_path, runs, title=f"{HOSTILE}title", rows=rows)
    assert "script" not in {tag for tag, _ in html.tags}
    assert f"{HOSTILE}title" in html.text
    assert html.cells[1].count(HOSTILE) == 2
    assert f"{HOSTILE}key" in html.cells[0]


def test_numbers_of_the_page_equal_the_table(tmp_path):
    """Measured numbers to three digits, hence half a per cent; whole numbers as they are."""
    table = json.loads(json.dumps([ROW, {**ROW, "floor_l1": 0.5}]))
    html = page(tmp_path, rows=table)
    head, *body = html.cells
    assert head == [key.replace("_", " ") for key in ROW]
    assert len(body) == len(table)
    for row, cells in zip(table, body, strict=True):
        for value, text in zip(row.values(), cells, strict=True):
            match value:
                case None:
                    assert text == "-"
                case str() | int():
                    assert text == str(value)
                case float():
                    assert float(text) == pytest.approx(value, rel=5e-3)
                case dict():
                    median, low, high = re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", text).groups()
                    shown = {"median": median, "low": low, "high": high}
                    assert {k: float(v) for k, v in shown.items()} == pytest.approx(value, rel=5e-3)


def test_figures_are_in_the_page_and_beside_it(tmp_path):
    html = page(tmp_path)
    beside = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert set(beside) == {"page-3x3-l1.png", "page-3x3-terminal.png"}
    assert sorted(html.images()) == sorted(beside.values())
    for png in beside.values():
        Image.open(BytesIO(png)).verify()
        assert min(Image.open(BytesIO(png)).size) > 100


def test_runs_of_different_grids_have_figures_of_their_own(tmp_path):
    runs = {"flat": finished(tmp_path / "a"), "deep": finished(tmp_path / "b", dims=4)}
    html = page(tmp_path, runs)
    assert len(html.images()) == 4
    captions = {attrs["alt"] for tag, attrs in html.tags if tag == "img"}
    assert {caption.split(":")[0] for caption in captions} == {"3x3", "3x3x3x3"}


def test_the_same_runs_give_the_same_files(tmp_path):
    runs = {"ours": finished(tmp_path / "run")}
    written = []
    for name in ("one", "two"):
        write_report(runs, tmp_path / name / "page.html", title="t", rows=[ROW])
        written.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert written[0] == written[1]
    assert sorted(written[0]) == [
        "files.json",
        "page-3x3-l1.png",
        "page-3x3-terminal.png",
        "page.html",
    ]


def test_a_run_that_cannot_be_enumerated_has_no_picture_of_its_states(tmp_path):
    html = page(tmp_path, {"large": finished(tmp_path / "run", l1=(None, None))})
    assert len(html.images()) == 1


def test_an_unfinished_run_is_explained_and_leaves_no_page(tmp_path):
    Run.create(tmp_path / "run", Config())
    with pytest.raises(RunError, match=rf"has not ended.*--resume {tmp_path / 'run'}"):
        page(tmp_path, {"ours": tmp_path / "run"})
    assert not (tmp_path / "page.html").exists()


def test_a_run_stopped_after_some_metrics_is_explained_too(tmp_path):
    run = Run.create(tmp_path / "run", Config())
    run.log([{"trajectories": 256, "seed": 0, "total_l1": 0.5}])
    with pytest.raises(RunError, match="has not ended"):
        page(tmp_path, {"ours": tmp_path / "run"})


def searched(directory, failed=0):
    run = Run.create(directory, PretrainConfig(smiles="s.smi"))  # of the family molecules
    run.log({"calls": 10 * step, "hits": step} for step in (1, 2))
    reasons = {"no pose": failed}
    run.finish({"ob100": None, "failed": failed, "timeouts": 0, "calls": 20, "reasons": reasons})
    return directory


def forget_family(directory):
    """As a version left it that did not record the family."""
    path = directory / "environment.json"
    known = json.loads(path.read_text())
    del known["family"]
    path.write_text(json.dumps(known))


def test_each_family_has_its_figures(tmp_path):
    runs = {"grid": finished(tmp_path / "a"), "search": searched(tmp_path / "b", failed=3)}
    html = page(tmp_path, runs)
    captions = [attrs["alt"] for tag, attrs in html.tags if tag == "img"]
    assert captions == [
        "Molecules: hits by oracle calls",
        "3x3: distance to the target",
        "3x3: terminal distributions",
    ]
    assert "search: 3 of 20 oracle calls have no value" in html.text
    for directory in runs.values():
        forget_family(directory)
    assert page(tmp_path / "old", runs).images() == html.images()


def test_a_result_does_not_decide_what_a_run_is(tmp_path):
    """A key that another family has too changes nothing."""
    directory = finished(tmp_path / "run")
    result = json.loads((directory / "result.json").read_text())
    (directory / "result.json").write_text(json.dumps({**result, "ob100": 1}))
    assert len(page(tmp_path, {"ours": directory}).images()) == 2


@pytest.mark.parametrize("recorded", [True, False])
def test_a_run_of_a_language_model_is_refused(recorded, tmp_path):
    run = Run.create(tmp_path / "run", hypospace.Config(domain="causal"))
    run.finish({"train": {}, "test": {}})
    if not recorded:
        forget_family(tmp_path / "run")
    kind = "hypospace" if recorded else "a language model"
    with pytest.raises(RunError, match=f"is a run of {kind}, which .*of molecules or grids"):
        page(tmp_path, {"ours": tmp_path / "run"})


def test_no_run_is_explained(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        page(tmp_path, {"ours": tmp_path / "nowhere"})


def test_without_matplotlib_the_pip_line_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "ipsrl.report.figures", raising=False)
    with pytest.raises(MissingExtra, match=r'pip install "ipsrl\[report\]"'):
        page(tmp_path)
