"""Prose has at most 100 columns, as code has."""

import re

import pytest
from pages import PAGES

_ELSEWHERE = re.compile(r"^```.*?^```$|^(?: {4}|\||!\[)[^\n]*$", re.DOTALL | re.MULTILINE)
"""Code, tables and pictures, which cannot be wrapped."""


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_line_of_prose_is_too_long(page):
    prose = re.sub(_ELSEWHERE, "", page.read_text())
    assert [line for line in prose.splitlines() if len(line) > 100] == []
