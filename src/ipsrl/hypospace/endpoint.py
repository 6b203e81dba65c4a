"""A client of OpenAI-compatible servers (POST .../chat/completions), and what goes wrong there."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from email.utils import mktime_tz, parsedate_tz
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit

from ipsrl.errors import ConfigError, MissingExtra, RunError, words
from ipsrl.hypospace.responses import Answer, Complete, Sampling

AT_ONCE = 16
"""Requests at a time; as many are a batch, so that a failure loses fewer than these."""

_TRIES = 5
_PATIENCE = 600.0
"""Seconds without a byte after which a request is repeated; a longer Retry-After ends the run."""
_LONGEST_BODY = 2**24
_BUSY = frozenset({408, 409, 425, 429})


def endpoint(url: str, model: str, sampling: Sampling) -> Complete:
    """An OpenAI-compatible server; the key, if it wants one, is in OPENAI_API_KEY.

    A request is made up to five times while the server is busy (408, 409, 425, 429, 5xx) or the
    connection breaks, after 1, 2, 4, 8 seconds or what Retry-After says, if that is more.  The
    limit of tokens is max_tokens, or max_completion_tokens if the server asks for that.

    Args:
      url: up to and without /chat/completions, such as http://localhost:8000/v1.
      model: the server's name of the model.
      sampling: how to draw.
    Returns:
      a function that raises RunError if the server does not answer; before that, it yields the
      answers that precede the first that failed.
    Raises:
      ConfigError: if the address or the key cannot be.
      MissingExtra: without httpx2.
    """
    try:
        import httpx2
    except ModuleNotFoundError as error:
        raise MissingExtra("llm", error.name or "httpx2") from None
    address, key = _address(url), _key()
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    limit = "max_tokens"

    def failure(fault: str) -> RunError:
        return RunError(f"{address}: {fault.replace(key, '***') if key else fault}")

    async def post(client: Any, body: dict[str, Any]) -> tuple[Any, bytes]:
        """The response, and its body of at most `_LONGEST_BODY` bytes."""
        async with client.stream("POST", address, content=json.dumps(body).encode()) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _LONGEST_BODY:
                    raise failure(f"the answer is longer than {_LONGEST_BODY} bytes.")
            return response, bytes(content)

    async def one(client: Any, prompt: str, seed: int) -> Answer:
        nonlocal limit
        fault = ""
        for attempt in range(_TRIES):
            used = limit
            body = {
                "model": model,
                "messages": [{"role": "user", "content": prompt}],
                "temperature": sampling.temperature,
                used: sampling.max_tokens,
                "seed": seed,
                "stream": False,
            }
            wait = 2.0**attempt
            try:
                response, content = await post(client, body)
                if response.is_success:
                    return _answer(content, response.headers.get("Content-Type", ""))
            except (httpx2.TransportError, httpx2.DecodingError, _CutShort) as error:
                fault = f"the connection fails ({words(error)}). Check the address and the server."
            except _Unlike as error:
                raise failure(str(error)) from None
            else:
                status, said = response.status_code, _said(content)
                if used == "max_tokens" and b"max_completion_tokens" in content:
                    limit = "max_completion_tokens"  # of the models that think before they answer
                    continue
                fault = f"HTTP {status}, {said!r}. {_ADVICE.get(status, '')}".rstrip()
                if response.is_redirect:
                    fault = f"HTTP {status}, moved to {response.headers.get('Location')!r}."
                if status < 500 and status not in _BUSY:
                    raise failure(fault)
                wait = max(wait, _retry_after(response.headers.get("Retry-After")))
                if wait > _PATIENCE:
                    raise failure(f"{fault} It asks to wait for {wait:.0f} seconds.")
            if attempt < _TRIES - 1:
                await asyncio.sleep(wait)
        raise failure(f"asked {_TRIES} times in vain: {fault}")

    async def ask(prompts: list[str], number: int, answers: dict[int, Answer]) -> None:
        async def keep(i: int, prompt: str) -> None:
            answers[i] = await one(client, prompt, sampling.seed + number + i)

        limits = httpx2.Limits(max_connections=AT_ONCE)
        patience = httpx2.Timeout(_PATIENCE, connect=10, pool=None)
        try:
            async with (
                httpx2.AsyncClient(headers=headers, limits=limits, timeout=patience) as client,
                asyncio.TaskGroup() as group,
            ):
                for i, prompt in enumerate(prompts):
                    group.create_task(keep(i, prompt))
        except ExceptionGroup as failures:  # the first has stopped the others
            raise failures.exceptions[0] from None

    def complete(prompts: list[str], number: int) -> Iterator[Answer]:
        answers: dict[int, Answer] = {}
        try:
            asyncio.run(ask(prompts, number, answers))
        finally:  # what was answered is paid for, whatever has failed
            yield from map(
                answers.__getitem__, takewhile(answers.__contains__, range(len(prompts)))
            )

    return complete


_ADVICE = {
    401: "Set OPENAI_API_KEY to a key of this server.",
    403: "Set OPENAI_API_KEY to a key that may use this model.",
    404: "Check the address, which mostly ends in /v1, and the name of the model.",
}


class _CutShort(Exception):
    """The body begins like JSON, and does not end so."""


class _Unlike(Exception):
    """The body is whole, and not a chat completion."""


def _address(url: str) -> str:
    """Of chat completions; what it must not hold may be a secret, and is not shown."""
    shown = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        extra = parts.username or parts.password or parts.query or parts.fragment
    except ValueError:  # the port
        fine, extra = False, None
    if not fine or not url.isprintable() or " " in url:
        raise ConfigError(
            f"endpoint {shown[:200]!r} is not an address. Pass one like http://localhost:8000/v1."
        )
    if extra:
        raise ConfigError(
            f"the endpoint at {parts.hostname} has a user, query or fragment in its address. Pass "
            "the address alone, like http://localhost:8000/v1, and the key in OPENAI_API_KEY."
        )
    return f"{url.rstrip('/').removesuffix('/chat/completions')}/chat/completions"


def _key() -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            "OPENAI_API_KEY holds characters that no key has, so it cannot be sent. Set it again."
        )
    return key


def _answer(content: bytes, kind: str) -> Answer:
    """What a chat completion says."""
    start = content.lstrip()[:1]
    if start and start != b"{":
        raise _Unlike(
            f"the answer is {kind or 'not JSON'}: {_said(content)!r}. "
            + (
                "No stream was asked for: let the server answer in one piece."
                if kind.startswith("text/event-stream")
                else "Check the address, which mostly ends in /v1."
            )
        )
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise _CutShort(f"the answer ends early, after {len(content)} bytes") from None
    try:
        choice = body["choices"][0]
        text = choice["message"].get("content") or ""
        if isinstance(text, list):  # of parts
            text = "".join(part.get("text") or "" for part in text)
        text = text.encode(errors="replace").decode()  # half a character has no UTF-8
        return Answer(text, choice.get("finish_reason") == "length")
    except (LookupError, TypeError, AttributeError):
        raise _Unlike(f"the answer is not a chat completion: {_said(content)!r}.") from None


def _said(content: bytes) -> str:
    """The message of an error in OpenAI's form, or else the beginning of the body."""
    try:
        said = json.loads(content)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        said = content[:1000].decode(errors="replace")
    return " ".join(str(said).split())[:300]


def _retry_after(value: str | None) -> float:
    """Seconds to wait by the header Retry-After: a number or an HTTP date (RFC 9110, 10.2.3)."""
    try:
        return float(value or 0)
    except ValueError:
        date = parsedate_tz(value)
    try:
        return mktime_tz(date) - time.time() if date else 0.0
    except (ValueError, OverflowError):
        return 0.0
