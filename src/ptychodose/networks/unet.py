"""The trainable part: a U-Net that works on 2 x 2 pixel blocks."""

from typing import Any

import keras
from keras import layers, ops

_REGISTER = keras.saving.register_keras_serializable(package="ptychodose")


@_REGISTER
class SpaceToDepth(layers.Layer):
    """(batch, H, W, C) to (batch, H/2, W/2, 4C): four times cheaper convolutions, nothing lost."""

    def call(self, image: Any) -> Any:
        """Block rearrangement."""
        _, height, width, channels = image.shape
        blocks = ops.reshape(image, (-1, height // 2, 2, width // 2, 2, channels))
        return ops.reshape(
            ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, height // 2, width // 2, 4 * channels)
        )


@_REGISTER
class DepthToSpace(layers.Layer):
    """The inverse of :class:`SpaceToDepth`."""

    def call(self, image: Any) -> Any:
        """Block rearrangement."""
        _, height, width, channels = image.shape
        blocks = ops.reshape(image, (-1, height, width, 2, 2, channels // 4))
        return ops.reshape(
            ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, 2 * height, 2 * width, channels // 4)
        )


def unet(image: Any, *, width: int, levels: int) -> Any:
    """A U-Net (Ronneberger et al. 2015, arXiv:1505.04597) of two 3 x 3 convolutions a level.

    ``width`` channels at the first level, doubled at each further one, nearest-neighbour upsampling. What
    comes up is added to the skip connection, not put beside it: a third fewer operations at equal quality.
    """
    skips = []
    for level in range(levels):
        if level:
            image = layers.MaxPooling2D()(image)
        image = _two_convolutions(image, width * 2**level)
        skips.append(image)
    for level in reversed(range(levels - 1)):
        image = layers.UpSampling2D()(layers.Conv2D(width * 2**level, 1)(image))
        image = _two_convolutions(layers.Add()([image, skips[level]]), width * 2**level)
    return image


def _two_convolutions(image: Any, channels: int) -> Any:
    for _ in range(2):
        image = layers.Conv2D(channels, 3, padding="same", activation="relu", kernel_initializer="he_normal")(
            image
        )
    return image
