"""The common part of the three domains: prompts, and the judgement of a response.

    observations -> H_O, the finite set of admissible hypotheses
    response -> hypothesis -> key;  reward 1 iff the key is in H_O

Model text is read by regular expressions and recursive descent, never evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar

from ipsrl.config import StrictConfig
from ipsrl.errors import InvalidInput
from ipsrl.hypospace.reading import Part, plain

LONGEST_RESPONSE = 2**16
"""Characters; about 16,000 tokens."""
MOST_PAIRS = 2_000_000
"""Pairs of an observation set and an admissible hypothesis in memory."""

_LONGEST_OBSERVATIONS = 2**14


class Verdict(Enum):
    """The verdict on one response."""

    ADMISSIBLE = "admissible"
    """The key is in H_O: reward 1."""
    CONTRADICTS = "contradicts the observations"
    """A hypothesis of the domain that does not explain the observations."""
    OUTSIDE = "outside the hypothesis space"
    """It can be read and has a key, but is not a hypothesis: it floats, or is too deep."""
    REFUSED = "refused"
    """An answer with forbidden content: an unknown name, a cycle, a cell that is not 0 or 1."""
    NO_ANSWER = "no answer"
    """Nothing in the response has the form of an answer."""
    TOO_LONG = "too long"
    """The response was not read."""
    BAD_INPUT = "bad input"
    """The observations cannot be read, or the line is broken; the response is not to blame."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Key and verdict of one response; the key is None if nothing could be read."""

    key: str | None
    verdict: Verdict
    detail: str = ""

    @property
    def valid(self) -> bool:
        """True if the key is in H_O."""
        return self.verdict is Verdict.ADMISSIBLE

    @property
    def reason(self) -> str:
        """The verdict in words, with its detail."""
        return f"{self.verdict.value}: {self.detail}" if self.detail else self.verdict.value


class Malformed(Exception):
    """A candidate does not have the form of an answer; an earlier candidate may have it."""


class Unreadable(Exception):
    """A candidate begins like an answer and continues with text that cannot be read."""


class Refused(Exception):
    """A candidate has the form of an answer, but content that is not allowed."""


T = TypeVar("T")
P = TypeVar("P")
H = TypeVar("H")
C = TypeVar("C", bound=StrictConfig, covariant=True)


class Task(Protocol[C, P, H]):
    """A domain.  P is the content of its observations, H a hypothesis read from a response."""

    name: ClassVar[str]
    judged_by: ClassVar[tuple[str, ...]]
    """Options that judging reads; a JSON line may set them for itself."""
    novel_outside: ClassVar[bool]
    """True if NR counts hypotheses outside the space, as in the benchmark."""

    @property
    def config(self) -> C:
        """Size of the hypothesis space."""
        ...

    def observation_sets(self) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """Every observation set with the keys of H_O; InvalidInput if there are too many."""
        ...

    def prompt(self, observations: Sequence[str]) -> str:
        """The question put to a model."""
        ...

    def answer(self, key: str) -> str:
        """The answer that has this key, in the form that the prompt asks for."""
        ...

    @staticmethod
    def problem(observations: tuple[str, ...]) -> P:
        """The content of the lines of observations; InvalidInput if they cannot be read."""
        ...

    def candidates(self, response: str) -> list[Part]:
        """Parts of a response, as `reading.plain` left it, that may be its answer, in order."""
        ...

    def read(self, candidate: Part, problem: P) -> H:
        """The hypothesis of a candidate; `Malformed`, `Unreadable` or `Refused` if it has none."""
        ...

    def check(self, hypothesis: H, problem: P) -> Judgement:
        """Return the key of the hypothesis, and whether it is in H_O."""
        ...


AnyTask = Task[StrictConfig, Any, Any]


def judge(task: AnyTask, observations: Sequence[str], response: str) -> Judgement:
    """Judge the answer in a response.  The last part that has the form of an answer counts.

    Args:
      task: a domain.
      observations: the lines of one observation set, as in its prompt.
      response: what a model wrote.
    Returns:
      key and verdict, whatever the response is: no text makes this raise.
    """
    if not isinstance(response, str):
        return bad_input(f"the response is a {type(response).__name__}, not text")
    if len(response) > LONGEST_RESPONSE:
        return Judgement(None, Verdict.TOO_LONG, f"more than {LONGEST_RESPONSE} characters")
    try:
        problem = _problem(task, tuple(observations))
    except InvalidInput as error:
        return bad_input(str(error))
    form = "the response holds nothing in the form of an answer"
    for candidate in reversed(task.candidates(plain(response))):
        try:
            hypothesis = task.read(candidate, problem)
        except Malformed as error:
            form = str(error)
        except Unreadable as error:
            return Judgement(None, Verdict.NO_ANSWER, str(error))
        except Refused as error:
            return Judgement(None, Verdict.REFUSED, str(error))
        else:
            return task.check(hypothesis, problem)
    return Judgement(None, Verdict.NO_ANSWER, form)


def sequential_prompt(task: AnyTask, prompt: str, keys: Iterable[str | None]) -> str:
    """The prompt of the benchmark's own protocol, which shows the answers given so far.

    Args:
      task: the domain.
      prompt: of the observation set.
      keys: of the responses so far, as `judge` read them; None, which shows nothing, where nothing
        could be read.
    Returns:
      the prompt, followed by each answer once, in the form that the prompt asks for.
    """
    given = []
    for key in dict.fromkeys(keys):
        if key is not None:
            with suppress(Refused):  # written as an answer, the key nests deeper than can be read
                given.append(task.answer(key))
    if not given:
        return prompt
    shown = "\n\n".join(given)
    return f"{prompt}\n\nThese answers have been given already. Give a different one.\n\n{shown}"


def check_size(pairs: int, advice: str) -> None:
    """Raise InvalidInput above `MOST_PAIRS`, before anything is enumerated."""
    if pairs > MOST_PAIRS:
        raise InvalidInput(
            f"there are {pairs:,} cases to enumerate, and memory holds {MOST_PAIRS:,}. {advice}"
        )


def _problem(task: AnyTask, observations: tuple[str, ...]) -> Any:
    if not observations or not all(isinstance(line, str) for line in observations):
        raise InvalidInput("observations must be a list of texts, at least one")
    # A cache must not be filled with megabytes.
    if len(observations) + sum(map(len, observations)) > _LONGEST_OBSERVATIONS:
        raise InvalidInput(f"observations have more than {_LONGEST_OBSERVATIONS} characters")
    return _cached_problem(type(task), observations)


@lru_cache(maxsize=1024)
def _cached_problem(domain: type[AnyTask], observations: tuple[str, ...]) -> Any:
    return domain.problem(observations)


def bad_input(detail: str) -> Judgement:
    """A judgement for broken input, for which the response is not to blame."""
    return Judgement(None, Verdict.BAD_INPUT, detail)
