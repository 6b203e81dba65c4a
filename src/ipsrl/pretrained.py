"""Models and tokenizers from elsewhere: weights and texts are read, but their code never runs.

transformers runs Python files of a model on request, asks for that request on the terminal, and
reads pickles where a model has no safetensors.  Here each load says no to all three.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipsrl.errors import ConfigError, RunError

SAFE = {
    "trust_remote_code": False,
    "use_safetensors": True,
    "weights_only": True,
    "allow_all_kernels": False,
}
"""Options of `from_pretrained` with which a model can run code, and the value without."""


def load_config(model: str | Path, **options: Any) -> Any:
    """The configuration of a model: a folder or a hub name.

    Raises:
      ConfigError: if it cannot be loaded, or only by running code that comes with it.
    """
    from transformers import AutoConfig

    check_model(model)
    try:
        return AutoConfig.from_pretrained(model, trust_remote_code=False, **options)
    except Exception as error:
        raise not_loaded(model, error) from error


def load_tokenizer(model: str | Path, **options: Any) -> Any:
    """The tokenizer of a model: a folder or a hub name.

    Raises:
      ConfigError: if it cannot be loaded, or only by running code that comes with it.
    """
    from transformers import AutoTokenizer

    check_model(model)
    try:
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False, **options)
    except Exception as error:
        raise not_loaded(model, error) from error


def load_model(model: str | Path, **options: Any) -> Any:
    """A causal language model: a folder, also of adapters, or a hub name.

    Raises:
      ConfigError: if it cannot be loaded, or only by running code that comes with it.
    """
    from transformers import AutoModelForCausalLM

    check_model(model)
    try:
        return AutoModelForCausalLM.from_pretrained(
            model, trust_remote_code=False, use_safetensors=True, **options
        )
    except Exception as error:
        raise not_loaded(model, error) from error


def check_template(tokenizer: Any, model: str | Path, messages: list[dict[str, Any]]) -> None:
    """Check that the chat template, a program in a sandbox, writes messages.

    Raises:
      ConfigError: if it fails, as it does when it tries to leave the sandbox.
    """
    try:
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:
        raise ConfigError(
            f"the chat template of {str(model)!r} fails ({type(error).__name__}: {error}), so the "
            "model cannot be asked. Correct chat_template.jinja or tokenizer_config.json."
        ) from error


def not_loaded(model: str | Path, error: Exception) -> ConfigError:
    """The many kinds of errors that libraries raise for a broken or hostile file."""
    return ConfigError(
        f"model {str(model)!r} cannot be loaded ({type(error).__name__}: {error}). Pass a folder "
        "with a model of transformers and its tokenizer, or a hub name. Code that comes with a "
        f"model is never run, and weights are read from safetensors alone. {_CONVERT}"
    )


_CONVERT = (
    "Convert a model that you trust where its code may run: load it there with transformers, and "
    "write it with save_pretrained."
)


def check_model(model: str | Path) -> None:
    """Refuse a folder whose model brings Python files or pickles, before anything is loaded.

    Raises:
      ConfigError: for such a folder, or adapters of a model in such a folder.
    """
    for folder in (Path(model), *_bases(Path(model))):
        if not os.path.isdir(folder):
            continue  # a hub name; transformers is told for each load
        naming = [path.name for path in sorted(folder.glob("*config*.json")) if _names_code(path)]
        if naming and (code := sorted(path.name for path in folder.rglob("*.py"))):
            raise ConfigError(
                f"{folder} is a model with code of its own: {naming[0]} names it by auto_map, and "
                f"loading the model would run {code[0]}. ipsrl never runs code that comes with a "
                "model. If transformers has this model itself, remove auto_map from that file. "
                f"{_CONVERT}"
            )
        for stem in ("pytorch_model", "adapter_model"):
            safe = stem.removeprefix("pytorch_")
            pickles = sorted(path.name for path in folder.glob(f"{stem}*.bin"))
            if pickles and not any(folder.glob(f"{safe}*.safetensors")):
                raise ConfigError(
                    f"{folder} has its weights in {pickles[0]}, a pickle, which can run code when "
                    f"it is loaded; ipsrl reads safetensors. {_CONVERT}"
                )


def check_options(options: Mapping[str, Any], name: str) -> None:
    """Refuse options of `from_pretrained` with which a model would run code.

    Args:
      options: by name.
      name: the name of their table in the configuration.
    Raises:
      ConfigError: for such an option.
    """
    for key, safe in SAFE.items():
        if options.get(key, safe) != safe:
            raise ConfigError(
                f"{name}.{key} = {options[key]!r} lets a model run code that comes with it, which "
                f"ipsrl never does. Leave it out. {_CONVERT}"
            )


def check_checkpoint(folder: Path) -> None:
    """Refuse a checkpoint of a trainer that would run code, or that lies elsewhere.

    Raises:
      RunError: naming the file and the code that it would run.
    """
    import torch
    from transformers.trainer_pt_utils import safe_globals

    advice = (
        f"Delete {folder} to go on from the checkpoint before it, or start a new run elsewhere."
    )
    for path in (folder.parent, folder, *sorted(folder.iterdir())):
        if path.is_symlink():
            raise RunError(
                f"{path} is a link to {path.resolve()}, which a run does not write. {advice}"
            )
        if path.suffix not in (".pt", ".pth", ".bin") or path.name == "training_args.bin":
            continue  # the trainer never reads its arguments again
        try:
            with safe_globals():  # what the trainer itself takes for harmless
                foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except Exception as error:
            foreign = [f"{type(error).__name__}: {error}"]
        if foreign:
            raise RunError(
                f"{path} is not what the trainer wrote: it is a pickle that names {foreign[0]}, "
                f"and loading it could run code. {advice}"
            )


def _bases(folder: Path) -> list[Path]:
    """The models to which the adapters in a folder belong."""
    try:
        base = json.loads((folder / "adapter_config.json").read_bytes())["base_model_name_or_path"]
        return [Path(base)]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []


def _names_code(path: Path) -> bool:
    """True if a JSON file has the key auto_map, at any depth."""
    keys: set[str] = set()
    try:
        json.loads(path.read_bytes(), object_hook=keys.update)
    except (OSError, ValueError, RecursionError):  # nor can transformers read it
        return False
    return "auto_map" in keys
