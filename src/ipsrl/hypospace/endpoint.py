"""A client of OpenAI-compatible servers (POST .../chat/completions), and its errors."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from email.utils import mktime_tz, parsedate_tz
from itertools import takewhile
from typing import Any

from ipsrl.errors import ConfigError, MissingExtra, RunError, words
from ipsrl.hypospace.responses import Answer, Complete, Sampling

AT_ONCE = 16
"""Requests at a time; as many are a batch, so that a failure loses fewer than these."""

_TRIES = 5
_PATIENCE = 600.0
"""Seconds without a byte after which a request is repeated; a longer Retry-After is an error."""
_LONGEST_BODY = 2**24
_BUSY = frozenset({408, 409, 425, 429})
_ADVICE = {
    401: " Set OPENAI_API_KEY to a key of this server.",
    403: " Set OPENAI_API_KEY to a key that may use this model.",
    404: " Check the address, which mostly ends in /v1, and the name of the model.",
}


class _CutShort(Exception):
    """The body ends before its JSON is complete."""


class _Unlike(Exception):
    """The response is not a chat completion, and asking again would not change that."""


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
      ConfigError: if the address, the key or the proxy cannot be used.
      MissingExtra: without httpx2.
    """
    try:
        import httpx2
    except ModuleNotFoundError as error:
        raise MissingExtra("llm", error.name or "httpx2") from None
    address, headers, limit = _address(url), _headers(), "max_tokens"

    def connect() -> Any:
        limits = httpx2.Limits(max_connections=AT_ONCE)
        patience = httpx2.Timeout(_PATIENCE, connect=10, pool=None)
        return httpx2.AsyncClient(headers=headers, limits=limits, timeout=patience)

    try:
        connect()
    except Exception as error:
        raise ConfigError(
            f"the proxy or the certificates that the environment names cannot be used "
            f"({words(error)}). Correct HTTP_PROXY, ALL_PROXY or SSL_CERT_FILE."
        ) from None

    async def post(client: Any, body: dict[str, Any]) -> tuple[Any, bytes]:
        """The response, and its body of at most `_LONGEST_BODY` bytes."""
        async with client.stream("POST", address, content=json.dumps(body).encode()) as response:
            if "event-stream" in response.headers.get("Content-Type", "").lower():
                raise _Unlike("it answers by a stream, and none was asked for. Turn that off there")
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _LONGEST_BODY:
                    raise _Unlike(f"the answer is longer than {_LONGEST_BODY:,} bytes")
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
                    return _answer(content)
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                fault = f"no answer ({words(error)}). Check the address, and that the server runs."
            except _CutShort as error:
                fault = f"{error}."
            else:
                if used == "max_tokens" and b"max_completion_tokens" in content:
                    limit = "max_completion_tokens"  # of models that think before they answer
                    continue
                status, said = response.status_code, response.headers.get("Location")
                said = f"moved to {said}" if response.is_redirect else _said(content)
                fault = f"HTTP {status}: {said!r}.{_ADVICE.get(status, '')}"
                if status < 500 and status not in _BUSY:
                    raise _Unlike(fault)
                wait = max(wait, _retry_after(response.headers.get("Retry-After")))
                if wait > _PATIENCE:
                    raise _Unlike(f"{fault} It asks to wait for {wait:.0f} seconds")
            if attempt < _TRIES - 1:
                await asyncio.sleep(wait)
        raise _Unlike(f"asked {_TRIES} times in vain. {fault}")

    async def ask(prompts: list[str], number: int, answers: dict[int, Answer]) -> None:
        async def keep(i: int, prompt: str) -> None:
            try:
                answers[i] = await one(client, prompt, sampling.seed + number + i)
            except _Unlike as error:
                raise RunError(_hidden(f"{address}: {str(error).rstrip('.')}.")) from None

        try:
            async with connect() as client, asyncio.TaskGroup() as group:
                for i, prompt in enumerate(prompts):
                    group.create_task(keep(i, prompt))
        except ExceptionGroup as failures:  # the first has stopped the others
            raise failures.exceptions[0] from None

    def complete(prompts: list[str], number: int) -> Iterator[Answer]:
        answers: dict[int, Answer] = {}
        try:
            asyncio.run(ask(prompts, number, answers))
        finally:  # answers that arrived are paid for, so they are kept
            first = takewhile(answers.__contains__, range(len(prompts)))
            yield from map(answers.__getitem__, first)

    return complete


def _address(url: str) -> str:
    """The address of chat completions; forbidden parts may be secrets, and are not shown."""
    import httpx2

    try:
        parts = httpx2.URL(url)
        fine = parts.scheme in ("http", "https") and parts.host
        fine = fine and (parts.port is None or 0 < parts.port < 2**16)
        extra = parts.userinfo or parts.query or parts.fragment
    except httpx2.InvalidURL:
        fine, extra = False, b""
    if not fine or not url.isascii() or not url.isprintable() or " " in url:
        shown = _hidden(url.rpartition("@")[2])[:200]
        raise ConfigError(
            f"endpoint {shown!r} is not an address. Pass one like http://localhost:8000/v1."
        )
    if extra:
        raise ConfigError(
            "the address of the endpoint has a user, a query or a fragment, which may be secret. "
            "Pass it without, like http://localhost:8000/v1, and the key in OPENAI_API_KEY."
        )
    return f"{url.rstrip('/').removesuffix('/chat/completions')}/chat/completions"


def _key() -> str:
    return os.environ.get("OPENAI_API_KEY", "").strip()


def _headers() -> dict[str, str]:
    key = _key()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            "OPENAI_API_KEY holds characters that no key has, so it cannot be sent. Set it again."
        )
    return {"Content-Type": "application/json"} | (
        {"Authorization": f"Bearer {key}"} if key else {}
    )


def _hidden(text: str) -> str:
    """The text without the key, which servers like to repeat."""
    return text.replace(_key(), "***") if _key() else text


def _answer(content: bytes) -> Answer:
    """The text of a chat completion."""
    if content.strip()[:1] not in (b"{", b""):
        raise _Unlike(f"it answers {_said(content)!r}. Check the address, which mostly ends in /v1")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise _CutShort(f"the answer, of {len(content)} bytes, is not complete JSON") from None
    try:
        choice = body["choices"][0]
        text = choice["message"].get("content") or ""
        if isinstance(text, list):  # of parts
            text = "".join(part.get("text") or "" for part in text)
        text = text.encode(errors="replace").decode()  # half a character has no UTF-8
        return Answer(text, choice.get("finish_reason") == "length")
    except (LookupError, TypeError, AttributeError):
        raise _Unlike(f"the answer is not a chat completion: {_said(content)!r}") from None


def _said(content: bytes) -> str:
    """The message of an error in OpenAI's form, or else the beginning of the body."""
    try:
        said = str(json.loads(content)["error"]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        said = content.decode(errors="replace")
    return " ".join(_hidden(said)[:2000].split())[:300]  # half a key would not be found


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
