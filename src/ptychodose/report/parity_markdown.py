"""A parity log for reading: one table a data set, a row a boundary."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ptychodose.parity.leaves import rows_of
from ptychodose.parity.schema import ArrayPrint, Boundary, Entry, ParityLog

_HEADER = ("boundary", "shape", "dtype", "mean", "std", "min", "median", "max", "zeros", "SHA-256")
_NOTHING = "–"
_LONGEST = 120
"""Characters of a value; the whole is in the JSON."""


def parity_markdown(log: ParityLog) -> str:
    """Markdown: scenario, environment, baseline, warnings, then every data set, with and without a model."""
    broken = [entry for entry in log.datasets if entry.problem]
    facts = [
        ("emitter", log.emitter),
        ("created", log.created),
        ("data sets", f"{len(log.datasets)}, {len(broken)} with problems"),
    ]
    parts = [f"# Parity log: {_text(log.scenario_id)}", _table(("", ""), facts)]
    if log.warnings or broken:
        lines = [f"**{_text(entry.name)} could not be logged**: {_text(entry.problem)}" for entry in broken]
        parts += ["## Warnings", "\n".join(f"- {line}" for line in [*lines, *map(_text, log.warnings)])]
    if log.environment:
        parts += ["## Environment", _table(("key", "value"), rows_of(log.environment))]
    if log.baseline:
        rows = [("source", log.baseline.source), *rows_of(log.baseline.parameters)]
        parts += ["## Baseline", _table(("parameter", "value"), rows)]
        if log.baseline.metrics:
            parts.append(_table(("metric", "value"), rows_of(log.baseline.metrics)))
    for entry in log.datasets:
        parts += _entry(entry)
    return "\n\n".join(parts) + "\n"


def _entry(entry: Entry) -> list[str]:
    title = entry.name if entry.model is None else f"{entry.name}, {entry.model}"
    dose = "no declared dose" if entry.dose is None else f"{entry.dose} photons per pattern"
    parts = [f"## {_text(title)}", _text(dose) + _file(entry)]
    if entry.problem:
        return [*parts, f"**Could not be logged**: {_text(entry.problem)}"]
    arrays = [(part, part.array) for part in entry.boundaries if part.array is not None]
    if arrays:
        parts.append(_table(_HEADER, (_row(part, array) for part, array in arrays)))
    for part in entry.boundaries:
        if part.values is not None:
            parts += [f"**{_text(part.name)}**{_said(part)}", _table(("key", "value"), rows_of(part.values))]
    notes = [f"- {_text(part.name)}: {_text(part.definition)}" for part, _ in arrays if part.definition]
    return [*parts, "\n".join(notes)] if notes else parts


def _file(entry: Entry) -> str:
    if entry.file is None:
        return ""
    size = "" if entry.file.size_bytes is None else f", {entry.file.size_bytes} bytes"
    digest = "" if entry.file.sha256 is None else f", SHA-256 {entry.file.sha256}"
    return f"; `{_text(entry.file.path)}`{size}{digest}"


def _row(part: Boundary, array: ArrayPrint) -> list[Any]:
    zeros = None if array.n_zero is None or not array.n else array.n_zero / array.n
    return [
        part.name,
        " × ".join(map(str, array.shape)),
        array.dtype,
        array.mean,
        array.std,
        array.min,
        array.percentiles.get("50"),
        array.max,
        None if zeros is None else f"{zeros:.2%}",
        None if array.sha256 is None else array.sha256[:12],
    ]


def _said(part: Boundary) -> str:
    return f" ({_text(part.definition)})" if part.definition else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: Any) -> str:
    """A cell: what comes from the log must not end a row or a column."""
    if value is None:
        return _NOTHING
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
