"""Multiply-adds counted by hand."""

import keras

from ptychodose.networks.flops import conv_multiply_adds
from ptychodose.networks.legacy import build_pinn_legacy


def test_strides_groups_and_padding_count():
    image = keras.Input((16, 12, 4))
    features = keras.layers.Conv2D(8, 3, padding="same")(image)  # 16 x 12
    features = keras.layers.Conv2D(6, (5, 3), strides=2, groups=2)(features)  # 6 x 5
    model = keras.Model(image, keras.layers.Flatten()(features))
    assert conv_multiply_adds(model) == 16 * 12 * 9 * 4 * 8 + 6 * 5 * 15 * 4 * 6


def test_a_shared_layer_and_a_model_inside_count_wherever_they_are_used():
    image = keras.Input((8, 8, 2))
    inner = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
    shared = keras.layers.Conv2D(2, 3, padding="same")
    outer = keras.Input((8, 8, 2))
    model = keras.Model(outer, inner(inner(shared(keras.layers.MaxPooling2D(1)(shared(outer))))))
    assert conv_multiply_adds(model) == 2 * 64 * 9 * 4 + 2 * 64 * 4


def test_legacy_network_of_64_pixels():
    encoder = 64**2 * (64 + 64 * 64) + 32**2 * (64 * 128 + 128 * 128) + 16**2 * (128 * 256 + 256 * 256)
    decoder = 8**2 * (256 * 128 + 128 * 128) + 16**2 * (128 * 64 + 64 * 64)
    last = 32**2 * (4 * 64 + 64 * 64 + 60) + 64**2 * 64
    assert conv_multiply_adds(build_pinn_legacy(64, n_filters_scale=2)) == 9 * (
        encoder + 2 * (decoder + last)
    )
