"""Pictures of routes: every step has its name."""

import xml.etree.ElementTree as ElementTree

from routes import ROUTE

from ipsrl.molecules import Reaction, Route
from ipsrl.molecules.synthesis.picture import route_svg


def words(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_picture_names_every_step_and_marks_what_is_bought():
    found = words(route_svg(ROUTE))
    assert found.count("in stock") == 3
    said = " ".join(found)
    assert "Suzuki coupling of arenes" in said
    assert "amide from an acid" in said


def test_a_picture_of_what_is_bought():
    assert words(route_svg(Route("CCO", ()))) == ["in stock"]


def test_a_reactant_that_is_needed_twice_is_drawn_once_with_its_number():
    route = Route("CNC(=O)NC", (Reaction("CNC(=O)NC", ("CN", "CN"), "urea <from> two"),))
    found = words(route_svg(route))
    assert "2 x" in found
    assert "urea <from> two" in found
    assert found.count("in stock") == 1
