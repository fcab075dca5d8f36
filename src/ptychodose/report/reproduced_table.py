"""What `ptychodose reproduced` prints: three blocks, with a row for everything that is not exact."""

from collections.abc import Sequence

from rich.console import Console

from ptychodose.parity.environments import Apart
from ptychodose.parity.reproduced import Reproduction
from ptychodose.report.gate_table import environment_table, outside_table, plain_table


def render(
    found: Reproduction, environment: Sequence[Apart], unread: Sequence[str], console: Console
) -> None:
    """Print environments, then datasets, checkpoints and metrics."""
    if environment:
        console.print(environment_table(environment), "")
    exact = sum(file.state == "exact" for file in found.datasets)
    _block(
        console,
        f"Datasets: {exact} of {len(found.datasets)} files exact",
        [(file.path, file.state) for file in found.datasets if file.state != "exact"],
    )
    same = sum(checkpoint.tier == "exact" for checkpoint in found.checkpoints)
    _block(
        console,
        f"Checkpoints: {same} of {len(found.checkpoints)} exact",
        [(f"{c.model} {c.dose}", c.tier, c.detail) for c in found.checkpoints if c.tier != "exact"],
    )
    gate = found.gate
    within = len(gate.numbers) - len(gate.outside)
    _block(console, f"Metrics: {within} of {len(gate.numbers)} numbers within tolerance", [])
    if gate.outside:
        console.print(outside_table(gate.outside), "")
    for problem in [*found.problems, *unread]:
        console.print(problem, style="red", soft_wrap=True)


def _block(console: Console, title: str, rows: Sequence[Sequence[str]]) -> None:
    console.print(title, style="bold")
    if rows:
        table = plain_table(show_header=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print()
