"""What a network costs: multiply-adds of its convolutions."""

import math

import keras


def conv_multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of one forward pass of one pattern, in all ``Conv2D`` layers of a functional model.

    H' W' k_h k_w C_in C_out / groups at each place a layer is used in the model (twice if it is shared),
    models inside the model included. Other layers are not counted: convolutions dwarf them.
    """
    total = 0
    for described in model.get_config()["layers"]:
        layer = model.get_layer(described["config"]["name"])
        for call in described["inbound_nodes"]:
            if isinstance(layer, keras.Model):
                total += conv_multiply_adds(layer)
            elif isinstance(layer, keras.layers.Conv2D):
                output = layer.compute_output_shape(call["args"][0]["config"]["shape"])
                places = math.prod(output[1:]) // layer.filters
                total += places * math.prod(layer.kernel.shape)  # (k_h, k_w, C_in / groups, C_out)
    return total
