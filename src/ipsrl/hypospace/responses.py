"""Ask a model for responses to observation sets, and keep them in a file of JSON lines."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ipsrl.errors import ConfigError, InvalidInput, MissingExtra, RunError
from ipsrl.hypospace.datasets import ObservationSet
from ipsrl.hypospace.lines import read_lines
from ipsrl.hypospace.recovery import Protocol, Response, number_of_responses
from ipsrl.hypospace.task import AnyTask, judge, sequential_prompt
from ipsrl.pretrained import check_template, load_model, load_tokenizer
from ipsrl.runs import progress


class Answer(NamedTuple):
    """The text that a model wrote, and whether the limit of tokens cut it off."""

    text: str
    truncated: bool = False


Complete = Callable[[list[str], int], Iterable[Answer]]
"""complete(prompts, number): answers to a batch, whose first is the run's response `number`."""

TRIES = 5
"""Times that the benchmark asks for one response, until it can be read."""


@dataclass(frozen=True)
class Sampling:
    """Settings of how a response is drawn.

    Attributes:
      temperature: of the softmax; 0 is greedy.
      max_tokens: most tokens of a response.
      seed: of the draws; an endpoint gets seed + number of the response.
    """

    temperature: float = 1.0
    max_tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < math.inf and self.max_tokens >= 1):
            raise ConfigError(
                f"temperature = {self.temperature} and max_tokens = {self.max_tokens} cannot be. "
                "Use a finite temperature >= 0, and at least one token."
            )


def respond(
    task: AnyTask,
    complete: Complete,
    sets: Sequence[ObservationSet],
    n: int,
    *,
    protocol: Protocol = "parallel",
    batch: int = 256,
    seed: int = 0,
    earlier: Sequence[Response] = (),
) -> Iterator[list[Response]]:
    """Responses to every set, in the order of the sets or, if sequential, of the rounds.

    Args:
      task: the domain.
      complete: answers to a batch of prompts.
      sets: the observation sets to ask.
      n: responses to each; in the benchmark's protocol, for each of its admissible answers.
      protocol: parallel repeats the prompt of a set; sequential shows the answers so far; benchmark
        does so too, and asks again, `TRIES` times in all, for what cannot be read.
      batch: prompts at a time.
      seed: written into the responses.
      earlier: the first responses, of a run that was stopped.
    Yields:
      the responses of a batch; of one that fails, those before the first that failed.
    Raises:
      ConfigError: if `earlier` is not how these responses begin.
    """
    rounds = _rounds(sets, n, protocol)
    parts = [asked[i : i + batch] for asked in rounds for i in range(0, len(asked), batch)]
    expected = [(one.id, seed) for part in parts for one in part]
    if [(one.id, one.seed) for one in earlier] != expected[: len(earlier)]:
        raise ConfigError(
            f"the {len(earlier)} earlier responses are to other sets, or of another number, "
            "protocol or seed, so they cannot be continued. Ask as before, or name another file."
        )
    observations = {one.id: one.observations for one in sets}
    keys: dict[str, list[str | None]] = {one.id: [] for one in sets}

    def show(responses: Iterable[Response]) -> None:
        """Show the answer to the prompts that follow."""
        if protocol != "parallel":
            for one in responses:
                keys[one.id].append(judge(task, observations[one.id], one.response).key)

    show(earlier)
    with progress("responses", len(expected)) as advance:
        done = 0
        for part in parts:
            missing = part[max(0, len(earlier) - done) :]
            done += len(part)
            if not missing:
                continue
            prompts = [sequential_prompt(task, one.prompt, keys[one.id]) for one in missing]
            number = done - len(missing)
            if protocol == "benchmark":
                answers = _insist(task, complete, missing, prompts, number, len(expected))
            else:
                answers = complete(prompts, number)
            found: list[Response] = []
            try:
                for one, answer in zip(missing, answers, strict=True):
                    found.append(Response(one.id, answer.text, seed, answer.truncated))
            finally:  # answers before a failure count
                if found:
                    yield found
            show(found)
            advance(done)


def _rounds(
    sets: Sequence[ObservationSet], n: int, protocol: Protocol
) -> list[list[ObservationSet]]:
    """Prompts that are asked together, because none of them shows an answer of the same round."""
    numbers = [number_of_responses(one, n, protocol) for one in sets]
    pairs = list(zip(sets, numbers, strict=True))
    if protocol == "parallel":
        return [[one for one, number in pairs for _ in range(number)]]
    return [[one for one, number in pairs if i < number] for i in range(max(numbers, default=0))]


def _insist(
    task: AnyTask,
    complete: Complete,
    sets: Sequence[ObservationSet],
    prompts: Sequence[str],
    number: int,
    total: int,
) -> list[Answer]:
    """Answers to a batch; unreadable ones are requested again, with numbers of their own."""
    answers = list(complete(list(prompts), number))
    for attempt in range(1, TRIES):
        unread = [
            i
            for i, (one, answer) in enumerate(zip(sets, answers, strict=True))
            if judge(task, one.observations, answer.text).key is None
        ]
        again = complete([prompts[i] for i in unread], number + attempt * total) if unread else ()
        for i, answer in zip(unread, again, strict=True):
            answers[i] = answer
    return answers


def collected(path: Path) -> list[Response]:
    """The responses of a file that `collect` wrote; a line that a stop has cut off is removed.

    Raises:
      InvalidInput: if the file holds something else, which stays as it is.
    """
    content = path.read_bytes() if path.exists() else b""
    end = content.rfind(b"\n") + 1
    half = content[end:]
    if half[: len(_BEGINNING)] != _BEGINNING[: len(half)]:
        raise InvalidInput(f"{path} is not a file of responses. Name another file.")
    if half:
        os.truncate(path, end)
    return read_lines(path, Response) if end else []


_BEGINNING = b'{"id": '
"""The first bytes of a line that `collect` writes."""


def collect(path: Path, responses: Iterable[list[Response]]) -> None:
    """Append responses to a file of JSON lines as they come, so that none is lost.

    Nothing is left of a file that is new, and to which no response came.

    Raises:
      RunError: if the file cannot be written, or the model does not answer.
    """
    new = not path.exists()
    whole = 0 if new else path.stat().st_size
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            for batch in responses:
                file.write("".join(json.dumps(asdict(one)) + "\n" for one in batch))
                file.flush()
                whole = file.tell()
    except OSError as error:
        with suppress(OSError):  # half a batch would shift the numbers of those that follow
            os.truncate(path, whole)
        raise RunError(
            f"{path} cannot be written ({error}). Make room, then continue with --resume."
        ) from None
    except RunError as error:
        kept = path.stat().st_size and f" {path} keeps what was answered: continue with --resume."
        raise RunError(f"{error}{kept or ''}") from None
    finally:
        if new and path.exists() and not path.stat().st_size:
            path.unlink()


def local_model(model: str, sampling: Sampling, **options: Any) -> Complete:
    """A model that runs here.

    Args:
      model: folder or hub name; also a folder of adapters.
      sampling: how to draw.
      options: of `from_pretrained`, such as a quantization_config.
    Raises:
      ConfigError: if it cannot be loaded.
    """
    try:
        import torch
        from transformers.utils.logging import disable_progress_bar

        from ipsrl.llm.prompts_once import prompts_once
    except ModuleNotFoundError as error:
        raise MissingExtra("llm", error.name or "transformers") from None
    disable_progress_bar()  # of loading; responses have their own
    tokenizer = load_tokenizer(model, padding_side="left")
    if tokenizer.chat_template:
        check_template(tokenizer, model, [{"role": "user", "content": "?"}])
    net = load_model(model, **options)
    if torch.cuda.is_available() and "quantization_config" not in options:
        net.to("cuda")
    net.eval()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    drawn = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
    if sampling.temperature == 0:
        drawn = {"do_sample": False}

    ends = torch.as_tensor(net.generation_config.eos_token_id or [], device=net.device)

    @torch.no_grad()
    def complete(prompts: list[str], number: int) -> list[Answer]:
        torch.manual_seed(random.Random(f"{sampling.seed} {number}").getrandbits(63))
        if tokenizer.chat_template:
            prompts = tokenizer.apply_chat_template(
                [[{"role": "user", "content": prompt}] for prompt in prompts],
                tokenize=False,
                add_generation_prompt=True,
            )
        rows = tokenizer(
            prompts, return_tensors="pt", padding=True, return_token_type_ids=False,
            add_special_tokens=not tokenizer.chat_template,
        ).to(net.device)  # fmt: skip
        with prompts_once(net):
            tokens = net.generate(
                **rows,
                **drawn,
                max_new_tokens=sampling.max_tokens,
                pad_token_id=tokenizer.pad_token_id,
                trust_remote_code=False,
            )
        written = tokens[:, rows["input_ids"].shape[1] :]
        ended = torch.isin(written, ends).any(dim=1)
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        return [Answer(text, not end) for text, end in zip(texts, ended.tolist(), strict=True)]

    return complete
