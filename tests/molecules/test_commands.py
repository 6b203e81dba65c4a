"""The commands of the molecules do what they say, and explain what they refuse."""

import json

import pytest
import torch
from routes import ACID, ANILINE, BORONIC, TARGET
from safetensors.torch import save_file

from ipsrl.cli import main
from ipsrl.molecules import Prior, Reaction, Route
from ipsrl.molecules.fragment import Fragment
from ipsrl.molecules.molecule import canonical, internal_diversity
from ipsrl.molecules.synthesis.picture import route_svg
from ipsrl.runs import Run


@pytest.fixture
def command(capsys):
    """`ipsrl molecules ...`: exit code, standard output, standard error."""

    def run(*words) -> tuple[int, str, str]:
        code = main(["molecules", *map(str, words)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def files(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "environment.json"
    }


# --- sample ---------------------------------------------------------------------------------------


def test_sample_counts_what_it_writes(command, small_prior, corpus_file, tmp_path):
    known, out = tmp_path / "known.smi", tmp_path / "drawn.smi"
    half = corpus_file.read_text().split()[::2]
    known.write_text("\n".join(["C(", *half]))
    options = ["--prior", small_prior, "--n", 70, "--seed", 3, "--json"]
    code, shown, _ = command("sample", *options, "--known", known, "--out", out)
    assert code == 0
    figures = json.loads(shown)
    drawn = out.read_text().split("\n")[:-1]
    valid = [text for smiles in drawn if (text := canonical(smiles))]
    seen = {canonical(text) for text in half}
    assert len(drawn) == figures.pop("samples") == 70
    assert figures.pop("left_out") == {"RDKit cannot read it, as 'C(' in line 1": 1}
    assert figures.pop("seconds") > 0
    assert figures.pop("threads") == torch.get_num_threads()
    diversity = internal_diversity(list(set(valid)))
    assert figures.pop("internal_diversity") == pytest.approx(diversity)
    assert figures == {
        "validity": len(valid) / 70,
        "uniqueness": len(set(valid)) / len(valid),
        "novelty": len(set(valid) - seen) / len(set(valid)),
    }
    assert len(set(valid)) < len(valid) < 70  # so that no two of the figures are alike
    assert 0 < figures["novelty"] < 1


def test_sample_repeats_with_its_seed(command, small_prior, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = ["--prior", small_prior, "--n", 8, "--seed", seed, "-o", tmp_path / name]
        code, shown, _ = command("sample", *options)
        assert code == 0
        assert {line.rsplit(maxsplit=1)[0] for line in shown.splitlines()} == {
            "samples", "validity", "uniqueness", "internal diversity", "seconds",
            "threads",
        }  # fmt: skip
    drawn = [(tmp_path / name).read_text() for name in "abc"]
    assert drawn[0] == drawn[1] != drawn[2]


def test_sample_writes_around_a_fragment(command, small_prior, tmp_path):
    fragment, out = "Cc1ccc(*)cc1", tmp_path / "drawn.smi"
    options = ["--prior", small_prior, "--n", 40, "--decorate", fragment, "--out", out, "--json"]
    code, shown, _ = command("sample", *options)
    assert code == 0
    drawn = out.read_text().splitlines()
    assert all(text.startswith("Cc1ccc(") for text in drawn if text)
    valid = [text for text in map(canonical, drawn) if text and Fragment(fragment).is_in(text)]
    assert json.loads(shown)["validity"] == len(valid) / 40 > 0.5


def test_a_prior_that_knows_nothing_has_figures_too(command, small_prior, tmp_path):
    """Every line that it draws is written, also the empty ones."""
    vocabulary = Prior.load(small_prior).vocabulary
    Prior.mamba(vocabulary, hidden=8, layers=1).save(tmp_path / "prior")
    options = ["--prior", tmp_path / "prior", "--n", 64, "--json", "--out", tmp_path / "drawn"]
    code, shown, _ = command("sample", *options)
    assert code == 0
    drawn = (tmp_path / "drawn").read_text().split("\n")[:-1]
    assert len(drawn) == 64
    assert "" in drawn  # 1 in 16 ends at once
    assert json.loads(shown)["validity"] == sum(map(bool, map(canonical, drawn))) / 64 < 0.5


def test_sample_refuses(command, small_prior, tmp_path):
    for words, reason in (
        (["--prior", tmp_path], "is not a prior: no folder with a config.json"),
        (["--prior", "cinc"], "the name of a shipped one: ['zinc']"),
        (["--prior", small_prior, "--n", 0], "--n 0 draws nothing"),
        (["--prior", small_prior, "--decorate", "CCO"], "does not say where it may be substituted"),
        (["--prior", small_prior, "--seed", -1], "--seed -1 is not a seed"),
        (["--prior", small_prior, "--seed", 2**31], "is not a seed"),
        (["--prior", small_prior, "--out", tmp_path / "no" / "x.smi"], "cannot be written"),
        (["--prior", small_prior, "--out", tmp_path], "cannot be written"),
        (["--prior", small_prior, "--known", tmp_path / "no.smi"], "no.smi cannot be read"),
    ):
        code, shown, error = command("sample", *words)
        assert (code, shown) == (2, "")
        assert error.startswith("ipsrl molecules sample: ")
        assert reason in error


# --- pretrain -------------------------------------------------------------------------------------

TINY = [
    "--hidden", "16", "--layers", "1", "--epochs", "1", "--held-out", "20", "--checkpoint-every",
    "2",
]  # fmt: skip


def test_pretrain_goes_on_where_it_was_stopped(command, corpus_file, tmp_path, monkeypatch):
    start = ["pretrain", "--smiles", corpus_file, *TINY, "--out"]
    code, shown, _ = command(*start, tmp_path / "whole")
    assert code == 0
    result = Run.open(tmp_path / "whole").result()
    assert shown.splitlines() == [
        f"{result['molecules']} molecules learned, {result['left_out']} lines left out; "
        f"held-out negative log-likelihood {result['nll'][0]:.2f}",
        f"the prior is {tmp_path / 'whole' / 'prior'}",
        f"written to {tmp_path / 'whole'}",
    ]
    code, shown, error = command(*start, tmp_path / "whole")  # again
    assert (code, shown) == (1, "")
    assert "whole holds a run already" in error
    parts, log = tmp_path / "parts", Run.log

    def stopping(run, rows):
        rows = list(rows)
        log(run, rows)
        if rows[0]["step"] == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", stopping)
        code, _, error = command(*start, parts)
    assert code == 130
    assert f"stopped; continue with: ipsrl molecules pretrain --resume {parts}\n" in error
    assert not (parts / "prior").exists()
    assert command("pretrain", "--resume", parts)[0] == 0
    assert files(parts) == files(tmp_path / "whole")
    assert Prior.load(parts / "prior").vocabulary.covers("c1ccc(CN)cc1")


def test_pretrain_refuses(command, corpus_file, tmp_path):
    out = ["--out", tmp_path / "run"]
    for words, expected, reason in (
        (["--smiles", tmp_path / "no.smi", *out], 2, "no.smi cannot be read"),
        (["--smiles", corpus_file, *out], 2, "of which 1000 would be held out"),
        (["--smiles", corpus_file, "--prior", "zincc", *out], 2, "zincc is not a prior"),
        (["--resume", tmp_path], 2, "is not a run directory"),
        (["--resume", tmp_path, "--epochs", "2"], 2, "other options would be ignored"),
    ):
        code, shown, error = command("pretrain", *words)
        assert (code, shown) == (expected, "")
        assert error.startswith("ipsrl molecules pretrain: ")
        assert reason in error
    assert not list(tmp_path.iterdir())


# --- import ---------------------------------------------------------------------------------------


@pytest.fixture
def theirs(small_prior, tmp_path):
    """Options that name the weights and tokens of the small prior, as mamba-ssm names them."""
    prior = Prior.load(small_prior)
    state: dict[str, torch.Tensor] = {
        name.replace("backbone.embeddings", "backbone.embedding"): value.clone()
        for name, value in prior.model.state_dict().items()
    }
    save_file(state, tmp_path / "weights.safetensors")
    (tmp_path / "tokens.json").write_text(json.dumps(list(prior.vocabulary.tokens)))
    return ["--weights", tmp_path / "weights.safetensors", "--tokens", tmp_path / "tokens.json"]


def test_what_was_imported_draws_the_same(command, small_prior, theirs, tmp_path):
    code, shown, _ = command("import", *theirs, "--out", tmp_path / "prior")
    assert (code, shown) == (0, f"written to {tmp_path / 'prior'}\n")
    for prior, out in ((small_prior, "a"), (tmp_path / "prior", "b")):
        assert command("sample", "--prior", prior, "--n", 8, "--out", tmp_path / out)[0] == 0
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    code, shown, _ = command("import", *theirs, "--out", tmp_path / "twin", "--json")
    assert (code, json.loads(shown)) == (0, {"out": str(tmp_path / "twin")})
    code, _, error = command("import", *theirs, "--out", tmp_path / "prior")
    assert code == 2
    assert "prior exists, and would be overwritten" in error


def test_import_refuses(command, theirs, tmp_path):
    out = ["--out", tmp_path / "prior"]
    (tmp_path / "few.json").write_text('["$", "^", "C"]')
    for words, reason in (
        ([*theirs, "--weights", tmp_path / "no"], "no cannot be read as safetensors"),
        ([*theirs, "--tokens", tmp_path / "no"], "no is not a list of tokens"),
        ([*theirs, "--tokens", tmp_path / "few.json"], "is not a Mamba over 3 tokens"),
    ):
        code, shown, error = command("import", *words, *out)
        assert (code, shown) == (2, "")
        assert error.startswith("ipsrl molecules import: ")
        assert reason in error
    assert not (tmp_path / "prior").exists()


# --- route ----------------------------------------------------------------------------------------


def test_the_command_writes_routes_and_pictures(tmp_path, capsys):
    (tmp_path / "mine.smi").write_text("\n".join([ANILINE, BORONIC, ACID, "nothing"]))
    out = tmp_path / "out"
    words_ = ["molecules", "route", TARGET, "C1CC1", ANILINE, "--stock", str(tmp_path / "mine.smi")]
    assert main([*words_, "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    assert "1 lines of the stock are not molecules" in said.err
    rows = json.loads(said.out)
    assert rows == json.loads((out / "routes.json").read_text())
    assert [row["smiles"] for row in rows] == [TARGET, "C1CC1", ANILINE]
    steps = rows[0]["route"]["reactions"]
    route = Route(
        TARGET,
        tuple(Reaction(s["product"], tuple(s["reactants"]), s["template"]) for s in steps),
    )
    assert (rows[1]["route"], rows[2]["route"]) == (None, {"target": ANILINE, "reactions": []})
    assert (out / "route-1.svg").read_text() == route_svg(route)
    assert sorted(path.name for path in out.glob("*.svg")) == ["route-1.svg", "route-3.svg"]

    assert main([*words_]) == 0
    text = capsys.readouterr().out
    assert route.reactions[0].template in text
    assert "no route within the limits" in text
    assert "in stock" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no molecule to make"),
        (["no molecule"], "is not a molecule"),
        (["CCO", "--stock", "absent"], "cannot be read"),
        (["CCO", "--expansions", "0"], "expansions"),
    ],
)
def test_the_command_refuses(arguments, says, capsys, tmp_path):
    assert main(["molecules", "route", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_write_to(capsys, tmp_path):
    (tmp_path / "out").write_text("mine")
    for command in ("route", "receptor"):
        assert main(["molecules", command, "CCO", "--out", str(tmp_path / "out")]) == 2
        assert "is a file. Name a folder" in capsys.readouterr().err
