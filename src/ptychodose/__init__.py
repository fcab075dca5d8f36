"""ptychodose: a ground truth for photon-dose studies in X-ray ptychography."""
