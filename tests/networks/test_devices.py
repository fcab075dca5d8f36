"""What is asked of devices that are not there, or that a backend cannot share, is refused in one sentence."""

import keras
import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.networks.devices import data_parallel, whole_shares


def test_one_device_changes_nothing():
    rows = np.arange(7)
    with data_parallel(1):
        assert keras.distribution.distribution() is None
    np.testing.assert_array_equal(whole_shares(rows, 5, 1), rows)


def test_a_backend_that_cannot_share_a_batch_names_the_one_that_can(monkeypatch):
    for backend in ("tensorflow", "torch"):
        monkeypatch.setattr(keras.backend, "backend", lambda backend=backend: backend)
        with pytest.raises(
            UserError, match=rf"^train\.devices: 2 .* this is {backend}; set KERAS_BACKEND=jax"
        ):
            data_parallel(2).__enter__()


def test_more_devices_than_there_are_says_how_many(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1"])
    with pytest.raises(UserError, match=r"^train\.devices: 3 .* only 2 \(gpu:0, gpu:1\)"):
        data_parallel(3).__enter__()


def test_every_batch_can_be_shared():
    assert list(whole_shares(np.arange(7), 4, 2)) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(UserError, match=r"batch_size: 5 .* train\.devices = 2"):
        whole_shares(np.arange(7), 5, 2)
