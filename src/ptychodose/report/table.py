"""The tables of metrics: on a terminal one for each model, in Markdown one for each metric."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ptychodose.config import FITS, REFINED
from ptychodose.report.columns import (
    BIAS,
    DEVIANCE,
    FRC50,
    MS_SSIM,
    PEARSON,
    PHASE,
    PSNR,
    UNDEFINED,
    Column,
    Row,
    cell,
)
from ptychodose.report.names import model_label

Floors = Mapping[tuple[str, str], Mapping[str, Mapping[str, Any]]]
"""``{("pinn", "1e5"): {"amplitude.psnr": {"values": [...], "median": 24.3, "min": ..., "max": ...}}}``."""

_SPLITS = ("test", "unseen")
_COLUMNS = (MS_SSIM, PSNR, PEARSON, FRC50, PHASE, BIAS, DEVIANCE)
_FLOOR_COLUMNS = (PSNR, MS_SSIM, PEARSON, DEVIANCE)
_MARKDOWN = (
    ("MS-SSIM of the amplitude", MS_SSIM),
    ("PSNR of the amplitude (dB)", PSNR),
    ("Phase error (rms rad)", PHASE),
    ("Deviance ratio (1 is the noise limit)", DEVIANCE),
    ("Bias of the amplitude, before any rescaling (%)", BIAS),
)
_LEGEND = (
    "MS-SSIM, PSNR, Pearson, FRC50 and bias are the amplitude's; a deviance ratio of 1 is the noise limit."
)
_MARKDOWN_LEGEND = (
    "Columns: photons per pattern; all numbers are of the test split. Networks see test patterns, at "
    f"positions held out of their training. `{FITS[0]}`, `{FITS[1]}` and `{FITS[2]}` show what the photons "
    "themselves allow: the object is fitted to the train patterns and looked at in the test region; its "
    f"deviance is that of test patterns, which are never fitted. `{FITS[0]}` is plain maximum likelihood, "
    f"`{FITS[1]}` is regularised with the weight that explains held-out train patterns best, `{FITS[2]}` is "
    f"`{FITS[1]}` started from what `{REFINED}` predicts."
)


def render(rows: Iterable[Row], console: Console) -> None:
    """Print one table for each model, without the less important columns where the console is narrow.

    Parameters
    ----------
    rows
        One for each model, dose and split; ``test`` and ``unseen`` are shown. A value that is missing,
        None or not finite is shown as an en dash.
    """
    rows = list(rows)
    columns = _fitting(rows, console)
    for table in _tables(rows, columns):
        console.print(table)
        console.print()
    dropped = [column.name for column in _COLUMNS if column not in columns]
    if dropped:
        console.print(Text(f"Not shown at this width: {', '.join(dropped)}.", style="dim"))
    console.print(Text(_LEGEND, style="dim"))


def markdown(rows: Iterable[Row], floors: Floors | None = None) -> str:
    """Return a Markdown table for each metric of the test split, models as rows, doses as columns.

    Parameters
    ----------
    rows
        As for :func:`render`. An en dash stands where a model was not run or the value is undefined.
    floors
        (model, dose) → spread of the test split's metrics over repeated trainings; they add a table.
    """
    tested = _by_model([row for row in rows if row["split"] == "test"])
    models = sorted(tested, key=FITS.__contains__)
    doses = sorted({dose for by_dose in tested.values() for dose in by_dose}, key=float)
    if not models:
        return "No metrics.\n"
    parts = []
    for title, column in _MARKDOWN:
        lines = []
        for model in models:
            values = (cell(tested[model].get(dose, {}).get("test", {}), column) for dose in doses)
            lines.append([model_label(model), *values])
        parts += [f"**{title}**", _markdown_table(["model", *doses], lines)]
    parts.append(_MARKDOWN_LEGEND)
    measured = {run: spread for run, spread in (floors or {}).items() if spread}
    if measured:
        parts += _seeds(measured)
    return "\n\n".join(parts) + "\n"


def _seeds(floors: Floors) -> list[str]:
    """Heading and table of the spread over the seeds; every training was repeated equally often."""
    repeats = len(next(iter(next(iter(floors.values())).values()))["values"])
    header = ["model, dose", *(column.headline for column in _FLOOR_COLUMNS), "collapsed"]
    lines = [
        [f"{model}, {dose}", *(_range(spread, column) for column in _FLOOR_COLUMNS), _collapsed(spread)]
        for (model, dose), spread in floors.items()
    ]
    return [f"**Seeds: median (min … max) of {repeats} trainings**", _markdown_table(header, lines)]


def _markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ruler, *lines))


def _range(spread: Mapping[str, Mapping[str, Any]], column: Column) -> str:
    found = spread.get(".".join(column.path), {})
    if "median" not in found:
        return UNDEFINED
    median, low, high = (column.text(found[key]) for key in ("median", "min", "max"))
    return f"{median} ({low} … {high})"


def _collapsed(spread: Mapping[str, Mapping[str, Any]]) -> str:
    found = spread.get("collapsed", {})
    return f"{found['count']} of {len(found['values'])}" if "count" in found else UNDEFINED


def _fitting(rows: Sequence[Row], console: Console) -> tuple[Column, ...]:
    columns: tuple[Column, ...] = _COLUMNS
    while len(columns) > 1 and _width(_tables(rows, columns), console) > console.width:
        least = max(columns, key=lambda column: column.rank)
        columns = tuple(column for column in columns if column is not least)
    return columns


def _width(tables: Sequence[Table], console: Console) -> int:
    # Unbounded, since rich reports no table as wider than the width it may take.
    options = console.options.update_width(10_000)
    return max((Measurement.get(console, options, table).maximum for table in tables), default=0)


def _tables(rows: Sequence[Row], columns: Sequence[Column]) -> list[Table]:
    splits = _splits(rows)
    tables = []
    for model, doses in _by_model(rows).items():
        table = Table(
            title=model,
            title_justify="left",
            padding=(0, 1, 0, 0),
            pad_edge=False,
            show_edge=False,
            box=SIMPLE_HEAD,
        )
        table.add_column("\n\ndose", justify="right", no_wrap=True)
        for column in columns:
            for split in splits:
                # The metric stands above its first split only.
                name, unit = (column.name, column.unit) if split == splits[0] else ("", "")
                table.add_column(f"{name}\n{unit}\n{split}", justify="right", no_wrap=True)
        for cells in _cells(doses, columns, splits):
            table.add_row(*cells)
        tables.append(table)
    return tables


def _by_model(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, Row]]]:
    """Model → dose → split → metrics; models in the order given, doses ascending."""
    models: dict[str, dict[str, dict[str, Row]]] = {row["model"]: {} for row in rows}
    for row in sorted(rows, key=lambda row: float(row["dose"])):
        models[row["model"]].setdefault(row["dose"], {})[row["split"]] = row["metrics"]
    return models


def _splits(rows: Sequence[Row]) -> tuple[str, ...]:
    present = {row["split"] for row in rows}
    return tuple(split for split in _SPLITS if split in present)


def _cells(
    doses: Mapping[str, Mapping[str, Row]], columns: Sequence[Column], splits: Sequence[str]
) -> list[list[str]]:
    return [
        [dose, *(cell(metrics.get(split, {}), column) for column in columns for split in splits)]
        for dose, metrics in doses.items()
    ]
