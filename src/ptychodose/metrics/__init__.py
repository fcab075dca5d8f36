"""Image, Fourier-ring, photon and alignment metrics: arrays in, numbers out, or `Undefined`."""
