"""What a bundle must hold, from the manifest and the sums that it begins with."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from ptychodose.bundle.bundle_names import (
    DOCUMENTS,
    MANIFEST,
    MAX_DOCUMENT_BYTES,
    SUMS,
    bundle_name,
    check_names,
)
from ptychodose.bundle.manifest_schema import Manifest, parse_manifest
from ptychodose.bundle.tar_members import DamagedError, Incoming
from ptychodose.errors import UserError


@dataclass(frozen=True)
class Expected:
    """A file that must be there; its path in the study, and a size in bytes where the manifest lists one."""

    path: str
    sha256: str
    size: int | None


@dataclass(frozen=True)
class Contents:
    """Every file that must be there by its name in the bundle, and the two that say so."""

    expected: dict[str, Expected]
    manifest: Manifest
    manifest_bytes: bytes
    n_bytes: int
    """The most that all files together may hold."""

    def manifest_member(self) -> Incoming:
        """The manifest, as if it were to be read for the first time."""
        return Incoming(DOCUMENTS[MANIFEST], len(self.manifest_bytes), BytesIO(self.manifest_bytes))


def read_contents(members: Iterator[Incoming], where: str) -> Contents:
    """Take the first two members.

    Raises
    ------
    UserError
        They are not a manifest and its sums, or they contradict each other: nothing can be said of the rest.
    """
    try:
        manifest_bytes = _document(members, DOCUMENTS[MANIFEST])
        sums = _sums(_document(members, SUMS))
        text = manifest_bytes.decode()
    except DamagedError as error:
        raise UserError(f"{where}: {error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{where}: its manifest or sums are not text; copy it again") from None
    manifest = parse_manifest(text, f"{where}: {DOCUMENTS[MANIFEST]}")
    check_names([entry.path for entry in manifest.files], where)
    expected = {
        bundle_name(entry.path): Expected(entry.path, entry.sha256, entry.size_bytes)
        for entry in manifest.files
    }
    for path, name in DOCUMENTS.items():
        if name in sums and name not in expected:
            expected[name] = Expected(path, sums[name], None)
    check_names([*expected, SUMS], where)
    if {name: file.sha256 for name, file in expected.items()} != sums or DOCUMENTS[MANIFEST] not in sums:
        raise UserError(f"{where}: {SUMS} does not list the files of the manifest; copy the bundle again")
    n_bytes = sum(MAX_DOCUMENT_BYTES if file.size is None else file.size for file in expected.values())
    return Contents(expected, manifest, manifest_bytes, n_bytes)


def _document(members: Iterator[Incoming], name: str) -> bytes:
    member = next(members, None)
    if member is None or member.name != name:
        raise DamagedError(f"not a bundle made by `ptychodose bundle pack`, which has {name} in its place")
    if member.size > MAX_DOCUMENT_BYTES:
        raise DamagedError(f"{name}: {member.size} bytes, more than any bundle has; it is not to be trusted")
    return b"".join(member.chunks())


def _sums(content: bytes) -> dict[str, str]:
    # Not splitlines: a name may hold what Unicode takes for an end of line.
    lines = content.decode().removesuffix("\n").split("\n")
    found = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines]
    sums = {line[2]: line[1] for line in found if line}
    if len(sums) != len(lines):
        raise DamagedError(f"{SUMS}: not lines of a hash and a name, each once; copy the bundle again")
    return sums
