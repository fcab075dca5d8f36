"""One data set (and model) in two logs, side by side."""

import math
from dataclasses import dataclass
from typing import Any

from ptychodose.parity.boundaries import position
from ptychodose.parity.schema import ArrayPrint, Boundary, Entry
from ptychodose.parity.tolerances import Tolerances

Arrays = tuple[ArrayPrint, ArrayPrint]
Values = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class Pair:
    """The entries of A (the reference) and B that are compared with each other."""

    a: Entry
    b: Entry
    tolerances: Tolerances | None = None
    """Of metrics; None where no study tells."""
    data: "Pair | None" = None
    """For the entries of a model: those of the data set it was given."""

    @property
    def label(self) -> str:
        """``1e5/test pinn``, with the name in B where it is another one."""
        name = self.a.name if self.a.name == self.b.name else f"{self.a.name} = {self.b.name}"
        return f"{name} {self.a.model}" if self.a.model else name

    @property
    def split(self) -> str:
        """``test`` of ``1e5/test``."""
        return self.a.name.rpartition("/")[2]

    @property
    def names(self) -> list[str]:
        """All boundaries of either side, in data-flow order."""
        found = {boundary.name: None for entry in (self.a, self.b) for boundary in entry.boundaries}
        return sorted(found, key=position)

    def boundary(self, name: str) -> tuple[Boundary | None, Boundary | None]:
        """A boundary of this pair or, if neither side has it, of its data set."""
        found = _find(self.a, name), _find(self.b, name)
        return self.data.boundary(name) if found == (None, None) and self.data else found

    def arrays(self, name: str) -> Arrays | None:
        """Both fingerprints, or None if one is missing."""
        a, b = (side.array if side else None for side in self.boundary(name))
        return (a, b) if a and b else None

    def values(self, name: str) -> Values | None:
        """The numbers of both, or None if one is missing."""
        a, b = (side.values if side else None for side in self.boundary(name))
        return (a, b) if a is not None and b is not None else None

    @property
    def photons(self) -> float | None:
        """Photons per pattern: as measured in A, else as declared."""
        measured = self.values("dose")
        for value in (measured[0].get("mean_photons") if measured else None, self.a.dose, self.b.dose):
            try:
                photons = float(value)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                continue
            if 0 < photons < math.inf:
                return photons
        return None


def _find(entry: Entry, name: str) -> Boundary | None:
    return next((boundary for boundary in entry.boundaries if boundary.name == name), None)
