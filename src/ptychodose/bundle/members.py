"""The members of a bundle: where each comes from, and what it must hold."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ptychodose.bundle.bundle_names import (
    DOCUMENTS,
    MANIFEST,
    MAX_DOCUMENT_BYTES,
    SUMS,
    bundle_name,
    check_names,
)
from ptychodose.bundle.lock_check import check_against_lock
from ptychodose.bundle.manifest_schema import Manifest, parse_manifest
from ptychodose.bundle.tar_members import CHUNK_BYTES
from ptychodose.errors import UserError

_MADE_BY_MANIFEST = [path for path in DOCUMENTS if path.startswith("data/bundle/")]


@dataclass(frozen=True)
class Member:
    """A file of a bundle; the source is a file, or the content itself."""

    name: str
    size: int
    sha256: str
    source: Path | bytes


def plan(root: Path) -> list[Member]:
    """The members of a bundle in their order: manifest, sums, then by name.

    Raises
    ------
    UserError
        The manifest is missing or not that of dvc.lock; a file is missing or not of the size it lists.
    """
    manifest = _manifest(root)
    members = [
        Member(bundle_name(entry.path), entry.size_bytes, entry.sha256, _listed(root, entry.path))
        for entry in manifest.files
    ]
    for member in members:
        _check_source(member)
    listed = {entry.path for entry in manifest.files}
    required = [*_MADE_BY_MANIFEST, *(["dvc.lock"] if made_by_stages(manifest) else [])]
    for path, name in DOCUMENTS.items():
        if path not in listed and ((root / path).exists() or path in required):
            members.append(_member(name, _read(root / path)))
    sums = "".join(
        f"{member.sha256}  {member.name}\n" for member in sorted(members, key=lambda member: member.name)
    )
    members.append(_member(SUMS, sums.encode()))
    check_names([member.name for member in members], MANIFEST)
    first = {DOCUMENTS[MANIFEST]: 0, SUMS: 1}
    return sorted(members, key=lambda member: (first.get(member.name, 2), member.name))


def content(member: Member) -> Iterator[bytes]:
    """The content in chunks.

    Raises
    ------
    UserError
        At its end, if it was not what the manifest lists.
    """
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(member.source):
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if (digest.hexdigest(), size) != (member.sha256, member.size):
        raise _changed(member.name if isinstance(member.source, bytes) else member.source)


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def _manifest(root: Path) -> Manifest:
    path = root / MANIFEST
    try:
        manifest = parse_manifest(_read(path).decode(), str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file ({error}); run `dvc repro manifest`") from None
    check_names([entry.path for entry in manifest.files], str(path))
    if made_by_stages(manifest) and (found := check_against_lock(manifest, root)):
        raise UserError(f"{path}: {found[0]}; run `dvc repro manifest`")
    return manifest


def made_by_stages(manifest: Manifest) -> bool:
    """Whether it is of a study, which dvc.lock describes too, and not of an adopted folder."""
    return any(entry.stage is not None for entry in manifest.files)


def _listed(root: Path, path: str) -> Path:
    if path in _MADE_BY_MANIFEST:
        raise UserError(f"{root / MANIFEST}: {path}: made from the manifest, so it cannot be listed in it")
    return root / path


def _check_source(member: Member) -> None:
    assert isinstance(member.source, Path)
    if not member.source.is_file():
        raise UserError(f"{member.source}: not found, yet the manifest lists it; `dvc pull` fetches it")
    if member.source.stat().st_size != member.size:
        raise _changed(member.source)


def _changed(path: str | Path) -> UserError:
    return UserError(
        f"{path}: not the file that the manifest lists; "
        "`dvc checkout` brings that one back, `dvc repro manifest` lists this one"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: not found; `dvc pull` fetches it, `dvc repro manifest` makes it") from None


def _member(name: str, content: bytes) -> Member:
    if len(content) > MAX_DOCUMENT_BYTES:
        raise UserError(
            f"{name}: larger than the {MAX_DOCUMENT_BYTES >> 20} MiB a bundle's readers accept; "
            "pack a study of fewer files"
        )
    return Member(name, len(content), hashlib.sha256(content).hexdigest(), content)
