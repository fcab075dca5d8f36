"""Files of a study as it is in a folder, in a git revision or in a DVC experiment: nothing is checked out."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ptychodose.errors import UserError


class Tree(Protocol):
    """A study somewhere: its files by their path from its top, with / between folders."""

    @property
    def label(self) -> str:
        """How a person named it."""
        ...

    def files(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted; none if there is no such folder."""
        ...

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, None if there is none."""
        ...


@dataclass(frozen=True)
class Folder:
    """A study on disk."""

    label: str
    root: Path

    def files(self, folder: str) -> list[str]:
        """See :class:`Tree`."""
        found = (path for path in (self.root / folder).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def read(self, path: str) -> bytes | None:
        """See :class:`Tree`."""
        file = self.root / path
        return file.read_bytes() if file.is_file() else None


@dataclass(frozen=True)
class Revision:
    """A study in git's history."""

    label: str
    commit: str
    repository: Path

    def files(self, folder: str) -> list[str]:
        """See :class:`Tree`."""
        listed = _git(self.repository, "ls-tree", "-r", "-z", "--name-only", self.commit, "--", f"{folder}/")
        return sorted(name for name in listed.decode().split("\0") if name)

    def read(self, path: str) -> bytes | None:
        """See :class:`Tree`."""
        try:
            return _git(self.repository, "cat-file", "blob", f"{self.commit}:{path}")
        except subprocess.CalledProcessError:
            return None


def open_tree(name: str, repository: Path = Path()) -> Tree:
    """The study called ``name``: a folder, else a git revision, else a DVC experiment.

    Raises
    ------
    UserError
        There is nothing of that name.
    """
    if Path(name).is_dir():
        return Folder(name, Path(name))
    try:
        top = Path(_git(repository, "rev-parse", "--show-toplevel").decode().strip())
    except (OSError, subprocess.CalledProcessError):
        raise UserError(f"{name}: no such folder, and this is not a git repository") from None
    for revision in (name, *_experiments(top, name)):
        try:
            found = _git(
                top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
            )
        except subprocess.CalledProcessError:
            continue
        return Revision(name, found.decode().strip(), top)
    raise UserError(f"{name}: neither a folder, nor a git revision, nor a DVC experiment of this repository")


def _experiments(repository: Path, name: str) -> list[str]:
    """Refs of DVC experiments of that name; DVC keeps them as refs/exps/<xx>/<baseline>/<name>."""
    listed = _git(repository, "for-each-ref", "--format=%(refname)", "refs/exps").decode().split()
    return [ref for ref in listed if ref.count("/") == 4 and ref.rsplit("/", 1)[1] == name]


def _git(repository: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=repository, capture_output=True, check=True).stdout
