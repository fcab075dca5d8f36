"""Data parallelism: every device holds the whole network and computes its share of each batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from ptychodose.errors import UserError


@contextmanager
def data_parallel(devices: int) -> Iterator[None]:
    """Build, compile and train the network inside: its batches are then split over ``devices`` devices.

    A batch must be divisible by ``devices``, see :func:`whole_shares`. With one device nothing is changed.

    Raises
    ------
    UserError
        The backend cannot, or there are fewer devices.
    """
    if devices == 1:
        yield
        return
    # Keras distributes on JAX only. tf.distribute clips the gradient of each replica before they are summed,
    # which is another training than the same batch on one device; with PyTorch the loop would not be Keras'.
    if (backend := keras.backend.backend()) != "jax":
        raise UserError(
            f"train.devices: {devices} devices need the JAX backend, this is {backend}; "
            "set KERAS_BACKEND=jax, or train.devices to 1"
        )
    there = keras.distribution.list_devices()
    if devices > len(there):
        raise UserError(
            f"train.devices: {devices} asked for, but JAX finds only {len(there)} ({', '.join(there)}); "
            f"set it to {len(there)} or less"
        )
    with keras.distribution.DataParallel(devices=there[:devices]).scope():
        yield


def whole_shares(rows: np.ndarray, batch_size: int, devices: int) -> np.ndarray:
    """Those of ``rows`` that are used, so that every batch can be split evenly; all, with one device.

    Raises
    ------
    UserError
        The batch size itself cannot be split.
    """
    if batch_size % devices:
        raise UserError(
            f"batch_size: {batch_size} cannot be split over train.devices = {devices}; take a multiple of it"
        )
    return rows[: len(rows) // devices * devices]
