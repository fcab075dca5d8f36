"""Hashes of files."""

import hashlib
from pathlib import Path
from typing import Literal


def file_digest(path: Path, algorithm: Literal["md5", "sha256"]) -> str:
    """Hex digest of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
