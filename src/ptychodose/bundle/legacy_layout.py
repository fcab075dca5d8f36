"""What a file of a legacy run is, told by its path: ``results_p1e5/train_1024/trial_1/pinn_run/…``."""

import os
import re
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from ptychodose.bundle.manifest_schema import Role
from ptychodose.errors import UserError
from ptychodose.parity.baseline import dose_in_name

_ROLES: list[tuple[str, Role]] = [
    ("data*.npz", "dataset"),
    ("params.dill", "parameters"),
    ("*.h5", "checkpoint"),
    ("*.h5.zip", "checkpoint"),
    ("*.keras", "checkpoint"),
    ("recon*", "reconstruction"),
    ("stitched*", "reconstruction"),
    ("pred*", "reconstruction"),
    ("*metrics*", "metrics"),
    ("*parity_log*", "parity log"),
    ("history.*", "record"),
    ("*.json", "record"),
    ("*.png", "picture"),
    ("*.pdf", "picture"),
    ("*.md", "document"),
    ("*.txt", "document"),
    ("*.log", "document"),
]
"""The first pattern that a file's name in lower case matches gives its role."""

_MODELS = {"pinn_run": "pinn", "baseline_run": "baseline"}
_NUMBERED = re.compile(r"(train|trial)_(\d{1,9})")


@dataclass(frozen=True)
class LegacyFile:
    """A file and what its path says of it; None where the path says nothing."""

    path: str
    """Relative to the legacy folder, with / between folders."""
    role: Role
    dose: str | None
    """Photons per pattern as written in the name, "1e5"."""
    model: str | None
    """``pinn`` or ``baseline``."""
    n_train: int | None
    trial: int | None


@dataclass(frozen=True)
class Layout:
    """The files of a legacy folder by path, and what is in it beside them, with the reason."""

    files: list[LegacyFile]
    left_out: dict[str, str]


def classify(path: str) -> LegacyFile:
    """What the relative path of a file, with / between folders, says of it."""
    pure = PurePosixPath(path)
    name = pure.name.lower()
    role: Role = next((role for pattern, role in _ROLES if fnmatchcase(name, pattern)), "other")
    found = [match for part in pure.parts[:-1] if (match := _NUMBERED.fullmatch(part))]
    numbers = {match[1]: int(match[2]) for match in found}
    # The innermost name that gives one counts.
    words = [pure.stem, *reversed(pure.parts[:-1])]
    return LegacyFile(
        path=path,
        role=role,
        dose=next((dose for word in words if (dose := dose_in_name(word))), None),
        model=next((_MODELS[part] for part in reversed(pure.parts) if part in _MODELS), None),
        n_train=numbers.get("train"),
        trial=numbers.get("trial"),
    )


def find_legacy_files(root: Path) -> Layout:
    """Every file below a legacy folder, by path.

    Left out are links, which may lead anywhere, what is no plain file, hidden files and folders and those of
    DVC, which belong to tools, and names that no text file can hold.

    Raises
    ------
    UserError
        The folder is missing or holds no ``data*.npz``.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the one that holds data_p1e5.npz and results_p1e5")
    files, left_out = [], {}
    for folder, folders, names in os.walk(root, onerror=_raise):
        for name in sorted([*folders, *names]):
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if reason := _reason_to_leave_out(path):
                left_out[relative] = reason
            elif path.is_file():
                files.append(classify(relative))
        folders[:] = [
            name for name in folders if Path(folder, name).relative_to(root).as_posix() not in left_out
        ]
    if not any(file.role == "dataset" for file in files):
        raise UserError(f"{root}: holds no data*.npz; give the folder that holds data_p1e5.npz and its like")
    return Layout(sorted(files, key=lambda file: file.path), left_out)


def _reason_to_leave_out(path: Path) -> str | None:
    mode = path.lstat().st_mode
    if path.name.startswith("."):
        return "hidden"
    if not path.name.isprintable():
        return "a name that is not printable"
    if path.name in ("dvc.yaml", "dvc.lock") or path.suffix == ".dvc":
        return "DVC would take it for a pipeline of the adopted study"
    if stat.S_ISLNK(mode):
        return "a link"
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "no plain file"


def _raise(error: OSError) -> None:
    raise error
