"""What to do with a bundle once it is packed."""

import shlex
from pathlib import Path

from ptychodose.bundle.bundle_names import SUMS
from ptychodose.bundle.compression import is_archive
from ptychodose.bundle.packing import Packed, pack
from ptychodose.bundle.pieces import sums_of
from ptychodose.bundle.sizes import parse_size, size_text


def instructions(done: Packed, target: Path) -> str:
    """What to send, and what the recipient does with it."""
    name, files = shlex.quote(target.name), shlex.join(path.name for path in done.paths)
    title = f"packed {done.n_files} files, {size_text(done.n_bytes)}, into {target}"
    if not is_archive(target):
        check = f"(cd {name} && sha256sum --quiet -c {SUMS})"
        send = f"send the folder {name}"
    else:
        check = f"sha256sum -c {shlex.quote(sums_of(target).name)}"
        send = f"send, into one folder: {files}"
    return "\n".join(
        (
            title,
            send,
            "the recipient checks it with any of",
            f"  {check}",
            f"  ptychodose bundle verify {name}",
            "and has the study back, every file checked, in a new folder with",
            f"  ptychodose bundle rehydrate {name} STUDY",
        )
    )


def run_pack(target: Path, *, max_size: str | None = None, split: bool = False, root: Path = Path()) -> int:
    """``ptychodose bundle pack``: 0."""
    done = pack(root, target, max_size=parse_size(max_size) if max_size else None, split=split)
    print(instructions(done, target))
    return 0
