"""The page in a real browser: what it asks for, shows and lets one do."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import report_runs as runs
from playwright.sync_api import sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="Chromium is not installed: apt-get install chromium"
)
SMILES = ["c1ccccc1", "Cc1ccccc1", "Oc1ccccc1C(=O)O", "CCO", "C1CCNCC1", runs.HOSTILE]
SHOWN = ("grid", "lm", "causal", "voxel", "search")
WAYS = ((1400, "light"), (390, "dark"))


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run of each family, in every state; what comes from outside is markup."""
    folder = tmp_path_factory.mktemp("runs")
    runs.finish_grid(runs.grid_run(folder / "grid"))
    runs.grid_run(folder / "<img src=x>")  # going on: its lock is held as long as the tests run
    hostile = {"prompt": runs.HOSTILE, "also": (runs.HOSTILE, "<b>bold</b> &amp; $x$ %{x}")}
    runs.finish_lm(runs.lm_run(folder / "lm", steps=12, collapse=False, **hostile))
    with pytest.raises(ValueError, match="script"), runs.lm_run(folder / "lm-1", seed=1):
        raise ValueError(runs.HOSTILE)
    for domain in ("causal", "voxel"):
        runs.finish_hypospace(runs.hypospace_run(folder / domain, domain, steps=6))
    search = runs.search_run(folder / "search", SMILES * 5, failed=3, reason=runs.HOSTILE)
    runs.finish_search(search, 30, 3, runs.HOSTILE)
    runs.routes_folder(folder / "search" / "routes", runs.HOSTILE, runs.HOSTILE)
    return folder


@pytest.fixture(scope="module")
def pages(folder, tmp_path_factory) -> dict[str, Path]:
    """A page of each run, and one of all."""
    from ipsrl.report.page import write_report
    from ipsrl.runs import Folder

    out = tmp_path_factory.mktemp("pages")
    for name in SHOWN:
        write_report([folder / name], out / f"{name}.html")
    write_report([folder], out / "all.html")
    write_report([folder / "<img src=x>"], out / "live.html", refresh=1000)
    item = Folder.make(out / "item")
    row = {"cell": "a", "values": {}, "runs": ["a"], "measures": {"hits": 3}, "failed": {}}
    item.write("table.json", json.dumps([row]).encode())
    item.write("sweep.svg", runs.SVG.encode())
    write_report([out / "item"], out / "item.html")
    return {name: out / f"{name}.html" for name in (*SHOWN, "all", "live", "item")}


def opened(browser: Any, path: Path, width: int = 1400, scheme: str = "light") -> Any:
    """A page that is read without a network; it keeps what it asked for and complained of."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True,
        permissions=["clipboard-read", "clipboard-write"],
    )  # fmt: skip
    page = context.new_page()
    page.problems, page.asked = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    return page


def until(page: Any, condition: str) -> None:
    """Playwright's own waiting evaluates text in the page, which its policy forbids."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within 30 s: {condition}")


def open_everything(page: Any) -> None:
    """All that can be opened, and every chart drawn."""
    for _ in range(2):  # what is opened may hold more
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        page.wait_for_timeout(50)
    for top in range(0, page.evaluate("document.documentElement.scrollHeight"), 800):
        page.evaluate(f"scrollTo(0, {top})")
        page.wait_for_timeout(20)
    until(page, "[...document.querySelectorAll('.plot')].every((p) => p.querySelector('svg'))")
    page.evaluate("scrollTo(0, 0)")


@pytest.fixture(scope="module", params=[(n, *way) for n in SHOWN for way in WAYS], ids=str)
def seen(request, browser, pages):
    """Every kind of run with everything open, wide and light, and narrow and dark."""
    name, width, scheme = request.param
    page = opened(browser, pages[name], width, scheme)
    open_everything(page)
    yield page
    page.context.close()


@pytest.fixture
def page_of(browser, pages):
    """Opens the page of a run for one test."""
    contexts = []

    def open_page(name: str, **options: Any) -> Any:
        page = opened(browser, pages[name], **options)
        contexts.append(page.context)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.promise(number=19)
def test_nothing_is_requested_and_nothing_complains(seen, record_property):
    """The page needs nothing but itself; a breach of its policy would be a problem."""
    assert seen.asked == [seen.url]
    assert seen.problems == []
    record_property("figure", f"{len(SHOWN) * len(WAYS)} pages opened without a network")


def test_nothing_sticks_out(seen):
    """Wide tables scroll in boxes of their own, and charts have room."""
    assert seen.evaluate("document.documentElement.scrollWidth") <= seen.viewport_size["width"]
    widths = "[...document.querySelectorAll('.plot')].map((p) => p.getBoundingClientRect().width)"
    assert min(seen.evaluate(widths)) > 250


def test_the_paper_is_of_the_scheme(seen):
    dark = seen.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    paper = seen.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(21, 23, 26)" if dark else "rgb(255, 255, 255)")


def test_markup_is_text(seen):
    """In prompts, SMILES, reasons and names; everything of it can be read."""
    assert seen.title() != "owned"
    assert seen.locator("img:not(.route)").count() == 0
    assert seen.locator("body script").count() == 3  # data, ours, Plotly


def test_axe_finds_nothing(seen):
    """No violation of WCAG's levels A and AA."""
    home = find_spec("axe_playwright_python")
    seen.evaluate(Path(home.origin).with_name("axe.min.js").read_text("utf-8"))
    levels = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = seen.evaluate("(levels) => axe.run({ runOnly: levels })", levels)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert len(found["passes"]) > 10  # it did look


def test_the_policy_lets_no_other_script_run(page_of):
    """What got into the page would neither run nor load."""
    page = page_of("grid")
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', "
        "'<img src=http://localhost/x onerror=\"document.title=`owned`\">');"
        "const s = document.createElement('script'); s.textContent = 'document.title = `owned`';"
        "document.body.append(s);"
    )
    page.wait_for_timeout(200)
    assert page.title() != "owned"
    assert any("Content Security Policy" in problem for problem in page.problems)


def test_all_runs_stand_on_one_page(page_of, folder):
    page = page_of("all")
    assert page.problems == []
    assert page.locator("img").count() == 0
    shown = {}
    for table in page.locator("table", has=page.get_by_role("button", name="state")).all():
        for row in table.locator("tbody tr").all():
            shown[row.locator("th").inner_text()] = row.locator("td").first.inner_text()
    assert set(shown) == {path.name for path in folder.iterdir()}
    assert shown["<img src=x>"].startswith("running, 76,800 of 76,800")
    assert (shown["grid"], shown["lm-1"]) == ("ended", "failed, 40 of 40 steps")
    assert page.get_by_text(f"lm-1: The run failed: ValueError: {runs.HOSTILE}"[:60]).count() == 1
    assert "3 of 30 oracle calls have no value" in page.locator(".alarm").all_inner_texts()[-1]


def numbers_of(page: Any, chart: str) -> list[list[str]]:
    """The table below a chart, as it is read."""
    figure = page.locator("figure", has=page.get_by_text(chart, exact=True)).first
    figure.locator("summary", has_text="Numbers").click()
    figure.locator("tbody tr").first.wait_for()  # the page fills the table when it is opened
    rows = figure.locator("tbody tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


@pytest.mark.promise(number=19)
def test_numbers_of_a_grid_are_those_of_the_file(page_of, folder):
    """The middle of three seeds, and the outer two; four digits are shown."""
    shown = numbers_of(page_of("grid"), "Distance to the target")
    assert len(shown) == 30
    for t, (x, l1) in enumerate(shown):
        low, middle, high = (1.5 / (1 + t) + 0.01 * seed for seed in range(3))
        numbers = [float(n) for n in re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", l1).groups()]
        assert numbers == pytest.approx([middle, low, high], rel=5e-4)
        assert x == f"{2560 * (t + 1):,}"


def test_right_answers_are_found_or_missing(page_of, folder):
    """The first prompt has the most right answers, and each of them is a tile."""
    sets = runs.answers_of(folder / "causal" / "data.jsonl")
    most = max(len(one["admissible"]) for one in sets if one["split"] == "train")
    tiles = page_of("causal").locator(".tiles").first.locator("li")
    assert tiles.count() == most
    missing = tiles.locator("text=never found").count()
    assert missing == most - max(1, most // 2)
    assert tiles.locator("svg").count() == most


def test_routes_are_drawn_and_written(page_of):
    """A picture is as wide as it can be read, in a box that scrolls."""
    page = page_of("search", width=390)
    section = page.locator("section", has=page.get_by_role("heading", name="Routes", exact=True))
    section.locator("img").scroll_into_view_if_needed()
    until(page, "document.querySelector('img.route').naturalWidth === 1700")
    assert section.locator("img").bounding_box()["width"] > 390
    assert section.locator("li").all_inner_texts() == [
        f"CCO.CC(=O)O>>{runs.HOSTILE} {runs.HOSTILE}"
    ]
    assert section.locator("p").all_inner_texts() == [
        "2 of 3 molecules have a route within the limits.", "in stock: CCO", "no route: C1CC1",
    ]  # fmt: skip


def test_a_picture_can_be_read_on_a_telephone(page_of):
    """It is as wide as a book, in a box that scrolls."""
    page = page_of("item", width=390)
    until(page, "document.querySelector('.picture img').naturalWidth === 1700")
    assert round(page.locator(".picture img").bounding_box()["width"]) == 960
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_what_is_counted_has_whole_marks(page_of):
    page = page_of("grid")
    figure = page.locator("figure", has=page.get_by_text("Modes visited", exact=True)).first
    figure.scroll_into_view_if_needed()
    marks = figure.locator(".ytick text")
    marks.first.wait_for()
    assert marks.all_text_contents() == ["1", "2", "3", "4"]


def test_marks_of_a_logarithmic_axis_are_values_that_there_are(page_of):
    page = page_of("grid")
    figure = page.locator("figure", has=page.get_by_text("Coverage", exact=True)).first
    figure.scroll_into_view_if_needed()
    marks = figure.locator(".xtick text")
    marks.first.wait_for()
    shown = [int(text.replace(",", "")) for text in marks.all_text_contents()]
    assert 3 <= len(shown) <= 7
    assert all(n.bit_count() == 1 for n in shown)  # powers of two, as in the data


@pytest.mark.parametrize(
    ("name", "steps"),
    [("causal", range(1, 7)), ("grid", range(2560, 76801, 2560))],
    ids=["6", "30"],
)
def test_a_bar_stands_at_its_own_step(name, steps, page_of):
    """Its middle and what Plotly draws there; bars touch each other."""
    page = page_of(name)
    figure = page.locator(
        "figure", has=page.get_by_text("Outcomes over training", exact=True)
    ).first
    figure.scroll_into_view_if_needed()
    figure.locator(".bars path").first.wait_for()
    bars = figure.locator(".plot").evaluate("(box) => [box.data[0].x, box.data[0].width]")
    assert bars == [list(steps), [steps.step] * len(steps)]
    shown = [
        int(text.replace(",", "")) for text in figure.locator(".xtick text").all_text_contents()
    ]
    assert {*shown} >= {*steps} if len(steps) < 7 else not {*shown} - {*range(0, 80_001, 20_000)}


def test_bars_of_several_steps_cover_them(page_of):
    """Windows of steps 1 to 4, 5 to 6 and 10: they meet half-way between their steps."""
    at, widths = page_of("grid").evaluate("places([1, 5, 10], [4, 6, 10])")
    assert [x - w / 2 for x, w in zip(at, widths, strict=True)] == [0.5, 4.5, 8]
    assert [x + w / 2 for x, w in zip(at, widths, strict=True)] == [4.5, 8, 12]


def focus(page: Any) -> str:
    return page.evaluate("document.activeElement.innerText || document.activeElement.tagName")


def test_every_control_is_reached_by_the_keyboard_in_order(page_of):
    page = page_of("search")
    wanted = page.evaluate(
        "[...document.querySelectorAll('button, summary, select, input, [tabindex=\"0\"]')]"
        ".filter((e) => e.checkVisibility()).length"
    )
    met = 0
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement !== document.body") and met <= wanted:
        met += 1
        box = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert box == "solid"  # where one is can be seen
        page.keyboard.press("Tab")
    assert met == wanted


def test_a_table_is_sorted_with_the_keyboard(page_of):
    page = page_of("search")
    section = page.locator("section", has=page.get_by_role("heading", name="Scaffolds", exact=True))
    head = section.locator("th", has_text="molecules")
    for direction in ("ascending", "descending"):
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == direction
        column = [
            int(row.locator("td").nth(2).inner_text()) for row in section.locator("tbody tr").all()
        ]
        assert column == sorted(column, reverse=direction == "descending")
    section.get_by_label("Search").fill("c")  # keeps the order, of which the heading tells
    column = [int(text) for text in section.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert len(column) > 1
    assert column == sorted(column, reverse=True)
    unknown_last = "[3, null, 5].sort(sorted((value) => value, {}))"
    assert page.evaluate(unknown_last.format("false")) == [3, 5, None]
    assert page.evaluate(unknown_last.format("true")) == [5, 3, None]


def test_molecules_are_sorted_filtered_and_copied(page_of, folder):
    page = page_of("search")
    cards = page.locator(".gallery > li")
    cards.first.scroll_into_view_if_needed()
    page.wait_for_selector(".gallery svg")
    tops = "(one) => [...one.children].map((label) => label.getBoundingClientRect().top)"
    first, second = sorted({*page.locator(".controls").last.evaluate(tops)})
    assert second - first > 50  # two lines, and on each the labels at one height
    rewards = [float(card.locator("dd").nth(1).inner_text()) for card in cards.all()[:20]]
    assert rewards == sorted(rewards, reverse=True)
    page.get_by_label("Status").select_option("failed")
    assert cards.count() == 3
    assert page.get_by_text("3 of 30 molecules").count() == 1
    assert cards.first.locator(".alarm").inner_text() == f"failed: {runs.HOSTILE}"
    page.get_by_label("Status").select_option("")
    page.get_by_label("SMILES or reason").fill("Cc1ccccc1")
    assert cards.count() == 5
    cards.first.get_by_role("button").focus()
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.gallery [role=status]').textContent")
    assert page.evaluate("navigator.clipboard.readText()") == "Cc1ccccc1"
    assert page.locator(".gallery [role=status]").first.inner_text().strip() == "✓ copied"
    page.get_by_label("SMILES or reason").fill("")
    for name, keeps in (("is at least", [0.5, 1]), ("and at most", [0, 0.5])):
        page.get_by_label(name).fill("0.5")
        kept = [float(card.locator("dd").nth(1).inner_text()) for card in cards.all()]
        assert 0 < len(kept) < 24
        assert all(keeps[0] <= reward <= keeps[1] for reward in kept)
        page.get_by_label(name).fill("")
    page.get_by_label("SMILES or reason").fill("<script>")
    # All that is hostile, and what failed for a hostile reason.
    assert cards.count() == 7
    assert cards.first.locator("code").inner_text() == runs.HOSTILE


def test_the_focus_stays_where_it_is_when_molecules_are_drawn(page_of):
    page = page_of("search")
    page.evaluate("document.querySelector('.gallery button').focus()")
    page.wait_for_selector(".gallery svg")
    assert page.evaluate("document.activeElement.matches('.gallery button')")


def test_names_of_outcomes_are_text_in_charts_and_tiles(page_of):
    """Plotly reads some tags and signs; in what it draws there is none of them."""
    page = page_of("lm")
    open_everything(page)
    name = "<b>bold</b> &amp; $x$ %{x}"
    tile = page.locator(".tiles li", has_text="bold").first
    assert tile.get_attribute("title") == name
    assert page.locator(".legend", has_text=name).count() == 1
    names = page.evaluate(
        "[...document.querySelectorAll('.plot')].flatMap((p) => p.data.map((t) => t.name))"
    )
    assert "&lt;b&gt;bold&lt;/b&gt; &amp;amp; $x$ %{x}" in names


def test_the_command_is_seen_and_copied(page_of, folder):
    page = page_of("grid")
    command = f"ipsrl train hypergrid --config {folder / 'grid' / 'config.toml'} --out NEW"
    assert page.locator(".command code").inner_text() == command
    page.get_by_role("button", name="Copy the command").click()
    until(page, "document.querySelector('.command [role=status]').textContent")
    assert page.evaluate("navigator.clipboard.readText()") == command
    assert "files written" in page.locator(".source dt").all_inner_texts()


def test_what_was_opened_stays_open_when_the_page_is_read_again(page_of):
    page = page_of("live", width=390)
    page.get_by_text("Configuration and origin").click()
    figure = page.locator("figure", has=page.get_by_text("Reward, raw", exact=True))
    figure.locator("summary").click()
    with page.expect_event("load"):
        page.evaluate("scrollTo({ top: 700, behavior: 'instant' }); setTimeout(again)")
    until(page, "document.querySelectorAll('details[open]').length === 2")
    assert page.get_by_text("side", exact=True).is_visible()
    assert figure.locator("tbody tr").count() == 30
    until(page, "scrollY === 700")


def test_a_long_name_does_not_lie_over_its_neighbour(page_of):
    """Each cell of the table of runs holds what it shows."""
    wider = "[...document.querySelectorAll('th.run')].filter((c) => c.scrollWidth > c.clientWidth)"
    page = page_of("all")
    page.evaluate("document.querySelector('th.run[scope=row]').textContent = 'x'.repeat(150)")
    page.evaluate("document.querySelector('th.run[scope=row]').classList.remove('short')")
    assert page.evaluate(f"{wider}.length") == 0


def test_samples_are_searched(page_of):
    page = page_of("lm")
    section = page.locator("section", has=page.get_by_role("heading", name="Samples"))
    section.get_by_label("Search").fill("I do not know")
    texts = section.locator("tbody tr").all_inner_texts()
    assert texts
    assert all("I do not know." in text for text in texts)


def test_charts_follow_a_change_of_the_scheme(page_of):
    page = page_of("grid")
    open_everything(page)
    line = "document.querySelector('.plot .xtitle').style.fill"
    before = page.evaluate(line)
    page.emulate_media(color_scheme="dark")
    until(page, f"{line} !== '{before}'")
    assert page.problems == []


@pytest.mark.slow
def test_large_pages_are_small_and_open_fast(browser, tmp_path, record_property):
    """10,000 molecules, and 500 outcomes: under 15 MB, and under 2 s of a processor.

    Time of the processor, because that of the wall is that of whatever else the machine does.
    """
    from ipsrl.report.page import write_report

    scaffolds = ("c1ccc({0})cc1", "C1CCN({0})CC1", "C1CC1{0}", "c1ccnc({0})c1")
    smiles = [
        scaffolds[i % 4].format("C" * (1 + i // 4 % 50) + "O" + "C" * (i // 200))
        for i in range(10_000)
    ]
    runs.finish_search(runs.search_run(tmp_path / "search", smiles, failed=700), 10_000, 700)
    runs.finish_lm(runs.lm_run(tmp_path / "lm", outcomes=500, group=64, collapse=False))
    for name in ("search", "lm"):
        out = tmp_path / f"{name}.html"
        write_report([tmp_path / name], out)
        page = opened(browser, out)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        page.wait_for_load_state("load")
        told = session.send("Performance.getMetrics")["metrics"]
        seconds = next(one["value"] for one in told if one["name"] == "ProcessTime")
        megabytes = out.stat().st_size / 1e6
        record_property(f"{name}", f"{megabytes:.1f} MB, {seconds:.2f} s of a processor")
        assert page.problems == []
        assert megabytes < 15
        assert seconds < 2
        page.context.close()
