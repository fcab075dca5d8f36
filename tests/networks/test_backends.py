"""TensorFlow, JAX and PyTorch give the same numbers, each in a process of its own where it is installed."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import REPOSITORY

BACKENDS = ("tensorflow", "jax", "torch")


def worker(backend, task, folder, **variables):
    """Run a task of backend_worker.py on the CPU and return its numbers."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)]),
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.networks.backend_worker", task, str(folder)],
        env=environment | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    with np.load(folder / f"{backend}-{task}.npz") as numbers:
        return dict(numbers)


def test_jax_is_installed_wherever_the_tests_run():
    assert importlib.util.find_spec("jax"), "run `make setup`"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Folder with a checkpoint, and TensorFlow's numbers for it."""
    folder = tmp_path_factory.mktemp("backends")
    worker("tensorflow", "prepare", folder)
    return folder, worker("tensorflow", "agreement", folder)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_same_weights_give_the_same_predictions_and_losses(reference, backend):
    folder, expected = reference
    numbers = worker(backend, "agreement", folder)
    for network in ("pinn", "supervised", "legacy", "groups"):
        for channel in (0, 1):  # amplitude, phase
            one, other = numbers[network][..., channel], expected[network][..., channel]
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max(), err_msg=network)
    assert np.ptp(expected["pinn"][..., 0]) > 0.05  # it does more than it did at its start
    for loss in ("loss_before", "step_loss", "loss_after"):
        assert numbers[loss] == pytest.approx(expected[loss], rel=1e-4), loss
    environment = json.loads((folder / f"{backend}.json").read_text())
    assert environment["keras_backend"] == backend
    assert {"keras", backend} <= set(environment["packages"])
    assert environment["devices"][0].startswith("cpu:0")


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS[1:])  # TensorFlow's in test_training.py and test_pipeline.py
def test_a_training_repeated_or_resumed_gives_the_same_bits(tmp_path, backend):
    numbers = worker(backend, "repetition", tmp_path)
    np.testing.assert_array_equal(numbers["losses"], numbers["losses_again"])
    np.testing.assert_array_equal(numbers["weights"], numbers["weights_again"])
    np.testing.assert_array_equal(numbers["weights"], numbers["weights_resumed"])


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_mixed_precision_trains_alike_and_is_saved_in_float32(tmp_path, backend):
    numbers = worker(backend, "precision", tmp_path)
    assert numbers["float32 losses"][-1] < 0.9 * numbers["float32 losses"][0]
    for name in ("mixed_bfloat16", "mixed_float16"):
        np.testing.assert_allclose(numbers[f"{name} losses"], numbers["float32 losses"], rtol=0.1)
        assert numbers[f"{name} convolutions"] == [name.removeprefix("mixed_")]
        for part in ("physics", "weights", "saved"):
            assert numbers[f"{name} {part}"] == ["float32"], part
        predictions, mixed = numbers[f"{name} predictions of the saved"], numbers[f"{name} predictions"]
        assert np.std(predictions - mixed) < 0.02 * np.std(mixed)


@pytest.mark.slow
def test_two_devices_train_as_one_does_on_halves_of_each_batch(tmp_path):
    flags = "--xla_force_host_platform_device_count=2"
    numbers = worker("jax", "devices", tmp_path, XLA_FLAGS=flags)
    assert list(numbers["shares_1"]) == [8] and list(numbers["shares_2"]) == [4, 4]
    for what in ("losses", "weights", "predictions"):
        one, two = numbers[f"{what}_1"], numbers[f"{what}_2"]
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)
