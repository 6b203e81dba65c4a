"""Models, checkpoints and tokenizers that would run code; tried in test_malicious_inputs.py."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from attack import ZINC, Attack, Runs, edit, malicious

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
