"""A scene of no symmetry at all: what is right for it is not right by accident."""

import numpy as np
import pytest

from ptychodose.physics.scans import Field


@pytest.fixture(scope="session")
def rough_object():
    """A random complex object, higher than wide."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(45, 37)) + 1j * rng.normal(size=(45, 37))


@pytest.fixture(scope="session")
def rough_probe():
    """A random complex 16 x 16 probe."""
    rng = np.random.default_rng(2)
    return rng.normal(size=(16, 16)) + 1j * rng.normal(size=(16, 16))


@pytest.fixture(scope="session")
def every_place(rough_object, rough_probe):
    """Positions x, y in the field: random, integral, half-integral and all the corners."""
    field = Field.inside(rough_object.shape, len(rough_probe))
    rng = np.random.default_rng(3)
    x, y = rng.uniform(field.x_min, field.x_max, 40), rng.uniform(field.y_min, field.y_max, 40)
    x[:10], y[5:15] = np.rint(x[:10]), np.rint(y[5:15])
    x[15:20], y[18:24] = np.floor(x[15:20]) + 0.5, np.floor(y[18:24]) + 0.5
    corners = [(a, b) for a in (field.x_min, field.x_max) for b in (field.y_min, field.y_max)]
    return np.append(x, [a for a, _ in corners]), np.append(y, [b for _, b in corners])
