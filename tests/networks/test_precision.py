"""A network of mixed precision becomes one of float32 with the same weights, however it was compiled."""

import keras
import numpy as np
import pytest

from ptychodose.networks.pinn_groups import build_pinn_groups
from ptychodose.networks.precision import in_float32, set_precision
from ptychodose.networks.supervised import build_supervised


@pytest.fixture
def mixed():
    set_precision("mixed_bfloat16")
    yield
    set_precision("float32")


class UnregisteredLoss(keras.losses.Loss):
    """As Keras cannot rebuild it."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=(1, 2, 3))


def test_a_compiled_network_in_float32(mixed):
    network = build_supervised(64, filters_scale=0.1)
    network.compile(optimizer="adam", loss=UnregisteredLoss())
    same_weights_in_float32(network)


def test_a_network_of_two_inputs_in_float32(mixed):
    same_weights_in_float32(build_pinn_groups(64, width=2, stages=1))


def same_weights_in_float32(network):
    plain = in_float32(network)
    assert (plain.name, plain.count_params()) == (network.name, network.count_params())
    assert [layer.name for layer in plain.layers] == [layer.name for layer in network.layers]
    # An input layer computes nothing.
    computing = [layer for layer in plain.layers if not isinstance(layer, keras.layers.InputLayer)]
    assert {layer.compute_dtype for layer in computing} == {"float32"}
    assert "bfloat16" in {layer.compute_dtype for layer in network.layers}
    for one, other in zip(plain.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
