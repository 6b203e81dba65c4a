"""Promise 12, by reading the sources: what is loaded, with what, and what is never called.

Every call of a library that reads something is listed here.  A new one fails the test until it is
decided what a hostile file could do with it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ipsrl

SOURCES = sorted(Path(ipsrl.__file__).parent.rglob("*.py"))
READS = re.compile(
    r"load|read|parse|open|connect|import_module|decompress|decode|^from_|create_from"
)
PRETRAINED = {"trust_remote_code": False}
READERS: dict[str, dict[str, object]] = {
    # Texts, tables and arrays: these formats hold no code.
    "argparse.ArgumentParser": {},
    "gzip.decompress": {},
    "ast.parse": {},  # of what a model wrote; nothing compiles or runs it
    "ast.unparse": {},
    "json.loads": {},
    "json.JSONDecoder": {},
    "email.utils.parsedate_tz": {},
    "tomllib.loads": {},
    "pyarrow.BufferReader": {},  # bytes in memory
    "pyarrow.parquet.ParquetFile": {},
    "pyarrow.parquet.read_table": {},
    "safetensors.numpy.load": {},
    "safetensors.numpy.load_file": {},
    "safetensors.torch.load_file": {},
    "tokenizers.Tokenizer.from_file": {},  # JSON
    "gemmi.read_structure": {},
    "meeko.Polymer.from_pdb_string": {},
    "meeko.RDKitMolCreate.from_pdbqt_mol": {},
    "meeko.ResidueChemTemplates.create_from_defaults": {},
    "sqlite3.connect": {},  # of Python: extensions are off; and the cache distrusts the schema
    "datasets.Dataset.from_list": {},
    "torch.from_numpy": {},
    "torch.get_num_threads": {},
    # Models and data sets, which can bring code along.
    "transformers.AutoConfig.from_pretrained": PRETRAINED,
    "transformers.AutoTokenizer.from_pretrained": PRETRAINED,
    "transformers.AutoModelForCausalLM.from_pretrained": {**PRETRAINED, "use_safetensors": True},
    "transformers.AutoModelForCausalLM.from_config": PRETRAINED,
    "datasets.load_dataset": PRETRAINED,
    "trl.trainer.sft_config.SFTConfig": {
        "model_init_kwargs": {**PRETRAINED, "use_safetensors": True}
    },
    "skops.io.load": {},  # types that skops knows for harmless, or that the user has named
    "PIL.Image.open": {},  # of a picture that we have drawn
    # Addresses, file descriptors, threads.
    "urllib.request.urlopen": {},
    "os.open": {},
    "os.pread": {},
    "os.fdopen": {},
    "concurrent.futures.ThreadPoolExecutor": {},
    "threading.Thread": {},
    "threading.current_thread": {},
    "threading.main_thread": {},
    "subprocess.Popen": {},  # a list of words; shell=True is forbidden below
}
BY_NAME = ("import_module", "spec_from_file_location", "module_from_spec")
NAMED = {
    "cli.py", "command.py", "doctor.py", "functions.py", "lazy.py",
    "molecules/docking/docking.py", "reproduce/__init__.py", "sweep/config.py",
}  # fmt: skip
"""Files that import modules by name: our own, or what the user names."""
MODULES = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "sympy",
    "code", "pty",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    "os.system", "os.popen", "torch.load", "torch.jit.load", "torch.hub.load", "numpy.load",
    "pandas.read_pickle", "subprocess.getoutput", "subprocess.getstatusoutput",
}  # fmt: skip


def names(tree: ast.AST) -> dict[str, str]:
    """What the names that a file imports stand for, wherever it imports them."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def full_name(node: ast.expr, known: dict[str, str]) -> str:
    """`package.module.attribute` of what is imported, `?.attribute` of anything else."""
    if isinstance(node, ast.Attribute):
        return f"{full_name(node.value, known)}.{node.attr}"
    return known.get(node.id, "?") if isinstance(node, ast.Name) else "?"


def reads(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Calls of libraries that read something, by their full names."""
    tree = ast.parse(source)
    known = names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = full_name(node.func, known)
            last = name.rpartition(".")[2]
            ours = name.startswith(("?", "ipsrl.")) and last not in ("from_pretrained",)
            if not ours and (name in READERS or READS.search(last.lower())):
                yield name, node


def problems(source: str, file: str = "") -> list[str]:
    """What in this source could run code that a file brought along."""
    tree = ast.parse(source)
    known = names(tree)
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                found += [a.name for a in aliases if a.name.partition(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in MODULES:
                found.append(module)
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                found.append(name)
            case ast.Attribute() | ast.Name() if full_name(node, known) in ATTRIBUTES:
                found.append(full_name(node, known))
            case ast.Attribute(attr="load_module" | "unsafe_load" | "sympify" as name):
                found.append(name)
            case ast.keyword(arg="allow_pickle" | "enable_load_extension" as name):
                found.append(name)
            case ast.keyword(
                arg="shell" | "trust_remote_code" | "allow_all_kernels" as name, value=value
            ) if not (isinstance(value, ast.Constant) and value.value is False):
                found.append(f"{name} is not False")
            case ast.keyword(arg="weights_only" | "use_safetensors" as name, value=value) if not (
                isinstance(value, ast.Constant) and value.value is True
            ):
                found.append(f"{name} is not True")
    for name, call in reads(source):
        if name.endswith(BY_NAME):
            if file not in NAMED and not isinstance(call.args[0], ast.Constant):
                found.append(f"{name} of what is not a constant")
            continue
        if name not in READERS:
            found.append(f"{name} is not among READERS")
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        for key, value in READERS[name].items():
            if key not in given or ast.unparse(given[key]) != repr(value):
                found.append(f"{name} without {key}={value}")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "import yaml",
        "from sympy import sympify",
        "eval('1')",
        "exec(text)",
        "import torch\ntorch.load(path)",
        "from torch import load\nload(path)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.lib.npyio.NpzFile(path, allow_pickle=True)",
        "import os\nos.system(line)",
        "import subprocess\nsubprocess.run(line, shell=True)",
        "import subprocess\nsubprocess.run(line, shell=shell)",
        "import pandas\npandas.read_pickle(path)",
        "import pandas\npandas.read_csv(path)",
        "import importlib\nimportlib.import_module(name)",
        "from transformers import AutoConfig\nAutoConfig.from_pretrained(path)",
        "from transformers import AutoConfig\nAutoConfig.from_pretrained(p, trust_remote_code=yes)",
        "from transformers import AutoModelForCausalLM as M\n"
        "M.from_pretrained(path, trust_remote_code=False)",
        "from transformers import AutoModelForCausalLM as M\n"
        "M.from_pretrained(path, trust_remote_code=False, use_safetensors=False)",
        "from transformers import pipeline\npipeline(path, trust_remote_code=True)",
        "anything.from_pretrained(path)",
        "from peft import PeftModel\nPeftModel.from_pretrained(model, path)",
        "from datasets import load_dataset\nload_dataset(path)",
        "import datasets\ndatasets.load_from_disk(path)",
        "from trl.trainer.sft_config import SFTConfig\nSFTConfig(max_steps=3)",
    ],
)
def test_the_scan_sees_what_it_looks_for(source) -> None:
    assert problems(source)


@pytest.mark.promise(number=12)
def test_the_sources_load_nothing_that_runs_code(record_property) -> None:
    assert len(SOURCES) > 80
    root = Path(ipsrl.__file__).parent
    texts = {str(path.relative_to(root)): path.read_text("utf-8") for path in SOURCES}
    found = {file: problems(text, file) for file, text in texts.items()}
    assert {file: what for file, what in found.items() if what} == {}
    calls = [name for text in texts.values() for name, _ in reads(text)]
    assert set(READERS) <= set(calls)  # no entry that nobody needs
    record_property("figure", f"{len(calls)} load calls checked")
