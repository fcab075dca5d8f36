"""Is every byte of the workspace the byte that dvc.lock promises?

DVC itself trusts a file whose modification time is unchanged; this reads them all.
"""

import hashlib
import json
import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ptychodose.errors import UserError
from ptychodose.formats.hashing import file_digest


@dataclass(frozen=True)
class Promise:
    """A file and the MD5 that dvc.lock (or the directory object it names) holds for it."""

    path: Path
    md5: str


@dataclass
class Findings:
    """What was checked and what is wrong."""

    n_good: int = 0
    n_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    in_git: list[str] = field(default_factory=list)
    """Which of the damaged and missing ones git holds, not DVC (``cache: false``)."""

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not (self.missing or self.damaged or self.unexpected)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "good": self.good,
            "verified": self.n_good,
            "bytes": self.n_bytes,
            "missing": self.missing,
            "damaged": self.damaged,
            "unexpected": self.unexpected,
        }

    def summary(self) -> str:
        """For people: one line a finding, what to do, and a closing line."""
        lines = [f"damaged: {path}" for path in self.damaged]
        lines += [f"missing: {path}" for path in self.missing]
        lines += [f"unexpected: {path}" for path in self.unexpected]
        if self.damaged or self.missing:
            lines.append(f"repair: {'; '.join(self._repair())}")
        total = self.n_good + len(self.missing) + len(self.damaged)
        verdict = "good" if self.good else "DAMAGED"
        lines.append(
            f"{verdict}: {self.n_good} of {total} files, {self.n_bytes / 1e6:.1f} MB, match dvc.lock"
        )
        return "\n".join(lines)

    def _repair(self) -> list[str]:
        broken = self.damaged + self.missing
        steps = (
            (["rm", "-rf"], self.damaged),
            (["dvc", "pull", "--force"], [path for path in broken if path not in self.in_git]),
            (["git", "checkout", "HEAD", "--"], self.in_git),
        )
        return [shlex.join([*command, *paths]) for command, paths in steps if paths]


def verify_workspace(root: Path) -> Findings:
    """Hash every file that dvc.lock promises, with all cores.

    Raises
    ------
    UserError
        dvc.lock or a directory object is missing or unreadable, so nothing can be said.
    """
    promises, folders = _promises(root)
    findings = Findings()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        digests = pool.map(digest_or_none, (root / promise.path for promise in promises))
        for promise, digest in zip(promises, digests, strict=True):
            if digest is None:
                findings.missing.append(str(promise.path))
            elif digest != promise.md5:
                findings.damaged.append(str(promise.path))
            else:
                findings.n_good += 1
                findings.n_bytes += (root / promise.path).stat().st_size
    promised = {promise.path for promise in promises}
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.relative_to(root) not in promised:
                findings.unexpected.append(str(path.relative_to(root)))
    broken = findings.damaged + findings.missing
    findings.in_git = [path for path in broken if _git_holds(root, path)]
    return findings


def _git_holds(root: Path, path: str) -> bool:
    try:
        listed = subprocess.run(["git", "ls-files", "--", path], cwd=root, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return bool(listed.stdout)


def digest_or_none(path: Path) -> str | None:
    """None where there is no file; a folder here is one whose list of files is not the promised one."""
    if path.is_dir():
        return "a folder with other files"
    return file_digest(path, "md5") if path.is_file() else None


def _promises(root: Path) -> tuple[list[Promise], list[Path]]:
    lock = root / "dvc.lock"
    try:
        stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        promises, folders = [], []
        for out in outs:
            path = Path(out["path"])
            if out["md5"].endswith(".dir"):
                folders.append(path)
                promises += promises_of_folder(root, path, out["md5"])
            else:
                promises.append(Promise(path, out["md5"]))
    except FileNotFoundError:
        raise UserError(f"{lock}: not found; run from the top of the repository") from None
    except (YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{lock}: not a lock file DVC wrote ({type(error).__name__}: {reason})") from None
    return promises, folders


def promises_of_folder(root: Path, path: Path, md5: str) -> list[Promise]:
    """The files of a tracked folder, from its list in the cache or the embedded store, itself verified.

    A folder that git keeps (``cache: false``) has no list there: its hash is that of the list of its files.
    """
    for place in (".dvc/cache/files/md5", "data/store/files/md5"):
        listing = root / place / md5[:2] / md5[2:]
        if listing.is_file():
            if f"{file_digest(listing, 'md5')}.dir" != md5:
                raise UserError(f"{listing}: damaged; remove it and run `dvc pull --force {path}`")
            entries = json.loads(listing.read_text(encoding="utf-8"))
            return [Promise(path / entry["relpath"], entry["md5"]) for entry in entries]
    files = sorted(file for file in (root / path).rglob("*") if file.is_file())
    entries = [
        {"md5": file_digest(file, "md5"), "relpath": file.relative_to(root / path).as_posix()}
        for file in files
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    if f"{hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest()}.dir" != md5:
        return [Promise(path, md5)]
    return [Promise(path / entry["relpath"], entry["md5"]) for entry in entries]
