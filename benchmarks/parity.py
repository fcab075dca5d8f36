"""Seconds of `log_dataset` for 5000 patterns of 64 x 64, and its peak memory.

Against hashing the file and reading the patterns once, checked and summed, in the same process.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from ptychodose.formats.hashing import file_digest
from ptychodose.formats.rawdata import RawDataFile, Scan, write_rawdata
from ptychodose.parity.dataset_log import log_dataset

PATTERNS, SIZE_PX, DOSE = 5000, 64, "1e5"
ROUNDS = 9

_PEAK = """
import sys
from pathlib import Path
from ptychodose.parity.dataset_log import log_dataset
def peak():
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
log_dataset(Path(sys.argv[1]), name="train", dose="1e5")
print(before, peak())
"""
"""Linux only; ru_maxrss would be that of the process that started it."""


def main() -> None:
    """Print the ratios and the memory for each way the file can be packed."""
    patterns, scan = _data()
    print(
        f"{'packed by':<20} {'file MB':>8} {'read s':>7} {'log s':>7} {'ratio':>6} {'peak MB':>8} (imports)"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in ("nothing", "deflate", "bzip2"):
            path = Path(folder) / f"{name}.npz"
            _write(path, name, patterns, scan)
            read, log = _alternate(path)
            before, peak = _peak_mb(path)
            size = path.stat().st_size / 1e6
            print(
                f"{name:<20} {size:8.1f} {median(read):7.3f} {median(log):7.3f} "
                f"{median(log) / median(read):6.2f} {peak:8.0f} ({before:.0f})"
            )


def _data() -> tuple[np.ndarray, Scan]:
    rng = np.random.default_rng(0)
    rate = rng.exponential(size=(SIZE_PX, SIZE_PX))
    counts = rng.poisson(float(DOSE) * rate / rate.sum(), (PATTERNS, SIZE_PX, SIZE_PX))
    x, y = rng.uniform(50, 150, (2, PATTERNS))
    scan_index = np.zeros(PATTERNS, np.int64)
    probe = np.ones((SIZE_PX, SIZE_PX), complex)
    return np.sqrt(counts / float(DOSE)).astype(np.float32), Scan(probe, x, y, x, y, scan_index, None)


def _write(path: Path, name: str, patterns: np.ndarray, scan: Scan) -> None:
    if name == "bzip2":
        write_rawdata(path, [patterns], scan)
        return
    arrays = {"diff3d": patterns, "probeGuess": scan.probe, "scan_index": scan.scan_index}
    arrays |= {"xcoords": scan.x, "ycoords": scan.y, "xcoords_start": scan.x, "ycoords_start": scan.y}
    (np.savez if name == "nothing" else np.savez_compressed)(path, **arrays)


def _alternate(path: Path) -> tuple[list[float], list[float]]:
    """Seconds of reading and of logging, in turn, so that a busy machine slows both."""
    read, log = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        file_digest(path, "sha256")
        for chunk in RawDataFile(path).patterns():
            chunk.sum()
        read.append(time.perf_counter() - start)
        start = time.perf_counter()
        log_dataset(path, name="train", dose=DOSE)
        log.append(time.perf_counter() - start)
    return read, log


def _peak_mb(path: Path) -> tuple[float, float]:
    """Peak memory of a process before and after it logs the file."""
    command = [sys.executable, "-c", _PEAK, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    before, peak = (int(kilobytes) * 1024 / 1e6 for kilobytes in found)
    return before, peak


if __name__ == "__main__":
    main()
