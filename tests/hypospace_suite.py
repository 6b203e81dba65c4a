"""What every HypoSpace domain must do.  A new domain subclasses `TaskSuite`."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from helpers import peak_memory, seconds_where_promised, steps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipsrl.hypospace import Judgement, ObservationSet, Verdict, dataset, judge
from ipsrl.hypospace.task import LONGEST_RESPONSE

SLOWEST = 0.010  # seconds for one response, where promise 1 is measured
SLOWEST_REFUSAL = 0.100  # seconds for an input of megabytes, where promise 4 is measured
MOST_MEMORY = 50 * 2**20  # bytes
MOST_STEPS = 1000  # for an ordinary response; 280 to 500 are taken, and 10 to 17 microseconds
CASES = 20_000  # judgements in an exhaustive law, or a sample of the pairs if there are more

# Around an answer: `{}` is its text, `{label}` its first word with the colon, `{body}` the rest.
DECORATED = [
    "{}",
    "  {}  \n\n",
    "{}.",
    "{}<end_of_turn>",
    "{}</s><eos>",
    "{}<|im_end|>\n<|endoftext|>",
    "```\n{}\n```",
    "```text\n{}\n```<end_of_turn>",
    "Let me think: none of the nodes is special, and NOT every one is.\n\n{}",
    "**Answer**\n\n{}\n\nThis explains all observations.",
    "\u202b\u0000\n{}",
    "{}\n\nNote: expressions, graphs and layers are names.",
]


class TaskSuite(ABC):
    """Laws; `checker` is written independently of the domain's own parser."""

    task: ClassVar[Any]
    decorations: ClassVar[list[str]] = []
    """Further frames, of which the key must not depend."""
    refused: ClassVar[list[tuple[str, Verdict]]] = []
    """Responses that are not valid for `hard`, and why."""
    vocabulary: ClassVar[list[str]] = []
    """Pieces that mutations insert."""

    @abstractmethod
    def hypotheses(self) -> set[str]:
        """All keys, by brute force."""

    @abstractmethod
    def explains(self, key: str, observations: Sequence[str]) -> bool:
        """Does the hypothesis with this key explain the observations?  Written independently."""

    @abstractmethod
    def stated(self, response: str, observations: Sequence[str]) -> str | None:
        """Key of the answer in the response, by the rule of the docs.  Written independently."""

    # --- generator and judge ----------------------------------------------------------------------

    def sets(self) -> list[tuple[tuple[str, ...], list[str]]]:
        return list(self.task.observation_sets())

    def some_sets(self, cases: int) -> list[tuple[tuple[str, ...], list[str]]]:
        sets = self.sets()
        return random.Random(0).sample(
            sets, min(len(sets), max(1, cases // len(self.hypotheses())))
        )

    def test_hypotheses_are_those_of_brute_force(self):
        assert {key for _, keys in self.sets() for key in keys} == self.hypotheses()

    def test_no_observation_set_comes_twice_and_no_key_twice_in_one(self):
        sets = self.sets()
        assert len({lines for lines, _ in sets}) == len(sets)
        assert all(len(set(keys)) == len(keys) > 0 for _, keys in sets)

    def test_admissible_are_the_hypotheses_that_explain_all_observations(self):
        for lines, keys in self.some_sets(4 * CASES):
            assert set(keys) == {key for key in self.hypotheses() if self.explains(key, lines)}

    @pytest.mark.promise(number=2)
    def test_parse_of_render_is_the_identity(self, record_property):
        """For every hypothesis, and valid in every set that lists it."""
        seen = set()
        for lines, keys in self.sets():
            for key in keys:
                judgement = judge(self.task, lines, self.task.answer(key))
                assert (judgement.key, judgement.verdict) == (key, Verdict.ADMISSIBLE)
                seen.add(key)
        assert seen == self.hypotheses()
        record_property("figure", f"{self.task.name}: {len(seen)} hypotheses")

    def test_valid_iff_the_key_is_admissible(self):
        for lines, keys in self.some_sets(CASES):
            for key in self.hypotheses():
                judgement = judge(self.task, lines, self.task.answer(key))
                assert judgement.key == key
                assert judgement.valid == (key in keys)

    # --- parser -----------------------------------------------------------------------------------

    def examples(self, count: int, seed: int = 0) -> list[tuple[tuple[str, ...], str]]:
        """Observations with one of their admissible keys."""
        rng = random.Random(seed)
        sets = self.sets()
        return [(lines, rng.choice(keys)) for lines, keys in rng.choices(sets, k=count)]

    def test_the_frame_of_an_answer_does_not_matter(self):
        for lines, key in self.examples(40):
            answer = self.task.answer(key)
            for frame in [*DECORATED, *self.decorations]:
                text = self.framed(frame, answer)
                for ends in (text, text.replace("\n", "\r\n")):
                    judgement = judge(self.task, lines, ends)
                    assert (judgement.key, judgement.valid) == (key, True), repr(ends)

    def test_the_last_answer_counts(self):
        others = self.examples(40, seed=1)
        for (lines, key), (_, other) in zip(self.examples(40), others, strict=True):
            both = f"{self.task.answer(other)}\n\nNo, wait.\n\n{self.task.answer(key)}\n"
            assert judge(self.task, lines, both).key == key

    def test_an_answer_that_breaks_off_does_not_count(self):
        for lines, key in self.examples(40):
            answer = self.task.answer(key)
            label = answer[: answer.index(":") + 1]
            assert judge(self.task, lines, f"{answer}\n\n{label}").key == key

    def test_the_last_sixteen_beginnings_are_looked_at(self):
        lines, key = self.examples(1)[0]
        answer = self.task.answer(key).removesuffix("END_STRUCTURE")
        for repeats, verdict in ((15, Verdict.ADMISSIBLE), (16, Verdict.NO_ANSWER)):
            text = answer + f"\n{self.beginning}\n" * repeats
            assert judge(self.task, lines, text).verdict is verdict

    def test_refusals_say_why(self):
        lines = self.sets()[0][0]
        for response, verdict in self.refused:
            judgement = judge(self.task, lines, response)
            assert judgement.verdict is verdict, (response, judgement)
            assert not judgement.valid
            assert judgement.reason.startswith(verdict.value)
            assert (judgement.key is None) == (
                verdict not in (Verdict.OUTSIDE, Verdict.CONTRADICTS)
            )

    def test_an_echo_of_the_prompt_is_no_gain(self):
        """What the prompt itself shows as an example is judged like any answer."""
        for lines, keys in self.some_sets(CASES):
            judgement = judge(self.task, lines, self.task.prompt(lines))
            assert judgement.valid == (judgement.key in keys)

    @pytest.mark.parametrize("bad", [[], ["\x00"], [""], [3], [None], ["x" * 10**6], [["a"]]])
    def test_observations_that_cannot_be_read_are_not_the_fault_of_a_response(self, bad):
        answer = self.task.answer(self.sets()[0][1][0])
        assert judge(self.task, bad, answer).verdict is Verdict.BAD_INPUT

    # --- hostile text -----------------------------------------------------------------------------

    def hostile(self) -> list[str]:
        pieces = [
            *self.vocabulary, "(", "((", ")", "[", "<", "<|", "<|a", "```", "```a", "*", "\x00",
            "\u202e", "\n", "\r\n", " ", "\t", "-", ":", "\ud800", "1", "0 ", "NaN ", "\U0010ffff",
        ]  # fmt: skip
        answer = self.task.answer(self.sets()[0][1][0])
        label = answer[: answer.index(":") + 1]
        pieces += [answer, f"{answer}\n", f"{label} ", f"{answer} !\n", f"{answer[:-1]}\n"]
        starts = ["", f"{label} ", "Layer 1:\n"]
        return [
            (start + piece * (LONGEST_RESPONSE // len(piece) + 1))[:LONGEST_RESPONSE]
            for piece in pieces
            for start in starts
        ]

    @pytest.mark.promise(number=1)
    def test_the_longest_texts_take_steps_and_memory_in_proportion(self):
        lines = self.sets()[0][0]
        for text in self.hostile():
            run = lambda text=text: judge(self.task, lines, text)  # noqa: E731
            assert steps(run) < MOST_STEPS + 4 * len(text), text[:200]
            assert peak_memory(run) < 2**12 + 200 * len(text), text[:200]
            seconds_where_promised(run, SLOWEST)

    @pytest.mark.slow
    def test_no_regular_expression_hangs(self):
        """In 20 seconds, for texts that take milliseconds: what happens in C cannot be counted."""
        watched = (
            "import faulthandler, json, sys\nfrom ipsrl import hypospace\n"
            f"task = hypospace.{type(self.task).__name__}()\n"
            "for line in sys.stdin:\n"
            "    faulthandler.dump_traceback_later(20, exit=True)\n"
            "    hypospace.judge(task, *json.loads(line))\n"
        )
        texts = [json.dumps([self.sets()[0][0], text]) + "\n" for text in self.hostile()]
        subprocess.run([sys.executable, "-c", watched], input="".join(texts), text=True, check=True)

    @pytest.mark.promise(number=4)
    def test_megabytes_and_nesting_are_refused_unread(self, record_property):
        lines, keys = self.sets()[0]
        answer = self.task.answer(keys[0])
        texts = [
            "a" * 10**7, "(" * 10**5, "[" * 10**5, answer + "(" * 10**5 + ")" * 10**5,
            answer * 10**5, "\x00" * 10**7, "\u202e" * 10**6, "NOT " * 10**5,
        ]  # fmt: skip
        for text in texts:
            run = lambda text=text: judge(self.task, lines, text)  # noqa: E731
            assert run().verdict is Verdict.TOO_LONG
            assert steps(run) < 100
            assert peak_memory(run) < MOST_MEMORY
            seconds_where_promised(run, SLOWEST_REFUSAL)
        record_property("figure", f"{self.task.name}: {len(texts)} responses of up to 10 MB")

    def test_what_is_no_text_is_bad_input(self):
        for response in (None, 3, float("nan"), ["Graph: A->B"], b"Graph: A->B", {}):
            assert judge(self.task, self.sets()[0][0], response).verdict is Verdict.BAD_INPUT

    # --- fuzz -------------------------------------------------------------------------------------

    # Every subclass is a test of its own.
    @settings(
        max_examples=300,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    @given(st.text(max_size=300), st.integers(0, 50))
    def test_any_text_is_judged(self, text, number):
        sets = self.sets()
        lines = sets[number % len(sets)][0]
        self.check_judgement(text, lines)
        answer = self.task.answer(sets[number % len(sets)][1][0])
        self.check_judgement(answer.partition(": ")[0] + ": " + text, lines)

    def test_mutations_of_valid_answers(self):
        self.fuzz(3_000, seed=0)

    @pytest.mark.slow
    @pytest.mark.promise(number=1)
    def test_a_hundred_thousand_mutations(self, record_property):
        """For this domain alone.  Time is asserted where `make promises` runs it."""
        valid, read, slowest = self.fuzz(100_000, seed=1)
        record_property(
            "figure",
            f"{self.task.name}: 100,000 outputs, of which {read:,} were read and {valid:,} valid, "
            f"0 unlike the checker, the slowest {slowest * 1000:.1f} ms",
        )

    def fuzz(self, count: int, seed: int) -> tuple[int, int, float]:
        """Valid and read answers, and the seconds that the slowest took."""
        rng = random.Random(seed)
        sets, valid, read, slowest = self.sets(), 0, 0, 0.0
        for _ in range(count):
            lines, keys = rng.choice(sets)
            text = self.task.answer(rng.choice(keys))
            if rng.random() < 0.3:
                text = self.framed(rng.choice([*DECORATED, *self.decorations]), text)
            if rng.random() < 0.3:
                text += "\n" + self.task.answer(rng.choice(keys))
            for _ in range(rng.choice((1, 1, 2, 3, 8))):
                text = mutate(text, rng, self.vocabulary)
            judgement, seconds = self.check_judgement(text, lines)
            valid += judgement.valid
            read += judgement.key is not None
            slowest = max(slowest, seconds)
        assert count / 50 < valid < count * 0.9  # the mutations neither miss nor destroy the answer
        return valid, read, slowest

    def framed(self, frame: str, answer: str) -> str:
        label, _, body = answer.partition(": ")
        return frame.format(answer, label=label, body=body)

    def check_judgement(self, text: str, lines: tuple[str, ...]) -> tuple[Judgement, float]:
        """The judge reads the key that the checker reads, and finds it valid iff it explains."""
        judgement = judge(self.task, lines, text)
        seconds = seconds_where_promised(lambda: judge(self.task, lines, text), SLOWEST)
        assert judgement.verdict is not Verdict.BAD_INPUT
        stated = self.stated(text, lines)
        assert judgement.key == stated, (text, judgement, stated)
        explained = stated is not None and self.explains(stated, lines)
        assert judgement.valid == explained, (text, judgement)
        return judgement, seconds

    # --- work and data sets -----------------------------------------------------------------------

    def test_an_ordinary_response_takes_few_steps(self):
        batch = [(lines, self.task.answer(key)) for lines, key in self.examples(100)]

        def run() -> None:
            for lines, answer in batch:
                judge(self.task, lines, answer)

        run()  # observations are read once
        assert steps(run) < MOST_STEPS * len(batch)

    def test_data_sets_are_drawn_by_the_seed_and_halved(self):
        sets = dataset(self.task, count=60, seed=3)
        assert sets == dataset(self.task, count=60, seed=3)
        assert sets != dataset(self.task, count=60, seed=4)
        assert [one.split for one in sets] == ["train"] * 30 + ["test"] * 30
        assert len({one.id for one in sets}) == len({one.observations for one in sets}) == 60
        by_lines = {lines: sorted(keys) for lines, keys in self.sets()}
        for one in sets:
            assert list(one.admissible) == by_lines[one.observations]
            assert one.prompt == self.task.prompt(one.observations)
            assert all(line in one.prompt.splitlines() for line in one.observations)

    @pytest.mark.parametrize("draw", ["sets", "hypotheses"])
    def test_halves_can_be_split_by_hypotheses(self, draw):
        for seed in range(10):
            sets = dataset(self.task, count=100, seed=seed, apart="hypotheses", draw=draw)
            train, test = (half(sets, name) for name in ("train", "test"))
            assert len(train) == len(test) >= 10
            assert not keys_of(train) & keys_of(test)


def half(sets: list[ObservationSet], name: str) -> list[ObservationSet]:
    return [one for one in sets if one.split == name]


def keys_of(sets: list[ObservationSet]) -> set[str]:
    return {key for one in sets for key in one.admissible}


def mutate(text: str, rng: random.Random, vocabulary: Sequence[str]) -> str:
    """One edit: delete, replace, insert, repeat, swap or cut, of a character or a piece."""
    a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    if rng.random() < 0.7:
        b = min(b, a + rng.choice((1, 1, 2, 5)))
    piece = rng.choice(
        (rng.choice(vocabulary), rng.choice(vocabulary), chr(rng.randrange(1, 0x2FFF)))
    )
    match rng.randrange(6):
        case 0:
            return text[:a] + text[b:]
        case 1:
            return text[:a] + piece + text[b:]
        case 2:
            return text[:a] + piece + text[a:]
        case 3:
            return text[:b] + text[a:b] + text[b:]
        case 4:
            return (
                text[b:] + text[:a] if rng.random() < 0.1 else text[:a] + text[a:b][::-1] + text[b:]
            )
        case _:
            return text[: max(b, 1)] if rng.random() < 0.2 else text[:a] + " " + text[a:]
