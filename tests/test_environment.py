"""The backend is chosen before Keras is imported, and one that is not there is refused in one sentence."""

import os
import subprocess
import sys

import keras
import pytest

from ptychodose import environment
from ptychodose.errors import UserError
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Leave the variables of this process as they were: require_backend sets some."""
    for name in ("KERAS_BACKEND", "XLA_FLAGS", "TF_CPP_MIN_LOG_LEVEL", "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_tensorflow_unless_told_otherwise():
    environment.require_backend()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    assert "XLA_FLAGS" not in os.environ


def test_jax_keeps_the_flags_it_was_given(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    environment.require_backend()
    environment.require_backend()
    assert os.environ["XLA_FLAGS"] == (
        "--xla_force_host_platform_device_count=2 --xla_gpu_deterministic_ops=true"
    )


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(UserError, match=r"^KERAS_BACKEND: 'theano' is not one of tensorflow, jax, torch"):
        environment.require_backend()


def test_a_backend_that_is_not_installed_is_refused_with_its_remedy(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=r"^KERAS_BACKEND: torch is not installed; run `make setup ACCELERATOR=torch`"
    ):
        environment.require_backend()


def test_the_remedies_are_extras_of_the_package():
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for extra in environment._EXTRAS.values():
        assert f"\n{extra} = [" in project


def test_choosing_a_backend_does_not_import_keras():
    code = (
        "import sys; from ptychodose.environment import require_backend; require_backend(); "
        "assert 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_record_names_backend_versions_devices_and_precision():
    record = environment.describe_environment()
    assert record["keras_backend"] == keras.backend.backend()
    assert record["packages"]["keras"] == keras.version()
    assert record["dtype_policy"] == "float32"
    assert record["devices"]
