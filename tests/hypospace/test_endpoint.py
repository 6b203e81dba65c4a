"""A client against real servers: what they may answer, how they fail, and what is kept."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers import HANGS, wait_until

from ipsrl.cli import main
from ipsrl.errors import ConfigError, MissingExtra, RunError
from ipsrl.hypospace import Boolean, dataset, read_lines, write_dataset
from ipsrl.hypospace.endpoint import endpoint
from ipsrl.hypospace.recovery import Response
from ipsrl.hypospace.responses import Answer, Sampling

KEY = "sk-live-0123456789abcdef"


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's next reply says, and when there is none, as it should."""

    server: Server

    def do_POST(self) -> None:
        self.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, **self.asked})
        self.server.keys.add(self.headers["Authorization"])
        replies = self.server.replies
        reply = replies.pop(0) if replies else self.server.always
        self.server.arrived.set()
        try:
            reply(self)
        except (BrokenPipeError, ConnectionResetError):
            self.server.left.set()

    def log_message(self, format: str, *args: Any) -> None:
        return

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        """A whole response; names of headers have _ for -."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


Reply = Callable[[Handler], None]


def says(content: Any, **more: Any) -> Reply:
    """A chat completion with this content."""
    choice = {"message": {"role": "assistant", "content": content}, **more}
    return replies(json.dumps({"choices": [choice]}).encode(), Content_Type="application/json")


def replies(body: bytes, status: int = 200, **headers: str) -> Reply:
    return lambda handler: handler.send(body, status, **headers)


def refuses(status: int, message: str = "", **headers: str) -> Reply:
    return replies(json.dumps({"error": {"message": message}}).encode(), status, **headers)


def echo(handler: Handler) -> None:
    """Prompt and seed."""
    says(f"{handler.asked['messages'][0]['content']} {handler.asked['seed']}")(handler)


def is_read(handler: Handler) -> None:
    """Until the client has read the response, which it then closes."""
    handler.connection.shutdown(socket.SHUT_WR)
    handler.rfile.read()


def hang(handler: Handler) -> None:
    """Until the client leaves, or the test ends."""
    handler.send(b'{"choices": ')
    handler.server.closing.wait()


def pours(unit: bytes, **headers: str) -> Reply:
    """Without an end."""

    def reply(handler: Handler) -> None:
        handler.send(b"", **headers)
        while not handler.server.closing.is_set():
            handler.wfile.write(unit)
            handler.server.poured += len(unit)

    return reply


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Reply] = []
        self.always: Reply = echo
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.poured = 0
        self.arrived, self.left, self.closing = (threading.Event() for _ in range(3))
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/"


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = Server()
    yield found
    found.closing.set()
    found.shutdown()
    found.server_close()


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """Seconds that were waited for, which take none."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds:
            found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    return found


def ask(server: Server, prompts: str = "a", **sampling: Any) -> list[Answer]:
    return list(endpoint(server.url, "m", Sampling(**sampling))([*prompts], 0))


@pytest.fixture
def command(server, tmp_path) -> list[str]:
    """`evaluate` with four sets, whose responses go to out/responses.jsonl."""
    data = tmp_path / "data.jsonl"
    write_dataset(dataset(Boolean(), count=4), data)
    (tmp_path / "out").mkdir()
    return ["hypospace", "evaluate", "boolean", str(tmp_path / "out" / "responses.jsonl"),
            "--data", str(data), "--model", "m", "--endpoint", server.url, "--n", "2"]  # fmt: skip


# --- what is asked and answered -------------------------------------------------------------------


def test_what_was_configured_is_asked(server, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")  # as a file of secrets may end
    sampling = Sampling(temperature=0.5, max_tokens=7, seed=100)
    answers = endpoint(server.url, "m", sampling)(["a", "b", "c"], 5)
    # In order, each with a seed of its own.
    assert list(answers) == [Answer("a 105"), Answer("b 106"), Answer("c 107")]
    asked = min(server.asked, key=lambda request: request["seed"])
    assert asked == {
        "path": "/v1/chat/completions", "model": "m", "temperature": 0.5, "max_tokens": 7,
        "seed": 105, "messages": [{"role": "user", "content": "a"}], "stream": False,
    }  # fmt: skip
    assert server.keys == {f"Bearer {KEY}"}


def test_no_key_is_sent_where_there_is_none(server) -> None:
    ask(server)
    assert server.keys == {None}


def test_an_address_may_name_the_method(server) -> None:
    url = server.url + "chat/completions"
    assert list(endpoint(url, "m", Sampling())(["a"], 0)) == [Answer("a 0")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("x AND y", "x AND y"),
        (None, ""),
        ("a \ud83d", "a ?"),  # half a character
        ([{"type": "text", "text": "x "}, {"type": "text", "text": "AND y"}], "x AND y"),
        ([{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "x"}], "x"),
        ([], ""),
    ],
)
def test_content_is_text_or_parts_or_nothing(server, content, text) -> None:
    server.replies = [says(content)]
    assert ask(server) == [Answer(text)]


def test_an_answer_of_which_the_limit_of_tokens_left_a_part(server) -> None:
    server.replies = [says("x", finish_reason="length"), says("x", finish_reason="stop")]
    assert [ask(server), ask(server)] == [[Answer("x", True)], [Answer("x", False)]]


def test_a_model_that_refuses_max_tokens(server) -> None:
    """It is told the limit by its other name, and from then on at once."""

    def only_new(handler: Handler) -> None:
        if "max_tokens" in handler.asked:
            refuses(400, "Unsupported parameter: 'max_tokens' is not supported with this model. "
                    "Use 'max_completion_tokens' instead.")(handler)  # fmt: skip
        else:
            echo(handler)

    server.always = only_new
    complete = endpoint(server.url, "m", Sampling(max_tokens=9))
    assert list(complete(["a"], 0)) + list(complete(["b"], 1)) == [Answer("a 0"), Answer("b 1")]
    assert [request.get("max_completion_tokens") for request in server.asked] == [None, 9, 9]
    assert not any("max_tokens" in request for request in server.asked[1:])


# --- what passes ----------------------------------------------------------------------------------


def test_a_busy_server_is_asked_again(server, waits) -> None:
    server.replies = [refuses(status) for status in (503, 429, 500)]
    assert ask(server) == [Answer("a 0")]
    assert len(server.asked) == 4
    assert waits == [1, 2, 4]


@pytest.mark.parametrize(
    ("header", "waited"),
    [
        (lambda: "7", 7),
        (lambda: "0.5", 1),  # never less than without it
        (lambda: formatdate(time.time() + 500, usegmt=True), 500),
        (lambda: formatdate(time.time() - 100, usegmt=True), 1),
        (lambda: "soon", 1),
        (lambda: "nan", 1),
        (lambda: "Fri, 99 Foo 99999 99:99:99 GMT", 1),
    ],
)
def test_a_server_says_when_to_ask_again(server, waits, header, waited) -> None:
    server.replies = [refuses(429, Retry_After=header())]
    assert ask(server) == [Answer("a 0")]
    (found,) = waits
    # A date has whole seconds, and some pass until it is read.
    assert 1 < found <= waited if waited == 500 else found == waited


@pytest.mark.parametrize("header", ["3600", "inf", "1e400"])
def test_a_server_that_asks_for_too_much_patience_is_an_error(server, waits, header) -> None:
    server.replies = [refuses(429, "quota", Retry_After=header)]
    with pytest.raises(RunError, match=r"429: 'quota'\. It asks to wait for (3600|inf) seconds\.$"):
        ask(server)
    assert waits == []


def test_a_body_that_is_cut_short_is_asked_for_again(server) -> None:
    """By its length, and by what it says; five times."""
    whole = json.dumps({"choices": [{"message": {"content": "x"}}]}).encode()
    cut = [replies(whole[:-9], Content_Length=str(len(whole))), replies(whole[:-9]), replies(b"")]
    server.replies = [*cut, says("x")]
    assert ask(server) == [Answer("x")]
    server.replies = [cut[0]] * 5
    with pytest.raises(RunError, match="asked 5 times in vain. no answer"):
        ask(server)
    server.replies = [cut[1]] * 5
    with pytest.raises(RunError, match=f"5 times in vain. the answer, of {len(whole) - 9} byte"):
        ask(server)
    assert not server.replies


def test_a_server_that_is_not_there(server) -> None:
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(RunError, match=f"{url}chat/completions: .*Check the address"):
        list(endpoint(url, "m", Sampling())(["a"], 0))


# --- what does not pass ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (refuses(400, "temperature must be 1"), "HTTP 400: 'temperature must be 1'."),
        (refuses(401, "bad key"), "HTTP 401: 'bad key'. Set OPENAI_API_KEY to a key of this serv"),
        (refuses(403, "no"), "HTTP 403: 'no'. Set OPENAI_API_KEY to a key that may use this model"),
        (refuses(404, "no model"), "HTTP 404: 'no model'. Check the address"),
        (replies(b"<h1>Not found</h1>", 404), "HTTP 404: '<h1>Not found</h1>'. Check the addr"),
        (replies(b'{"detail": "x"}', 422), 'HTTP 422: \'{"detail": "x"}\'.'),
        (replies(b"", 307, Location="https://b/v1"), "HTTP 307: 'moved to https://b/v1'."),
        (replies(b"<html>hello", Content_Type="text/html"), "it answers '<html>hello'. Check the"),
        (replies(b"[]"), "it answers '[]'"),
        (replies(b"data: {}\n\n", Content_Type="text/event-stream"), "it answers by a stream"),
        (pours(b"data: {}\n\n", Content_Type="text/event-stream"), "it answers by a stream"),
        (pours(b" " * 2**16), "the answer is longer than 16,777,216 bytes."),
        (replies(gzip.compress(b" " * 10**8), Content_Encoding="gzip"), "the answer is longer tha"),
        (replies(b'{"choices": []}'), "the answer is not a chat completion: '{\"choices\": []}'."),
        (replies(b'{"choices": null}'), "the answer is not a chat completion"),
        (replies(b'{"choices": [{"message": null}]}'), "the answer is not a chat completion"),
        (replies(b'{"error": {"message": "no credit"}}'), "not a chat completion: 'no credit'."),
        (says(7), "the answer is not a chat completion"),
        (says([["x"]]), "the answer is not a chat completion"),
    ],
)
def test_another_answer_is_an_error_at_once(server, reply, sentence) -> None:
    server.always = reply
    with pytest.raises(RunError) as error:
        ask(server)
    said = str(error.value)
    assert said.startswith(f"{server.url}chat/completions: ")
    assert sentence in said
    assert len(said) < 500
    assert len(server.asked) == 1
    assert server.poured < 2**26  # what the buffers of the sockets take is far less


def test_a_body_that_nests_deeper_than_can_be_read(server) -> None:
    server.always = replies(b'{"a":' * 10**5)
    with pytest.raises(RunError, match="not complete JSON"):
        ask(server)


def test_a_refusal_stops_what_was_asked_beside_it(server) -> None:
    """Though the first request hangs, and answers that came before are given."""
    server.replies = [echo, refuses(401), hang, hang]
    complete = endpoint(server.url, "m", Sampling())([*"abcd"], 0)
    with pytest.raises(RunError, match="HTTP 401"):
        list(complete)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000", "ftp://localhost/v1", "", "http://", "http:///v1", "http://:80/v1",
        "http://localhost:99999/v1", "http://localhost:0/v1", "http://localhost:-1/v1",
        "http://localhost:http/v1", "http://local host/v1", "http://[::1/v1", "http://x\n/v1",
        "http://\u2603/v1", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_what_is_not_an_address_is_refused(url) -> None:
    with pytest.raises(ConfigError, match="is not an address. Pass one like http://localhost:8000"):
        endpoint(url, "m", Sampling())


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{KEY}@localhost/v1", f"http://{KEY}@localhost/v1",
        f"http://localhost/v1?key={KEY}", f"http://localhost/v1#{KEY}", KEY,
        f"ftp://user:{KEY}@localhost/v1",
    ],
)  # fmt: skip
def test_an_address_with_a_secret_is_refused_and_not_shown(url, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ConfigError) as error:
        endpoint(url, "m", Sampling())
    assert KEY not in str(error.value)


@pytest.mark.parametrize("key", ["sk-1\nX-Header: 2", "sk-\u2603", "sk-\x07"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(server, monkeypatch, key) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY holds characters") as error:
        ask(server)
    assert "sk-" not in str(error.value)


@pytest.mark.parametrize("proxy", ["http://[::1", "foo://localhost:1"])
def test_a_proxy_that_cannot_be_used_is_refused(monkeypatch, proxy) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError, match="proxy .* Correct HTTP_PROXY"):
        endpoint("http://localhost/v1", "m", Sampling())


def test_help_does_not_load_the_library() -> None:
    code = "import sys, ipsrl.cli as cli\ntry: cli.main({})\nexcept SystemExit: pass\n" + (
        "print('httpx2' in sys.modules)"
    )
    for arguments in (["--help"], ["hypospace", "evaluate", "--help"]):
        command = [sys.executable, "-c", code.format(arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert done.stdout.splitlines()[-1] == "False"


def test_without_the_library_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)  # importing it fails
    with pytest.raises(MissingExtra, match=r"'httpx2' is not installed.*ipsrl\[llm\]"):
        endpoint("http://localhost/v1", "m", Sampling())


# --- the command ----------------------------------------------------------------------------------


def files(command: list[str]) -> list[Path]:
    return list(Path(command[3]).parent.iterdir())


def responses(command: list[str]) -> list[Response]:
    return read_lines(Path(command[3]), Response)


def test_a_failed_call_leaves_no_file(server, command, capsys) -> None:
    server.always = refuses(404, "no such model")
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "no such model" in error
    assert "--resume" not in error
    assert files(command) == []
    server.always = echo
    assert main(command) == 0  # --resume is not needed
    assert len(responses(command)) == 8


def test_what_was_answered_before_a_failure_is_kept(server, command, capsys) -> None:
    """Three batches of four, of which the last fails."""
    command = [*command, "--n", "3", "--protocol", "sequential"]
    server.replies = [echo] * 8
    server.always = refuses(400, "enough")
    assert main(command) == 1
    assert "responses.jsonl keeps what was answered: continue with --resume." in (
        capsys.readouterr().err
    )
    assert len(responses(command)) == 8
    server.always = echo
    assert main([*command, "--resume"]) == 0
    assert len(responses(command)) == 12
    seeds = [request["seed"] for request in server.asked]
    assert sorted(seeds[:8]) == list(range(8))
    assert sorted(seeds[-4:]) == list(range(8, 12))


def test_what_was_answered_in_a_batch_that_fails_is_kept(server, command) -> None:
    """Up to the first that failed, as the file has an order."""
    read: list[int] = []

    def fifth_fails(handler: Handler) -> None:
        seed = handler.asked["seed"]
        if seed == 5:
            wait_until(lambda: len(read) == 5)
            refuses(400)(handler)
        elif seed > 5:
            hang(handler)
        else:
            echo(handler)
            is_read(handler)
            read.append(seed)

    server.always = fifth_fails
    assert main(command) == 1
    assert [one.response.split()[-1] for one in responses(command)] == list("01234")


def test_truncated_answers_are_told(server, command, capsys) -> None:
    server.always = says("Let me think. First", finish_reason="length")
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "verdicts: truncated 8\n" in shown
    assert "8 of 8 responses were cut off at the limit of tokens: raise --max-tokens" in shown
    assert [one.truncated for one in responses(command)] == [True] * 8


def test_the_key_is_in_no_error_and_no_file(server, command, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.always = refuses(401, f"Incorrect API key provided: {KEY}.")
    assert main(command) == 1
    server.always = replies(b" " * 1990 + f"<p>{KEY}".encode(), 500)
    assert main(command) == 1
    server.always = replies(b"", 302, Location=f"http://localhost/?key={KEY}")
    assert main(command) == 1
    server.always = replies(f"Bearer {KEY}".encode())
    assert main(command) == 1
    server.always = echo
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "***" in shown.err
    assert "sk-live" not in shown.err + shown.out
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_the_wrong_options_of_a_data_set_are_noticed_before_anything_is_asked(
    server, command, capsys
) -> None:
    assert main([*command, "--depth", "1"]) == 2
    assert "Give the options" in capsys.readouterr().err
    assert main([*command, "--n", "0"]) == 2
    assert "n is 0" in capsys.readouterr().err
    assert server.asked == []
    assert files(command) == []


def test_sequential_prompts_of_the_command(server, command, capsys) -> None:
    command = [*command, "--n", "3", "--protocol", "sequential"]
    server.always = says("I think\nExpression: x AND y")
    assert main(command) == 0
    assert "3 sequential responses" in capsys.readouterr().out
    prompts = [request["messages"][0]["content"] for request in server.asked]
    assert sum("given already" in prompt for prompt in prompts) == 8
    assert not any("I think" in prompt for prompt in prompts)
    # Cut off in the middle: only the rest is asked.
    path = Path(command[3])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:7]))
    before = len(server.asked)
    assert main([*command, "--resume"]) == 0
    assert len(server.asked) - before == 5


def test_the_protocol_of_the_benchmark(server, command, capsys) -> None:
    """|H| responses to each set, the unreadable ones asked for five times."""
    sets = dataset(Boolean(), count=4)
    total = sum(len(one.admissible) for one in sets)
    command = [*command[:-2], "--protocol", "benchmark", "--split", "test"]
    mine = sum(len(one.admissible) for one in sets if one.split == "test")
    assert 0 < mine < total
    server.always = says("Expression: x")
    assert main(command) == 0
    assert "1 benchmark responses for each admissible answer" in capsys.readouterr().out
    assert len(responses(command)) == len(server.asked) == mine
    Path(command[3]).unlink()
    server.asked.clear()
    server.always = says("I do not know.")
    assert main(command) == 0
    assert len(server.asked) == 5 * mine
    assert len({request["seed"] for request in server.asked}) == 5 * mine
    assert len(responses(command)) == mine


@pytest.mark.parametrize("answered", [0, 3])
def test_ctrl_c_ends_a_server_that_hangs(server, command, answered) -> None:
    """At once, though the server may take ten minutes; what was answered is kept."""
    here = threading.Event()
    read: list[int] = []

    def some(handler: Handler) -> None:
        seed = handler.asked["seed"]
        if seed < answered:
            echo(handler)
            is_read(handler)
            read.append(seed)
            return
        if [request["seed"] for request in server.asked].count(7) == 1 and seed == 7:
            # When it asks again, what it has read before is kept.
            wait_until(lambda: len(read) == answered)
            refuses(503)(handler)
            return
        if len(server.asked) == 9:  # all that are asked at once, and one again
            here.set()
        hang(handler)

    server.always = some
    heeds_ctrl_c = (  # also where the tests were started to ignore it, as in the background
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from ipsrl.cli import main; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", heeds_ctrl_c, *command], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        assert here.wait(HANGS)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=HANGS)  # it would ask five times, 600 s each
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error
    if answered:
        assert "continue with --resume" in error
        assert len(responses(command)) == answered
    else:
        assert "nothing was answered" in error
        assert files(command) == []
