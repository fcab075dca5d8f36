"""The tables of a comparison of two studies: environments, headline metrics, and what is outside."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ptychodose.parity.environments import Apart
from ptychodose.parity.gate import Comparison, Gate
from ptychodose.report.columns import BIAS, DEVIANCE, MS_SSIM, PEARSON, PHASE, PSNR, UNDEFINED, Column

OUTSIDE = "✗"

_COLUMNS = (PSNR, MS_SSIM, PEARSON, PHASE, BIAS, DEVIANCE)


def render(gate: Gate, environment: Sequence[Apart], problems: Iterable[str], console: Console) -> None:
    """Print the tables; the less important metrics are left out where the console is narrow."""
    if environment:
        console.print(environment_table(environment), "")
    if gate.numbers:
        console.print(_fitting(gate, console))
        console.print(
            f"\n{OUTSIDE} outside its tolerance; one value: the same at these digits\n", style="dim"
        )
    if gate.outside:
        console.print(outside_table(gate.outside), "")
    for problem in problems:
        console.print(problem, style="red", soft_wrap=True)


def environment_table(environment: Iterable[Apart]) -> Table:
    """The keys of the environments that differ."""
    table = plain_table("Environments: what differs")
    for name in ("key", "A", "B"):
        table.add_column(name, overflow="fold")
    table.add_column("runs", justify="right")
    for apart in environment:
        table.add_row(apart.key, _plain(apart.a), _plain(apart.b), str(apart.runs))
    return table


def outside_table(numbers: Iterable[Comparison]) -> Table:
    """Every number that is outside its tolerance, and where the tolerance comes from."""
    table = plain_table("Outside their tolerances")
    table.add_column("number", overflow="fold")
    for name in ("A", "B", "B - A", "tolerance"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("from", overflow="fold")
    for number in numbers:
        tolerance = number.tolerance.value
        table.add_row(
            f"{number.model} {number.dose} {number.split} {number.metric}",
            _plain(number.a),
            _plain(number.b),
            UNDEFINED if number.difference is None else f"{number.difference:+.4g}",
            UNDEFINED if number.difference is None else f"{tolerance:.4g}",
            number.tolerance.origin,
        )
    return table


def _fitting(gate: Gate, console: Console) -> Table:
    columns: tuple[Column, ...] = _COLUMNS
    # Unbounded, since rich reports no table as wider than the width it may take.
    options = console.options.update_width(10_000)
    while len(columns) > 1:
        table = _headlines(gate, columns)
        if Measurement.get(console, options, table).maximum <= console.width:
            break
        least = max(columns, key=lambda column: column.rank)
        columns = tuple(column for column in columns if column is not least)
    return _headlines(gate, columns)


def _headlines(gate: Gate, columns: Sequence[Column]) -> Table:
    numbers = {(number.model, number.dose, number.split, number.metric): number for number in gate.numbers}
    table = plain_table("A → B")
    for name in ("model", "dose", "split"):
        table.add_column(name, no_wrap=True)
    for column in columns:
        table.add_column(f"{column.name}\n{column.unit}", justify="right", no_wrap=True)
    for place in gate.splits:
        cells = (numbers.get((*place, ".".join(column.path))) for column in columns)
        table.add_row(*place, *map(_cell, cells, columns))
    return table


def _cell(number: Comparison | None, column: Column) -> Text:
    if number is None:
        return Text(UNDEFINED)
    a, b = (UNDEFINED if value is None else column.text(value) for value in (number.a, number.b))
    text = a if a == b else f"{a} → {b}"
    return Text(text) if number.same else Text(f"{text} {OUTSIDE}", style="bold red")


def plain_table(title: str | None = None, *, show_header: bool = True) -> Table:
    """An empty table without a frame."""
    return Table(
        title=title,
        title_justify="left",
        show_header=show_header,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        box=SIMPLE_HEAD,
    )


def _plain(value: Any) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.6g}" if isinstance(value, float) else str(value)
