"""Keras 3 through keras.ops only, so that TensorFlow, JAX and PyTorch all run it."""
