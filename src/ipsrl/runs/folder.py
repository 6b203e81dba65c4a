"""A folder of output that knows which of its files are its own, and touches no other.

`files.json` lists them, in a folder that was new or empty.  A name is listed before its file is
made, and goes after the file is gone: a death at any moment leaves no file of ours unlisted.  In a
folder without a list, a file that exists is never overwritten.  Files are written under a temporary
name, synced and renamed: a reader never sees half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ipsrl.errors import ConfigError, RunError

LIST = "files.json"
_PAGE = b'<meta name="generator" content="ipsrl">'


class Folder:
    """A folder and the names of its own files, relative to it.

    A name that ends with "/" is a folder which a library fills: nothing is removed from it but what
    is listed too.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
          RunError: if files.json cannot be read, or is not a list of files.
        """
        self.path = path
        self.listed: set[str] = set()
        self._keeps_list = (path / LIST).is_symlink() or (path / LIST).exists()
        if self._keeps_list:
            self.listed = self._read()

    @classmethod
    def make(cls, path: Path) -> Folder:
        """A folder to write to, made if needed; a list is kept where it is empty.

        Raises:
          RunError: if it cannot be made or written.
        """
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not folder._keeps_list and not any(path.iterdir()):
                folder.begin()
        except OSError as error:
            raise RunError(f"{path} cannot be written ({error}). Choose another --out.") from None
        return folder

    def begin(self) -> None:
        """Keep a list from now on."""
        self._keeps_list = True
        self._list()

    def __contains__(self, name: str) -> bool:
        """True if a file exists and is the folder's own."""
        return name in self.listed and (self.path / name).exists()

    def claim(self, *names: str) -> None:
        """List names of files and folders that are about to be made.

        Raises:
          RunError: if there is one of them already that is somebody else's.
        """
        new = [name for name in names if name not in self.listed]
        for name in new:
            for path in (self.path / name, temporary(self.path / name)):
                if path.exists() or path.is_symlink():
                    raise RunError(
                        f"{path} is in the way, and was not made by ipsrl, so it is not "
                        "overwritten. Move it away, and try again."
                    )
        self.listed.update(new)
        if new and self._keeps_list:
            self._list()

    def write(self, name: str, content: bytes) -> None:
        """Replace a file as a whole, or leave it as it was."""
        self.claim(name)
        write_whole(self.path / name, content)

    def claim_contents(self, name: str) -> None:
        """List the files that a library has put into a listed folder."""
        found = (p for p in (self.path / name).rglob("*") if p.is_file() or p.is_symlink())
        self.listed.update(path.relative_to(self.path).as_posix() for path in found)
        self._list()

    def remove(self, names: Iterable[str]) -> None:
        """Remove listed files, and those listed folders that are then empty."""
        gone = sorted(self.listed.intersection(names), reverse=True)  # a folder after its files
        if not gone:
            return
        for name in gone:
            path = self.path / name
            if name.endswith("/"):
                _remove_empty(path)
                continue
            path.unlink(missing_ok=True)
            temporary(path).unlink(missing_ok=True)
        self.listed -= {name for name in gone if not (self.path / name).exists()}
        self._list()

    def check_links(self) -> None:
        """A link in the place of a file of ours would lead a write out of the folder.

        Raises:
          RunError: naming the link.
        """
        for name in sorted(self.listed):
            parts = PurePosixPath(name).parts
            for depth in range(1, len(parts) + 1):
                path = self.path.joinpath(*parts[:depth])
                if path.is_symlink():
                    raise RunError(
                        f"{path} is a link to {path.resolve()}, where a run does not write. "
                        "Put the file itself there, and try again."
                    )

    def _list(self) -> None:
        content = json.dumps({"files": sorted(self.listed)}, indent=1).encode() + b"\n"
        write_whole(self.path / LIST, content)

    def _read(self) -> set[str]:
        path = self.path / LIST
        try:
            names = json.loads(path.read_bytes())["files"]
            if not all(isinstance(name, str) and _is_inside(name) for name in names):
                raise ValueError("it names files outside the folder")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(
                f"{path} is not a list of files that ipsrl made ({error}), so nothing in "
                f"{self.path} is touched. Choose another folder, or put the list back."
            ) from None
        return set(names)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file as a whole, or leave it as it was.

    Args:
      path: of the file; its folder is made if needed.
      content: all of it.
    """
    unfinished = temporary(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself must survive a power cut
    finally:
        os.close(directory)


def is_page(path: Path) -> bool:
    """True if a file is a page of ours, which a new one may replace wherever it lies."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return _PAGE in file.read(500)
    except OSError:
        return False


def check_free(path: Path) -> None:
    """A file that a command is about to write must not be somebody else's.

    Args:
      path: of the file.
    Raises:
      RunError: if it exists, and is a run's or not in the files.json of its folder.
    """
    folder = Folder(path.parent)
    if path.exists() and (path.name not in folder or "config.toml" in folder):
        raise RunError(f"{path} exists, and would be overwritten. Delete it, or name another file.")


def check_folder(path: Path) -> None:
    """A folder that a command is about to write must not be a file.

    Args:
      path: of the folder.
    Raises:
      ConfigError: if it is.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--out {path} is a file. Name a folder.")


def temporary(path: Path) -> Path:
    """The name under which `write_whole` writes a file."""
    return path.with_name(f"{path.name}.tmp")


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _remove_empty(folder: Path) -> None:
    """The folder, and folders within it, as far as they hold nothing."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for child in folder.iterdir():
        _remove_empty(child)
    if not any(folder.iterdir()):
        folder.rmdir()
