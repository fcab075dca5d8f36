"""Is every byte of a bundle the byte that its manifest lists?"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any

from ptychodose.bundle.bundle_names import MAX_DOCUMENT_BYTES
from ptychodose.bundle.contents import Contents, Expected, read_contents
from ptychodose.bundle.opening import Sum, open_bundle
from ptychodose.bundle.sizes import size_text
from ptychodose.bundle.tar_members import DamagedError, Incoming
from ptychodose.formats.jsonfile import dump_json
from ptychodose.report.progress import Progress

Receive = Callable[[str], IO[bytes]]
"""Opens the file that takes the content of a path in the study."""


@dataclass
class BundleReport:
    """What was checked and what is wrong; names are those in the bundle."""

    path: str
    kind: str
    scenario_id: str
    sums: list[Sum]
    n_files: int
    """Files that must be there, the file of sums included, without which there is no report."""
    n_good: int = 1
    n_bytes: int = 0
    """Of the good ones."""
    damaged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    broken: str | None = None
    """Why reading had to stop; what comes behind is reported as missing."""

    def problems(self) -> list[str]:
        """One line each, the most telling first; empty where all is good."""
        lines = [f"broken: {self.broken}"] if self.broken else []
        for file in self.sums:
            if file.found is None:
                lines.append(f"missing: {file.name}, which the .sha256 lists")
            elif file.expected not in (None, file.found):
                lines.append(f"damaged: {file.name}: its SHA-256 is not that in the .sha256")
        lines += [f"damaged: {ascii(name)[1:-1]}" for name in self.damaged]
        lines += [f"missing: {name}" for name in self.missing]
        lines += [f"unexpected: {ascii(name)[1:-1]}" for name in self.unexpected]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "schema": "ptychodose/bundle-verification/1",
            "bundle": self.path,
            "kind": self.kind,
            "scenario_id": self.scenario_id,
            "good": not self.problems(),
            "verified": self.n_good,
            "files": self.n_files,
            "bytes": self.n_bytes,
            "sums": [vars(file) for file in self.sums],
            "problems": self.problems(),
        }

    def markdown(self) -> str:
        """For people."""
        verdict = "DAMAGED" if self.problems() else "good"
        lines = [
            f"# {verdict}: {self.path}",
            "",
            f"{self.n_good} of {self.n_files} files verified, {size_text(self.n_bytes)}, "
            f"scenario {self.scenario_id}.",
        ]
        if self.sums:
            lines += ["", "| file | SHA-256 | as in its .sha256 |", "| --- | --- | --- |"]
            lines += [
                f"| {file.name} | {file.found or 'missing'} | {_compared(file)} |" for file in self.sums
            ]
        if self.problems():
            lines += ["", *(f"- {line}" for line in self.problems()), "", "Ask for the bundle again."]
        return "\n".join(lines)


def verify_bundle(path: Path) -> BundleReport:
    """Read and hash every byte of a folder, archive or parts.

    Raises
    ------
    UserError
        It is not there, or its manifest cannot be read, so that nothing can be said.
    """
    report, _ = examine(path)
    return report


def examine(
    path: Path, receive: Receive | None = None, accept: Callable[[Contents], None] | None = None
) -> tuple[BundleReport, Contents]:
    """Read a bundle once, checking every file, and hand on the content of those that must be there.

    Nothing is handed on of an unexpected file, nor of one whose size is not that in the manifest. What was
    handed on may be relied on only if the report has no problems. ``accept`` sees what is expected before
    anything is handed on, and may raise.
    """
    with open_bundle(path) as bundle:
        contents = read_contents(bundle.members, str(path))
        if accept:
            accept(contents)
        bundle.allow(contents)
        report = BundleReport(
            path=str(path),
            kind=bundle.kind,
            # Whoever made the bundle may have put anything into it, what no terminal can print included.
            scenario_id=ascii(contents.manifest.scenario_id)[1:-1],
            sums=bundle.sums,
            n_files=len(contents.expected) + 1,
        )
        n_bytes = sum(entry.size_bytes for entry in contents.manifest.files)
        with Progress(f"read {path.name}", n_bytes, "bytes") as bar:
            _read(bundle.members, contents, report, receive, bar)
    report.unexpected += [f"{name} (a link or special file)" for name in bundle.special]
    return report, contents


def _read(
    members: Iterator[Incoming],
    contents: Contents,
    report: BundleReport,
    receive: Receive | None,
    bar: Progress,
) -> None:
    left = dict(contents.expected)
    try:
        for member in chain([contents.manifest_member()], members):
            if member.name not in contents.expected:
                report.unexpected.append(member.name)
            elif not (expected := left.pop(member.name, None)):
                raise DamagedError(f"{member.name!a}: there twice; it is not to be trusted")
            elif _good(member, expected, receive, bar):
                report.n_good += 1
                report.n_bytes += member.size
            else:
                report.damaged.append(member.name)
    except DamagedError as error:
        report.broken = str(error)
    report.missing = sorted(left)


def _good(member: Incoming, expected: Expected, receive: Receive | None, bar: Progress) -> bool:
    limit = MAX_DOCUMENT_BYTES if expected.size is None else expected.size
    if member.size > limit or expected.size not in (None, member.size):
        return False
    digest = hashlib.sha256()
    with receive(expected.path) if receive else nullcontext() as target:
        for chunk in member.chunks():
            digest.update(chunk)
            if target:
                target.write(chunk)
            bar.advance(len(chunk) if expected.size else 0)
    return digest.hexdigest() == expected.sha256


def _compared(file: Sum) -> str:
    return "not given" if file.expected is None else "yes" if file.expected == file.found else "NO"


def run_verify(path: Path, *, as_json: bool = False) -> int:
    """``ptychodose bundle verify``: 0 good, 1 damaged."""
    report = verify_bundle(path)
    print(dump_json(report.as_dict()) if as_json else report.markdown() + "\n", end="")
    return 1 if report.problems() else 0
