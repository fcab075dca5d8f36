"""Where a file of the study lies in a bundle, and which names a bundle may hold."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from ptychodose.errors import UserError

MANIFEST = "data/bundle/manifest.json"
DOCUMENTS = {
    MANIFEST: "docs/manifest.json",
    "data/bundle/manifest.md": "docs/manifest.md",
    "data/bundle/files.csv": "docs/files.csv",
    "data/bundle/README.md": "docs/README.md",
    "params.yaml": "docs/params.yaml",
    "dvc.yaml": "docs/dvc.yaml",
    "dvc.lock": "docs/dvc.lock",
}
"""Name in the bundle by path in the study, of what describes the bundle. The manifest cannot list itself and
the files made from it, nor dvc.lock, which DVC completes after the manifest is made."""
MAX_DOCUMENT_BYTES = 2**24
"""The most that the manifest, or another file whose size it does not list, may hold."""
SUMS = "docs/SHA256SUMS"
"""The hash of every other member, for a recipient who has ``sha256sum`` only."""

_ROOMS = (
    (re.compile(r"data/((?:datasets|inputs)/.+)"), "simulation/"),
    (re.compile(r"data/(models/.+)"), "training/"),
    (re.compile(r"(metrics/.+\.loss\.csv)"), "training/"),
    (re.compile(r"data/(reconstructions/.+)"), "inference/"),
    (re.compile(r"((?:metrics|plots)/.+)"), "inference/"),
    (re.compile(r"data/(parity/.+)"), "docs/"),
)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]|[\ud800-\udfff]')
_HIDDEN = {".git", ".dvc"}
_MAX_CHARACTERS = 1000


def bundle_name(path: str) -> str:
    """Name in the bundle of a path in the study; different paths have different names."""
    if path in DOCUMENTS:
        return DOCUMENTS[path]
    for pattern, room in _ROOMS:
        if found := pattern.fullmatch(path):
            return room + found[1]
    return f"docs/study/{path}"


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse names that could leave the folder they are unpacked into, or meet each other there.

    Raises
    ------
    UserError
        A name is absolute, holds ``..``, a character some system forbids, or a folder of git or DVC; two
        names are equal on a system that ignores case; a name is a folder of another.
    """
    seen: dict[str, str] = {}
    for name in names:
        if reason := _unsafe(name):
            raise UserError(f"{where}: {name!a}: {reason}; the bundle is not to be trusted")
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise UserError(
                f"{where}: {name}: the same as {seen[key]} where names ignore case; rename one of the two"
            )
        seen[key] = name
    for key, name in seen.items():
        for folder in PurePosixPath(key).parents:
            if str(folder) in seen:
                raise UserError(f"{where}: {seen[str(folder)]}: both a file and the folder of {name}")


def _unsafe(name: str) -> str | None:
    if len(name) > _MAX_CHARACTERS:
        return f"longer than {_MAX_CHARACTERS} characters"
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        return "a file must lie inside the bundle"
    if _FORBIDDEN.search(name) or any(part in ("", ".") or part[-1] in " ." for part in parts):
        return "not a name that every system can store"
    if _HIDDEN & {part.casefold() for part in parts}:
        return "a bundle holds no files of git or DVC"
    return None
