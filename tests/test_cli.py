"""The command answers at once, explains every refusal, and does nothing it was not asked to do."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from tiny_grid import TINY

import ipsrl
from ipsrl.cli import COMMANDS, main, usage
from ipsrl.errors import RunError
from ipsrl.grids import Config


def ipsrl_command(*words: str, without: str | None = None, cwd=None) -> subprocess.CompletedProcess:
    """The command in a process of its own, `without` a package if one is named."""
    command = [sys.executable, "-m", "ipsrl", *map(str, words)]
    if without is not None:
        script = f"""
import sys
import time
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {without!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from ipsrl.cli import main
sys.exit(main())
"""
        command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


# --- help -----------------------------------------------------------------------------------------

HELP = [["--help"], *([*name.split(), "--help"] for name in COMMANDS)]


# Python's calls of functions.  The help of `train hypospace`, which makes most, makes 889,000 in
# .3 s, and this is a tenth more; unlike seconds, it is the same on every machine.
MOST_CALLS = 980_000
HEAVY = {
    "datasets", "diffrax", "equinox", "jax", "jinja2", "matplotlib", "openai", "optax",
    "peft", "pyarrow", "ray", "rdkit", "rich.console", "safetensors", "scipy", "syntheseus",
    "torch", "transformers", "trl", "vina",
}  # fmt: skip


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_does_little_and_loads_nothing_heavy(words):
    script = f"""
import sys
import time
calls = 0
def count(frame, event, argument):
    global calls
    calls += 1
sys.setprofile(count)
from ipsrl.cli import main
try:
    main({words!r})
except SystemExit:
    pass
sys.setprofile(None)
assert 10_000 < calls < {MOST_CALLS}, calls
print("loaded:", *{sorted(HEAVY)} & sys.modules.keys(), file=sys.stderr)
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.stderr == "loaded:\n"
    assert "usage: ipsrl" in answer.stdout


def test_help_of_training_names_every_key_of_the_configuration(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "hypergrid", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for key in Config.model_fields:
        assert f"--{key.replace('_', '-')} " in text
    assert all(f"--{name} " in text for name in ("config", "out", "resume"))


def test_help_names_every_command(capsys):
    main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


def test_a_reader_that_has_gone_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "ipsrl", "advise", "--rewards", "1,0.5", "--group-size", "4"]
    run = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (run.returncode, run.stderr) == (1, "")


@pytest.mark.parametrize("word", ["--version", "version"])
def test_version(word, capsys):
    assert main([word]) == 0
    assert capsys.readouterr().out == f"ipsrl {ipsrl.__version__}\n"


def test_help_of_a_command_by_its_name(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["help", "train", "hypergrid"])
    assert ended.value.code == 0
    assert "usage: ipsrl train hypergrid" in capsys.readouterr().out
    assert main(["help"]) == 0
    assert capsys.readouterr().out == usage()


# --- wrong calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["train"],
        ["train", "hypergrit"],
        ["train", "hypergrid", "--itterations", "3"],
        ["train", "hypergrid", "--lr", "banana"],
        ["train", "hypergrid", "--method", "magic"],
        ["train", "hypergrid", "--config"],
        ["reproduce"],
        ["reproduce", "table-7"],
        ["reproduce", "table-1", "--preset", "huge"],
        ["report"],
        ["doctor", "--fast"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_has_exit_code_2_and_does_nothing(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out + printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["trian", "llm"], "train llm"),
        (["trian"], "train"),
        (["moleculess"], "molecules"),
        (["sweeep"], "sweep"),
        (["help", "trian"], "train"),
        (["train", "hypergrit"], "train hypergrid"),
        (["reprodce", "table-1"], "reproduce"),
        (["molecule", "route", "CCO"], "molecules route"),
        (["docter"], "doctor"),
    ],
    ids=str,
)
def test_a_typo_names_the_nearest_command(typed, meant, capsys):
    assert main(typed) == 2
    assert f"the nearest is {meant!r}" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["option", "file"])
def test_one_mistake_has_one_exit_code_wherever_it_is_made(given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.toml").write_text("lr = 0.0\n")
    words = {"option": ["--lr", "0"], "file": ["--config", "wrong.toml"]}[given]
    assert main(["train", "hypergrid", *words]) == 2
    assert "lr = 0.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["train", "hypergrid", "--itterations", "3"], "no option --itterations; .* --iterations"),
        (["train", "hypergrid", "--method", "ips-gpro"], "'ips-gpro'; the nearest is 'ips-grpo'"),
        (["train", "llm", "--log-to", "wandb", "tensorbord"], "the nearest is 'tensorboard'"),
        (["train", "hypospace", "--domain=voxl"], "the nearest is 'voxel'. Choose among causal"),
        (["reproduce", "tabel-1"], "ITEM has no choice 'tabel-1'; the nearest is 'table-1'"),
        (["report", "runs", "--jsn"], "no option --jsn; the nearest is --json"),
        (["completion", "bash", "--all"], "no option --all. All options"),  # it has none
        (["train", "hypergrid", "--seed", "abc"], "--seed must be an integer, but is 'abc'"),
        (["train", "hypergrid", "--lr=high"], "--lr must be a number, but is 'high'"),
        (["train", "hypergrid", "--lr", "--seed", "1"], "--lr has no value. Write --lr FLOAT"),
        (["train", "hypergrid", "--config"], "--config has no value. All options"),
        (["train", "hypergrid", "--json=yes"], "argument --json: ignored explicit argument 'yes'"),
        (["report", "runs", "-o"], "-o has no value. Write -o PATH"),
        (["report", "runs", "-o", "--json"], "-o has no value. Write -o PATH"),
        (["completion", "tcsh"], "no choice 'tcsh'. Choose among bash, zsh"),
        (["workers", "install", "nope"], "no choice 'nope'. Choose among"),
        (["hypospace", "judge", "-q"], "there is no option -q. All options"),
        (["reproduce", "--log-to", "mlflow"], "there is no option --log-to. All options"),
        (["report", ""], "a path is empty"),
        (["train", "hypergrid", "-q", "-v"], "--quiet and --verbose contradict each other"),
        (["reproduce", "table-1", "-q", "-v"], "--quiet and --verbose contradict each other"),
        (["sweep", "a.toml", "-q", "-v"], "--quiet and --verbose contradict each other"),
        (["report", "runs", "--out="], "a path is empty"),
        (["train", "molecules", "--resume", ""], "a path is empty"),
        (["train", "molecules", "--config", ""], "a path is empty"),
        (["sweep", "a.toml", "b.toml"], "Unrecognized options: b.toml"),
        (["sweep"], "it needs FILE. All options:  ipsrl sweep --help"),
    ],
    ids=str,
)
def test_a_wrong_option_or_value_is_told_in_a_line(words, named, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert re.search(named, said)
    assert "--no-json" not in said
    assert said.count("\n") == 1


def test_an_environment_is_named_in_its_place(capsys):
    with pytest.raises(SystemExit):
        main(["train", "env", "--help"])
    said = capsys.readouterr().out
    assert said.startswith("usage: ipsrl train env ENV [options]")
    assert "--env" not in said
    assert "--method {ips-grpo,grpo,maxrl,...}\n" in said  # of very many the first


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--lr", "nan"], "lr = nan"),
        (["--lr", "0"], "lr = 0"),
        (["--side", "1"], "side = 1"),
        (["--group-size", "-4"], "group_size = -4"),
        (["--batch", "100"], "batch = 100"),
    ],
    ids=" ".join,
)
def test_an_option_out_of_range_is_refused_as_in_a_file(words, named, tmp_path, capsys):
    assert main(["train", "hypergrid", *words, "--out", str(tmp_path / "run")]) == 2
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# --- missing extras -------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["jax", "optax", "equinox"])
def test_without_a_library_of_grids_the_pip_line_is_printed(package, tmp_path):
    answer = ipsrl_command(
        "train", "hypergrid", *TINY, "--out", tmp_path / "run", without=package
    )  # fmt: skip
    assert answer.returncode == 1
    assert repr(package) in answer.stderr
    assert 'pip install "ipsrl[grids]"' in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_without_a_library_of_reports_the_pip_line_is_printed(package, finished, tmp_path):
    answer = ipsrl_command("report", finished, "--out", tmp_path / "page.html", without=package)
    assert answer.returncode == 1
    assert repr(package) in answer.stderr
    assert 'pip install "ipsrl[report]"' in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [["sample"], ["import", "--weights", "a", "--tokens", "b", "--out", "c"]], ids=" ".join
)
def test_without_a_library_of_molecules_the_pip_line_is_printed(words):
    answer = ipsrl_command("molecules", *words, without="torch")
    assert answer.returncode == 1
    assert "'torch'" in answer.stderr
    assert 'pip install "ipsrl[molecules]"' in answer.stderr
    assert "Traceback" not in answer.stderr


def test_nothing_is_trained_for_figures_that_cannot_be_drawn(tmp_path, monkeypatch, capsys):
    """Else the refusal would come after hours."""
    import ipsrl.reproduce.grids

    started = []
    monkeypatch.setattr(ipsrl.reproduce.grids, "train", lambda *_, **__: started.append(True))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # importing it fails
    monkeypatch.delitem(sys.modules, "ipsrl.report.figures", raising=False)
    with contextlib.suppress(RunError):  # the untrained run that it would look for
        assert main(["reproduce", "group-size", "--out", str(tmp_path / "out")]) == 1
    assert started == []
    assert 'pip install "ipsrl[grids,report]"' in capsys.readouterr().err


# --- keyboard -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interruption_anywhere_has_exit_code_130(command, monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, command, interrupted)
    assert main(command.split()) == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_interruption_that_python_drops_comes_again(monkeypatch, capsys):
    """One that falls into a destructor, a weak reference's callback or the garbage collector's."""

    class Dropping:
        def __del__(self):
            raise KeyboardInterrupt

    def work(argv):
        Dropping()
        for _ in range(1000):
            time.sleep(0.01)

    monkeypatch.setattr("ipsrl.doctor.doctor", work)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        assert main(["doctor"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_command_is_installed():
    script = os.path.join(os.path.dirname(sys.executable), "ipsrl")
    answer = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (0, f"ipsrl {ipsrl.__version__}\n")


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["-h"], 0), ([], 2)])
def test_a_family_lists_its_commands(words, code, capsys):
    assert main(["molecules", *words]) == code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [
        name.split()[1] for name in COMMANDS if name.startswith("molecules ")
    ]
