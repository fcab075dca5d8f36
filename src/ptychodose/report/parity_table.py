"""The comparison of two parity logs on a terminal."""

from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ptychodose.parity.diff import Comparison, Walk
from ptychodose.parity.verdict import Tier, Verdict
from ptychodose.report.columns import UNDEFINED
from ptychodose.report.gate_table import plain_table

_STYLES = {
    Tier.EXACT: "green",
    Tier.CLOSE: "green",
    Tier.STATISTICAL: "yellow",
    Tier.DIFFERENT: "bold red",
    Tier.MISSING: "dim",
}
_QUIET = (Tier.EXACT, Tier.MISSING)
"""Tiers of which a run of boundaries needs no more than one line."""


def render(comparison: Comparison, console: Console) -> None:
    """Print what differs between the environments, a table for each data set, and the answer."""
    console.print(f"A: {comparison.a}\nB: {comparison.b}\n", markup=False)
    if comparison.environment:
        console.print("Environments: what differs", style="italic")
        console.print(_environments(comparison), "")
    for walk in comparison.walks:
        console.print(_table(walk), "")
    for side, names in (("A", comparison.only_a), ("B", comparison.only_b)):
        if names:
            console.print(f"only in {side}: {', '.join(names)}", style="dim", markup=False)
    for note in comparison.notes:
        console.print(note, style="dim", markup=False)
    console.print(comparison.verdict, style="bold", markup=False, soft_wrap=True)


def _environments(comparison: Comparison) -> Table:
    table = plain_table()
    for name in ("key", "A", "B"):
        table.add_column(name, overflow="fold")
    for key, a, b in comparison.environment:
        table.add_row(*(Text(UNDEFINED if cell is None else str(cell)) for cell in (key, a, b)))
    return table


def _table(walk: Walk) -> Table:
    table = plain_table(walk.label)
    table.add_column("boundary", overflow="fold")
    table.add_column("tier", no_wrap=True)
    table.add_column("rel. error", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    if walk.problem:
        table.add_row("", Text("not compared", style="bold red"), "", Text(walk.problem))
    for (tier, _), group in groupby(walk.verdicts.items(), key=_alike):
        steps = list(group)
        first, last, verdict = steps[0][0], steps[-1][0], steps[0][1]
        name = first if len(steps) == 1 else f"{first} … {last} ({len(steps)})"
        note = walk.cause if walk.first_different == first else verdict.note
        table.add_row(Text(name), Text(tier, style=_STYLES[tier]), _error(verdict), Text(note or ""))
    return table


def _alike(step: tuple[str, Verdict]) -> tuple[Tier, str]:
    """Consecutive boundaries with the same answer share a line if there is nothing else to say of them."""
    name, verdict = step
    return verdict.tier, verdict.note if verdict.tier in _QUIET else name


def _error(verdict: Verdict) -> str:
    return f"{verdict.relative_error:.1e}" if verdict.relative_error else ""
