"""A legacy run small enough to make, with the mistakes of the published one."""

import json
import math
import pickle

import numpy as np

RUN = "results_p1e5/train_16/trial_2"
SIZE_PX = 16
PARAMETERS = {
    "N": SIZE_PX,
    "gridsize": 1,
    "nepochs": 50,
    "nphotons": 1e9,
    "intensity_scale": math.sqrt(1e9) / (SIZE_PX / 2),
}
METRICS = {
    "mae": (0.0096, 5.4e-7),
    "psnr": (71.3, 158.1),
    "ms_ssim": (0.925, 0.921),
    "frc50": (6.0, math.nan),
}


def members(dose_photons):
    """The arrays of a data set of 24 patterns."""
    rng = np.random.default_rng(11)
    n = 24
    counts = rng.poisson(dose_photons / SIZE_PX**2, (n, SIZE_PX, SIZE_PX))
    x, y = rng.uniform(8, 20, (2, n))
    return {
        "diff3d": np.sqrt(counts / dose_photons).astype(np.float32),
        "probeGuess": np.ones((SIZE_PX, SIZE_PX), complex),
        "scan_index": np.zeros(n, int),
        "xcoords": x,
        "ycoords": y,
        "xcoords_start": x,
        "ycoords_start": y,
    }


def make_legacy_folder(root):
    """Data sets of 1e3 and 1e5 photons, a baseline of 1e5 that was told 1e9, and a PINN beside it."""
    for name in ("baseline_run", "pinn_run"):
        (root / RUN / name).mkdir(parents=True)
    for dose in ("1e3", "1e5"):
        np.savez(root / f"data_p{dose}.npz", **members(float(dose)))
    baseline, pinn = root / RUN / "baseline_run", root / RUN / "pinn_run"
    (baseline / "params.dill").write_bytes(pickle.dumps(PARAMETERS | METRICS))
    (baseline / "recon.dill").write_bytes(pickle.dumps({"YY_ground_truth_phi": np.zeros((4, 4))}))
    (baseline / "baseline_model.h5").write_bytes(b"weights")
    (pinn / "wts.h5.zip").write_bytes(b"other weights")
    (pinn / "history.json").write_text(json.dumps({"loss": [2.0, 1.0]}))
    return root
