"""The answer to whoever asked for a scenario's ground truth: what there is, where from, how to check it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from ptychodose.bundle.manifest_schema import FileEntry, Manifest
from ptychodose.parity.leaves import rows_of
from ptychodose.parity.schema import Entry, ParityLog

_LISTED = ("checkpoint", "reconstruction", "parameters", "metrics", "parity log")
_NOTHING = "–"
_LONGEST = 200


def response(
    manifest: Manifest, log: ParityLog | None, *, baseline_choice: str, commands: Sequence[str]
) -> str:
    """Markdown: baseline, data sets, probe, configuration, doubts, commands, artefacts, hand-over.

    Parameters
    ----------
    log
        Of the same data sets, which are recognised by their SHA-256; it knows the measured photons and the
        baseline. None leaves both out.
    baseline_choice
        Which run is the baseline and why, one sentence.
    commands
        What was run to make the bundle, and what its receiver may run.
    """
    baseline = None if log is None else log.baseline
    parts = [
        f"# Response: {_text(manifest.scenario_id)}",
        f"Written by {_text(manifest.emitter)} from manifest.json and the parity log.",
        "## Baseline selection",
        _text(baseline_choice),
    ]
    if baseline is not None:
        parts.append(f"Its parameters are those of `{_text(baseline.source)}`.")
    if baseline is not None and baseline.metrics:
        parts += [
            "Metrics as recorded, each by the name of its definition; pairs are amplitude and phase.",
            _table(("metric", "value"), _metrics(baseline.metrics)),
        ]
    parts += ["## Data sets", _datasets(manifest, log), "## Probe", _probe(manifest, log)]
    if baseline is not None and baseline.parameters:
        parts += ["## Configuration", _table(("parameter", "value"), rows_of(baseline.parameters))]
    if manifest.warnings:
        parts += ["## Doubts", "\n".join(f"- {_text(text, None)}" for text in manifest.warnings)]
    parts += ["## Commands", "\n".join(["```sh", *commands, "```"])]
    parts += ["## Artefacts", _roles(manifest), _artefacts(manifest), "## Hand-over", _HANDOVER]
    return "\n\n".join(parts) + "\n"


_HANDOVER = (
    "`manifest.json` lists every file with size and SHA-256 (`files.csv` is the same as a table, "
    "`manifest.md` for reading). Check a copy against it with `ptychodose compare-manifest COPY "
    "manifest.json`: it reads every byte, names each file whose bytes are others or that is not there, and "
    "exits with 0 only if all are the same."
)


def _metrics(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Rows of what was measured; a legacy metrics.json holds settings, too."""
    rows = rows_of(metrics)
    return [row for row in rows if row[0].endswith((".amplitude", ".phase"))] or rows


def _datasets(manifest: Manifest, log: ParityLog | None) -> str:
    logged = {entry.file.sha256: entry for entry in log.datasets if entry.file} if log else {}
    header = (
        "file",
        "declared dose",
        "measured photons per pattern",
        "diff3d",
        "contract",
        "bytes",
        "SHA-256",
    )
    return _table(header, (_dataset(entry, logged.get(entry.sha256)) for entry in _of(manifest, "dataset")))


def _dataset(entry: FileEntry, logged: Entry | None) -> list[Any]:
    dose = {} if logged is None else _values(logged, "dose")
    measured = None
    if dose.get("mean_photons") is not None and dose.get("standard_error_photons") is not None:
        measured = (
            f"{dose['mean_photons']:.6g} ± {dose['standard_error_photons']:.2g} "
            f"({dose['min_photons']:.6g} … {dose['max_photons']:.6g})"
        )
    patterns = entry.npz.arrays.get("diff3d") if entry.npz else None
    shape = " × ".join(map(str, patterns.shape)) if patterns else None
    contract = entry.npz.contract if entry.npz else None
    return [entry.path, entry.dose, measured, shape, contract, entry.size_bytes, entry.sha256]


def _probe(manifest: Manifest, log: ParityLog | None) -> str:
    held = [
        (entry.npz.arrays["probeGuess"], entry)
        for entry in _of(manifest, "dataset")
        if entry.npz and "probeGuess" in entry.npz.arrays
    ]
    if not held:
        return "No data set holds a probe."
    norms = _probe_norms(log)
    rows = []
    for sha256, group in groupby(
        sorted(held, key=lambda pair: pair[0].sha256), key=lambda pair: pair[0].sha256
    ):
        pairs = list(group)
        array = pairs[0][0]
        files = ", ".join(entry.path for _, entry in pairs)
        shape = " × ".join(map(str, array.shape))
        norm = next((norms[entry.sha256] for _, entry in pairs if entry.sha256 in norms), None)
        rows.append([sha256, shape, array.dtype, norm, files])
    said = (
        "All data sets hold the same probe" if len(rows) == 1 else f"There are {len(rows)} different probes"
    )
    settings = {
        key: value
        for entry in _of(manifest, "dataset")
        for key, value in entry.parameters.items()
        if "probe" in key
    }
    parts = [
        f"{said} (`probeGuess`, compared byte by byte).",
        _table(("SHA-256 of the array", "shape", "dtype", "L2 norm", "data sets"), rows),
    ]
    if settings:
        parts.append(_table(("made with", "value"), rows_of(settings)))
    else:
        parts.append("The files do not say how it was made or measured.")
    return "\n\n".join(parts)


def _probe_norms(log: ParityLog | None) -> dict[str | None, float]:
    if log is None:
        return {}
    found = {
        entry.file.sha256: _values(entry, "dose").get("probe_l2_norm") for entry in log.datasets if entry.file
    }
    return {sha256: norm for sha256, norm in found.items() if norm is not None}


def _roles(manifest: Manifest) -> str:
    roles = sorted({entry.role for entry in manifest.files})
    rows = [
        (role, len(files := _of(manifest, role)), sum(file.size_bytes for file in files)) for role in roles
    ]
    total = ("all", len(manifest.files), sum(file.size_bytes for file in manifest.files))
    return _table(("role", "files", "bytes"), [*rows, total])


def _artefacts(manifest: Manifest) -> str:
    rows = [
        (entry.path, entry.role, entry.dose, entry.model, entry.size_bytes, entry.sha256)
        for role in _LISTED
        for entry in _of(manifest, role)
    ]
    return _table(("file", "role", "dose", "model", "bytes", "SHA-256"), rows)


def _of(manifest: Manifest, role: str) -> list[FileEntry]:
    return [entry for entry in manifest.files if entry.role == role]


def _values(entry: Entry, name: str) -> dict[str, Any]:
    return next((part.values for part in entry.boundaries if part.name == name and part.values), {})


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: Any, longest: int | None = _LONGEST) -> str:
    """A cell or line: what comes from others' files must not end it."""
    if value is None:
        return _NOTHING
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split()).replace("|", "\\|")
    return text if longest is None or len(text) <= longest else f"{text[:longest]} …"
