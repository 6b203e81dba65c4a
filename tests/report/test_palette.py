"""Colours that are told apart with any kind of colour vision, and seen on their paper."""

import itertools
import re

import numpy as np
import pytest

from ipsrl.report.colours import COLOURS
from ipsrl.report.page import _FILES

# Simulation of dichromacy in linear RGB, severity 1: Machado, Oliveira and Fernandes (2009).
VISION = {
    "all colours": np.eye(3),
    "no red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]),
    "no green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                          [-0.011820, 0.042940, 0.968881]]),
    "no blue": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                         [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
PAPER = {"light": "#ffffff", "dark": "#15171a"}


def linear(colour: str) -> np.ndarray:
    """sRGB without its gamma."""
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab of linear RGB under D65."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of luminances."""
    high, low = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def palette(name: str, scheme: str) -> list[str]:
    source = (_FILES / "charts.js").read_text()
    (both,) = re.findall(rf"const {name} = {{(.*?)}};", source, re.DOTALL)
    (found,) = re.findall(rf"{scheme}: \[(.*?)\]", both, re.DOTALL)
    return re.findall(r"#[0-9A-Fa-f]{6}", found)


def closest(colours: list[str], vision: str) -> float:
    seen = [lab(VISION[vision] @ linear(colour)) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", PAPER)
@pytest.mark.parametrize(("name", "least"), [("LINES", 25), ("OUTCOMES", 21)])
def test_no_two_colours_look_alike(name, scheme, least, vision):
    """Distances in Lab, of which 2.3 can just be seen side by side."""
    colours = palette(name, scheme)
    assert len(colours) == len(set(colours)) >= 6
    assert closest(colours, vision) > least


def test_there_are_as_many_colours_as_outcomes_with_one():
    assert [len(palette("OUTCOMES", scheme)) for scheme in PAPER] == [COLOURS, COLOURS]


@pytest.mark.parametrize("scheme", PAPER)
@pytest.mark.parametrize("name", ["LINES", "OUTCOMES"])
def test_colours_are_seen_on_their_paper(name, scheme):
    """WCAG 1.4.11 asks for 3:1."""
    assert min(contrast(colour, PAPER[scheme]) for colour in palette(name, scheme)) >= 3


def test_a_bad_palette_would_be_found():
    """Red and green of one lightness, which need all three kinds of cones."""
    assert closest(["#d62728", "#2ca02c"], "all colours") > 60
    assert closest(["#a05000", "#507000"], "no green") < 10
