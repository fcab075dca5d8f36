"""A whole study in miniature, from the object to the metrics, with one place for a fault at every stage."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from ptychodose.metrics.photons import RATE_FLOOR_PHOTONS, poisson_deviance
from ptychodose.metrics.suite import compare_objects
from ptychodose.parity.emitter import entry, write_log
from ptychodose.parity.neighbours import nearest_rows
from ptychodose.physics import objects, probes, scans
from ptychodose.physics.diffraction import (
    cut_patches,
    diffraction_intensity,
    exit_wave_energy,
    exit_waves,
)
from ptychodose.physics.photons import gain_squared, simulate_patterns
from ptychodose.physics.randomness import philox_key
from ptychodose.physics.stitching import Canvas, fully_covered_rectangle

N, SIZE, PATTERNS, DOSE = 32, 80, 200, 1e5
KEPT = 10


@dataclass(frozen=True)
class Data:
    """A scan as a file holds it."""

    diff3d: np.ndarray
    x: np.ndarray
    y: np.ndarray
    probe: np.ndarray
    obj: np.ndarray
    gain2: float
    declared: float = DOSE

    @property
    def photons(self):
        return np.rint(np.square(self.diff3d, dtype=np.float64) * self.declared).sum(axis=(1, 2))


@cache
def simulated(seed=1):
    """Data of another photon seed: object, probe and positions stay."""
    rng = np.random.default_rng(7)
    obj = objects.lines_phase(SIZE, n_lines=60, max_amplitude=1.0, max_phase_rad=1.0, rng=rng)
    yy, xx = np.mgrid[:N, :N] - N // 2
    # Neither symmetric nor centred, so that no turn leaves the probe as it is.
    tilt = np.exp(1j * (0.06 * xx**2 + 0.03 * yy**2 + 0.003 * xx * yy))
    probe = np.roll(probes.gaussian(N, fwhm_px=9) * tilt, (2, -3), (0, 1)) * (1 + 0.01 * xx + 0.004 * yy)
    field = scans.Field.inside(obj.shape, N)
    x, y = scans.raster(PATTERNS, field, jitter_fraction=0.7, rng=rng)
    gain2 = gain_squared(DOSE, exit_wave_energy(obj, probe, x, y, "bilinear"))
    settings = {"dose_photons": DOSE, "gain_squared": gain2, "interpolation": "bilinear"}
    diff3d, _ = simulate_patterns(
        obj, probe, x, y, **settings, key=philox_key("photons", seed), first_index=0
    )
    return Data(diff3d, x, y, probe, obj, gain2)


def unchanged(value):
    """No fault."""
    return value


def run(faults=(), *, seed=1, training=1):
    """Both entries of a log: the data set's and the model's; a fault by its boundary changes what is there.

    Everything downstream is computed from what the fault left. The "network" is the true patches of the
    data with a smooth error, drawn by ``training``.
    """
    fault = dict(faults)

    def at(name, value):
        return fault.get(name, unchanged)(value)

    data = at("data", simulated(seed))
    mean_photons = float(data.photons.mean())
    energy = float(np.square(data.diff3d, dtype=np.float64).sum() / len(data.diff3d))
    normalized = at("normalized", (data.diff3d * (N / 2 / np.sqrt(energy))).astype(np.float32))
    points = np.column_stack([data.y, data.x])
    rows = nearest_rows(points, 7)
    offsets = points[rows] - points[rows].mean(axis=1, keepdims=True)
    of_pattern = data.diff3d.mean(axis=(1, 2), dtype=np.float64)
    data_boundaries = {
        "dose": {
            "declared_dose_photons": data.declared,
            "mean_photons": mean_photons,
            "min_photons": float(data.photons.min()),
            "max_photons": float(data.photons.max()),
        },
        "raw.diff3d": data.diff3d,
        "raw.photons": data.photons.astype(np.int64),
        "raw.xcoords": data.x,
        "raw.ycoords": data.y,
        "raw.scan_index": np.zeros(len(data.x), np.int64),
        "raw.probeGuess": data.probe,
        "raw.objectGuess": data.obj,
        "grouped.scans": {"0": {"n_patterns": len(data.x), "mean_amplitude": float(of_pattern.mean())}},
        "grouped.neighbours": at("neighbours", rows),
        "grouped.offsets_px": offsets,
        "grouped.amplitude": of_pattern[rows].mean(axis=1),
        "normalized": normalized,
    }
    return (
        entry("1e5/train", dose="1e5", boundaries=data_boundaries),
        entry("1e5/train", dose="1e5", model="pinn", boundaries=_model(data, normalized, at, seed, training)),
    )


def _model(data, normalized, at, seed, training):
    weights = at("weights", {"01 encoder": layer(1), "02 decoder": layer(2)})
    steps = at("steps", _steps(normalized))
    probe = at("probe", (data.probe * np.sqrt(data.gain2 / DOSE) * N / 2).astype(np.complex64))
    given = at("input", normalized)
    truth = cut_patches(simulated().obj, *_inside(data), N, "bilinear")
    amplitude = np.abs(truth) + 0.02 * _smooth(training, seed, 1, n=len(truth))
    phase = np.angle(truth) - 0.5 + 0.02 * _smooth(training, seed, 2, n=len(truth))
    amplitude, phase = (
        at(name, value.astype(np.float32)) for name, value in (("amplitude", amplitude), ("phase", phase))
    )
    patches = (amplitude * np.exp(1j * phase)).astype(np.complex128)
    rates = at(
        "rates", DOSE / (N / 2) ** 2 * diffraction_intensity(exit_waves(probe.astype(complex), patches))
    )
    counts = np.rint(np.square(data.diff3d, dtype=np.float64) * DOSE)
    loss = at("loss", poisson_deviance(counts, rates, rate_floor=RATE_FLOOR_PHOTONS))
    patches, x, y = at("stitching", (patches, *_inside(data)))
    canvas = Canvas(x, y, KEPT)
    canvas.add(patches, x, y)
    stitched = canvas.result()
    window = fully_covered_rectangle(stitched.weight > 0)
    top, left = stitched.origin_yx
    # A canvas beyond the edge is compared with the edge.
    padded = np.pad(simulated().obj, 40, mode="edge")
    frame = padded[top + 40 : top + 40 + stitched.obj.shape[0], left + 40 : left + 40 + stitched.obj.shape[1]]
    suite = compare_objects(stitched.obj[window], frame[window])
    waves = exit_waves(data.probe, truth)
    noise = poisson_deviance(counts, data.gain2 * diffraction_intensity(waves), rate_floor=RATE_FLOOR_PHOTONS)
    metrics = suite.values | {"amplitude_bias": suite.amplitude_bias}
    metrics["deviance_ratio"] = float(np.mean(loss) / np.mean(noise))
    return {
        "train.initial_weights": weights,
        "train.steps": steps,
        "probe": probe,
        "input": given,
        "output.amplitude": amplitude,
        "output.phase": phase,
        "rates": rates,
        "loss": loss,
        "stitched": stitched.obj,
        "metrics": at("metrics", metrics),
    }


def _inside(data):
    """Positions at which a patch can be cut, whatever a fault did to them."""
    low, high = N // 2, SIZE - N // 2
    return np.clip(data.x, low, high), np.clip(data.y, low, high)


@cache
def _smooth_waves():
    yy, xx = np.mgrid[:N, :N] * (2 * np.pi / N)
    return np.array([np.cos(i * xx + j * yy + i) for i in range(4, 9) for j in range(4, 9)])


@cache
def _smooth(*seeds, n=PATTERNS):
    waves = _smooth_waves()
    draw = np.random.default_rng(seeds).normal(size=(n, len(waves)))
    return np.tensordot(draw, waves, 1) * np.sqrt(2 / len(waves))


def layer(seed):
    values = np.random.default_rng(seed).normal(size=2000)
    return {
        "shape": [2000],
        "l2_norm": float(np.linalg.norm(values)),
        "mean": float(values.mean()),
        "sha256": f"{seed:064x}",
    }


def _steps(normalized):
    loss = float(np.abs(normalized[:16]).mean())
    return {
        str(step): {
            "loss": loss / step,
            "gradient_norms": {"01 encoder": 2.0 * loss / step, "02 decoder": 0.5 * loss / step},
            "change_norms": {"01 encoder": 1e-2, "02 decoder": 2e-2},
        }
        for step in (1, 2, 3)
    }


def log(path, entries, environment=None):
    """Write the entries as a log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_log(path, entries, scenario_id="TINY", emitter="test", environment=environment or {"numpy": "2"})
    return path
