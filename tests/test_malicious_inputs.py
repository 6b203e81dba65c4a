"""Promise 12: files of somebody else run nothing, through the commands that a user would use.

Each input tries to make a file, the canary.  A command ends with code 0, or with code 1 and one
sentence; it never asks anything on the terminal, where `yes |` may stand.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("rdkit")
pytest.importorskip("trl")

import torch

from ipsrl.cli import main
from ipsrl.hypospace import Boolean, dataset, write_dataset
from ipsrl.llm import Config, tiny, train
from ipsrl.molecules import prior as priors

TASK = """
def reward(completions, **columns):
    return [1.0] * len(completions)

def outcome(completions, **columns):
    return [str(text) for text in completions]
"""
ZINC = Path(priors.__file__).parent / "priors" / "zinc"


class Runs:
    """What a pickle of this runs when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


@dataclass
class Attack:
    """A folder of files that a user got from somewhere, and what becomes of them."""

    folder: Path
    start: Path
    begun: Path
    stdin: io.StringIO
    capsys: Any

    @property
    def canary(self) -> Path:
        return self.folder / "canary"

    @property
    def python(self) -> str:
        return f"open({str(self.canary)!r}, 'w').close()\n"

    @property
    def pickle(self) -> bytes:
        return b"cposix\nsystem\n(S'touch " + str(self.canary).encode() + b"'\ntR."

    @property
    def shell(self) -> str:
        return f"$(touch {self.canary}); `touch {self.canary}` | touch {self.canary}"

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def prior(self) -> Path:
        return Path(shutil.copytree(ZINC, self.folder / "evil"))

    def model(self) -> Path:
        return Path(shutil.copytree(self.start, self.folder / "evil"))

    def run(self) -> Path:
        """A run of `train llm` that ended after its first checkpoint of two."""
        return Path(shutil.copytree(self.begun, self.folder / "run"))

    def ends(self, *words: object, code: int | tuple[int, ...] = (0, 1)) -> str:
        """A command, in which nothing of the attack has run; returns what it said."""
        try:
            ended = main([*map(str, words)])
        except SystemExit as stop:
            ended = stop.code
        shown = self.capsys.readouterr()
        assert ended in (code if isinstance(code, tuple) else (code,)), shown.err
        assert "Traceback" not in shown.err
        self.unharmed()
        return shown.out + shown.err

    def unharmed(self) -> None:
        assert not self.canary.exists()
        assert self.stdin.tell() == 0  # nobody was asked anything

    def samples(self, prior: Path, **expected: Any) -> str:
        return self.ends("molecules", "sample", "--prior", prior, "--n", 4, **expected)

    def asks(self, model: Path, **expected: Any) -> str:
        write_dataset(dataset(Boolean(), count=2), self.folder / "data.jsonl")
        return self.ends(
            "hypospace", "evaluate", "boolean", "answers.jsonl", "--data", "data.jsonl",
            "--model", model, "--n", 1, "--max-tokens", 2, **expected,
        )  # fmt: skip

    def trains(self, *words: object, **expected: Any) -> str:
        self.write("task.py", TASK)
        message = {"prompt": [{"role": "user", "content": "name one"}]}
        self.write("prompts.jsonl", f"{json.dumps(message)}\n" * 8)
        given = {"--dataset": "prompts.jsonl", "--out": "trained", "--model": "tiny"}
        given |= dict(zip(words[::2], words[1::2], strict=True))
        options = [word for pair in given.items() if pair[0] != "--trl" for word in pair]
        return self.ends(
            "train", "llm", *options, "--reward", "task.py:reward", "--outcome", "task.py:outcome",
            "--trl", "max_steps=1", "max_completion_length=1",
            given.get("--trl", "logging_steps=1"), **expected,
        )  # fmt: skip

    def searches(self, text: str, **expected: Any) -> str:
        self.write("mine.toml", f"budget = 4\nbatch = 4\n{text}")
        return self.ends(
            "train", "molecules", "--config", "mine.toml", "--out", "found", **expected
        )


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_bytes()) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that talks."""
    folder = tmp_path_factory.mktemp("start") / "model"
    tiny.build(folder, ["name one"])
    return folder


@pytest.fixture(scope="module")
def begun(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    (folder / "task.py").write_text(TASK)
    (folder / "prompts.jsonl").write_text('{"prompt": "name one"}\n' * 8)
    trl = {"max_steps": 2, "save_steps": 1, "max_completion_length": 1}
    config = Config(
        model=str(start), dataset=str(folder / "prompts.jsonl"),
        reward=f"{folder}/task.py:reward", outcome=f"{folder}/task.py:outcome", trl=trl,
    )  # fmt: skip
    train(config, folder / "run")
    shutil.rmtree(folder / "run" / "trainer" / "checkpoint-2")
    (folder / "run" / "result.json").unlink()
    return folder / "run"


@pytest.fixture
def attack(start, begun, tmp_path, monkeypatch, capsys) -> Attack:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    stdin = io.StringIO("y\n" * 1000)
    monkeypatch.setattr("sys.stdin", stdin)
    return Attack(tmp_path, start, begun, stdin, capsys)


INPUTS: list[Callable[[Attack], None]] = []


def malicious(function: Callable[[Attack], None]) -> Callable[[Attack], None]:
    INPUTS.append(function)
    return function


# --- models that bring Python files ---------------------------------------------------------------


@malicious
def prior_with_code(attack: Attack) -> None:
    evil = attack.prior()
    (evil / "evil.py").write_text(attack.python)
    edit(evil / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    assert "auto_map" in attack.samples(evil, code=1)


@malicious
def prior_with_code_under_another_spelling(attack: Attack) -> None:
    evil = attack.prior()
    (evil / "evil.py").write_text(attack.python)
    text = json.dumps({"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}})
    (evil / "config.json").write_text(text.replace("auto_map", "auto\\u005fmap"))
    assert "auto_map" in attack.samples(evil, code=1)


@malicious
def tokenizer_with_code(attack: Attack) -> None:
    evil = attack.model()
    (evil / "evil.py").write_text(attack.python)
    edit(evil / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", "evil.T"]})
    assert "tokenizer_config.json names it by auto_map" in attack.asks(evil, code=1)


@malicious
def model_with_code_to_train(attack: Attack) -> None:
    evil = attack.model()
    (evil / "evil.py").write_text(attack.python)
    edit(evil / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})
    assert "evil.py" in attack.trains("--model", evil, code=1)
    assert not (attack.folder / "trained").exists()


@malicious
def processor_with_code_in_a_part_of_it(attack: Attack) -> None:
    evil = attack.model()
    (evil / "evil.py").write_text(attack.python)
    part = {"auto_map": {"AutoImageProcessor": "evil.P"}}
    edit(evil / "processor_config.json", image_processor=part, processor_class="Evil")
    assert "processor_config.json" in attack.trains("--model", evil, code=1)


@malicious
def code_in_another_folder(attack: Attack) -> None:
    """Not refused by its files, of which it has none, but never run."""
    evil = attack.model()
    attack.write("elsewhere/evil.py", attack.python)
    names = {"AutoConfig": f"{attack.folder}/elsewhere/evil.Config"}
    edit(evil / "config.json", model_type="evil", auto_map=names)
    assert "cannot be loaded" in attack.trains("--model", evil, code=1)


@malicious
def adapters_of_a_model_with_code(attack: Attack) -> None:
    evil = attack.model()
    (evil / "evil.py").write_text(attack.python)
    edit(evil / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    adapters = {"base_model_name_or_path": str(evil), "peft_type": "LORA"}
    attack.write("adapters/adapter_config.json", json.dumps(adapters))
    for path in evil.glob("tokenizer*"):
        shutil.copy(path, attack.folder / "adapters")
    assert f"{evil} is a model with code" in attack.asks(attack.folder / "adapters", code=1)


@malicious
def adapters_that_import_a_module(attack: Attack) -> None:
    attack.write("evil.py", attack.python)
    mapping = {"parent_library": "evil", "base_model_class": "Model"}
    adapters = {
        "base_model_name_or_path": str(attack.model()), "peft_type": "LORA", "r": 2,
        "target_modules": ["q_proj"], "auto_mapping": mapping,
        "megatron_config": {"a": 1}, "megatron_core": "evil",
    }  # fmt: skip
    attack.write("adapters/adapter_config.json", json.dumps(adapters))
    for path in attack.start.glob("tokenizer*"):
        shutil.copy(path, attack.folder / "adapters")
    assert "cannot be loaded" in attack.asks(attack.folder / "adapters", code=1)


@malicious
def generation_of_its_own(attack: Attack) -> None:
    evil = attack.model()
    (evil / "custom_generate").mkdir()
    (evil / "custom_generate" / "generate.py").write_text(attack.python)
    edit(evil / "generation_config.json", custom_generate=str(evil), trust_remote_code=True)
    attack.asks(evil)


@malicious
def kernels_from_elsewhere(attack: Attack) -> None:
    evil = attack.model()
    edit(evil / "config.json", _attn_implementation="evil/kernel")
    assert "cannot be loaded" in attack.asks(evil, code=1)


@malicious
def options_that_trust(attack: Attack) -> None:
    evil = attack.model()
    (evil / "evil.py").write_text(attack.python)
    edit(evil / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})
    for option in (
        "trust_remote_code=true",
        "model_init_kwargs={trust_remote_code = true}",
        'model_init_kwargs={"trust_remote_code": true}',
        "model_init_kwargs={weights_only = false}",
        "model_init_kwargs={use_safetensors = false}",
        "model_init_kwargs={allow_all_kernels = true}",
    ):
        assert "never does" in attack.trains("--model", evil, "--trl", option, code=1)


# --- pickles in disguise --------------------------------------------------------------------------


@malicious
def weights_in_a_pickle_only(attack: Attack) -> None:
    for evil, command in ((attack.prior(), attack.samples), (attack.start, attack.asks)):
        if evil == attack.start:
            evil = Path(shutil.copytree(attack.start, attack.folder / "other"))
        (evil / "model.safetensors").unlink()
        torch.save(Runs(attack.canary), evil / "pytorch_model.bin")
        assert "pytorch_model.bin, a pickle" in command(evil, code=1)
        assert "save_pretrained" in attack.trains("--model", evil, code=1)


@malicious
def adapters_in_a_pickle_only(attack: Attack) -> None:
    evil = attack.model()
    adapters = {"base_model_name_or_path": str(evil), "peft_type": "LORA", "r": 2}
    edit(evil / "adapter_config.json", **adapters, target_modules=["q_proj"])
    torch.save(Runs(attack.canary), evil / "adapter_model.bin")
    assert "adapter_model.bin, a pickle" in attack.asks(evil, code=1)


@malicious
def safetensors_that_are_a_pickle(attack: Attack) -> None:
    evil = attack.prior()
    (evil / "model.safetensors").write_bytes(attack.pickle)
    assert "cannot be loaded" in attack.samples(evil, code=1)
    assert "safetensors" in attack.ends(
        "molecules", "import", "--weights", evil / "model.safetensors",
        "--tokens", attack.write("tokens.json", '["$", "^", "C"]'), "--out", "made", code=1,
    )  # fmt: skip


@malicious
def model_to_train_whose_safetensors_are_a_pickle(attack: Attack) -> None:
    evil = attack.model()
    torch.save(Runs(attack.canary), evil / "model.safetensors")
    assert "cannot be loaded" in attack.trains("--model", evil, code=1)
    attack.asks(evil, code=1)


def resumed(name: str, save: Callable[[Any, Path], object], code: int) -> None:
    """A checkpoint of a run of somebody else, one of whose files is a pickle."""

    def resumes(attack: Attack) -> None:
        run = attack.run()
        checkpoint = run / "trainer" / "checkpoint-1"
        if name == "pytorch_model.bin":
            (checkpoint / "model.safetensors").unlink()
        save(attack, checkpoint / name)
        said = attack.ends("train", "llm", "--resume", run, code=code)
        assert code == 0 or "could run code" in said

    resumes.__name__ = f"checkpoint_whose_{name}_is_a_pickle"
    malicious(resumes)


for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt", "pytorch_model.bin"):
    resumed(name, lambda attack, path: torch.save(Runs(attack.canary), path), 1)
resumed("training_args.bin", lambda attack, path: path.write_bytes(attack.pickle), 0)  # never read


@malicious
def checkpoint_whose_state_names_a_callback(attack: Attack) -> None:
    run = attack.run()
    path = run / "trainer" / "checkpoint-1" / "trainer_state.json"
    known = json.loads(path.read_bytes())["stateful_callbacks"]
    evil = {"args": {"x": attack.shell}, "attributes": {"__init__": "os.system"}}
    edit(path, stateful_callbacks={**known, "Evil": evil, "os.system": evil})
    attack.ends("train", "llm", "--resume", run)


@malicious
def checkpoint_that_is_a_link_out_of_the_run(attack: Attack) -> None:
    run = attack.run()
    mine = attack.folder / "mine"
    (run / "trainer" / "checkpoint-1").rename(mine)
    (run / "trainer" / "checkpoint-1").symlink_to(mine)
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    assert "is a link to" in attack.ends("train", "llm", "--resume", run, code=1)
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before


@malicious
def checkpoint_with_a_file_that_is_a_link(attack: Attack) -> None:
    run = attack.run()
    evil = attack.write("evil.pt", attack.pickle)
    (run / "trainer" / "checkpoint-1" / "optimizer.pt").unlink()
    (run / "trainer" / "checkpoint-1" / "optimizer.pt").symlink_to(evil)
    assert "is a link to" in attack.ends("train", "llm", "--resume", run, code=1)


# --- headers of safetensors -----------------------------------------------------------------------


def header(of: str, length: int | None = None, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(of) if length is None else length) + of.encode() + data


def tensor(begin: int, end: int, shape: Any = (1,), kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


HEADERS = {
    "longer_than_memory": header("{}", 2**63),
    "longer_than_the_file": header("{}", 10**6),
    "of_negative_length": header("{}", 2**64 - 1),
    "that_overlap": header(json.dumps({"a": tensor(0, 4), "b": tensor(2, 6)}), data=b"\0" * 6),
    "of_negative_offsets": header(json.dumps({"a": tensor(-4, 0)}), data=b"\0" * 4),
    "of_negative_size": header(json.dumps({"a": tensor(0, 4, (-1,))}), data=b"\0" * 4),
    "of_a_size_that_overflows": header(
        json.dumps({"a": tensor(0, 4, (2**32, 2**32, 4))}), data=b"\0" * 4
    ),
    "nested": header("[" * 10**5 + "]" * 10**5),
    "of_an_unknown_kind": header(json.dumps({"a": tensor(0, 4, kind="O")}), data=b"\0" * 4),
}


def with_header(name: str, content: bytes) -> None:
    def reads(attack: Attack) -> None:
        weights = attack.write("model.safetensors", content)
        assert "cannot be read as safetensors" in attack.ends(
            "molecules", "import", "--weights", weights,
            "--tokens", attack.write("tokens.json", '["$", "^", "C"]'), "--out", "made", code=1,
        )  # fmt: skip
        evil = attack.prior()
        shutil.copy(weights, evil / "model.safetensors")
        assert "cannot be loaded" in attack.samples(evil, code=1)

    reads.__name__ = f"safetensors_{name}"
    malicious(reads)


for name, content in HEADERS.items():
    with_header(name, content)


# --- tokenizers and templates ---------------------------------------------------------------------


@malicious
def tokenizer_that_is_hostile(attack: Attack) -> None:
    evil = attack.model()
    for content in (
        attack.pickle, "{}", "[" * 10**5, "\x00", '{"model": {"type": "BPE", "vocab": {"a": -1}}}',
        '{"model": {"type": "WordLevel", "vocab": {"a": 1e999}, "unk_token": NaN}}',
    ):  # fmt: skip
        attack.write("evil/tokenizer.json", content)
        assert "cannot be loaded" in attack.asks(evil, code=1)
    other = (
        attack.prior().with_name("other")
        if False
        else Path(shutil.copytree(ZINC, attack.folder / "prior"))
    )
    for content in (attack.pickle, "{}", "[" * 10**5, '{"model": {"vocab": {"$": NaN}}}'):
        attack.write("prior/tokenizer.json", content)
        assert "tokenizer.json" in attack.samples(other, code=1)


ESCAPES = [
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__.__subclasses__()[0]('CANARY') }}",
    "{{ raise_exception.__globals__['__builtins__']['open']('CANARY', 'w') }}",
    "{{ strftime_now.__globals__.os.system('touch CANARY') }}",
    "{{ (messages|attr('__class__')|attr('__base__')|attr('__subclasses__'))() }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
    "{% import 'os' as os %}{{ os.system('touch CANARY') }}",
    "{% include 'CANARY' %}",
    "{{ messages.append(1) }}",
]


@malicious
def chat_templates_that_leave_the_sandbox(attack: Attack) -> None:
    evil = attack.model()
    for escape in ESCAPES:
        text = escape.replace("CANARY", str(attack.canary))
        (evil / "chat_template.jinja").write_text(text)
        attack.asks(evil)
        (attack.folder / "answers.jsonl").unlink(missing_ok=True)
    assert "chat template" in attack.trains("--model", evil, code=1)
    (evil / "chat_template.jinja").unlink()
    edit(evil / "tokenizer_config.json", chat_template=ESCAPES[0])
    assert "chat template" in attack.asks(evil, code=1)


# --- tables, data sets, caches --------------------------------------------------------------------


@malicious
def parquet_with_a_pickled_type(attack: Attack) -> None:
    """Of Arrow's type for extensions in Python, which was unpickled once (CVE-2023-47248)."""
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
    pytest.importorskip("meeko")
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


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.promise(number=12)
@pytest.mark.parametrize("malicious_input", INPUTS, ids=lambda function: function.__name__)
def test_a_malicious_input_runs_nothing(malicious_input, attack, record_property) -> None:
    malicious_input(attack)
    attack.unharmed()
    record_property("figure", f"{len(INPUTS)} of {len(INPUTS)} malicious inputs ran nothing")


def test_there_are_twenty_and_more() -> None:
    assert len({function.__name__ for function in INPUTS}) == len(INPUTS) >= 20


# --- the same attacks where code is trusted: they would run ---------------------------------------


def test_the_pickles_would_run(attack) -> None:
    with pytest.raises(AssertionError):
        pickle.loads(attack.pickle)
        attack.unharmed()
    attack.canary.unlink()
    torch.save(Runs(attack.canary), attack.folder / "saved.pt")
    torch.load(attack.folder / "saved.pt", weights_only=False)
    assert attack.canary.exists()


def test_the_python_files_would_run(attack, monkeypatch) -> None:
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(attack.folder / "hub")
    )
    evil = attack.model()
    (evil / "evil.py").write_text(attack.python)
    edit(evil / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    with pytest.raises(AttributeError, match="Config"):  # which it does not define
        AutoConfig.from_pretrained(evil, trust_remote_code=True)
    assert attack.canary.exists()


def test_the_templates_would_run(attack) -> None:
    jinja2.Environment().from_string(ESCAPES[0].replace("CANARY", str(attack.canary))).render()
    assert attack.canary.exists()
