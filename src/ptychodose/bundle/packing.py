"""Pack a study into one folder, archive or set of parts that anyone can check and unpack."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptychodose.bundle.compression import GZIP, is_archive, packed
from ptychodose.bundle.members import Member, content, plan
from ptychodose.bundle.pieces import (
    MAX_PARTS,
    Pieces,
    part,
    remove_partials,
    sums_of,
    too_large,
    too_many_parts,
)
from ptychodose.bundle.stored_gzip import stored_size
from ptychodose.bundle.tar_members import END, header, padding, tar_size
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_file
from ptychodose.formats.hashing import file_digest
from ptychodose.report.progress import Progress


@dataclass(frozen=True)
class Packed:
    """What was written: the folder, or the archive or its parts, then their sums."""

    paths: list[Path]
    n_files: int
    n_bytes: int
    """Of the files in it."""


def pack(root: Path, target: Path, *, max_size: int | None = None, split: bool = False) -> Packed:
    """Pack what the manifest of a study lists.

    Parameters
    ----------
    root
        Top of the study.
    target
        A name ending in .tar.gz or .tar.zst, or a new folder. A killed run of the same goes on when repeated.
    max_size
        The most an archive, a part or a folder may hold, in bytes.
    split
        Write parts of at most ``max_size`` if an archive would be larger.

    Raises
    ------
    UserError
        The target exists; a file is missing or not the one the manifest lists; the size limit is exceeded.
    """
    if split and not (max_size and is_archive(target)):
        raise UserError("--split: needs --max-size, and a target ending in .tar.gz or .tar.zst")
    for path in (target, part(target, 1), sums_of(target)):
        if path.exists():
            raise UserError(f"{path}: exists already; remove it or choose another name")
    members = plan(root)
    _check_size(target, members, max_size, split)
    target.parent.mkdir(parents=True, exist_ok=True)
    n_bytes = sum(member.size for member in members)
    with Progress(f"pack {target.name}", n_bytes, "bytes") as bar:
        if is_archive(target):
            paths = _write_archive(target, members, max_size, split, bar)
        else:
            paths = _write_folder(target, members, bar)
    return Packed(paths, len(members), n_bytes)


def _check_size(target: Path, members: Sequence[Member], max_size: int | None, split: bool) -> None:
    """Refuse before anything is written; how small zstandard packs is known only while it does."""
    if is_archive(target):
        for member in members:
            header(member.name, member.size)
    sizes = [member.size for member in members]
    if not max_size or (is_archive(target) and not target.name.endswith(GZIP)):
        return
    total = stored_size(tar_size(sizes)) if is_archive(target) else sum(sizes)
    if total > max_size and not split:
        raise too_large(target, total, max_size)
    if total > max_size * MAX_PARTS:
        raise too_many_parts(max_size)


def _write_archive(
    target: Path, members: Sequence[Member], max_size: int | None, split: bool, bar: Progress
) -> list[Path]:
    pieces = Pieces(target, max_size, split)
    try:
        with packed(target, pieces) as stream:
            for member in members:
                stream.write(header(member.name, member.size))
                for chunk in bar.over(content(member), len):
                    stream.write(chunk)
                stream.write(padding(member.size))
            stream.write(END)
        return pieces.finish()
    except UserError:
        pieces.close()
        remove_partials(target)
        raise
    finally:
        pieces.close()


def _write_folder(target: Path, members: Sequence[Member], bar: Progress) -> list[Path]:
    """Fill a folder under a temporary name; files that a killed run left there are kept if they are right."""
    folder = target.with_name(f".{target.name}.partial")
    planned = {folder / member.name for member in members}
    for path in folder.rglob("*"):
        if path.is_symlink() or (path.is_file() and path not in planned):
            path.unlink()
    try:
        for member in members:
            path = folder / member.name
            if path.is_file() and file_digest(path, "sha256") == member.sha256:
                bar.advance(member.size)
                continue
            with atomic_file(path) as partial, partial.open("wb") as stream:
                for chunk in bar.over(content(member), len):
                    stream.write(chunk)
    except UserError:
        shutil.rmtree(folder)
        raise
    folder.rename(target)
    return [target]
