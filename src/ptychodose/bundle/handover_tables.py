"""The tables of the hand-over page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ptychodose.bundle.manifest_schema import FileEntry, Manifest
from ptychodose.config import Params
from ptychodose.metrics.definitions import DEFINITIONS
from ptychodose.report.columns import BIAS, DEVIANCE, FRC50, MS_SSIM, PHASE, PSNR, Column, cell
from ptychodose.report.names import model_label

_COLUMNS = (
    MS_SSIM,
    PSNR,
    FRC50,
    BIAS,
    Column("MS-SSIM", "", ("phase", "ms_ssim"), MS_SSIM.text, 0),
    Column("PSNR", "dB", ("phase", "psnr"), PSNR.text, 0),
    Column("error", "rms rad", PHASE.path, PHASE.text, 0),
    DEVIANCE,
)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; a bar in a cell is escaped."""
    lines = [header, ["---"] * len(header), *([text.replace("|", "\\|") for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def metrics_tables(metrics: Mapping[tuple[str, str], Mapping[str, Any]], params: Params) -> str:
    """A table for each dose, a row for each model and split."""
    parts = []
    for dose in params.doses:
        rows = [
            [model_label(model), split, *(cell(metrics[model, dose][split], column) for column in _COLUMNS)]
            for model, run_dose in params.measured_runs()
            if run_dose == dose
            for split in params.splits()
        ]
        header = ("model", "split", *map(_header, _COLUMNS))
        parts.append(f"**Dose {dose} photons per pattern**\n\n{markdown_table(header, rows)}")
    return "\n\n".join(parts)


def definition_list() -> str:
    """What the metrics of the tables mean, by their names in the metrics files."""
    used = dict.fromkeys(DEFINITIONS[column.path[-1]] for column in _COLUMNS)
    lines = [
        f"- `{metric.name}` (version {metric.version}): {metric.text} {metric.source}." for metric in used
    ]
    return "Definitions:\n\n" + "\n".join(lines)


def provenance_table(manifest: Manifest) -> str:
    """Every file by dose, then path; those of no dose last."""
    rows = [
        (entry.dose or "–", f"`{entry.path}`", str(entry.size_bytes), f"`{entry.sha256}`", entry.stage or "–")
        for entry in sorted(manifest.files, key=_by_dose)
    ]
    return markdown_table(("dose", "file", "bytes", "SHA-256", "made by stage"), rows)


def contract_table() -> str:
    """What a dataset must hold."""
    return (
        "A dataset (RawData) must hold, for n patterns of N x N pixels; loaded with `allow_pickle=False`:\n\n"
        + markdown_table(("key", "required", "shape", "dtype", "meaning"), _CONTRACT)
    )


def array_tables(manifest: Manifest) -> str:
    """What the NPZ files do hold; files of equal keys, shapes and types share a row."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for entry in manifest.files:
        if entry.npz:
            alike.setdefault((entry.role, _contract(entry), _arrays(entry)), []).append(f"`{entry.path}`")
    rows = [(role, arrays, contract, ", ".join(paths)) for (role, contract, arrays), paths in alike.items()]
    return markdown_table(("NPZ file", "arrays", "contract", "files"), rows)


_CONTRACT = (
    (
        "`diff3d`",
        "yes",
        "(n, N, N)",
        "float32",
        "amplitude sqrt(counts / dose), zero frequency at (N/2, N/2)",
    ),
    ("`probeGuess`", "yes", "(N, N)", "complex128", "probe"),
    ("`scan_index`", "yes", "(n,)", "int64", "which scan a pattern belongs to"),
    ("`xcoords`, `ycoords`", "yes", "(n,)", "float64", "patch centres in object pixels, x = column"),
    ("`xcoords_start`, `ycoords_start`", "yes", "(n,)", "float64", "deprecated: the first positions"),
    ("`objectGuess`", "no", "(H, W)", "complex128", "true object"),
)


def _header(column: Column) -> str:
    of = f"{column.path[0]} " if len(column.path) > 1 else "amplitude " if column is BIAS else ""
    return of + column.headline


def _by_dose(entry: FileEntry) -> tuple[float, str]:
    return float(entry.dose) if entry.dose else float("inf"), entry.path


def _contract(entry: FileEntry) -> str:
    return (entry.npz.contract if entry.npz else None) or "–"


def _arrays(entry: FileEntry) -> str:
    arrays = entry.npz.arrays if entry.npz else {}
    return "; ".join(f"`{key}` {tuple(facts.shape)} {facts.dtype}" for key, facts in arrays.items())
