"""Causes in models and their results: training, probe, prediction, stitching, metrics."""

import math
from typing import Any

from ptychodose.parity import prints
from ptychodose.parity.leaves import Leaves, differences, is_number, leaves
from ptychodose.parity.retraining import beyond, first_few
from ptychodose.parity.scene import Scene, ratio, times

_ALIKE = 1e-4
"""Relative difference up to which numbers of a training are called equal."""
_FACTOR_SPREAD = 1e-3
"""Up to which many ratios are called one factor."""


def other_seed(scene: Scene) -> str | None:
    """Weights drawn anew: other numbers of the same size."""
    found = scene.pair.values("train.initial_weights")
    if found is None:
        return None
    a, b = found
    a, b = leaves(a), leaves(b)
    if a.keys() != b.keys() or any(a[key] != b[key] for key in a if key.endswith("shape")):
        return "other layers or shapes: another architecture"
    norms = [_ratio(a[key], b[key]) for key in a if key.endswith("l2_norm")]
    known = [f for f in norms if f is not None]
    if known and all(0.8 < f < 1.25 for f in known):
        return "other weights of the same size: another seed, one that is not set, or another generator"
    if known:
        return (
            f"norms of the layers differ by {ratio(min(known))} to {ratio(max(known))}: another initialiser"
        )
    return None


def learning_rate(scene: Scene) -> str | None:
    """The first gradient is the same, the first step is not."""
    a, b = _steps(scene)
    if not a or not _equal(a, b, "1.loss", "1.gradient_norms") or _equal(a, b, "1.change_norms"):
        return None
    f = _one_factor(a, b, "1.change_norms")
    text = f"by {times(f)}" if f is not None else "from layer to layer otherwise"
    return f"loss and gradients of step 1 are equal, the step differs {text}: learning rate or optimiser"


def loss_scale(scene: Scene) -> str | None:
    """Gradients multiplied by one number."""
    a, b = _steps(scene)
    f = _one_factor(a, b, "1.gradient_norms") if a else None
    if f is None or math.isclose(f, 1, rel_tol=_ALIKE):
        return None
    loss = _ratio(a.get("1.loss"), b.get("1.loss"))
    if loss is not None and math.isclose(loss, f, rel_tol=_FACTOR_SPREAD):
        return f"loss and gradients of step 1 differ by {times(f)}: scale of the loss (sum or mean, dose)"
    return f"all gradients of step 1 differ by {times(f)}: a loss scale or a clipped norm"


def batch_order(scene: Scene) -> str | None:
    """Step 1 agrees, a later one does not."""
    a, b = _steps(scene)
    if not a or not _equal(a, b, "1."):
        return None
    step = next((n for n in sorted({key.split(".")[0] for key in a}) if not _equal(a, b, f"{n}.")), "2")
    return f"step 1 is equal, step {step} is not: order of the data, or state of the optimiser"


def other_loss(scene: Scene) -> str | None:
    """Step 1 itself differs, from the same weights."""
    a, b = _steps(scene)
    losses = a.get("1.loss"), b.get("1.loss")
    if not (is_number(losses[0]) and is_number(losses[1])):
        return None
    text = f"loss of step 1 is {losses[0]:.6g} against {losses[1]:.6g}"
    return f"{text}: another batch, another loss, or another forward model"


def longer_training(scene: Scene) -> str | None:
    """The first steps agree, what came of them does not."""
    if not scene.same("train.steps"):
        return None
    return (
        "the first steps are equal, the weights after training are not: number of epochs, schedule or order"
    )


def probe_scale(scene: Scene) -> str | None:
    """The probe multiplied by one number."""
    f = scene.factor("probe")
    if f is None:
        return None
    if math.isclose(f, -1, rel_tol=1e-5):
        return "B is −A: another sign, a phase of π"
    return (
        f"the probe differs by {times(f)}: probe scaling; the legacy normaliser divides by "
        "probe_scale · mean|P|, which makes the amplitude wrong by the inverse"
    )


def exchanged(scene: Scene) -> str | None:
    """Amplitude and phase exchanged."""
    amplitude, phase = scene.pair.arrays("output.amplitude"), scene.pair.arrays("output.phase")
    if amplitude is None or phase is None:
        return None
    error = prints.relative_error(amplitude[0], phase[1])
    return (
        "amplitude of A is phase of B: the outputs are exchanged"
        if error is not None and error < 1e-6
        else None
    )


def weights_differ(scene: Scene) -> str | None:
    """Another training: nothing about the prediction itself can be said."""
    arrays = scene.arrays
    if arrays is None or not scene.differs("train.weights"):
        return None
    return f"the weights differ (see train.weights of the train split); {_means(scene)}"


def scaled_output(scene: Scene) -> str | None:
    """The amplitude multiplied by one number."""
    f = scene.factor("output.amplitude")
    if f is None:
        return None
    return f"the amplitude differs by {times(f)}: an amplitude bias, from output scale or flux normalisation"


def wrapped(scene: Scene) -> str | None:
    """(−π, π] against [0, 2π)."""
    arrays = scene.arrays
    if arrays is None:
        return None
    for (x, y), side in ((arrays, "B"), (arrays[::-1], "A")):
        if None in (x.min, x.max, y.min, y.max):
            return None
        if (x.min or 0) < 0 <= (y.min or 0) and math.pi < (y.max or 0) <= 2 * math.pi * (1 + 1e-6):
            return f"{side} lies from 0 to 2π, the other around 0: the phase is wrapped otherwise"
    return None


def other_unit(scene: Scene) -> str | None:
    """Sign, degrees, or units of π."""
    f = scene.factor("output.phase")
    if f is None:
        return None
    for value, said in (
        (-1, "another sign of the phase"),
        (180 / math.pi, "degrees"),
        (1 / math.pi, "units of π"),
    ):
        for g in (f, 1 / f):
            if math.isclose(g, value, rel_tol=1e-4):
                return f"the phase differs by {times(f)}: {said}"
    return None


def phase_offset(scene: Scene) -> str | None:
    """A constant phase."""
    arrays = scene.arrays
    c = prints.offset(*arrays) if arrays else None
    return f"the phase differs by {c:+.4g} rad everywhere: a global phase" if c is not None else None


def scaled_rates(scene: Scene) -> str | None:
    """Photons multiplied by one number."""
    f = scene.factor("rates")
    if f is None:
        return None
    return f"the rates differ by {times(f)}: dose or gain of the forward model"


def scaled_loss(scene: Scene) -> str | None:
    """Sum against mean, deviance against half of it."""
    arrays, f = scene.arrays, scene.factor("loss")
    if arrays is None or f is None:
        return None
    rates = scene.pair.arrays("rates")
    pixels = math.prod(rates[0].shape[1:]) if rates else 0
    for g in (f, 1 / f):
        if pixels and math.isclose(g, pixels, rel_tol=1e-4):
            return f"the loss differs by {times(f)}, the number of pixels: sum against mean"
        if math.isclose(g, 2, rel_tol=1e-4):
            return f"the loss differs by {times(f)}: deviance against log-likelihood ratio, its half"
    return f"the loss differs by {times(f)}: another scale of the loss"


def constant_loss(scene: Scene) -> str | None:
    """Rates equal, losses not."""
    if not scene.same("rates") or scene.differs("raw.diff3d"):
        return None
    return f"another definition of the loss (log n!, the least rate): {_means(scene)}"


def other_canvas(scene: Scene) -> str | None:
    """Other sides."""
    arrays = scene.arrays
    if arrays is None or arrays[0].shape == arrays[1].shape:
        return None
    sides = [" × ".join(map(str, x.shape)) for x in arrays]
    return f"canvas of {sides[0]} against {sides[1]} px: another frame, margin or part of the patches kept"


def shifted_canvas(scene: Scene) -> str | None:
    """The metrics find a shift."""
    found = [scene.number("metrics", f"amplitude.shift_{axis}_px") for axis in "yx"]
    moved = [both[1] - both[0] if both else 0.0 for both in found]
    if max(map(abs, moved)) < 0.2:
        return None
    shift = f"({moved[0]:+.2f}, {moved[1]:+.2f}) px (y, x)"
    return f"registration on the truth moves B by {shift} more than A: stitched off its place"


def other_coverage(scene: Scene) -> str | None:
    """Another part of the canvas covered."""
    arrays = scene.arrays
    if arrays is None or None in (arrays[0].n_zero, arrays[1].n_zero) or arrays[0].n_zero == arrays[1].n_zero:
        return None
    covered = [math.prod(x.shape) - (x.n_zero or 0) for x in arrays]
    return f"{covered[0]} px of the canvas covered against {covered[1]}: another part of the patches kept"


def other_range(scene: Scene) -> str | None:
    """PSNR moved by a constant while the error stayed."""
    for quantity in ("amplitude", "phase"):
        psnr, mse = (scene.number("metrics", f"{quantity}.{key}") for key in ("psnr", "mse"))
        if psnr is None or mse is None or not math.isclose(*mse, rel_tol=_ALIKE):
            continue
        if abs(psnr[1] - psnr[0]) > 1e-3:
            f = 10 ** ((psnr[1] - psnr[0]) / 20)
            return (
                f"{quantity}: mse is equal, PSNR differs by {psnr[1] - psnr[0]:+.2f} dB: "
                f"data_range of the metric is {ratio(f)} times as large"
            )
    return None


def other_alignment(scene: Scene) -> str | None:
    """The same object and bias, other errors."""
    bias, mse = scene.number("metrics", "amplitude_bias"), scene.number("metrics", "amplitude.mse")
    if bias is None or mse is None or not scene.same("stitched"):
        return None
    if math.isclose(*bias, abs_tol=1e-6) and not math.isclose(*mse, rel_tol=_ALIKE):
        return (
            f"stitched object and bias equal, amplitude.mse {mse[0]:.4g} against {mse[1]:.4g}: "
            "alignment or region of the metric"
        )
    return None


def other_metrics(scene: Scene) -> str | None:
    """Which metrics differ: of the same object by their definition, else beyond what seeds spread."""
    found = scene.pair.values("metrics")
    if found is None:
        return None
    if not scene.same("stitched"):
        return first_few(beyond(scene.pair)) or None
    apart = differences(*found)
    bad = sorted((name for name in apart if apart[name] > _ALIKE), key=lambda name: -apart[name])
    good = len(apart) - len(bad)
    names = ", ".join(bad[:4]) + (" …" if bad[4:] else "")
    return f"{good} metrics agree, {names} do not: definition of the metric (data_range, region, alignment)"


def _means(scene: Scene) -> str:
    arrays = scene.arrays
    if arrays is None or not arrays[0].mean or arrays[1].mean is None:
        return "means unknown"
    return (
        f"mean {arrays[0].mean:.5g} against {arrays[1].mean:.5g} ({arrays[1].mean / arrays[0].mean - 1:+.2%})"
    )


def _steps(scene: Scene) -> tuple[Leaves, Leaves]:
    a, b = scene.pair.values("train.steps") or ({}, {})
    return leaves(a), leaves(b)


def _common(a: Leaves, b: Leaves, prefix: str) -> list[tuple[float, float]]:
    keys = [key for key in a if key in b and key.startswith(prefix)]
    return [(a[key], b[key]) for key in keys if is_number(a[key]) and is_number(b[key])]


def _equal(a: Leaves, b: Leaves, *prefixes: str) -> bool:
    pairs = [pair for prefix in prefixes for pair in _common(a, b, prefix)]
    largest = max((abs(x) for x, _ in pairs), default=0.0)
    return all(math.isclose(x, y, rel_tol=_ALIKE, abs_tol=_ALIKE * 1e-4 * largest) for x, y in pairs)


def _one_factor(a: Leaves, b: Leaves, prefix: str) -> float | None:
    found = [f for x, y in _common(a, b, prefix) if (f := _ratio(x, y)) is not None]
    return found[0] if found and max(found) - min(found) <= _FACTOR_SPREAD * max(found) else None


def _ratio(x: Any, y: Any) -> float | None:
    return y / x if is_number(x) and is_number(y) and x else None
