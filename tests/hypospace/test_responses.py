"""Asking models: every set N times, the same responses for the same seed, nothing asked twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ipsrl.cli import main
from ipsrl.errors import ConfigError, RunError
from ipsrl.hypospace import Boolean, ObservationSet, dataset, read_lines, write_dataset
from ipsrl.hypospace.recovery import Response
from ipsrl.hypospace.responses import (
    Sampling,
    collect,
    collected,
    endpoint,
    local_model,
    respond,
)

SETS = [ObservationSet(name, (), f"{name}?", ()) for name in ("a", "b", "c")]


def echo(prompts: list[str], number: int) -> list[str]:
    """Number of the response, and how long its prompt is."""
    return [f"{number + i}:{len(prompt)}" for i, prompt in enumerate(prompts)]


def flat(responses: Iterator[list[Response]]) -> list[Response]:
    return [one for batch in responses for one in batch]


@pytest.mark.parametrize("protocol", ["parallel", "sequential"])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_every_set_is_asked_n_times(protocol: Any, batch: int) -> None:
    found = flat(respond(echo, SETS, 4, protocol=protocol, batch=batch, seed=9))
    assert [one.id for one in found] == (
        ["a"] * 4 + ["b"] * 4 + ["c"] * 4 if protocol == "parallel" else ["a", "b", "c"] * 4
    )
    assert {one.seed for one in found} == {9}
    # Numbered from 0 in the order of the file, so that each has a seed of its own.
    assert [one.response.partition(":")[0] for one in found] == [str(i) for i in range(12)]


def test_sequential_prompts_show_the_answers_so_far() -> None:
    shown: list[str] = []

    def remember(prompts: list[str], number: int) -> list[str]:
        shown.extend(prompts)
        return [f"answer {number + i}" for i in range(len(prompts))]

    flat(respond(remember, SETS[:2], 3, protocol="sequential"))
    assert shown[:2] == ["a?", "b?"]
    assert "answer 0" in shown[2]
    assert "answer 1" not in shown[2]
    assert shown[5].index("answer 1") < shown[5].index("answer 3")  # of b, oldest first


@pytest.mark.parametrize("protocol", ["parallel", "sequential"])
def test_what_was_asked_before_a_stop_is_not_asked_again(protocol: Any, tmp_path) -> None:
    whole = flat(respond(echo, SETS, 4, protocol=protocol, batch=5))
    for done in range(len(whole) + 1):
        rest = flat(respond(echo, SETS, 4, protocol=protocol, batch=5, earlier=whole[:done]))
        assert whole[:done] + rest == whole


def test_responses_are_written_as_they_come(tmp_path) -> None:
    path = tmp_path / "responses.jsonl"

    def broken(prompts: list[str], number: int) -> list[str]:
        if number >= 4:
            raise KeyboardInterrupt
        return echo(prompts, number)

    with pytest.raises(KeyboardInterrupt):
        collect(path, respond(broken, SETS, 4, batch=2))
    earlier = read_lines(path, Response)
    assert len(earlier) == 4
    collect(path, respond(echo, SETS, 4, batch=2, earlier=earlier))
    assert read_lines(path, Response) == flat(respond(echo, SETS, 4, batch=2))


@pytest.mark.parametrize("left", ["", "half", "1", "1 half", "11"])
def test_a_file_that_a_stop_cut_off_is_gone_on_with(left, tmp_path) -> None:
    """It may be empty, or end in the middle of a line."""
    path = tmp_path / "responses.jsonl"
    collect(path, respond(echo, SETS, 4))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: left.count("1")]) + (lines[5][:9] if "half" in left else b""))
    earlier = collected(path)
    assert len(earlier) == left.count("1")
    collect(path, respond(echo, SETS, 4, earlier=earlier))
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "other",
    [
        {"sets": SETS[:2]},
        {"n": 5},
        {"seed": 1},
        {"protocol": "sequential"},
        {"sets": [*SETS[1:], SETS[0]]},
        {"sets": SETS[:1], "n": 2},
    ],
)
def test_responses_of_another_kind_are_not_gone_on_with(other) -> None:
    options: dict[str, Any] = {"sets": SETS, "n": 4}
    earlier = flat(respond(echo, **options))
    with pytest.raises(ConfigError, match="12 responses of before .* name another file"):
        flat(respond(echo, **{**options, **other}, earlier=earlier))


def test_a_file_that_cannot_be_written_is_an_error(tmp_path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        collect(tmp_path / "nowhere" / "responses.jsonl", respond(echo, SETS, 1))


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"temperature": float("nan")},
                                   {"max_tokens": 0}])  # fmt: skip
def test_sampling_that_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        Sampling(**wrong)


# --- models that run here -------------------------------------------------------------------------


def test_a_local_model_answers_the_same_for_the_same_seed(beginner) -> None:
    prompts = [one.prompt for one in dataset(Boolean())[:4]] * 4
    sampling = Sampling(max_tokens=8, seed=3)
    complete = local_model(str(beginner), sampling)
    texts = complete(prompts, 0)
    assert local_model(str(beginner), sampling)(prompts, 0) == texts
    assert complete(prompts, 16) != texts
    assert local_model(str(beginner), Sampling(max_tokens=8, seed=4))(prompts, 0) != texts
    assert len(set(texts)) > 4  # the same prompt is answered differently


def test_a_greedy_model_does_not_depend_on_the_batch(beginner) -> None:
    """Padding on the left changes nothing."""
    prompts = [one.prompt for one in dataset(Boolean())[:6]]
    prompts[0] += " " * 40
    complete = local_model(str(beginner), Sampling(temperature=0, max_tokens=8))
    together = complete(prompts, 0)
    assert together == [complete([prompt], 0)[0] for prompt in prompts]


def test_a_model_that_is_not_there_is_an_error(tmp_path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        local_model(str(tmp_path), Sampling())


def test_evaluate_asks_a_model(beginner, tmp_path, capsys) -> None:
    data, responses = tmp_path / "data.jsonl", tmp_path / "responses.jsonl"
    write_dataset(dataset(Boolean(), count=6), data)
    command = ["hypospace", "evaluate", "boolean", str(responses), "--data", str(data), "--json"]
    asked = [*command, "--model", str(beginner), "--n", "2", "--max-tokens", "4"]
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["responses"] == 2
    written = responses.read_bytes()
    assert main(asked) == 1  # it would be mixed with other responses
    assert "--resume" in capsys.readouterr().err
    responses.unlink()
    assert main(asked) == 0
    assert responses.read_bytes() == written


# --- endpoints ------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers as an OpenAI-compatible server does, after the failures that it is told of."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures: list[int] = []
        self.body: bytes | None = None
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, **request})
        self.server.keys.add(self.headers["Authorization"])
        status = self.server.failures.pop() if self.server.failures else 200
        text = f"{request['messages'][0]['content']} {request['seed']}"
        body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(self.server.body or json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    found = Server()
    yield found
    found.shutdown()
    found.server_close()


def test_an_endpoint_is_asked_for_what_was_configured(server, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    sampling = Sampling(temperature=0.5, max_tokens=7, seed=100)
    texts = endpoint(server.url, "m", sampling)(["a", "b", "c"], 5)
    assert texts == ["a 105", "b 106", "c 107"]  # in order, each with a seed of its own
    asked = min(server.asked, key=lambda request: request["seed"])
    assert asked == {
        "path": "/v1/chat/completions", "model": "m", "temperature": 0.5, "max_tokens": 7,
        "seed": 105, "messages": [{"role": "user", "content": "a"}],
    }  # fmt: skip
    assert server.keys == {"Bearer secret"}


def test_an_endpoint_that_is_busy_is_asked_again(server) -> None:
    server.failures = [500, 429, 503]
    assert endpoint(server.url, "m", Sampling())(["a"], 0) == ["a 0"]
    assert len(server.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 404])
def test_an_endpoint_that_refuses_is_an_error_at_once(server, status) -> None:
    server.failures = [status] * 9
    with pytest.raises(RunError, match=f"HTTP Error {status}"):
        endpoint(server.url, "m", Sampling())(["a"], 0)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{"message": {"content": [{"type": "text", "text": "a"}]}}]}',
    ],
)
def test_an_endpoint_that_answers_otherwise_is_an_error(server, body) -> None:
    server.body = body
    with pytest.raises(RunError, match="OpenAI-compatible"):
        endpoint(server.url, "m", Sampling())(["a"], 0)
    assert len(server.asked) == 5


def test_half_a_character_of_an_endpoint_can_be_written(server, tmp_path) -> None:
    server.body = b'{"choices": [{"message": {"content": "a \\ud83d"}}]}'
    collect(tmp_path / "r.jsonl", respond(endpoint(server.url, "m", Sampling()), SETS, 1))
    assert [one.response for one in collected(tmp_path / "r.jsonl")] == ["a ?"] * 3


def test_a_refusal_leaves_a_file_that_can_be_gone_on_with(server, tmp_path, capsys) -> None:
    data, responses = tmp_path / "data.jsonl", tmp_path / "responses.jsonl"
    write_dataset(dataset(Boolean(), count=4), data)
    command = ["hypospace", "evaluate", "boolean", str(responses), "--data", str(data)]
    command += ["--model", "m", "--endpoint", server.url, "--n", "2"]
    server.failures = [404] * 9
    assert main(command) == 1
    server.failures = []
    assert main([*command, "--resume"]) == 0
    assert len(read_lines(responses, Response)) == 8
    assert main([*command, "--n", "0"]) == 1
    assert "n is 0" in capsys.readouterr().err


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="no address"):
        endpoint("localhost:8000", "m", Sampling())


def test_evaluate_asks_an_endpoint_one_after_the_other(server, tmp_path, capsys) -> None:
    data, responses = tmp_path / "data.jsonl", tmp_path / "responses.jsonl"
    write_dataset(dataset(Boolean(), count=4), data)
    options = ["--model", "m", "--endpoint", server.url, "--n", "3", "--protocol", "sequential"]
    command = ["hypospace", "evaluate", "boolean", str(responses), "--data", str(data), *options]
    assert main(command) == 0
    assert "3 sequential responses" in capsys.readouterr().out
    assert len(read_lines(responses, Response)) == 12
    assert sum("given already" in r["messages"][0]["content"] for r in server.asked) == 8
    # Cut off in the middle: only the rest is asked.
    lines = responses.read_text().splitlines(keepends=True)
    responses.write_text("".join(lines[:7]))
    before = len(server.asked)
    assert main([*command, "--resume"]) == 0
    assert len(server.asked) - before == 5
