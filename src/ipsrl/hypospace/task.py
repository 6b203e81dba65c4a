"""What the three domains share: observation sets, judgements, data sets, and JSON lines.

    observations -> H_O, the finite set of admissible hypotheses
    response -> hypothesis -> key;  reward 1 iff the key is in H_O

Model text is read by regular expressions and recursive descent, never evaluated.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Protocol, TextIO, TypeVar

from pydantic import TypeAdapter, ValidationError

from ipsrl.config import StrictConfig
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.hypospace.reading import Part, plain

LONGEST_RESPONSE = 2**16
"""Characters; about 16,000 tokens."""
LONGEST_LINE = 2**19
"""Bytes of a JSON line: a response of the longest kind, every character escaped, fits."""
MOST_PAIRS = 2_000_000
"""Pairs of an observation set and an admissible hypothesis in memory."""

_LONGEST_OBSERVATIONS = 2**14


class Verdict(Enum):
    """What is to be said of one response."""

    ADMISSIBLE = "admissible"
    """The key is in H_O: reward 1."""
    CONTRADICTS = "contradicts the observations"
    """A hypothesis of the domain that does not explain the observations."""
    OUTSIDE = "outside the hypothesis space"
    """It can be read and has a key, but is no hypothesis: it floats, or is too deep."""
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
    """Key and verdict of one response; the key is None where nothing could be read."""

    key: str | None
    verdict: Verdict
    detail: str = ""

    @property
    def valid(self) -> bool:
        """Whether the key is in H_O."""
        return self.verdict is Verdict.ADMISSIBLE

    @property
    def reason(self) -> str:
        """The verdict in words, with its detail."""
        return f"{self.verdict.value}: {self.detail}" if self.detail else self.verdict.value


@dataclass(frozen=True)
class ObservationSet:
    """One problem: what was observed, how it is asked, and every answer that is right."""

    id: str
    observations: tuple[str, ...]
    prompt: str
    admissible: tuple[str, ...]
    split: str = ""


class Malformed(Exception):
    """A candidate has not the form of an answer: an earlier candidate may."""


class Unreadable(Exception):
    """A candidate begins like an answer and goes on with what cannot be read."""


class Refused(Exception):
    """A candidate has the form of an answer, and content that is not allowed."""


T = TypeVar("T")
P = TypeVar("P")
H = TypeVar("H")
C = TypeVar("C", bound=StrictConfig, covariant=True)


class Task(Protocol[C, P, H]):
    """A domain.  P is what its observations say, H a hypothesis read from a response."""

    name: ClassVar[str]
    judged_by: ClassVar[tuple[str, ...]]
    """Options that judging reads; a JSON line may set them for itself."""
    novel_outside: ClassVar[bool]
    """Whether NR counts hypotheses outside the space, as in the benchmark."""

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
        """The answer, as the prompt asks for it, whose key this is."""
        ...

    @staticmethod
    def problem(observations: tuple[str, ...]) -> P:
        """What the lines of observations say; InvalidInput if they cannot be read."""
        ...

    def candidates(self, response: str) -> list[Part]:
        """Parts of a response, as `reading.plain` left it, that may be its answer, in order."""
        ...

    def read(self, candidate: Part, problem: P) -> H:
        """The hypothesis of a candidate; `Malformed`, `Unreadable` or `Refused` if it has none."""
        ...

    def check(self, hypothesis: H, problem: P) -> Judgement:
        """Key of the hypothesis, and whether it is in H_O."""
        ...


AnyTask = Task[StrictConfig, Any, Any]


def judge(task: AnyTask, observations: Sequence[str], response: str) -> Judgement:
    """Is the answer in a response admissible?  The last part that has the form of an answer counts.

    Args:
      task: a domain.
      observations: the lines of one observation set, as in its prompt.
      response: what a model wrote.
    Returns:
      key and verdict, whatever the response is: no text makes this raise.
    """
    if not isinstance(response, str):
        return _bad(f"the response is a {type(response).__name__}, not text")
    if len(response) > LONGEST_RESPONSE:
        return Judgement(None, Verdict.TOO_LONG, f"more than {LONGEST_RESPONSE} characters")
    try:
        problem = _problem(task, tuple(observations))
    except InvalidInput as error:
        return _bad(str(error))
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


# --- data sets ------------------------------------------------------------------------------------


def dataset(
    task: AnyTask,
    *,
    count: int = 100,
    seed: int = 0,
    draw: Literal["sets", "hypotheses"] = "sets",
    split: Literal["sets", "hypotheses"] = "sets",
) -> list[ObservationSet]:
    """Observation sets drawn without replacement, half of them to train and half to test.

    A draw by hypotheses takes a hypothesis first and then what is observed of it, so that sets are
    drawn in proportion to |H_O|, which makes them larger.

    Split by sets, an answer of the train half may be right in the test half too.  Split by
    hypotheses, no key is admissible in both: sets are placed one by one where they share no key
    with the other half, and left out where they cannot be.  Causal and Boolean sets overlap so
    much that few can be placed.

    Args:
      task: a domain.
      count: sets; all there are, if fewer.
      seed: of the draw and the split; the same on every machine.
      draw: uniform over observation sets, or over hypotheses.
      split: what the halves must not share.
    Returns:
      sets with `split` "train" (the first half) and "test".
    Raises:
      InvalidInput: for fewer than two sets.
    """
    if count < 2:
        raise InvalidInput(f"count is {count}, and both halves need a set. Ask for two at least.")
    rng = random.Random(seed)  # its `random()` is the same on every Python, unlike its `shuffle`
    sets = list(numbered_sets(task))
    # Successive sampling in proportion to w is the order of exponential variables of rate w.
    weights = [len(keys) if draw == "hypotheses" else 1 for _, _, keys in sets]
    order = sorted(range(len(sets)), key=lambda i: -math.log(1 - rng.random()) / weights[i])
    if split == "sets":
        chosen = sorted(order[:count], key=lambda _: rng.random())
        half = (len(chosen) + 1) // 2
        halves = chosen[:half], chosen[half:]
    else:
        halves = _disjoint(order, [frozenset(keys) for _, _, keys in sets], count)
    return [
        ObservationSet(id_, lines, task.prompt(lines), tuple(sorted(keys)), name)
        for name, half in zip(("train", "test"), halves, strict=True)
        for id_, lines, keys in (sets[i] for i in half)
    ]


def numbered_sets(task: AnyTask) -> Iterator[tuple[str, tuple[str, ...], list[str]]]:
    """Every observation set with its id and the keys of H_O, unsorted."""
    for i, (lines, keys) in enumerate(task.observation_sets()):
        yield f"{task.name}-{i:05}", lines, keys


def _disjoint(
    order: list[int], keys: list[frozenset[str]], count: int
) -> tuple[list[int], list[int]]:
    """Indices for two halves without a common key, filled in the order of the draw.

    Neither half takes more than half of all keys, or it could leave none to the other.
    """
    most = len(frozenset().union(*keys)) / 2
    places: tuple[list[int], list[int]] = [], []
    used: list[frozenset[str]] = [frozenset(), frozenset()]
    for i in order:
        emptier = int(len(places[0]) > len(places[1]))
        for half in (emptier, 1 - emptier):
            room = len(places[half]) < (count + 1 - half) // 2
            if room and not keys[i] & used[1 - half] and len(used[half] | keys[i]) <= most:
                places[half].append(i)
                used[half] |= keys[i]
                break
    size = min(map(len, places))  # halves of one size
    return places[0][: size + (count % 2)], places[1][:size]


def check_size(pairs: int, advice: str) -> None:
    """InvalidInput above `MOST_PAIRS`, before anything is enumerated."""
    if pairs > MOST_PAIRS:
        raise InvalidInput(
            f"there are {pairs:,} cases to enumerate, and memory holds {MOST_PAIRS:,}. {advice}"
        )


def write_dataset(sets: Iterable[ObservationSet], path: Path) -> None:
    """One JSON object per line and observation set.

    Raises:
      InvalidInput: if the file cannot be written.
    """
    lines = (json.dumps(asdict(one)) + "\n" for one in sets)
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error}). Name another file.") from None


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """Objects of a file of JSON lines, such as what `write_dataset` wrote; other keys are ignored.

    Args:
      path: the file.
      kind: a dataclass, such as `ObservationSet`.
    Raises:
      InvalidInput: naming the line, if the file cannot be read or a line does not fit.
    """
    adapter, rows = TypeAdapter(kind), []
    try:
        with path.open("rb") as file:
            for line in file:
                rows.append(adapter.validate_json(line, strict=True))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error}). Name a file of JSON lines.") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"{path}, line {len(rows) + 1}: {key and key + ': '}{first['msg']}. Each line must be "
            f"an object with {', '.join(kind.__annotations__)}."
        ) from None
    if not rows:
        raise InvalidInput(f"{path} is empty. Name a file of JSON lines.")
    return rows


# --- judging JSON lines ---------------------------------------------------------------------------


def judge_lines(task: AnyTask, source: BinaryIO, sink: TextIO) -> None:
    """Answer every line of `source` by one line in `sink`, at once, whatever the line holds.

    In: {"observations": [...], "response": "..."}; {"view": "010000011"} instead of observations;
    the options in `task.judged_by`, such as "max_edges", for this line.  Other keys are ignored.
    Out: {"key": text or null, "valid": bool, "reason": text}.

    Args:
      task: a domain.
      source: lines of bytes, read in pieces, so that a huge one needs no memory.
      sink: text; flushed after each line, so that a program can wait for its answer.
    """
    while line := source.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            while not line.endswith(b"\n") and (line := source.readline(LONGEST_LINE)):
                pass
            judgement = _bad(f"the line has more than {LONGEST_LINE} bytes")
        else:
            judgement = judge_line(task, line)
        answer = {"key": judgement.key, "valid": judgement.valid, "reason": judgement.reason}
        sink.write(json.dumps(answer) + "\n")
        sink.flush()


def judge_line(task: AnyTask, line: bytes) -> Judgement:
    """Judgement of one JSON line; see `judge_lines`."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _bad(f"the line is not JSON ({type(error).__name__})")
    if not isinstance(row, dict):
        return _bad("the line is not a JSON object")
    observations = row["observations"] if "observations" in row else [row.get("view")]
    if not isinstance(observations, list):
        return _bad("observations is not a list")
    options = {name: row[name] for name in task.judged_by if name in row}
    try:
        chosen = _with_options(task, options) if options else task
    except ConfigError as error:
        return _bad(str(error)[:200])
    return judge(chosen, observations, row.get("response"))  # type: ignore[arg-type]  # it checks


def _with_options(task: AnyTask, options: dict[str, Any]) -> AnyTask:
    config = type(task.config)(**{**task.config.model_dump(), **options})
    return type(task)(config)  # type: ignore[call-arg]  # a domain is made of its configuration


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


def _bad(detail: str) -> Judgement:
    return Judgement(None, Verdict.BAD_INPUT, detail)
