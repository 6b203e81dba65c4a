"""Questions with many right answers, and the lists that decide what is right.

`ipsrl train llm` calls `right` as the reward and `answer` as the outcome.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ipsrl.llm.outcomes.answer import last_message


@dataclass(frozen=True)
class Question:
    """A question with two answered examples before it, which show the form of an answer.

    Attributes:
      text: the question.
      shots: other questions, with their answers.
      listed: right answers; spellings of one are separated by "/", and the first is its key.
    """

    text: str
    shots: tuple[tuple[str, str], ...]
    listed: tuple[str, ...]

    @property
    def messages(self) -> list[dict[str, str]]:
        """The question as a conversation, without a system message, which a template would add."""
        said = [("system", "")]
        for question, reply in self.shots:
            said += [("user", question), ("assistant", reply)]
        return [{"role": r, "content": text} for r, text in [*said, ("user", self.text)]]

    def key(self, text: str) -> str | None:
        """The first right answer that a text mentions; None if it mentions none."""
        found = self._pattern.search(text)
        return self._keys[found.group().lower()] if found else None

    @cached_property
    def _keys(self) -> dict[str, str]:
        spelt = [entry.split("/") for entry in self.listed]
        return {name.lower(): names[0] for names in spelt for name in names}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._keys, key=len, reverse=True)
        # Letters of a name are ASCII: else a dotted I would be an i, and be no key.
        return re.compile(rf"\b(?ai:{'|'.join(map(re.escape, longest_first))})\b")


def _list(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.replace("\n", " ").split(","))


QUESTIONS = {
    "capitals": Question(
        "Name a capital city in Europe.",
        (("Name a capital city.", "Ottawa"), ("Name a capital city in Asia.", "Hanoi")),
        _list("""Amsterdam, Andorra la Vella, Athens, Belgrade, Berlin, Bern, Bratislava, Brussels,
            Bucharest, Budapest, Chisinau, Copenhagen, Dublin, Helsinki, Kyiv/Kiev, Lisbon,
            Ljubljana, London, Luxembourg, Madrid, Minsk, Monaco, Moscow, Nicosia, Oslo, Paris,
            Podgorica, Prague, Pristina, Reykjavik, Riga, Rome, San Marino, Sarajevo, Skopje, Sofia,
            Stockholm, Tallinn, Tirana, Vaduz, Valletta, Vatican City, Vienna, Vilnius, Warsaw,
            Zagreb"""),
    ),
    "states": Question(
        "Name a state of the United States.",
        (("Name a country.", "Canada"), ("Name a city of the United States.", "Boston")),
        _list("""Alabama, Alaska, Arizona, Arkansas, California, Colorado, Connecticut, Delaware,
            Florida, Georgia, Hawaii, Idaho, Illinois, Indiana, Iowa, Kansas, Kentucky, Louisiana,
            Maine, Maryland, Massachusetts, Michigan, Minnesota, Mississippi, Missouri, Montana,
            Nebraska, Nevada, New Hampshire, New Jersey, New Mexico, New York, North Carolina,
            North Dakota, Ohio, Oklahoma, Oregon, Pennsylvania, Rhode Island, South Carolina,
            South Dakota, Tennessee, Texas, Utah, Vermont, Virginia, Washington, West Virginia,
            Wisconsin, Wyoming"""),
    ),
    "elements": Question(
        "Name a chemical element.",
        (("Name a planet.", "Saturn"), ("Name a compound.", "Ammonia")),
        _list("""Hydrogen, Helium, Lithium, Beryllium, Boron, Carbon, Nitrogen, Oxygen, Fluorine,
            Neon, Sodium, Magnesium, Aluminium/Aluminum, Silicon, Phosphorus, Sulfur/Sulphur,
            Chlorine, Argon, Potassium, Calcium, Scandium, Titanium, Vanadium, Chromium, Manganese,
            Iron, Cobalt, Nickel, Copper, Zinc, Gallium, Germanium, Arsenic, Selenium, Bromine,
            Krypton, Rubidium, Strontium, Yttrium, Zirconium, Niobium, Molybdenum, Technetium,
            Ruthenium, Rhodium, Palladium, Silver, Cadmium, Indium, Tin, Antimony, Tellurium,
            Iodine, Xenon, Caesium/Cesium, Barium, Lanthanum, Cerium, Praseodymium, Neodymium,
            Promethium, Samarium, Europium, Gadolinium, Terbium, Dysprosium, Holmium, Erbium,
            Thulium, Ytterbium, Lutetium, Hafnium, Tantalum, Tungsten, Rhenium, Osmium, Iridium,
            Platinum, Gold, Mercury, Thallium, Lead, Bismuth, Polonium, Astatine, Radon, Francium,
            Radium, Actinium, Thorium, Protactinium, Uranium, Neptunium, Plutonium, Americium,
            Curium, Berkelium, Californium, Einsteinium, Fermium, Mendelevium, Nobelium,
            Lawrencium, Rutherfordium, Dubnium, Seaborgium, Bohrium, Hassium, Meitnerium,
            Darmstadtium, Roentgenium, Copernicium, Nihonium, Flerovium, Moscovium, Livermorium,
            Tennessine, Oganesson"""),
    ),
}  # fmt: skip
"""Questions by name."""


def answer(completions: Sequence[Any], question: Sequence[str], **_: Any) -> list[str | None]:
    """The right answer that each completion mentions first; None if it mentions none."""
    pairs = zip(question, map(last_message, completions), strict=True)
    return [QUESTIONS[name].key(text) for name, text in pairs]


def right(completions: Sequence[Any], question: Sequence[str], **_: Any) -> list[float]:
    """1 if a completion mentions a right answer, else 0."""
    return [float(key is not None) for key in answer(completions, question)]
