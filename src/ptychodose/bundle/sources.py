"""Where the good bytes of a damaged or missing file still are."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import md5
from pathlib import Path

from ptychodose.bundle.copies import Copy
from ptychodose.bundle.findings import Fault
from ptychodose.bundle.git import committed
from ptychodose.bundle.lockfile import Output
from ptychodose.bundle.promises import folder_md5


def find_sources(
    root: Path, faults: Sequence[Fault], good: Iterable[Copy], outputs: Sequence[Output]
) -> list[Fault]:
    """The faults, each with where its good bytes are: among the good copies, in git, or nowhere."""
    if not faults:
        return []
    copies = {copy.md5: copy.path for copy in good}
    stages = {output.path: output.stage for output in outputs}
    found = []
    for fault in faults:
        source = copies.get(fault.copy.md5)
        in_git = (source is None or fault.copy.place == "store") and _git_holds(root, fault.copy)
        found.append(replace(fault, source=source, in_git=in_git, stage=_stage(stages, fault.copy.output)))
    restored = {fault.copy.md5 for fault in found if fault.copy.place == "store" and fault.in_git}
    return [replace(fault, after_git=fault.copy.md5 in restored) for fault in found]


def _git_holds(root: Path, copy: Copy) -> bool:
    """Whether the last commit has these very bytes at this path."""
    files = committed(root, copy.path)
    if copy.place == "workspace" and copy.md5.endswith(".dir"):
        return folder_md5((name, md5(content).hexdigest()) for name, content in files.items()) == copy.md5
    content = files.get(Path())
    return content is not None and md5(content).hexdigest() == copy.md5.removesuffix(".dir")


def _stage(stages: dict[Path, str], output: Path | None) -> str | None:
    if output is None:
        return None
    return next((stages[path] for path in (output, *output.parents) if path in stages), None)
