"""Where something runs: chosen, made deterministic, and recorded beside every trained artefact."""

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from ptychodose.errors import UserError
from ptychodose.formats.hashing import file_digest

_EXTRAS = {"tensorflow": "cpu", "jax": "jax", "torch": "torch"}
"""The Keras backends the networks run on, and the extra of pyproject.toml that installs each."""

_PACKAGES = (
    "numpy", "scipy", "keras", "tensorflow", "tensorflow-cpu", "jax", "jaxlib", "torch", "dvc", "ptychodose"
)  # fmt: skip

_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS",
)  # fmt: skip
"""Environment variables that can change the last bits of a result."""

_CPU_FLAGS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "asimd",
    "sve",
)
"""Instruction sets that numerical libraries choose their kernels by."""


def require_backend() -> None:
    """Settle which backend Keras will run on; call it before anything imports Keras.

    It is KERAS_BACKEND, TensorFlow if that is unset: never what Keras' own file in the home directory says.
    Sets what a backend reads when it starts, too: TensorFlow's silence, and determinism on a GPU for those
    that take it from the environment.

    Raises
    ------
    UserError
        KERAS_BACKEND names a backend that is unknown or not installed.
    """
    name = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in _EXTRAS:
        raise UserError(f"KERAS_BACKEND: {name!r} is not one of {', '.join(_EXTRAS)}; set it to one of them")
    if importlib.util.find_spec(name) is None:
        raise UserError(
            f"KERAS_BACKEND: {name} is not installed; run `make setup ACCELERATOR={_EXTRAS[name]}`, "
            "or choose another backend (docs/backends.md)"
        )
    os.environ["KERAS_BACKEND"] = name
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # PyTorch asks for it
    flags = os.environ.get("XLA_FLAGS", "")
    if name == "jax" and "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def make_deterministic(seed: int) -> None:
    """Seed everything Keras draws from, and have the backend use deterministic kernels only.

    On a GPU float32 then means float32: without this it is rounded to 10 bits before it is multiplied, and
    one backend's predictions are another's to a few parts in 1000 only.
    """
    import keras

    keras.utils.set_random_seed(seed % 2**32)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    elif backend == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.allow_tf32 = False


def program() -> str:
    """This program and its version, as it signs what it writes."""
    return f"ptychodose {importlib.metadata.version('ptychodose')}"


def describe_host() -> dict[str, Any]:
    """Versions, processor with the instruction sets that matter, BLAS, threads, git revision and lock hash.

    Imports no Keras backend.
    """
    return {
        "schema": "ptychodose/environment/2",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cpu_flags": [flag for flag in _CPU_FLAGS if flag in _present_flags()],
        "cpu_count": os.cpu_count(),
        "usable_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "blas": _blas(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "variables": {name: value for name in _VARIABLES if (value := os.environ.get(name))},
        "git_revision": _git_revision(),
        "lock_sha256": _lock_hash(),
    }


def describe_environment() -> dict[str, Any]:
    """:func:`describe_host`, and the Keras backend with its devices and precision.

    Imports the Keras backend, so call it where that is loaded anyway.
    """
    import keras

    return describe_host() | {
        "keras_backend": keras.backend.backend(),
        "dtype_policy": keras.config.dtype_policy().name,
        "devices": _devices(),
    }


def _devices() -> list[str]:
    """What the backend can compute on, GPUs by their product name; the CPU's is under ``processor``."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    if backend == "torch":
        import torch

        gpus = [f"gpu:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
        return gpus or ["cpu:0"]
    import tensorflow as tf

    details = [
        tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")
    ]
    gpus = [f"gpu:{i} {detail.get('device_name', '')}" for i, detail in enumerate(details)]
    return gpus or ["cpu:0"]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpuinfo(field: str) -> str:
    """The first value of a field of /proc/cpuinfo; empty where there is none."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    values = (line.split(":", 1)[1].strip() for line in lines if line.startswith(field))
    return next(values, "")


def _present_flags() -> list[str]:
    return (_cpuinfo("flags") or _cpuinfo("Features")).split()


def _blas() -> str:
    """The BLAS that NumPy was built with."""
    import numpy as np

    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()


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
