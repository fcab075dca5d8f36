"""Mixed precision: convolutions in 16 bits, weights, forward model and loss in float32."""

from typing import Literal

import keras

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


def set_precision(precision: Precision) -> None:
    """Set what the layers built from now on compute in.

    The layers of the forward model stay in float32: they are :class:`physics_layers.Float32Layer`.
    Under ``mixed_float16`` Keras' ``compile`` scales the loss, so that small gradients do not vanish.
    """
    keras.config.set_dtype_policy(precision)


def in_float32(network: keras.Model) -> keras.Model:
    """The same network and weights with every layer in float32, whatever it was trained in.

    What is saved and predicted with: its numbers do not depend on what a machine makes of 16 bits.
    """

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    # Without loss and optimizer, which the copy has no use for and Keras would have to rebuild.
    layers_only = keras.Model(network.input, network.output, name=network.name)
    plain = keras.models.clone_model(layers_only, clone_function=copy)
    plain.set_weights(network.get_weights())
    return plain
