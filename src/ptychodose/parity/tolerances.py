"""How far apart a number of two studies may be: by its spread over the seeds, never below a least tolerance.

A network's number may differ by ``seed_ranges`` times its range over the seeds at its model and dose, the
largest over the splits. The range of three values is about 1.7 standard deviations and the difference of two
trainings has sqrt(2) of them, so 2.5 ranges would be 3 standard deviations of a difference if three seeds
told the standard deviation well. They do not: 6 % of the numbers of one more Gaussian seed differ by more.
Hence the largest over the splits, and a factor of 5.

Where a dose has no seeds, the larger range of the nearest doses below and above that have some counts; where
a model has none, that of the models that have some. Such a range is carried over as a share of the median for
metrics whose least tolerance is a share, since they span decades over doses and models. Fits are not seeded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ptychodose.config import FITS, CompareParams

Spread = Mapping[str, Mapping[str, Any]]
"""``{"amplitude.psnr": {"range": 0.17, "median": 30.3, ...}}``; without a range where it is undefined."""

Floors = Mapping[tuple[str, str], Mapping[str, Spread]]
"""(model, dose) → split → spread over the seeds, as in metrics/noise_floor/<model>/<dose>.json."""


@dataclass(frozen=True)
class Tolerance:
    """A largest difference, in the unit of the number, and the rule it comes from."""

    value: float
    origin: str


@dataclass(frozen=True)
class Tolerances:
    """The rule of a study: its parameters and what it measured over its seeds."""

    compare: CompareParams
    floors: Floors

    def of(self, metric: str, model: str, dose: str, reference: float) -> Tolerance:
        """The tolerance of a number whose value in the reference study is ``reference``."""
        for place in (f"{model}/{dose}", f"{model}/*", "*/*"):
            amount = _named(self.compare.overrides.get(place, {}), metric)
            if amount is not None:
                return Tolerance(_absolute(amount, reference), f"override: {place}")
        least = _named(self.compare.least, metric)
        relative = isinstance(least, str)
        found = (
            Tolerance(0.0, "exact")
            if least is None
            else Tolerance(_absolute(least, reference), f"least: {least}")
        )
        seeds = () if model in FITS else self._over_seeds(metric, model, dose, reference, relative)
        return max((found, *seeds), key=lambda tolerance: tolerance.value)

    def _over_seeds(
        self, metric: str, model: str, dose: str, reference: float, relative: bool
    ) -> Iterable[Tolerance]:
        spreads = {run: _widest(floor, metric) for run, floor in self.floors.items()}
        measured = {run: spread for run, spread in spreads.items() if spread}
        replicated = {source for source, _ in measured}
        for source in [model] if model in replicated else sorted(replicated):
            for at in _nearest(dose, [dose_ for model_, dose_ in measured if model_ == source]):
                spread = measured[source, at]
                # What spans decades over doses and models is carried from one to another by its share.
                share = abs(reference / spread["median"]) if relative and spread["median"] else 1.0
                carried = 1.0 if source == model and float(at) == float(dose) else share
                yield Tolerance(self.compare.seed_ranges * spread["range"] * carried, f"floor: {source} {at}")


def _widest(floor: Mapping[str, Spread], metric: str) -> Mapping[str, Any]:
    """The spread of a metric in the split where its range is largest; empty if it has none."""
    spreads = [spread[metric] for spread in floor.values() if "range" in spread.get(metric, {})]
    return max(spreads, key=lambda spread: spread["range"], default={})


def _nearest(dose: str, doses: Iterable[str]) -> list[str]:
    """The dose itself if it is among them, else the nearest below and the nearest above, where there are."""
    ascending = sorted(doses, key=float)
    below = [at for at in ascending if float(at) <= float(dose)][-1:]
    above = [at for at in ascending if float(at) > float(dose)][:1]
    return below if below and float(below[0]) == float(dose) else below + above


def _named(amounts: Mapping[str, float | str], metric: str) -> float | str | None:
    """The amount of a metric by its full name, else by that without amplitude or phase."""
    group, _, name = metric.partition(".")
    return amounts.get(metric, amounts.get(group if group == "control" else name))


def _absolute(amount: float | str, reference: float) -> float:
    return float(amount[:-1]) / 100 * abs(reference) if isinstance(amount, str) else amount
