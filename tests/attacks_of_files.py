"""Tables, caches, texts and names that would run code; tried in test_malicious_inputs.py."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import sys
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
from attack import Attack, malicious

from ipsrl.cli import main

# --- tables, data sets, caches --------------------------------------------------------------------


@malicious
def parquet_with_a_pickled_type(attack: Attack) -> None:
    """Arrow's type for extensions in Python was unpickled once (CVE-2023-47248)."""
    marks = {"ARROW:extension:name": "arrow.py_extension_type",
             "ARROW:extension:metadata": attack.pickle}  # fmt: skip
    texts = pa.array(["a", "b"] * 8)
    fields = [pa.field(name, pa.string(), metadata=marks)
              for name in ("prompt", "completion", "outcome")]  # fmt: skip
    schema = pa.schema([*fields, pa.field("reward", pa.float64())])
    rewards = pa.array([1.0] * 16)
    table = pa.table([texts, texts, texts, rewards], schema=schema)
    pq.write_table(table, attack.folder / "evil.parquet")
    attack.ends("diagnose", "evil.parquet", "--group-size", 8)
    attack.trains("--dataset", "evil.parquet")


@malicious
def parquet_with_metadata_of_pandas_and_datasets(attack: Attack) -> None:
    column = {"name": "prompt", "pandas_type": "object", "numpy_type": attack.python,
              "metadata": {"pickle": attack.pickle.decode()}}  # fmt: skip
    features = {"prompt": {"_type": "os.system", "dtype": f"touch {attack.canary}"}}
    metadata = {"pandas": json.dumps({"columns": [column], "index_columns": [attack.python]}),
                "huggingface": json.dumps({"info": {"features": features}})}  # fmt: skip
    table = pa.table({name: ["a", "b"] * 8 for name in ("prompt", "completion", "outcome")})
    table = table.append_column("reward", pa.array([1.0] * 16)).replace_schema_metadata(metadata)
    pq.write_table(table, attack.folder / "evil.parquet")
    attack.ends("diagnose", "evil.parquet", "--group-size", 8)
    attack.trains("--dataset", "evil.parquet")


@malicious
def data_set_with_a_script(attack: Attack) -> None:
    attack.write("evil/evil.py", attack.python)
    attack.write("evil/README.md", "---\nbuilder_name: evil\n---\n")
    assert "cannot be read" in attack.trains("--dataset", "evil", code=1)


@malicious
def data_set_of_pickles(attack: Attack) -> None:
    attack.write("evil/train.pkl", attack.pickle)
    attack.write("evil/train.pickle", attack.pickle)
    assert "cannot be read" in attack.trains("--dataset", "evil", code=1)


@malicious
def lines_that_are_code(attack: Attack) -> None:
    rows = [{"prompt": attack.python, "completion": attack.shell, "outcome": "__import__('os')",
             "reward": 1.0}] * 8  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for name, content in (
        ("code.jsonl", lines), ("nan.jsonl", lines.replace("1.0", "NaN")),
        ("inf.jsonl", lines.replace("1.0", "-Infinity")), ("pickle.jsonl", attack.pickle),
    ):  # fmt: skip
        attack.ends("diagnose", attack.write(name, content), "--group-size", 8)


CACHED = """
cache = "cache.sqlite"
[[components]]
kind = "program"
name = "mine"
version = "1"
command = ["cat"]
"""


@malicious
def cache_that_is_a_pickle(attack: Attack) -> None:
    attack.write("cache.sqlite", attack.pickle * 100)
    assert "cannot be used" in attack.searches(CACHED, code=1)


@malicious
def cache_with_views_triggers_and_extensions(attack: Attack) -> None:
    columns = "(smiles TEXT, identity TEXT, value REAL)"
    call = f"load_extension('{attack.canary}')"
    for content in (
        f"CREATE VIEW answers AS SELECT 'C' AS smiles, '' AS identity, {call} AS value",
        f"CREATE TABLE answers {columns}; CREATE TRIGGER evil AFTER INSERT ON answers "
        f"BEGIN SELECT {call}; DELETE FROM answers; END",
        "CREATE VIRTUAL TABLE answers USING fts5(smiles, identity, value)",
    ):
        path = attack.folder / "cache.sqlite"
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as database:
            database.executescript(content)
        before = path.read_bytes()
        assert "views, triggers or virtual tables" in attack.searches(CACHED, code=1)
        assert path.read_bytes() == before


# --- texts and names ------------------------------------------------------------------------------


@malicious
def configuration_with_code_for_values(attack: Attack) -> None:
    code = json.dumps(f"__import__('os').system('touch {attack.canary}')")
    for text in (
        f"seed = {code}\n", f"method = {code}\n", f"prior = {code}\n",
        f"[[components]]\nkind = {code}",
        f"__class__ = {code}\n", f"[components.__init__]\n__globals__ = {code}",
        "seed = !!python/object/apply:os.system ['true']\n", attack.pickle.decode(),
    ):  # fmt: skip
        attack.searches(text, code=1)


@malicious
def names_that_leave_their_folder(attack: Attack) -> None:
    outside = attack.write("outside/notes.txt", "mine")
    (attack.folder / "inside").mkdir()
    before = sorted(attack.folder.rglob("*"))
    name = "../outside/notes.txt"
    attack.searches(f'[[components]]\nkind = "qed"\nname = "{name}"', code=1)
    (attack.folder / "mine.toml").unlink()
    attack.ends("molecules", "receptor", "../outside", "--out", "inside", code=1)
    attack.ends("molecules", "route", "CCO", "--stock", name, code=1)
    attack.ends("molecules", "sample", "--prior", "../outside", code=1)
    attack.ends("workers", "install", name, code=2)
    attack.ends("reproduce", name, code=2)
    attack.ends("hypospace", "dataset", name, "--out", "x.jsonl", code=(1, 2))
    attack.ends("report", "inside/../outside", code=1)
    assert sorted(attack.folder.rglob("*")) == before
    assert outside.read_text() == "mine"


@malicious
def smiles_that_are_code(attack: Attack) -> None:
    lines = f"{attack.shell}\n=cmd|' /C calc'!A0\nC`touch {attack.canary}`\n{attack.python}"
    for name, content in (
        ("evil.smi", lines), ("evil.smi.gz", gzip.compress(attack.pickle)),
        ("pickle.smi", attack.pickle), ("evil.csv", lines.replace("\n", ",\n")),
    ):  # fmt: skip
        path = attack.write(name, content)
        attack.ends("molecules", "sample", "--n", 2, "--known", path, code=1)
        attack.ends("molecules", "pretrain", "--smiles", path, "--out", "made", code=1)
        attack.ends("molecules", "route", "CCO", "--stock", path)
    attack.ends("molecules", "route", attack.shell, code=1)


@malicious
def structures_that_are_code(attack: Attack) -> None:
    atom = "HETATM    1  C1  LIG A   1       0.000   0.000   0.000  1.00  0.00           C\n"
    for name, content in (
        ("evil.pdb", f"REMARK {attack.shell}\nHEADER {attack.python}{atom}"),
        ("evil.cif", f"data_evil\n_entry.id '{attack.shell}'\n"), ("pickle.pdb", attack.pickle),
    ):  # fmt: skip
        attack.ends("molecules", "receptor", attack.write(name, content), "--out", "made", code=1)
    receptor = attack.write("$(touch canary).pdbqt", f"REMARK {attack.shell}\n{atom}")
    dock = f'kind = "docking"\ntransform = {{kind = "step", high = -1.0}}\n[components.docking]\n' \
           f"receptor = {json.dumps(str(receptor))}\ncenter = [0.0, 0.0, 0.0]\n"  # fmt: skip
    attack.searches(f"[[components]]\n{dock}", code=1)


@malicious
def answers_that_are_code(attack: Attack) -> None:
    """Boolean formulas are parsed, not evaluated."""
    code = f"__import__('os').system('touch {attack.canary}')"
    rows = [
        {"observations": ["f(0, 0) = 1"], "response": text}
        for text in (
            f"Expression: {code}",
            f"f(x, y) = x AND {code}",
            f"Expression: x if {code} else y",
        )
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode() + attack.pickle + b"\n"
    sys.stdin = io.TextIOWrapper(io.BytesIO(lines))  # put back by the fixture
    attack.ends("hypospace", "judge", "boolean")


@malicious
def result_that_is_a_page(attack: Attack) -> None:
    """A run of somebody else, whose arrays are a pickle and whose result holds a script."""
    run = attack.folder / "<script>evil"
    for name, content in (
        ("config.toml", "dims = 2\n"), ("environment.json", "{}"), ("metrics.jsonl", ""),
        ("result.json", '{"ob100": null, "floor_l1": "<script>"}'),
        ("arrays.safetensors", attack.pickle), ("calls.parquet", attack.pickle),
    ):  # fmt: skip
        attack.write(f"{run.name}/{name}", content)
    with suppress(Exception):  # what is said is for tests/report
        main(["report", str(run), "--out", "page.html"])
