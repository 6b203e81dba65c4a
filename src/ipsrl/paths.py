"""Files that a configuration names, and the folder at which their relative paths start.

In a TOML file a path counts from the folder of that file, and on the command line and in code from
the working directory.  A configuration holds it as an absolute path, so that a run goes on from any
working directory, and an error names the folder that was looked in.

    File          a file or folder, which need not be there yet
    Shipped(...)  the name of something that comes with ipsrl, else a file or folder
    HubModel      a folder, else the name of a model on a hub
    HubDataset    a file, else the name of a data set on a hub
    Function      FILE.py:function; module:function stays as it is
    Command       a program and its arguments, of which those are paths that name a file

A name that a hub may know is a path if it is written as one (`./x`, `../x`, `/x`, `~/x`, and
`x.jsonl`, `x.json`, `x.parquet` of a data set), or if there is such a folder or file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

_folder: ContextVar[Path] = ContextVar("folder", default=Path())


@contextmanager
def counted_from(folder: Path) -> Iterator[None]:
    """Relative paths of configurations that are made within this context start at this folder."""
    token = _folder.set(folder.resolve())
    try:
        yield
    finally:
        _folder.reset(token)


def below(folder: Path, value: Any) -> Any:
    """The value of a key, with paths below an absolute folder made relative to it."""
    match value:
        case str():
            return value.removeprefix(f"{folder}{os.sep}")
        case list() | tuple():
            return [below(folder, part) for part in value]
        case dict():
            return {key: below(folder, part) for key, part in value.items()}
    return value


def absolute(text: str) -> str:
    """An absolute path, from the folder of the context; "" stays."""
    return os.path.abspath(_folder.get() / os.path.expanduser(text)) if text else text


def _path_if_shown(text: str, *endings: str) -> str | None:
    shown = (
        text in (".", "..") or text.startswith(("./", "../", "/", "~")) or text.endswith(endings)
    )
    return absolute(text) if shown else None


def _model(text: str) -> str:
    if text == "tiny":  # which comes with ipsrl
        return text
    return _path_if_shown(text) or (absolute(text) if os.path.isdir(absolute(text)) else text)


def _dataset(text: str) -> str:
    shown = _path_if_shown(text, ".jsonl", ".json", ".parquet")
    return shown or (absolute(text) if os.path.isfile(absolute(text)) else text)


def _function(text: str) -> str:
    place, _, name = text.rpartition(":")
    return f"{absolute(place)}:{name}" if place.endswith(".py") else text


def _command(words: list[str]) -> list[str]:
    # A program without a folder is looked for on the PATH.
    program = [word if os.sep not in word else _file(word) for word in words[:1]]
    return program + [_file(word) for word in words[1:]]


def _file(word: str) -> str:
    return absolute(word) if os.path.isfile(absolute(word)) else word


def Shipped(folder: str, ending: str = "") -> AfterValidator:
    """A name of a file in `folder` of ipsrl, if it has this ending, else a path."""
    known = Path(__file__).parent / folder

    def place(text: str) -> str:
        is_name = os.sep not in text and (known / f"{text}{ending}").exists()
        return text if is_name else absolute(text)

    return AfterValidator(place)


File = Annotated[str, AfterValidator(absolute)]
HubModel = Annotated[str, AfterValidator(_model)]
HubDataset = Annotated[str, AfterValidator(_dataset)]
Function = Annotated[str, AfterValidator(_function)]
Command = Annotated[list[str], AfterValidator(_command)]
