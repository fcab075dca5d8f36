"""Throughput of `ptychodose verify` against `sha256sum` of the same files by as many processes.

A study of large files in workspace, cache and store, each read by both, in turn, so that a busy machine slows
both; the whole of verify counts, from the start of the interpreter.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from ptychodose.bundle.manifest import build_manifest
from ptychodose.bundle.manifest_documents import documents

FILES, FILE_BYTES, ROUNDS = 24, 16_000_000, 5
PROCESSES = os.cpu_count() or 1
PLACES = (".dvc/cache/files/md5", "data/store/files/md5")
VERIFY = "import sys; from ptychodose.cli import main; sys.exit(main(['verify']))"


def main() -> None:
    """Print megabytes per second and their ratio, without and with a manifest."""
    print(f"{'':<18} {'MB':>6} {'sha256sum MB/s':>15} {'verify MB/s':>12} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = _make_study(root)
        _compare("by MD5 alone", root, files)
        _write_manifest(root)
        _compare("with a manifest", root, files)


def _make_study(root: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    outs, files = [], []
    for number in range(FILES):
        path = root / "data" / f"{number}.bin"
        content = rng.bytes(FILE_BYTES)
        md5 = hashlib.md5(content).hexdigest()
        outs.append({"path": f"data/{number}.bin", "md5": md5})
        for copy in (path, *(root / place / md5[:2] / md5[2:] for place in PLACES)):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
            files.append(copy)
    (root / "dvc.lock").write_text(json.dumps({"stages": {"make": {"outs": outs}}}))
    return files


def _write_manifest(root: Path) -> None:
    folder = root / "data" / "bundle"
    folder.mkdir()
    for name, text in documents(build_manifest(root, "BENCHMARK", ["1e3"])).items():
        (folder / name).write_text(text, encoding="utf-8")


def _compare(name: str, root: Path, files: list[Path]) -> None:
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(_seconds_of_sha256sum(files))
        ours.append(_seconds_of_verify(root))
    megabytes = len(files) * FILE_BYTES / 1e6
    ratio = median(theirs) / median(ours)
    speeds = f"{megabytes / median(theirs):15.0f} {megabytes / median(ours):12.0f}"
    print(f"{name:<18} {megabytes:6.0f} {speeds} {ratio:6.2f}")


def _seconds_of_sha256sum(files: list[Path]) -> float:
    program = shutil.which("sha256sum") or sys.exit("sha256sum: not found; it belongs to the GNU coreutils")
    start = time.perf_counter()
    running = [
        subprocess.Popen([program, *files[first::PROCESSES]], stdout=subprocess.DEVNULL)
        for first in range(PROCESSES)
    ]
    for process in running:
        process.wait()
    return time.perf_counter() - start


def _seconds_of_verify(root: Path) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", VERIFY], cwd=root, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
