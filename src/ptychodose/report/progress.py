"""Progress on stderr, with an estimate of the time left."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

Item = TypeVar("Item")


class Progress:
    """A progress bar over ``total`` units: ``with Progress("simulate 1e5", 1024, "patterns") as bar``."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit + " {task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(title, total=total, note="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count units done; ``note`` is shown behind the unit."""
        self._bar.update(self._task, advance=units, note=note)

    def over(self, items: Iterable[Item], units: Callable[[Item], int]) -> Iterator[Item]:
        """Pass items through, counting ``units(item)`` for each."""
        for item in items:
            yield item
            self.advance(units(item))
