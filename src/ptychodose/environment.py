"""Where something runs: made deterministic, and recorded beside every trained artefact."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from ptychodose.formats.hashing import file_digest

_PACKAGES = ("numpy", "scipy", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "dvc", "ptychodose")


def make_deterministic(seed: int) -> None:
    """Seed everything Keras draws from, and have TensorFlow use deterministic kernels only."""
    import keras

    keras.utils.set_random_seed(seed % 2**32)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def describe_environment() -> dict[str, Any]:
    """Versions, processor, threads, Keras backend with its devices, git revision and lock hash.

    Imports the Keras backend, so call it where that is loaded anyway.
    """
    import keras

    return {
        "schema": "ptychodose/environment/1",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "keras_backend": keras.backend.backend(),
        "dtype_policy": keras.config.dtype_policy().name,
        "devices": keras.distribution.list_devices(),
        "thread_variables": {
            name: value
            for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
            if (value := os.environ.get(name))
        },
        "git_revision": _git_revision(),
        "lock_sha256": _lock_hash(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _git_revision() -> str | None:
    """The commit, with ``+`` if code or parameters differ from it; None outside a git checkout.

    dvc.lock and metrics do not count: a running `dvc repro` changes them.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", "src", "params.yaml", "dvc.yaml", "uv.lock")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _lock_hash() -> str | None:
    lock = Path("uv.lock")
    return file_digest(lock, "sha256") if lock.exists() else None
