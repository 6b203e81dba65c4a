"""Ask a model: N responses to every observation set, from a folder or an endpoint."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ipsrl.errors import ConfigError, MissingExtra, RunError
from ipsrl.hypospace.recovery import Response
from ipsrl.hypospace.task import ObservationSet, read_lines, sequential_prompt
from ipsrl.pretrained import check_template, load_model, load_tokenizer
from ipsrl.runs import progress

Protocol = Literal["parallel", "sequential"]
Complete = Callable[[list[str], int], list[str]]
"""complete(prompts, number): responses to a batch, whose first is the run's response `number`."""

_TRIES = 5
AT_ONCE = 16
"""Requests to an endpoint; a batch of it, so that a failure loses no more."""


@dataclass(frozen=True)
class Sampling:
    """How a response is drawn.

    Attributes:
      temperature: of the softmax; 0 is greedy.
      max_tokens: most tokens of a response.
      seed: of the draws; an endpoint gets seed + number of the response.
    """

    temperature: float = 1.0
    max_tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and self.max_tokens >= 1):
            raise ConfigError(
                f"temperature = {self.temperature} and max_tokens = {self.max_tokens} cannot be. "
                "Use a temperature >= 0, and at least one token."
            )


def respond(
    complete: Complete,
    sets: Sequence[ObservationSet],
    n: int,
    *,
    protocol: Protocol = "parallel",
    batch: int = 256,
    seed: int = 0,
    earlier: Sequence[Response] = (),
) -> Iterator[list[Response]]:
    """N responses to every set, in the order of the sets or, if sequential, of the rounds.

    Args:
      complete: responses to a batch of prompts.
      sets: what is asked.
      n: responses for each.
      protocol: parallel repeats the prompt of a set; sequential shows the answers so far.
      batch: prompts at a time.
      seed: written into the responses.
      earlier: the first responses, of a run that was stopped.
    Yields:
      the responses of a batch.
    Raises:
      ConfigError: if `earlier` is not how these responses begin.
    """
    if protocol == "parallel":
        rounds = [[one for one in sets for _ in range(n)]]
    else:
        rounds = [list(sets)] * n
    asked_for = [(one.id, seed) for asked in rounds for one in asked][: len(earlier)]
    if [(one.id, one.seed) for one in earlier] != asked_for:
        raise ConfigError(
            f"the {len(earlier)} responses of before are to other sets, or of another number, "
            "protocol or seed, so they cannot be gone on with. Ask as before, or name another file."
        )
    answers: dict[str, list[str]] = {one.id: [] for one in sets}
    for one in earlier:
        answers[one.id].append(one.response)
    with progress("responses", n * len(sets)) as advance:
        done = 0
        for asked in rounds:
            for part in (asked[i : i + batch] for i in range(0, len(asked), batch)):
                missing = part[max(0, len(earlier) - done) :]
                done += len(part)
                if not missing:
                    continue
                given = answers if protocol == "sequential" else {}
                prompts = [sequential_prompt(one.prompt, given.get(one.id, ())) for one in missing]
                texts = complete(prompts, done - len(missing))
                found = [Response(one.id, t, seed) for one, t in zip(missing, texts, strict=True)]
                for one in found:
                    answers[one.id].append(one.response)
                yield found
                advance(done)


def collected(path: Path) -> list[Response]:
    """The responses of a file that `collect` wrote; a line that a stop has cut off is removed."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        path.write_bytes(whole)
    return read_lines(path, Response) if whole else []


def collect(path: Path, responses: Iterator[list[Response]]) -> None:
    """Append responses to a file of JSON lines as they come, so that none is lost.

    Raises:
      RunError: if the file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            for batch in responses:
                file.write("".join(json.dumps(asdict(one)) + "\n" for one in batch))
                file.flush()
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error}). Make room, then continue with --resume."
        ) from None


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

    @torch.no_grad()
    def complete(prompts: list[str], number: int) -> list[str]:
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
        tokens = net.generate(
            **rows,
            **drawn,
            max_new_tokens=sampling.max_tokens,
            pad_token_id=tokenizer.pad_token_id,
            trust_remote_code=False,
        )
        return tokenizer.batch_decode(
            tokens[:, rows["input_ids"].shape[1] :], skip_special_tokens=True
        )

    return complete


def endpoint(url: str, model: str, sampling: Sampling) -> Complete:
    """An OpenAI-compatible server; the key, if it wants one, is in OPENAI_API_KEY.

    Args:
      url: up to and without /chat/completions, such as http://localhost:8000/v1.
      model: the server's name of the model.
      sampling: how to draw.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"endpoint {url!r} is no address. Pass one like http://localhost:8000/v1."
        )
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"

    def one(numbered: tuple[int, str]) -> str:
        number, prompt = numbered
        body = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed + number,
        }
        request = urllib.request.Request(
            f"{url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers
        )
        for attempt in range(_TRIES):
            try:
                with urllib.request.urlopen(request, timeout=600) as answer:
                    text = json.load(answer)["choices"][0]["message"]["content"] or ""
                    return text.encode(errors="replace").decode()  # a half character has no UTF-8
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                detail, final = f"{type(error).__name__}: {error}", attempt == _TRIES - 1
                if isinstance(error, urllib.error.HTTPError):
                    detail += f": {error.read(300).decode(errors='replace')}"
                    final = final or (error.code < 500 and error.code not in (408, 429))
                if final:
                    raise RunError(
                        f"{url} did not answer as an OpenAI-compatible server ({detail}). "
                        "Check the address, the name of the model, and OPENAI_API_KEY."
                    ) from None
                time.sleep(2**attempt)
        raise AssertionError  # the last try returns or raises

    def complete(prompts: list[str], number: int) -> list[str]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(one, enumerate(prompts, start=number)))

    return complete
