"""Peak memory of `ptychodose simulate` at 1e5 photons, for 2,000 and for 200,000 patterns."""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

COUNTS = (2_000, 200_000)
DOSE = "1e5"


def main() -> None:
    """Print patterns, seconds, peak memory and file size of each run."""
    print(f"{'patterns':>9} {'seconds':>8} {'peak MB':>8} {'file MB':>8}")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            _write_params(Path(folder), count)
            start = time.perf_counter()
            command = [sys.executable, "-m", "ptychodose.cli", "simulate", "--dose", DOSE]
            subprocess.run(command, cwd=folder, check=True, stderr=subprocess.DEVNULL)
            seconds = time.perf_counter() - start
            size = (Path(folder) / "data/datasets" / DOSE / "train.npz").stat().st_size
            # Of the largest child so far: the runs grow, so it is the last one's.
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
            print(f"{count:9} {seconds:8.1f} {peak / 1e6:8.0f} {size / 1e6:8.1f}")


def _write_params(folder: Path, count: int) -> None:
    yaml = YAML()
    params = yaml.load(Path(__file__).parents[1] / "params.yaml")
    params["simulate"]["splits"] = {"train": count, "test": 1, "unseen": 0}
    yaml.dump(params, folder / "params.yaml")


if __name__ == "__main__":
    main()
