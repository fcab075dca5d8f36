"""An adopted folder as a git and DVC repository in which every byte is stored once."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ptychodose.errors import UserError

_DVC = [sys.executable, "-m", "dvc"]
# Not symlink: DVC's are absolute, and the repository is moved to its name when it is whole.
_CONFIG = "[core]\n    analytics = false\n[cache]\n    type = hardlink,copy\n"


def can_track() -> bool:
    """Whether git and DVC are at hand."""
    return shutil.which("git") is not None and importlib.util.find_spec("dvc") is not None


def start_repository(root: Path) -> None:
    """``git init`` and ``dvc init``, with a cache that shares its bytes with the workspace.

    Raises
    ------
    UserError
        git or DVC fails, with what it said.
    """
    _run(["git", "init", "--quiet"], root)
    _run([*_DVC, "init", "--quiet"], root)
    (root / ".dvc" / "config").write_text(_CONFIG, encoding="utf-8")


def track(root: Path, folder: str) -> None:
    """Have DVC track a folder and stage all else in git; the commit is the owner's.

    The folder's files become read-only: they are hard links to DVC's cache.

    Raises
    ------
    UserError
        git or DVC fails, with what it said.
    """
    _run([*_DVC, "add", "--quiet", folder], root)
    _run(["git", "add", "--all"], root)


def _run(command: list[str], root: Path) -> None:
    # Inside a git hook these name another repository.
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    environment = {key: value for key, value in os.environ.items() if key not in elsewhere}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        name = "dvc" if command[: len(_DVC)] == _DVC else "git"
        raise UserError(f"{name} could not make the repository ({said[:500]}); nothing was adopted")
