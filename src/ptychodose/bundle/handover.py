"""The hand-over page of a study: what it is, how it was made, and the hash of every file of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptychodose.bundle.bundle_names import MANIFEST
from ptychodose.bundle.handover_commands import commands_of_fits, commands_of_networks, commands_of_simulation
from ptychodose.bundle.handover_tables import (
    array_tables,
    contract_table,
    definition_list,
    markdown_table,
    metrics_tables,
    provenance_table,
)
from ptychodose.bundle.manifest_schema import Manifest, read_manifest
from ptychodose.bundle.sizes import size_text
from ptychodose.config import FITS, Params, load_params
from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import read_json
from ptychodose.stages import layout

Metrics = Mapping[tuple[str, str], Mapping[str, Any]]
"""The tree of a metrics file by (model, dose)."""


def handover_readme(manifest: Manifest, metrics: Metrics, params: Params) -> str:
    """The page as Markdown; the same input gives the same bytes.

    Raises
    ------
    UserError
        The manifest is of another scenario, or a measured run or a split of it has no metrics.
    """
    _require_complete(manifest, metrics, params)
    sections = (
        ("Overview", _overview(manifest, metrics, params)),
        ("Environment", _environment(manifest)),
        ("Simulation", commands_of_simulation(params)),
        ("Training", commands_of_networks(params)),
        ("Inference", commands_of_fits(params)),
        ("Provenance", provenance_table(manifest)),
        ("NPZ keys and array shapes", f"{contract_table()}\n\n{array_tables(manifest)}"),
    )
    parts = [f"# Hand-over: {manifest.scenario_id}"]
    for number, (title, text) in enumerate(sections, 1):
        parts += [f"## {number}. {title}", text]
    return "\n\n".join(parts) + "\n"


def read_metrics(root: Path, params: Params) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The metrics of every measured run of a study that has any."""
    paths = {run: root / layout.metrics(*run) for run in params.measured_runs()}
    return {run: read_json(path) for run, path in paths.items() if path.exists()}


def run_readme(root: Path = Path()) -> int:
    """``ptychodose bundle readme``: print the page of the study's manifest; 0."""
    params = load_params(root / "params.yaml")
    print(handover_readme(read_manifest(root / MANIFEST), read_metrics(root, params), params), end="")
    return 0


def _require_complete(manifest: Manifest, metrics: Metrics, params: Params) -> None:
    if (manifest.scenario_id, manifest.doses) != (params.scenario, params.doses):
        raise UserError(
            f"{MANIFEST}: scenario_id: {manifest.scenario_id} at {', '.join(manifest.doses)} is not the "
            f"study of params.yaml, {params.scenario} at {', '.join(params.doses)}; run `dvc repro manifest`"
        )
    for run in params.measured_runs():
        tree = metrics.get(run)
        for split in params.splits():
            if not isinstance(tree, Mapping) or not isinstance(tree.get(split), Mapping):
                raise UserError(f"{layout.metrics(*run)}: {split}: no metrics of it; run `dvc repro`")


def _overview(manifest: Manifest, metrics: Metrics, params: Params) -> str:
    size = size_text(sum(entry.size_bytes for entry in manifest.files))
    facts = f"{len(manifest.files)} files, {size}; written by {manifest.emitter}."
    parts = [facts, _parameters(params), _SPLITS, metrics_tables(metrics, params), definition_list()]
    if manifest.warnings:
        parts.append("Warnings:\n\n" + "\n".join(f"- {warning}" for warning in manifest.warnings))
    return "\n\n".join(parts)


_FITS = ", ".join(f"`{fit}`" for fit in FITS)
_SPLITS = f"""Splits: `train` are the positions trained on, `test` held-out positions on the same object,
`unseen` an object never trained on. Fits ({_FITS}) have no training: the object is fitted to
the train patterns, the unseen one to its own. Every metric is named with the quantity it is of, amplitude or
phase; an en dash is a metric without a meaning there (null in the JSON, the reason in the record beside)."""


def _parameters(params: Params) -> str:
    simulate = params.simulate
    patterns = ", ".join(f"{split} {getattr(simulate.splits, split)}" for split in params.splits())
    rows = [
        ("scenario", params.scenario),
        ("doses", f"{', '.join(params.doses)} photons per pattern"),
        ("seed", str(params.seed)),
        ("patterns", f"{patterns}; {simulate.size_px} x {simulate.size_px} pixels"),
        ("origin of the patterns", _ORIGINS[simulate.source]),
    ]
    if simulate.source == "simulate":
        geometry = simulate.geometry
        rows += [
            ("object, probe, scan", f"{simulate.object.kind}, {simulate.probe.kind}, {simulate.scan.kind}"),
            ("wavelength", f"{geometry.wavelength_m:g} m"),
            ("detector distance", f"{geometry.detector_distance_m:g} m"),
            ("detector pixel", f"{geometry.detector_pixel_m:g} m"),
        ]
    for model in dict.fromkeys(model for model, _ in params.network_runs()):
        settings = params.models[model].model_dump(exclude_none=True)
        rows.append((f"model `{model}`", ", ".join(f"{key} {value}" for key, value in settings.items())))
    return markdown_table(("parameter", "value"), rows)


_ORIGINS = {"simulate": "simulated", "files": "from files below data/inputs"}


def _environment(manifest: Manifest) -> str:
    described = manifest.environment
    rows = [
        (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in described.items()
        if key not in ("schema", "packages") and value not in ({}, [], None)
    ]
    rows += [(name, str(version)) for name, version in (described.get("packages") or {}).items()]
    return f"{_ENVIRONMENT}\n\n{markdown_table(('this manifest was made on', ''), rows)}"


_ENVIRONMENT = """All commands are run at the top of a clone of the repository. This makes the locked
environment there, fetches the data and checks every hash; it needs Python 3.11 to 3.13, git and make:

```sh
make ground-truth
. .venv/bin/activate
ptychodose verify
ptychodose check data/datasets/*/*.npz
```

The last two check every hash again, and the datasets against their contract. Where each network was trained
stands in `data/models/<model>/<dose>/environment.json`."""
