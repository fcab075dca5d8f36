"""Exact or close: what two logs can say of one boundary without a word about chance."""

import math
from typing import Any

from ptychodose.parity import dataset_log, legacy_log, prints
from ptychodose.parity.boundaries import BOUNDARIES, BoundaryKind
from ptychodose.parity.leaves import differences, leaves
from ptychodose.parity.pairs import Arrays, Pair, Values
from ptychodose.parity.schema import ArrayPrint, Boundary
from ptychodose.parity.verdict import Tier, Verdict

_SAME_THING = (dataset_log.DERIVED, dataset_log.LEGACY_AXES, legacy_log.PARTLY, legacy_log.DERIVED_DOSE)
"""Definitions that say how an array was got, not that it is another one."""
_DOSE = ("declared_dose_photons", "intensity_scale", "mean_photons", "min_photons", "max_photons")
"""What of the numbers of ``dose`` is the dose; the others follow from patterns and probe."""


def strictly(pair: Pair, name: str) -> Verdict:
    """The tier of one boundary if nothing is left to chance.

    exact: SHA-256, shape and dtype are equal; all numbers are. close: equal up to the relative error that
    rounding may cause at this boundary (:mod:`~ptychodose.parity.boundaries`); whole numbers must be equal.
    """
    a, b = pair.boundary(name)
    if a is None or b is None:
        return Verdict(Tier.MISSING, f"only in {'B' if a is None else 'A'}")
    kind = BOUNDARIES.get(name, BoundaryKind(name, "", "array", ""))
    if a.array and b.array:
        verdict = _of_arrays((a.array, b.array), kind)
    elif a.values is not None and b.values is not None:
        verdict = _of_values(_of_dose(a.values, b.values) if name == "dose" else (a.values, b.values), kind)
    else:
        return Verdict(Tier.MISSING, "an array on one side, numbers on the other")
    if verdict.tier is Tier.DIFFERENT and _definition(a) != _definition(b):
        said = "; ".join(f"{s}: {_definition(x) or 'as in docs/parity.md'}" for s, x in (("A", a), ("B", b)))
        return Verdict(Tier.MISSING, f"not defined alike: {said}")
    return verdict


def _definition(boundary: Boundary) -> str | None:
    return None if boundary.definition in _SAME_THING else boundary.definition


def _of_dose(a: dict[str, Any], b: dict[str, Any]) -> Values:
    keys = [key for key in _DOSE if key in a and key in b] or [*a.keys() & b.keys()]
    return {key: a[key] for key in keys}, {key: b[key] for key in keys}


def _of_arrays(arrays: Arrays, kind: BoundaryKind) -> Verdict:
    a, b = arrays
    if a.shape != b.shape:
        return Verdict(Tier.DIFFERENT, f"shape {_shape(a)} against {_shape(b)}")
    if prints.is_complex(a) != prints.is_complex(b):
        return Verdict(Tier.DIFFERENT, f"{a.dtype} against {b.dtype}")
    if a.sha256 is not None and (a.sha256, a.dtype) == (b.sha256, b.dtype):
        return Verdict(Tier.EXACT, "", 0.0)
    if None not in (a.n_finite, b.n_finite) and a.n_finite != b.n_finite:
        return Verdict(Tier.DIFFERENT, f"{a.n_finite} finite numbers against {b.n_finite}")
    notes = [f"{a.dtype} against {b.dtype}"] if a.dtype != b.dtype else []
    error = prints.relative_error(a, b)
    if error is None:
        error = prints.statistics_error(a, b)
        notes.append("by its statistics only, which do not see the order of the numbers")
    if error is None:
        return Verdict(Tier.MISSING, "one side knows no more than the shape")
    whole = a.dtype.startswith(("int", "uint")) and b.dtype.startswith(("int", "uint"))
    close = error == 0 if whole else error <= kind.relative_error
    return Verdict(Tier.CLOSE if close else Tier.DIFFERENT, "; ".join(notes), error)


def _of_values(values: Values, kind: BoundaryKind) -> Verdict:
    if leaves(values[0]) == leaves(values[1]):
        return Verdict(Tier.EXACT, "", 0.0)
    found = differences(*values)
    if not found:
        return Verdict(Tier.MISSING, "no number in common")
    worst = max(found, key=lambda name: found[name])
    error = found[worst]
    shown = {side: leaves(tree).get(worst) for side, tree in zip("AB", values, strict=True)}
    note = f"{worst}: {_text(shown['A'])} against {_text(shown['B'])}"
    if error > kind.relative_error:
        return Verdict(Tier.DIFFERENT, note, error if math.isfinite(error) else None)
    return Verdict(Tier.CLOSE, note if error else "not all numbers are on both sides", error)


def _shape(print_: ArrayPrint) -> str:
    return f"({', '.join(map(str, print_.shape))})"


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
