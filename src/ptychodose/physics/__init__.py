"""Equations: arrays in, arrays out; no file, no configuration, no framework but NumPy and SciPy."""
