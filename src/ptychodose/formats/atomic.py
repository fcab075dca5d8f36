"""Writes that are whole or absent: a temporary name in the same folder, fsync, rename."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write; on success it replaces ``path``, on any error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        _fsync(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to fill; on success it replaces the folder ``path``.

    The old folder is moved aside before it is deleted, so that ``path`` is never half of one. What a killed
    run left under the temporary names is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, discarded = (path.with_name(f".{path.name}.{end}") for end in ("partial", "old.partial"))
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(discarded, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _fsync(file)
        if path.exists():
            path.rename(discarded)
        partial.rename(path)
        shutil.rmtree(discarded, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _fsync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
