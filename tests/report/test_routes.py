"""What `ipsrl molecules route` wrote is shown, beside its run or alone."""

from base64 import b64decode

import pytest
import report_runs as runs

from ipsrl.errors import RunError
from ipsrl.report import routes as module
from ipsrl.report.folders import find
from ipsrl.report.readers import read
from ipsrl.report.routes import has_routes, routes
from ipsrl.report.view import Routes, Synthesis
from ipsrl.runs import Folder

ESTER = "CCOC(C)=O"


def test_steps_and_pictures_are_those_of_the_files(tmp_path):
    """What has no route stands last; a picture belongs to the place of its molecule."""
    found = routes(runs.routes_folder(tmp_path / "routes", ESTER))
    assert found.note == "2 of 3 molecules have a route within the limits."
    steps = [(f"CCO.CC(=O)O>>{ESTER}", "ester")]
    made, bought, missing = found.routes
    assert (made.smiles, made.steps, b64decode(made.picture)) == (ESTER, steps, runs.SVG.encode())
    assert (bought, missing) == (Synthesis("CCO", [], ""), Synthesis("C1CC1", None, ""))


def test_the_first_so_many_are_drawn(tmp_path, monkeypatch):
    """At most two are drawn, and one for each run if two runs share the page."""
    monkeypatch.setattr(module, "DRAWN", 2)
    folder = runs.routes_folder(tmp_path / "routes", ESTER)
    assert [bool(one.picture) for one in routes(folder).routes] == [True, False, False]
    found = routes(folder, among=2)
    assert all(one.picture == "" for one in found.routes)
    assert found.note.endswith(" The first 1 are drawn.")


def test_a_folder_of_routes_is_shown_and_one_of_the_users_is_not(tmp_path):
    (found,) = find([runs.routes_folder(tmp_path / "routes", ESTER)]).routes
    assert found.title == "Routes"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "routes.json").write_text("[]")
    assert not has_routes(tmp_path / "mine")
    (why,) = find([tmp_path / "mine"]).troubles.values()
    assert "not a run directory" in why


def test_a_search_shows_the_routes_in_its_directory(tmp_path):
    run = runs.search_run(tmp_path / "run", ["CCO", ESTER])
    runs.finish_search(run, 2)
    assert not any(isinstance(part, Routes) for part in read(tmp_path / "run", "r").parts)
    runs.routes_folder(tmp_path / "run" / "routes", ESTER)
    assert [part.title for part in read(tmp_path / "run", "r").parts][-1] == "Routes"


@pytest.mark.parametrize("content", [b"{", b'[{"smiles": "C"}]', b"[1]", b"\xff"])
def test_what_cannot_be_read_is_explained(content, tmp_path):
    Folder(runs.routes_folder(tmp_path / "routes", ESTER)).write("routes.json", content)
    with pytest.raises(RunError, match=r"routes\.json cannot be read .*molecules route"):
        routes(tmp_path / "routes")
