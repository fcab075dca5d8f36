"""The table of metrics: one row for each dose, the splits side by side, on a terminal or as Markdown."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
"""``{"model": "pinn", "dose": "1e5", "split": "test", "metrics": {"amplitude": {"psnr": 24.3}, ...}}``."""

_UNDEFINED = "–"
_SPLITS = ("test", "unseen")


@dataclass(frozen=True)
class _Column:
    name: str
    unit: str
    path: tuple[str, ...]
    text: Callable[[float], str]
    rank: int
    """Where the terminal is narrow, the column of the highest rank goes first."""


def _percent(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _ratio(value: float) -> str:
    return f"{value:.3f}" if value < 100 else f"{value:.0f}"


_COLUMNS = (
    _Column("MS-SSIM", "", ("amplitude", "ms_ssim"), "{:.3f}".format, 1),
    _Column("PSNR", "dB", ("amplitude", "psnr"), "{:.1f}".format, 0),
    _Column("Pearson", "", ("amplitude", "pearson"), "{:.3f}".format, 6),
    _Column("FRC50", "Nyquist", ("amplitude", "frc50"), "{:.2f}".format, 3),
    _Column("phase", "rms rad", ("phase", "rms_rad"), "{:.3f}".format, 2),
    _Column("bias", "%", ("amplitude_bias",), _percent, 5),
    _Column("deviance", "ratio", ("deviance_ratio",), _ratio, 4),
)
_LEGEND = (
    "MS-SSIM, PSNR, Pearson, FRC50 and bias are the amplitude's; a deviance ratio of 1 is the noise limit."
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


def markdown(rows: Iterable[Row]) -> str:
    """Return all columns as Markdown, a table for each model, the splits of a metric in one cell."""
    rows = list(rows)
    splits = _splits(rows)
    header = ["dose", *map(_headline, _COLUMNS)]
    parts = []
    for model, doses in _by_model(rows).items():
        lines = [header, ["---:"] * len(header)]
        for dose, metrics in doses.items():
            values = ([_cell(metrics.get(split, {}), column) for split in splits] for column in _COLUMNS)
            lines.append([dose, *map(" / ".join, values)])
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        parts.append(f"**{model}**\n\n{table}")
    return "\n\n".join([*parts, f"Each cell: {' / '.join(splits)}. {_LEGEND}"]) + "\n"


def _headline(column: _Column) -> str:
    return f"{column.name} ({column.unit})" if column.unit else column.name


def _fitting(rows: Sequence[Row], console: Console) -> tuple[_Column, ...]:
    columns: tuple[_Column, ...] = _COLUMNS
    while len(columns) > 1 and _width(_tables(rows, columns), console) > console.width:
        least = max(columns, key=lambda column: column.rank)
        columns = tuple(column for column in columns if column is not least)
    return columns


def _width(tables: Sequence[Table], console: Console) -> int:
    # Unbounded, since rich reports no table as wider than the width it may take.
    options = console.options.update_width(10_000)
    return max((Measurement.get(console, options, table).maximum for table in tables), default=0)


def _tables(rows: Sequence[Row], columns: Sequence[_Column]) -> list[Table]:
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
    doses: Mapping[str, Mapping[str, Row]], columns: Sequence[_Column], splits: Sequence[str]
) -> list[list[str]]:
    return [
        [dose, *(_cell(metrics.get(split, {}), column) for column in columns for split in splits)]
        for dose, metrics in doses.items()
    ]


def _cell(metrics: Row, column: _Column) -> str:
    value: Any = metrics
    for key in column.path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, int | float) or not math.isfinite(value):
        return _UNDEFINED
    return column.text(value)
