"""What git knows of a study: which outputs it leaves to DVC, and the files that it holds itself."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from ptychodose.formats.revisions import Revision


def ignored(root: Path, paths: Iterable[Path]) -> set[Path]:
    """Those that git ignores, as it does what DVC keeps; none where there is no git."""
    asked = "\0".join(path.as_posix() for path in paths)
    return {Path(name) for name in _names(root, "check-ignore", "--stdin", "-z", stdin=asked)}


def tracked(root: Path, *paths: Path) -> set[Path]:
    """The files at and below some paths that git tracks, present or not."""
    return {Path(name) for name in _names(root, "ls-files", "-z", "--", *map(str, paths))} if paths else set()


def committed(root: Path, path: Path) -> dict[Path, bytes]:
    """A file of the last commit, under the name ``.``, or the files of a folder by their path in it."""
    head = Revision("HEAD", "HEAD", root)
    try:
        names = head.files(path.as_posix()) or [path.as_posix()]
        contents = {Path(name).relative_to(path): head.read(name) for name in names}
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {name: content for name, content in contents.items() if content is not None}


def _names(root: Path, *arguments: str, stdin: str = "") -> list[str]:
    # check-ignore ends with 1 if there is nothing to list.
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, input=stdin, capture_output=True, text=True, check=False
        )
    except OSError:
        return []
    return [name for name in done.stdout.split("\0") if name]
