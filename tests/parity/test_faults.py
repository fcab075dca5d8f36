"""A fault planted at one stage is found there, and its cause is named, from fingerprints alone."""

import dataclasses

import numpy as np
import pytest

from ptychodose.config import load_params
from ptychodose.metrics.spread import spread
from ptychodose.parity.diff import compare_sources
from ptychodose.parity.emitter import SCHEMA, plain
from ptychodose.parity.schema import ParityLog
from ptychodose.parity.sources import Source
from ptychodose.parity.verdict import Tier
from tests.conftest import REPOSITORY
from tests.parity.pipeline import DOSE, PATTERNS, N, layer, run, simulated


def source(entries, label="A", floors=None):
    tree = {"schema": SCHEMA, "emitter": "test", "scenario_id": "TINY", "datasets": list(entries)}
    compare = load_params(REPOSITORY / "params.yaml").compare
    return Source(label, ParityLog.model_validate(plain(tree)).datasets, {}, floors or {}, compare)


@pytest.fixture(scope="module")
def reference():
    return run()


@pytest.fixture(scope="module")
def floors():
    trainings = [_metrics(run(training=training)) for training in (1, 2, 3)]
    return {("pinn", "1e5"): {"train": spread(trainings)}}


def _metrics(entries):
    return next(b["values"] for b in entries[1]["boundaries"] if b["name"] == "metrics")


def data(**changes):
    """A fault of the data: fields replaced by what a function makes of the data."""
    return {"data": lambda d: dataclasses.replace(d, **{key: make(d) for key, make in changes.items()})}


def scaled(factor):
    return lambda value: (value * factor).astype(value.dtype)


def shift(value):
    return np.fft.fftshift(value, axes=(-2, -1))


def step(number, key, factor):
    def change(steps):
        def times(value):
            if isinstance(value, dict):
                return {name: times(part) for name, part in value.items()}
            return value * factor

        chosen = {key: times(steps[number][key])} if key else times(steps[number])
        return steps | {number: steps[number] | chosen}

    return change


ORDER = np.random.default_rng(3).permutation(PATTERNS)

FAULTS = {
    "dose label": (data(declared=lambda d: 1e4), "dose", "mislabelled"),
    "counts divided by another dose": (
        data(diff3d=lambda d: (d.diff3d / np.sqrt(10)).astype(np.float32)),
        "raw.diff3d",
        "1/√10: the same counts, divided by a dose 10.000 times that of A",
    ),
    "patterns fftshifted": (data(diff3d=lambda d: shift(d.diff3d)), "raw.diff3d", "fftshift"),
    "patterns transposed": (
        data(diff3d=lambda d: np.ascontiguousarray(d.diff3d.swapaxes(1, 2))),
        "raw.diff3d",
        "transposed",
    ),
    "patterns flipped": (
        data(diff3d=lambda d: np.ascontiguousarray(d.diff3d[:, ::-1])),
        "raw.diff3d",
        "flipped upside down",
    ),
    "intensities for amplitudes": (
        data(diff3d=lambda d: d.diff3d**2),
        "raw.diff3d",
        "B is the square of A: intensity against amplitude",
    ),
    "background": (
        data(diff3d=lambda d: np.sqrt(d.diff3d.astype(float) ** 2 + 3 / DOSE).astype(np.float32)),
        "raw.diff3d",
        "(3 photons per pixel): a background",
    ),
    "patterns missing": (
        data(diff3d=lambda d: d.diff3d[:-3], x=lambda d: d.x[:-3], y=lambda d: d.y[:-3]),
        "raw.diff3d",
        "200 patterns in A, 197 in B: 3 fewer",
    ),
    "patterns shuffled": (
        data(diff3d=lambda d: d.diff3d[ORDER]),
        "raw.diff3d",
        "the positions are not: they no longer belong together",
    ),
    "patterns and positions shuffled": (
        data(diff3d=lambda d: d.diff3d[ORDER], x=lambda d: d.x[ORDER], y=lambda d: d.y[ORDER]),
        "raw.diff3d",
        "and the positions too",
    ),
    "half precision": (
        data(diff3d=lambda d: d.diff3d.astype(np.float16).astype(np.float32)),
        "raw.diff3d",
        "rounding to float16",
    ),
    "x and y swapped": (data(x=lambda d: d.y, y=lambda d: d.x), "raw.xcoords", "x and y are swapped"),
    "half a pixel": (
        data(x=lambda d: d.x + 0.5, y=lambda d: d.y + 0.5),
        "raw.xcoords",
        "xcoords by +0.5 px and ycoords by +0.5 px: half a pixel",
    ),
    "corner positions": (data(y=lambda d: d.y - N / 2), "raw.ycoords", "N/2, corner against centre"),
    "axis mirrored": (data(y=lambda d: 80.0 - d.y), "raw.ycoords", "80 minus that of A"),
    "positions rounded": (data(x=lambda d: np.rint(d.x)), "raw.xcoords", "rounded positions"),
    "probe conjugated in the file": (
        data(probe=lambda d: d.probe.conj()),
        "raw.probeGuess",
        "the modulus is equal, the phase differs: conjugation",
    ),
    "object transposed": (
        data(obj=lambda d: np.ascontiguousarray(d.obj.T)),
        "raw.objectGuess",
        "transposed",
    ),
    "other neighbours": ({"neighbours": lambda r: r[:, [0, 1, 2, 3, 4, 6, 5]]}, "grouped.neighbours", "ties"),
    "normalisation": ({"normalized": scaled(2.0)}, "normalized", "one factor 2.000: normalisation constant"),
    "not normalised": (
        {"normalized": lambda x: simulated().diff3d},
        "normalized",
        "in B, normalized is diff3d as stored: not normalised",
    ),
    "overflow": ({"normalized": lambda x: poked(x, np.nan)}, "normalized", "1 numbers that are NaN"),
    "other initialiser": (
        {
            "weights": lambda w: {
                k: v | {"sha256": "f" * 64, "l2_norm": 2 * v["l2_norm"]} for k, v in w.items()
            }
        },
        "train.initial_weights",
        "another initialiser",
    ),
    "loss scale": ({"steps": step("1", None, 4.0)}, "train.steps", "scale of the loss"),
    "gradient scale": ({"steps": step("1", "gradient_norms", 0.5)}, "train.steps", "all gradients of step 1"),
    "learning rate": ({"steps": step("1", "change_norms", 10.0)}, "train.steps", "learning rate"),
    "data order": ({"steps": step("2", None, 1.1)}, "train.steps", "step 2 is not: order of the data"),
    "probe scale": ({"probe": scaled(5.04)}, "probe", "the probe differs by one factor 5.040: probe scaling"),
    "probe fftshifted": ({"probe": shift}, "probe", "fftshift"),
    "probe conjugated": ({"probe": np.conj}, "probe", "conjugation or another phase convention"),
    "input scaled again": (
        {"input": scaled(0.5)},
        "input",
        "input differs by one factor 0.500",
    ),
    "amplitude bias": (
        {"amplitude": scaled(1.03)},
        "output.amplitude",
        "one factor 1.030: an amplitude bias",
    ),
    "phase sign": ({"phase": scaled(-1.0)}, "output.phase", "another sign of the phase"),
    "phase offset": (
        {"phase": lambda p: (p + 0.25).astype(p.dtype)},
        "output.phase",
        "+0.25 rad everywhere: a global phase",
    ),
    "phase wrapped": (
        {"phase": lambda p: np.mod(p, 2 * np.pi).astype(p.dtype)},
        "output.phase",
        "B lies from 0 to 2π",
    ),
    "gain": ({"rates": scaled(4.0)}, "rates", "rates differ by one factor 4.000: dose or gain"),
    "zero frequency in the corner": ({"rates": shift}, "rates", "fftshift"),
    "mean for sum": ({"loss": scaled(1 / N**2)}, "loss", "the number of pixels: sum against mean"),
    "log n!": ({"loss": lambda v: v + 100.0}, "loss", "another definition of the loss"),
    "stitched off its place": (
        {"stitching": lambda p: (np.roll(p[0], 2, 2), *p[1:])},
        "stitched",
        "px (y, x) more than A: stitched off its place",
    ),
    "another origin": (
        {"stitching": lambda p: (p[0], p[1] + 2, p[2])},
        "metrics",
        "px (y, x) more than A: stitched off its place",
    ),
    "another canvas": (
        {"stitching": lambda p: (p[0], p[1] * 1.1, p[2])},
        "stitched",
        "another frame, margin or part of the patches kept",
    ),
    "data range": (
        {"metrics": lambda m: m | {"amplitude": m["amplitude"] | {"psnr": m["amplitude"]["psnr"] + 6.0206}}},
        "metrics",
        "data_range of the metric is 2.000 times as large",
    ),
    "alignment": (
        {"metrics": lambda m: m | {"amplitude": m["amplitude"] | {"mse": 2 * m["amplitude"]["mse"]}}},
        "metrics",
        "alignment or region of the metric",
    ),
}


def poked(array, value):
    array = array.copy()
    array[3, 4, 5] = value
    return array


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_where_it_is_and_its_cause_is_named(name, reference, floors):
    faults, boundary, cause = FAULTS[name]
    comparison = compare_sources(source(reference, floors=floors), source(run(faults), "B"))
    first = comparison.first
    assert first is not None, comparison.verdict
    assert (first.first_different, first.model) == (boundary, _model_of(boundary))
    assert cause in first.cause
    assert comparison.exit_code == 1


def _model_of(boundary):
    return None if boundary.split(".")[0] in ("dose", "raw", "grouped", "normalized") else "pinn"


def tiers(comparison):
    return {name: verdict.tier for walk in comparison.walks for name, verdict in walk.verdicts.items()}


def test_no_fault_is_exact(reference, floors):
    comparison = compare_sources(source(reference, floors=floors), source(run(), "B"))
    assert set(tiers(comparison).values()) == {Tier.EXACT}
    assert comparison.exit_code == 0


def test_rounding_alone_is_close(reference, floors):
    noise = np.random.default_rng(5)

    def rounding(relative):
        return lambda v: (v * (1 + relative * noise.standard_normal(v.shape))).astype(v.dtype)

    faults = {"normalized": rounding(1e-7), "amplitude": rounding(1e-5), "phase": rounding(1e-5)}
    found = tiers(compare_sources(source(reference, floors=floors), source(run(faults), "B")))
    assert {found[name] for name in ("normalized", "output.amplitude", "output.phase", "rates")} == {
        Tier.CLOSE
    }
    assert set(found.values()) == {Tier.EXACT, Tier.CLOSE}


def test_other_photons_and_the_training_on_them_agree_statistically(reference, floors):
    comparison = compare_sources(source(reference, floors=floors), source(run(seed=2), "B"))
    found = tiers(comparison)
    assert comparison.exit_code == 0, comparison.verdict
    for name in ("dose", "raw.diff3d", "raw.photons", "normalized", "input", "rates", "loss", "metrics"):
        assert found[name] is Tier.STATISTICAL
    assert found["raw.xcoords"] is Tier.EXACT


def test_another_training_on_the_same_photons_agrees_statistically(reference, floors):
    comparison = compare_sources(source(reference, floors=floors), source(run(training=3), "B"))
    found = tiers(comparison)
    assert comparison.exit_code == 0, comparison.verdict
    assert found["output.amplitude"] is found["stitched"] is Tier.STATISTICAL
    assert found["input"] is Tier.EXACT


def test_weights_drawn_anew_by_another_generator_are_no_fault(reference, floors):
    """As between two backends: other initial weights, so other first steps and another training."""
    faults = {
        "weights": lambda w: {name: layer(seed) for seed, name in enumerate(w, start=7)},
        "steps": lambda s: {k: v | {"loss": 1.02 * v["loss"]} for k, v in s.items()},
    }
    comparison = compare_sources(source(reference, floors=floors), source(run(faults, training=3), "B"))
    found = tiers(comparison)
    assert comparison.exit_code == 0, comparison.verdict
    assert found["train.initial_weights"] is found["train.steps"] is Tier.STATISTICAL


def test_a_bias_is_not_taken_for_another_training(reference, floors):
    biased = run({"amplitude": scaled(1.03)}, training=3)
    comparison = compare_sources(source(reference, floors=floors), source(biased, "B"))
    assert comparison.first.first_different == "output.amplitude"
