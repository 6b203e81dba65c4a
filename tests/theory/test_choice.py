"""The table of estimators answers every question, and says what docs/choosing.md says."""

import itertools
import json
import math
import re
from pathlib import Path

import pytest

from ipsrl import ESTIMATORS
from ipsrl.cli import main
from ipsrl.theory.choice import CHOICES, COUNTED, SHORT_ANSWER, choose


def test_every_row_names_an_estimator():
    assert {row.estimator for row in CHOICES} <= set(ESTIMATORS)
    assert all(row.why for row in CHOICES)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize(
    ("per_member", "short", "back"),
    list(itertools.product([1e-3, COUNTED, 1, 1e5], [True, False], [True, False])),
)
def test_every_question_has_the_answer_of_the_first_row_that_fits(per_member, short, back, counts):
    fitting = [
        row
        for row in CHOICES[not counts :]
        if per_member <= row.most and row.short in (None, short) and row.back in (None, back)
    ]
    assert choose(per_member, short=short, back=back, counts=counts) == fitting[0].estimator


def test_every_row_is_needed():
    """Without a row some question has another answer."""
    asked = list(itertools.product([COUNTED, 1], [True, False], [True, False]))

    def answers(rows):
        return [
            next((row.estimator for row in rows if per_member <= row.most
                  and row.short in (None, short) and row.back in (None, back)), None)
            for per_member, short, back in asked
        ]  # fmt: skip

    for i in range(len(CHOICES)):
        assert answers(CHOICES[:i] + CHOICES[i + 1 :]) != answers(CHOICES)


def test_what_is_not_known_is_not_made_up():
    assert choose(4, short=None, back=True) is None  # likelihood or replay
    assert choose(COUNTED, short=None, back=False) == "group"
    assert choose(20, short=None, back=False) is None  # likelihood or group


# --- docs/choosing.md -----------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "choosing.md"
ANY = {None: "any", True: "yes", False: "no"}
FIGURES = PAGE.parent / "results" / "choosing" / "table.json"


def tables():
    """Cells of the page's tables, by their headings."""
    found = {}
    for block in PAGE.read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if lines:
            heading, _, *rows = (
                [cell.strip() for cell in line.strip("|").split("|")] for line in lines
            )
            found[tuple(heading)] = rows
    return found


def test_the_page_shows_the_table():
    page = tables()["right answers / G", "short answers", "prompts come back", "take", "because"]
    assert page == [
        [
            "any" if row.most == math.inf else f"up to {row.most:g}",
            ANY[row.short], ANY[row.back], f"`{row.estimator}`", row.why,
        ]
        for row in CHOICES
    ]  # fmt: skip


def test_the_commands_of_the_page_say_what_it_says(capsys):
    told = re.findall(
        r"^    ipsrl (advise .*?) +# (group|likelihood|replay)$", PAGE.read_text(), re.M
    )
    assert len(told) == 2
    for words, estimator in told:
        assert main([*words.split(), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["estimator"] == estimator


def test_the_page_names_the_length_of_a_short_answer():
    assert f"up to {SHORT_ANSWER} tokens" in PAGE.read_text()


def test_the_figures_of_the_page_are_those_of_the_command():
    rows = json.loads(FIGURES.read_text())
    heading = next(heading for heading in tables() if "pull" in heading)
    shown = [
        [
            str(row["per_member"]), f"`{row['estimator']}`" if row["bias"] is not None else "GRPO",
            *("-" if row[key] is None else f"{row[key]:.3g}" for key in
              ("bias", "sd", "weight", "pull", "passes")),
            *(f"{row[f'recovery{when}']['median']:.3f} / {row[f'validity{when}']['median']:.2f}"
              for when in ("_early", "")),
        ]
        for row in rows
    ]  # fmt: skip
    assert tables()[heading] == shown
    ideal = {row["per_member"]: f"{row['ideal']:.3f}" for row in rows}
    assert all(share in PAGE.read_text() for share in ideal.values())
    assert f"{rows[0]['seeds']} seeds" in PAGE.read_text()


def test_the_advised_estimators_are_the_best_of_the_figures():
    """What the table advises recovers, in the end, at least what any other does within noise."""
    rows = json.loads(FIGURES.read_text())
    for per_member in {row["per_member"] for row in rows}:
        mine = {row["estimator"]: row for row in rows if row["per_member"] == per_member}
        advised = choose(per_member, short=True, back=True)
        assert mine[advised]["advised"]
        best = max(row["recovery"]["median"] for row in mine.values())
        # .05 of the ideal: what the ranges of the seeds leave open
        assert mine[advised]["recovery"]["median"] > best - 0.05 * mine[advised]["ideal"]
