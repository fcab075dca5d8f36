"""What may differ between two trainings that part at a seed, at a rounding or at the photons.

A trained network has an error of its own, which its metrics tell: two of them may lie apart by both errors,
added in squares, times 1.5. Means are held to what the seeds of the study spread (params.yaml: compare).
"""

import math
from typing import Any

from ptychodose.parity import prints
from ptychodose.parity.chance import Chance, agrees, both, other_photons, same
from ptychodose.parity.leaves import Leaves, is_number, leaves
from ptychodose.parity.pairs import Pair
from ptychodose.parity.schema import ArrayPrint
from ptychodose.parity.strict import strictly
from ptychodose.parity.verdict import Judge, Tier

_ERRORS_APART = 1.5
_SIGMAS = 5
_LEAST = {"amplitude_bias": 0.002, "deviance_ratio": 0.01}
"""Tolerances where there is no params.yaml to tell them."""
_ROUNDING = 1e-9
_PREDICTED_ALIKE = (("output.amplitude",), ("output.phase",), ("train.weights", "input"))
"""What tells that it was one network that predicted: then chance has no part in it."""


def initial_weights(pair: Pair, name: str, judge: Judge) -> Chance:
    """Weights drawn anew, by another seed or another backend's generator, from the same distributions.

    Of n independent weights the norm spreads by at most 1 / sqrt(2 n) of itself (exactly that if they are
    normal), the mean by norm / n: 5 standard deviations of a difference are allowed.
    """
    a, b = pair.values(name) or ({}, {})
    if a.keys() != b.keys():
        return Chance(False)
    for layer in a:
        first, second = _drawn(a[layer]), _drawn(b[layer])
        if first is None or second is None or first[0] != second[0]:
            return Chance(False)
        n, norm = first[0], max(first[1], second[1])
        if abs(first[1] - second[1]) > _SIGMAS * norm / math.sqrt(n):
            return Chance(False, f"{layer}: norm {first[1]:.4g} against {second[1]:.4g}")
        if abs(first[2] - second[2]) > _SIGMAS * math.sqrt(2) * norm / n:
            return Chance(False, f"{layer}: mean {first[2]:.4g} against {second[2]:.4g}")
    return Chance(True, "drawn anew from the same distributions: another seed or generator")


def _drawn(layer: Any) -> tuple[int, float, float] | None:
    """Number, norm and mean of a layer's weights; None where a log does not tell."""
    if not isinstance(layer, dict) or not isinstance(shape := layer.get("shape"), list):
        return None
    norm, mean = layer.get("l2_norm"), layer.get("mean")
    if not (shape and all(isinstance(side, int) and side > 0 for side in shape)):
        return None
    return (math.prod(shape), float(norm), float(mean)) if is_number(norm) and is_number(mean) else None


def first_steps(pair: Pair, name: str, judge: Judge) -> Chance:
    """First steps from other initial weights or on other photons: losses within 10 %, gradients within 3.

    Three is the factor between the gradients' norms, all layers together. From the same weights on the same
    photons nothing is left to chance.
    """
    drawn_anew = judge(pair, "train.initial_weights").tier is Tier.STATISTICAL
    if not (drawn_anew or other_photons(judge, pair)):
        return Chance(False)
    a, b = (leaves(tree) for tree in pair.values(name) or ({}, {}))
    losses = [(a[key], b[key]) for key in a.keys() & b.keys() if key.endswith("loss")]
    if not all(_within_tenth(x, y) for x, y in losses):
        return Chance(False, "losses differ by more than 10 %")
    norms = [math.hypot(*_numbers(tree, "gradient_norms")) for tree in (a, b)]
    if min(norms) * 3 < max(norms):
        return Chance(False, f"norm of the gradients {norms[0]:.4g} against {norms[1]:.4g}")
    why = "other weights" if drawn_anew else "other photons"
    return Chance(True, f"losses of {why} agree within 10 %, gradients within a factor of 3")


def weights(pair: Pair, name: str, judge: Judge) -> Chance:
    """Weights after training: same layers and shapes, and a norm of all together that agrees within 10 %.

    Trainings that part at a rounding have other weights after a few hundred steps, a small layer's by a
    factor; what they are worth shows in what they predict, which is judged next.
    """
    a, b = (leaves(tree) for tree in pair.values(name) or ({}, {}))
    if a.keys() != b.keys() or any(a[key] != b[key] for key in a if key.endswith("shape")):
        return Chance(False, "other layers or shapes")
    norms = [math.hypot(*_numbers(tree, "l2_norm")) for tree in (a, b)]
    if not _within_tenth(*norms):
        return Chance(False, f"norm of all weights {norms[0]:.4g} against {norms[1]:.4g}")
    return Chance(True, "another training; judged by what it predicts")


def patches(pair: Pair, name: str, judge: Judge) -> Chance:
    """Amplitude and phase of the patches, judged by what they do to the light: rates and loss.

    Where no light falls, at the border of a patch, the data leave a network free, and two trainings differ
    there as they like, in amplitude and phase. Without rates and loss, the stitched object
    judges.
    """
    if any(same(pair, *names) for names in _PREDICTED_ALIKE):
        return Chance(False)
    judges = [other for other in ("rates", "loss") if judge(pair, other).tier is not Tier.MISSING]
    judges = judges or ["stitched"]
    bad = next((other for other in judges if not agrees(judge, pair, other)), None)
    if bad:
        return Chance(False, f"judged by {bad}: {judge(pair, bad).note}")
    return Chance(True, f"judged by {' and '.join(judges)}, which agree")


def rates(pair: Pair, name: str, judge: Judge) -> Chance:
    """Photons per pixel: their sum within twice the tolerance of the amplitude's bias; ‖a − b‖ by the errors.

    An intensity has twice the relative error of its amplitude. Single patches err more than the stitched
    object, which averages over its overlap: by the root of how many quarter-size centres (N/4 × N/4) lie on a
    pixel.
    """
    found = both(pair, name)
    if found is None or not found[0].mean or _same_prediction(pair):
        return Chance(False)
    a, b = found
    change, allowed = (b.mean or 0.0) / found[0].mean - 1, 2 * _tolerance(pair, "amplitude_bias", 1.0)
    if abs(change) > allowed:
        return Chance(False, f"predicted photons differ by {change:+.2%}, allowed are {allowed:.2%}")
    errors = _errors(pair)
    if errors is None:
        return Chance(True, "predicted photons agree; no metrics to judge more")
    return _within(a, b, 2 * math.sqrt(_overlap(pair, a)) * errors)


def deviances(pair: Pair, name: str, judge: Judge) -> Chance:
    """Deviance of each pattern (n,): the mean within the tolerance of the deviance ratio.

    On other photons, 5 standard errors of the difference of the means come on top. The same rates and
    photons leave nothing to chance.
    """
    found = both(pair, name)
    others = other_photons(judge, pair)
    if found is None or not found[0].mean or (same(pair, "rates") and not others):
        return Chance(False)
    a, b = found
    metrics = pair.values("metrics")
    excess = metrics[0].get("deviance_ratio") if metrics else None
    excess = excess if is_number(excess) and excess > 0 else 1.0
    allowed = _tolerance(pair, "deviance_ratio", excess) / excess
    if others:
        allowed += _SIGMAS * math.hypot(a.std or 0.0, b.std or 0.0) / math.sqrt(a.shape[0]) / found[0].mean
    change = (b.mean or 0.0) / found[0].mean - 1
    return Chance(
        abs(change) <= allowed, f"mean deviance differs by {change:+.2%}, allowed are {allowed:.2%}"
    )


def stitched_objects(pair: Pair, name: str, judge: Judge) -> Chance:
    """Stitched object (H, W): mean amplitude within the tolerance of the bias; ‖a − b‖ within the errors.

    The data leave the phase of an object free by a constant and by a plane. If that separates the two, their
    moduli must agree within the errors, and the aligned errors (mse of amplitude and phase) as metrics do.
    The same predictions leave nothing to chance.
    """
    found = both(pair, name)
    if found is None or not found[0].mean or _same_prediction(pair):
        return Chance(False)
    a, b = found
    change, allowed = (b.mean or 0.0) / found[0].mean - 1, _tolerance(pair, "amplitude_bias", 1.0)
    if abs(change) > allowed:
        return Chance(False, f"mean amplitude differs by {change:+.2%}, allowed are {allowed:.2%}")
    errors = _errors(pair)
    if errors is None:
        return Chance(True, "mean amplitudes agree; no metrics to judge more")
    as_they_are = _within(a, b, errors)
    if as_they_are.agree or not _moduli_agree(a, b, errors) or beyond(pair, ("amplitude.mse", "phase.mse")):
        return as_they_are
    return Chance(True, "equal up to a phase that the data leave free")


def quality(pair: Pair, name: str, judge: Judge) -> Chance:
    """Metrics: each within its tolerance (:mod:`~ptychodose.parity.tolerances`).

    The same stitched object and losses leave nothing to chance.
    """
    if same(pair, "stitched") and strictly(pair, "loss").tier is not Tier.DIFFERENT:
        return Chance(False)
    if pair.tolerances is None:
        return Chance(False, "no tolerances: there is no params.yaml with compare in A, in B or here")
    outside = beyond(pair)
    if outside:
        return Chance(False, first_few(outside))
    return Chance(True, f"each within its tolerance{_origin(pair)}")


def _within_tenth(x: Any, y: Any) -> bool:
    """A loss or norm that overflowed is null."""
    return is_number(x) and is_number(y) and math.isclose(x, y, rel_tol=0.1)


def _numbers(tree: Leaves, part: str) -> list[float]:
    """All numbers whose name has such a part."""
    return [float(value) for key, value in tree.items() if part in key.split(".") and is_number(value)]


def _same_prediction(pair: Pair) -> bool:
    return same(pair, "output.amplitude", "output.phase")


def _within(a: ArrayPrint, b: ArrayPrint, errors: float) -> Chance:
    error, allowed = prints.relative_error(a, b), _ERRORS_APART * errors
    if error is None:
        return Chance(True, "means agree; no projections to judge more")
    return Chance(error <= allowed, f"relative difference {error:.2g}, both errors allow {allowed:.2g}")


def _moduli_agree(a: ArrayPrint, b: ArrayPrint, errors: float) -> bool:
    moduli = [(a.std or 0.0, b.std or 0.0)]
    moduli += [(a.percentiles[p], b.percentiles[p]) for p in a.percentiles.keys() & b.percentiles.keys()]
    return all(abs(x - y) <= _ERRORS_APART * errors * prints.rms(a) for x, y in moduli)


def _errors(pair: Pair) -> float | None:
    """Both relative errors against the truth, added in squares; None without metrics or object."""
    metrics, stitched = pair.values("metrics"), pair.arrays("stitched")
    if metrics is None or stitched is None:
        return None
    total = 0.0
    for tree, object_ in zip(metrics, stitched, strict=True):
        numbers, covered = leaves(tree), math.prod(object_.shape) - (object_.n_zero or 0)
        amplitude = numbers.get("amplitude.mse")
        if not is_number(amplitude) or not covered or not prints.norm(object_) > 0:
            return None
        known = (numbers.get(key) for key in ("phase.mse", "amplitude_bias"))
        phase, bias = (value if is_number(value) else 0.0 for value in known)
        total += amplitude * covered / prints.norm(object_) ** 2 + phase + bias**2
    return math.sqrt(total)


def _overlap(pair: Pair, patches_: ArrayPrint) -> float:
    stitched = pair.arrays("stitched")
    if stitched is None or len(patches_.shape) != 3:
        return 1.0
    covered = math.prod(stitched[0].shape) - (stitched[0].n_zero or 0)
    return max(math.prod(patches_.shape) / 16 / max(covered, 1), 1.0)


def _tolerance(pair: Pair, metric: str, reference: float) -> float:
    if pair.tolerances is None or pair.a.model is None or pair.a.dose is None:
        return _LEAST[metric]
    return pair.tolerances.of(metric, pair.a.model, pair.a.dose, reference).value


def first_few(sentences: list[str]) -> str:
    """The first three, and how many more."""
    more = f"; and {len(sentences) - 3} more" if sentences[3:] else ""
    return "; ".join(sentences[:3]) + more


def beyond(pair: Pair, names: tuple[str, ...] = ()) -> list[str]:
    """Sentences on the metrics that differ by more than their tolerance; of all if no names are given."""
    metrics = pair.values("metrics")
    if metrics is None or pair.tolerances is None or pair.a.dose is None:
        return []
    a, b = (leaves(tree) for tree in metrics)
    found = []
    for metric in names or [key for key in a if key in b and not key.endswith("_ring")]:
        x, y = a.get(metric), b.get(metric)
        if not (is_number(x) and is_number(y)):
            found += [f"{metric}: {x} against {y}"] if x != y else []
            continue
        tolerance = pair.tolerances.of(metric, pair.a.model or "", pair.a.dose, float(x))
        if abs(x - y) > tolerance.value + _ROUNDING * max(abs(x), abs(y)):
            found.append(
                f"{metric}: {x:.6g} against {y:.6g} (tolerance {tolerance.value:.2g}, {tolerance.origin})"
            )
    return found


def _origin(pair: Pair) -> str:
    """Says so if the tolerances come from another model or dose."""
    if pair.tolerances is None or pair.a.model is None or pair.a.dose is None:
        return ""
    floors = pair.tolerances.floors
    if not floors:
        return "; no seeds, least tolerances only"
    own = any(model == pair.a.model and float(dose) == float(pair.a.dose) for model, dose in floors)
    return "" if own else "; no seeds here, those of the nearest doses or models"
