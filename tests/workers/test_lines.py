"""Whatever a program does, each request ends in an answer or an error, and nothing stays behind."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import HANGS, clock_from, wait_until

from ipsrl.errors import RunError
from ipsrl.workers import lines as lines_module
from ipsrl.workers.lines import Lines, WorkerDied, WorkerTimeout

# Answers {"got": request, "pid": ...}, unless the request says what to do with it.
PROGRAM = """
import json, os, signal, subprocess, sys, time

def child():  # hangs, and has our standard streams open
    print(subprocess.Popen(["sleep", "600"]).pid, file=open(sys.argv[1], "a"), flush=True)

for line in sys.stdin:
    request = json.loads(line)
    exec(request.get("do", ""))
    print(json.dumps({"got": request, "pid": os.getpid()}), flush=True)
"""


@pytest.fixture
def program(tmp_path):
    """The program, with a file of the numbers of its children."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return [sys.executable, "-S", str(path), str(tmp_path / "children")]


def is_alive(pid):
    """Zombies are dead: whoever has to reap them here may take its time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def assert_dies(pid):
    wait_until(lambda: not is_alive(pid))


def children(program):
    return [int(line) for line in Path(program[-1]).read_text().split()]


def test_each_request_gets_its_answer_from_one_process(program):
    with Lines(program, timeout=HANGS) as lines:
        assert lines._program is None  # nothing is started before it is needed
        answers = [lines.ask({"number": i, "text": "å\n"}) for i in range(50)]
    assert [answer["got"] for answer in answers] == [
        {"number": i, "text": "å\n"} for i in range(50)
    ]
    assert len({answer["pid"] for answer in answers}) == 1
    assert_dies(answers[0]["pid"])


def test_requests_and_answers_may_be_larger_than_a_pipe(program):
    text = "x" * 3_000_000  # a pipe holds 65,536 bytes
    with Lines(program, timeout=HANGS) as lines:
        assert lines.ask({"text": text})["got"]["text"] == text
        # 3 MB of warnings before the answer: nobody waits for anybody
        assert lines.ask({"do": "sys.stderr.write('w' * 3_000_000)"})
        assert len(lines._errors) == lines_module.SHOWN


@pytest.mark.parametrize(
    ("do", "error", "message"),
    [
        ("time.sleep(600)", WorkerTimeout, "no answer in 2 s"),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", WorkerTimeout, "2 s"),
        ("while True: sys.stderr.write('noise')", WorkerTimeout, "noise"),
        ("print('{', end='', flush=True); time.sleep(600)", WorkerTimeout, "2 s"),
        ("sys.exit('out of cheese')", WorkerDied, "code 1 .*\nout of cheese"),
        ("os.kill(os.getpid(), signal.SIGKILL)", WorkerDied, "code -9"),
        ("os.close(0); time.sleep(600)", WorkerTimeout, "2 s"),
        ("raise ValueError('bad')", WorkerDied, "ValueError: bad"),
        ("print('Loading weights ...', flush=True)", WorkerDied, "b'Loading weights"),
        ("print('[1, 2]', flush=True)", WorkerDied, r"\[1, 2\]"),
        ("print('[' * 100_000, flush=True)", WorkerDied, r"\[\[\["),
        ("sys.stdout.buffer.write(b'\\xff\\0\\n'); sys.stdout.flush()", WorkerDied, "xff"),
        ("print(flush=True)", WorkerDied, "not one JSON object"),
        ("print('{}\\n{}', flush=True)", WorkerDied, "{}.*{}"),
        ("while True: print('endless', end='')", WorkerDied, "bytes without a line end"),
    ],
)
def test_a_failure_costs_one_request_and_leaves_nothing(program, monkeypatch, do, error, message):
    monkeypatch.setattr(lines_module, "LONGEST", 10**6)
    monkeypatch.setattr(lines_module, "monotonic", clock_from(Path(program[-1])))  # of its child
    with Lines(program, timeout=HANGS) as lines:
        first = lines.ask({})["pid"]
        lines.timeout = 2 if error is WorkerTimeout else HANGS
        with pytest.raises(error, match=f"(?s){message}"):
            lines.ask({"do": f"child(); {do}" if "while" not in do else f"child()\n{do}"})
        lines.timeout = HANGS
        assert_dies(first)
        (child,) = children(program)
        assert_dies(child)
        # The next request is answered, by another process, with its own answer.
        second = lines.ask({"number": 2})
        assert second["got"] == {"number": 2}
        assert second["pid"] != first


def test_an_answer_too_many_is_never_taken_for_the_next(program, tmp_path):
    go = tmp_path / "go"
    late = f"""
if os.fork() == 0:
    while not os.path.exists({str(go)!r}): time.sleep(0.01)
    print(json.dumps({{"got": "the wrong one"}}), flush=True)
    open({str(go)!r} + "ne", "w").close()
    time.sleep(600)
"""
    with Lines(program, timeout=HANGS) as lines:
        lines.ask({"do": late})
        go.touch()
        wait_until(go.with_name("gone").exists)
        with pytest.raises(WorkerDied, match="(?s)without having been asked.*wrong one"):
            lines.ask({})
        assert lines.ask({"number": 3})["got"] == {"number": 3}


def test_without_output_there_is_no_answer(program):
    with Lines(program, timeout=HANGS) as lines:
        with pytest.raises(WorkerDied, match="closed its output"):
            lines.ask({"do": "os.close(1); time.sleep(600)"})
        assert lines.ask({"number": 2})["got"] == {"number": 2}


def test_death_between_requests_costs_none(program):
    with Lines(program, timeout=HANGS) as lines:
        first = lines.ask({"do": "child()"})["pid"]
        os.kill(first, signal.SIGKILL)
        assert_dies(first)
        assert lines.ask({"number": 2})["got"] == {"number": 2}
        assert_dies(children(program)[0])


def test_what_cannot_be_started_is_told(tmp_path):
    with Lines([tmp_path / "none"], timeout=1) as lines:
        for _ in range(2):
            with pytest.raises(RunError, match="cannot be started: .*No such file"):
                lines.ask({})


def test_closed_it_can_be_asked_again(program):
    lines = Lines(program, timeout=HANGS)
    lines.close()
    first = lines.ask({"do": "child()"})["pid"]
    lines.close()
    lines.close()
    assert_dies(first)
    assert_dies(children(program)[0])
    assert lines.ask({})["pid"] != first
    lines.close()


def test_before_it_is_asked_it_can_be_sent_to_another_process(program):
    with pickle.loads(pickle.dumps(Lines(program, timeout=HANGS))) as lines:
        assert lines.ask({"number": 1})["got"] == {"number": 1}


PARENT = """
import json, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from ipsrl.workers.lines import Lines
lines = Lines(json.loads(sys.argv[1]), timeout=600)
print(lines.ask({"do": "child()"})["pid"], flush=True)
if sys.argv[2] == "return":  # without having closed anything
    os._exit(0)
lines.ask({"do": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"})
"""


@pytest.mark.parametrize("end", ["return", signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_parent(program, end):
    command = [sys.executable, "-c", PARENT, json.dumps(program), str(end)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        pid = int(parent.stdout.readline())
        if end != "return":
            time.sleep(0.2)  # by now it hangs in the second request
            parent.send_signal(end)
        try:
            parent.wait(timeout=HANGS)
        finally:
            parent.kill()
    assert_dies(pid)
    assert_dies(children(program)[0])


SERVER = """
import os, sys
from ipsrl.workers.lines import serve

def answer(request):
    print("print")
    os.system("echo a program")
    return {"double": 2 * request["number"], "set": {1}} if "set" in request else {
        "double": 2 * request["number"]}

serve(answer)
"""


def test_serve_answers_and_keeps_noise_and_exceptions_out_of_it():
    with Lines([sys.executable, "-c", SERVER], timeout=HANGS) as lines:
        assert lines.ask({"number": 4}) == {"double": 8}
        assert lines.ask({}) == {"error": "KeyError: 'number'"}
        assert "TypeError" in lines.ask({"number": 1, "set": True})["error"]
        assert lines.ask({"number": 5}) == {"double": 10}
        assert b"a program" in lines._errors


def test_serve_ends_with_its_input():
    command = [sys.executable, "-c", SERVER]
    done = subprocess.run(command, input=b'{"number": 1}\n', capture_output=True, timeout=HANGS)
    assert (done.returncode, done.stdout) == (0, b'{"double": 2}\n')
