"""The command answers at once, explains every refusal, and does nothing it was not asked to do."""

import contextlib
import os
import shutil
import subprocess
import sys
import tomllib

import pytest

import ipsrl
from ipsrl.cli import COMMANDS, main
from ipsrl.errors import RunError
from ipsrl.grids import Config

TINY = [
    "--side", "3", "--policy", "tabular", "--group-size", "4", "--batch", "4", "--seeds", "1",
    "--iterations", "2", "--eval-every", "1", "--checkpoint-every", "1",
]  # fmt: skip


def ipsrl_command(*words: str, without: str | None = None, cwd=None) -> subprocess.CompletedProcess:
    """The command in a process of its own, `without` a package if one is named."""
    command = [sys.executable, "-m", "ipsrl", *map(str, words)]
    if without is not None:
        script = f"""
import sys
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "hypergrid", *TINY, "--out", str(out)]) == 0
    return out


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# --- help -----------------------------------------------------------------------------------------

HELP = [["--help"], *([*name.split(), "--help"] for name in COMMANDS)]


# Python's calls of functions.  The help of `train molecules` made 1,313,000 in .38 s when this was
# measured (NumPy, which the table of methods needs, makes 300,000 of them), so half a second is 1.7
# million; unlike seconds, it is the same on every machine.
MOST_CALLS = 1_500_000
HEAVY = {
    "datasets", "diffrax", "equinox", "jax", "jinja2", "matplotlib", "openai", "optax",
    "peft", "pyarrow", "ray", "rdkit", "rich.console", "safetensors", "scipy", "syntheseus",
    "torch", "transformers", "trl", "vina",
}  # fmt: skip


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_does_little_and_loads_nothing_heavy(words):
    script = f"""
import sys
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


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ipsrl {ipsrl.__version__}\n"


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
    try:
        code = main(words)
    except SystemExit as ended:  # how tyro and argparse leave
        code = ended.code
    assert code == 2
    printed = capsys.readouterr()
    assert printed.out + printed.err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_names_the_nearest(capsys):
    with pytest.raises(SystemExit):
        main(["train", "hypergrid", "--itterations", "3"])
    assert "--iterations" in capsys.readouterr().err


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
    assert main(["train", "hypergrid", *words, "--out", str(tmp_path / "run")]) in (1, 2)
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


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_a_library_of_reports_the_pip_line_is_printed(package, finished, tmp_path):
    answer = ipsrl_command("report", finished, "--out", tmp_path / "page.html", without=package)
    assert answer.returncode == 1
    assert repr(package) in answer.stderr
    assert 'pip install "ipsrl[report]"' in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


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
    assert 'pip install "ipsrl[report]"' in capsys.readouterr().err


# --- training -------------------------------------------------------------------------------------


def test_training_prints_each_seed_and_where_it_wrote(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "hypergrid", *TINY, "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "seed 3: total L1 " in printed
    assert f"written to {out}" in printed


def test_an_option_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    file, out = tmp_path / "some.toml", tmp_path / "run"
    file.write_text('lr = 0.25\nr2 = 3.0\nmethod = "grpo"\n')
    words = [*TINY, "--config", str(file), "--lr", "0.5", "--out", str(out)]
    assert main(["train", "hypergrid", *words]) == 0
    written = tomllib.loads((out / "config.toml").read_text())
    assert (written["lr"], written["r2"], written["method"]) == (0.5, 3.0, "grpo")
    assert written["r1"] == Config().r1
    assert written["side"] == 3


def test_without_out_the_directory_is_named_after_the_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "hypergrid", *TINY]) == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name == "hypergrid-" + Config.load(made / "config.toml").digest()


def test_an_existing_run_is_refused_and_untouched(finished, capsys):
    before = files(finished)
    assert main(["train", "hypergrid", *TINY, "--out", str(finished)]) == 1
    assert f"--resume {finished}" in capsys.readouterr().err
    assert files(finished) == before


# --- resume ---------------------------------------------------------------------------------------


def test_resume_uses_the_configuration_of_the_run(finished, capsys):
    before = (finished / "result.json").read_bytes()
    assert main(["train", "hypergrid", "--resume", str(finished)]) == 0
    assert (finished / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["--lr", "0.5"],
        ["--out", "elsewhere"],
        ["--config", "some.toml"],
        ["--iterations", str(Config().iterations)],  # the default, but not what this run has
        ["--config=some.toml"],
    ],
    ids=" ".join,
)
def test_resume_refuses_other_options_because_it_would_ignore_them(
    words, finished, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.toml").write_text("lr = 0.25\n")
    before = files(finished)
    assert main(["train", "hypergrid", "--resume", str(finished), *words]) == 1
    assert "--resume continues a run as it was configured" in capsys.readouterr().err
    assert files(finished) == before


def test_resume_refuses_a_configuration_that_was_edited(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    config = Config.load(run / "config.toml")
    (run / "config.toml").write_text(config.model_copy(update={"seeds": 2}).dump())
    before = files(run)
    assert main(["train", "hypergrid", "--resume", str(run)]) == 1
    assert "config.toml is not what the run was started with" in capsys.readouterr().err
    assert files(run) == before


def test_resume_names_the_family_of_the_run(finished, capsys):
    before = files(finished)
    assert main(["train", "llm", "--resume", str(finished)]) == 1
    assert "is a run of the family grids, not of llm" in capsys.readouterr().err
    assert files(finished) == before


def test_resume_of_nothing_is_explained(tmp_path, capsys):
    assert main(["train", "hypergrid", "--resume", str(tmp_path / "none")]) == 1
    assert "is not a run directory" in capsys.readouterr().err


# --- report ---------------------------------------------------------------------------------------


def test_report_writes_beside_the_first_run(finished, capsys):
    assert main(["report", str(finished)]) == 0
    assert f"written to {finished / 'report.html'}" in capsys.readouterr().out
    assert (finished / "report.html").is_file()


def test_report_of_an_unfinished_run_is_explained(finished, tmp_path, capsys):
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    for name in ("files.json", "config.toml", "metrics.jsonl"):
        (unfinished / name).write_bytes((finished / name).read_bytes())
    assert main(["report", str(unfinished)]) == 1
    message = capsys.readouterr().err
    assert "has not ended" in message
    assert f"--resume {unfinished}" in message
    assert not (unfinished / "report.html").exists()


def test_report_shows_every_run_also_if_two_have_the_same_name(finished, tmp_path, monkeypatch):
    import ipsrl.report.page as page

    runs = []
    for parent in ("a", "b"):
        runs.append(tmp_path / parent / "run")
        shutil.copytree(finished, runs[-1])
    passed = {}
    write = page.write_report
    monkeypatch.setattr(
        page, "write_report", lambda runs, out, **k: (passed.update(runs), write(runs, out, **k))
    )
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "page.html")]) == 0
    assert sorted(passed.values()) == runs
    assert all(passed)  # and every run has a name


def test_report_of_the_current_directory_has_a_name_for_it(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished)
    assert main(["report", ".", "--out", str(tmp_path / "page.html")]) == 0


# --- keyboard -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interruption_anywhere_has_exit_code_130(command, monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, command, interrupted)
    assert main(command.split()) == 130
    assert "interrupted" in capsys.readouterr().err


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


@pytest.mark.parametrize("began", [True, False])
def test_an_interrupted_training_says_how_to_go_on(began, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        if began:
            (tmp_path / "config.toml").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("ipsrl.grids.training.train", interrupted)
    assert main(["train", "hypergrid", "--out", str(tmp_path)]) == 130
    told = f"continue with: ipsrl train hypergrid --resume {tmp_path}"
    assert (told if began else "nothing had begun") in capsys.readouterr().err
