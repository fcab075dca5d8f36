"""Which data set of one log is which of the other."""

from collections.abc import Callable

from ptychodose.parity.schema import Entry

Match = tuple[Entry, Entry]


def match(a: list[Entry], b: list[Entry]) -> list[Match]:
    """Pairs of entries, of the same model each.

    Data sets that hold the same patterns belong together, whatever they are called: that is how a mislabelled
    dose is found. Then names count, then dose and shape if these are of one data set each, and two logs of a
    single data set are compared in any case. Results of models follow the names of their data sets.
    """
    data = _pairs([e for e in a if e.model is None], [e for e in b if e.model is None], _DATA)
    renamed = {one.name: other.name for one, other in data}

    def follows(one: Entry, other: Entry) -> bool:
        return (renamed.get(one.name, one.name), one.model) == (other.name, other.model)

    models_a, models_b = ([e for e in side if e.model is not None] for side in (a, b))
    return data + _pairs(models_a, models_b, (follows, _same_dose_and_shape))


Alike = Callable[[Entry, Entry], bool]


def _pairs(a: list[Entry], b: list[Entry], rules: tuple[Alike, ...]) -> list[Match]:
    """By one rule after the other, each where it names one entry of either side only."""
    found: list[Match] = []
    left_a, left_b = list(a), list(b)
    for alike in rules:
        for one in list(left_a):
            others = [other for other in left_b if alike(one, other)]
            if len(others) == 1 and sum(alike(rival, others[0]) for rival in left_a) == 1:
                found.append((one, others[0]))
                left_a.remove(one)
                left_b.remove(others[0])
    if len(a) == len(b) == 1 and not found:
        found.append((a[0], b[0]))
    return found


def _same_name_and_content(a: Entry, b: Entry) -> bool:
    return a.name == b.name and _same_content(a, b)


def _same_content(a: Entry, b: Entry) -> bool:
    files = [entry.file.sha256 if entry.file else None for entry in (a, b)]
    patterns = [_patterns_sha256(entry) for entry in (a, b)]
    return any(one is not None and one == other for one, other in (files, patterns))


def _same_name(a: Entry, b: Entry) -> bool:
    return a.name == b.name


def _same_dose_and_shape(a: Entry, b: Entry) -> bool:
    described = [(entry.model, _photons(entry), _shape(entry)) for entry in (a, b)]
    return described[0] == described[1] and None not in described[0][1:]


_DATA: tuple[Alike, ...] = (_same_name_and_content, _same_content, _same_name, _same_dose_and_shape)


def _patterns_sha256(entry: Entry) -> str | None:
    found = (boundary.array for boundary in entry.boundaries if boundary.name == "raw.diff3d")
    return next((array.sha256 for array in found if array), None)


def _shape(entry: Entry) -> list[int] | None:
    found = (boundary.array for boundary in entry.boundaries if boundary.name in ("raw.diff3d", "input"))
    return next((array.shape for array in found if array), None)


def _photons(entry: Entry) -> float | None:
    try:
        return None if entry.dose is None else float(entry.dose)
    except ValueError:
        return None
