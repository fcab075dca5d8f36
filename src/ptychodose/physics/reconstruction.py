"""Objects from photons alone: maximum likelihood, with a prior (MAP), and the choice of the prior's weight.

Minimised is L(O) + weight sum |grad O|^2 / (D n_patterns), see :mod:`.likelihood`. The weight is in photons,
and a matter of the object, not of the dose: neighbours that differ by independent Gaussians of mean square
s^2 have 1 / s^2; real ones, whose differences are neither, take less. Weight 0 is plain maximum likelihood,
which at low doses fits the noise.

The solver is SciPy's L-BFGS-B (Byrd, Lu, Nocedal, Zhu 1995, doi:10.1137/0916069) in unknowns whose curvatures
are alike, see :class:`_Unknowns`. Nothing here takes a true object.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.optimize import OptimizeResult, minimize

from ptychodose.physics.likelihood import (
    Complex,
    Measurement,
    PoissonLikelihood,
    Real,
    gradient_prior,
)
from ptychodose.physics.randomness import generator
from ptychodose.physics.stitching import Stitched

OnIteration = Callable[[Complex, float, int], None]
"""Called after each iteration with the object, what is minimised, and how often it was evaluated for that."""
_LEAST_CURVATURE = 1e-3
"""Of the largest: where next to no light fell, steps stay finite."""
_REMEMBERED_STEPS = 10


@dataclass(frozen=True)
class Fit:
    """An object (H, W) and how it was found."""

    obj: Complex
    minimum: float
    """L(O) plus the prior's share."""
    iterations: int
    evaluations: int
    converged: bool
    """Whether it ended before ``max_iterations``."""


@dataclass(frozen=True)
class Trial:
    """One weight and how well patterns that were not fitted are explained with it."""

    weight_photons: float
    held_out_loss: float
    """L(O) of the held-out patterns."""
    gain: float | None
    """By how much it is below the one of the trial before; None in the first."""
    gain_standard_error: float | None
    """From the spread of the gain over the held-out patterns."""
    iterations: int
    evaluations: int


@dataclass(frozen=True)
class Choice:
    """A weight, the object it gave, and all trials in their order."""

    weight_photons: float
    obj: Complex
    trials: tuple[Trial, ...]


def fit_object(
    measurement: Measurement,
    start: Complex,
    *,
    weight_photons: float = 0.0,
    max_iterations: int,
    tolerance: float,
    on_iteration: OnIteration | None = None,
) -> Fit:
    """The object (H, W) that explains the photons best; with a weight, and is smooth.

    It ends when an iteration lowers the deviance per detector pixel, which is about 1 at the true object if
    photons are many, by less than ``tolerance`` (times itself, while it is above 1), or after
    ``max_iterations``.
    """
    likelihood = PoissonLikelihood(measurement)
    unknowns = _Unknowns(likelihood.illumination(), weight_photons)
    per_photon = 1 / (measurement.dose_photons * len(measurement))
    deviance_per_pixel = 2 * measurement.dose_photons / measurement.probe.size

    evaluations = total = 0

    def loss(obj: Complex) -> tuple[float, Complex]:
        nonlocal evaluations, total
        evaluations, total = evaluations + 1, total + 1
        value, gradient = likelihood.value_and_gradient(obj)
        if weight_photons:
            penalty, slope = gradient_prior(obj)
            value += weight_photons * per_photon * penalty
            gradient += weight_photons * per_photon * slope
        return value, gradient

    def objective(vector: Real) -> tuple[float, Real]:
        value, gradient = loss(unknowns.to_object(vector))
        return deviance_per_pixel * value, unknowns.adjoint(deviance_per_pixel * gradient)

    # The first step of L-BFGS-B has length 1 whatever is minimised. One evaluation makes that the right one,
    # where the line search would take six.
    unknowns.stretch(float(np.linalg.norm(unknowns.adjoint(loss(start)[1]))) / per_photon)

    def callback(intermediate_result: OptimizeResult) -> None:
        nonlocal evaluations
        if on_iteration is not None:
            minimum = float(intermediate_result.fun) / deviance_per_pixel
            on_iteration(unknowns.to_object(intermediate_result.x), minimum, evaluations)
        evaluations = 0

    result = minimize(
        objective,
        unknowns.from_object(start),
        jac=True,
        method="L-BFGS-B",
        callback=callback,
        options={
            "maxiter": max_iterations,
            "maxfun": 20 * max_iterations,
            "maxcor": _REMEMBERED_STEPS,
            "ftol": tolerance,
            "gtol": 0.0,
        },
    )
    return Fit(
        obj=unknowns.to_object(result.x),
        minimum=float(result.fun) / deviance_per_pixel,
        iterations=int(result.nit),
        evaluations=total,
        converged=int(result.nit) < max_iterations,
    )


class _Unknowns:
    """The object in variables in which what is minimised curves alike in all directions.

    The photons curve it by twice the illumination c, pixel by pixel; the prior by 2 weight k^2 in the cosine
    transform, which diagonalises forward differences (k^2 from 0 to 8). O = C K u with C = 1 / sqrt(c + 8
    weight), which suits the pixels, and K, 1 at the finest structure, which takes back from smooth structures
    what C put there of the prior. The curvature is then about 1 / (D n_patterns) in all directions.
    """

    def __init__(self, illumination: Real, weight_photons: float) -> None:
        curvature = 2 * illumination
        typical = float(np.sum(curvature**2) / np.sum(curvature))
        self._by_pixel = 1 / np.sqrt(curvature + 8 * weight_photons + _LEAST_CURVATURE * curvature.max())
        self._by_frequency: Real | None = None
        if weight_photons:
            rows, columns = (2 - 2 * np.cos(np.pi * np.arange(side) / side) for side in curvature.shape)
            prior = 2 * weight_photons * (rows[:, None] + columns)
            self._by_frequency = np.sqrt((typical + 8 * weight_photons) / (typical + prior))

    def stretch(self, factor: float) -> None:
        """Measure u in units of ``factor``; where that is 0, nothing is left to do, and they stay."""
        self._by_pixel *= factor or 1.0

    def to_object(self, vector: Real) -> Complex:
        """O = C K u from the real and imaginary parts of u, (2 H W,)."""
        image = vector.view(np.complex128).reshape(self._by_pixel.shape)
        return np.asarray(self._by_pixel * self._filter(image, 1))

    def adjoint(self, gradient: Complex) -> Real:
        """The gradient by u from that by O."""
        return self._vector(self._filter(self._by_pixel * gradient, 1))

    def from_object(self, obj: Complex) -> Real:
        """The u of an object."""
        return self._vector(self._filter(obj / self._by_pixel, -1))

    def _filter(self, image: Complex, power: int) -> Complex:
        if self._by_frequency is None:
            return image
        spectrum = fft.dctn(image, norm="ortho") * self._by_frequency**power
        return np.asarray(fft.idctn(spectrum, norm="ortho"), dtype=np.complex128)

    def _vector(self, image: Complex) -> Real:
        return np.ascontiguousarray(image).ravel().view(np.float64)


def choose_weight(
    measurement: Measurement,
    start: Complex,
    weights_photons: Sequence[float],
    *,
    held_out_fraction: float,
    key: npt.NDArray[np.uint64],
    max_iterations: int,
    tolerance: float,
    on_iteration: OnIteration | None = None,
) -> Choice:
    """The largest weight of which no smaller one explains patterns kept out of the fit better.

    From the largest to the smallest, each starting from the object of the one before, until the held-out loss
    no longer falls by more than the standard error of its fall (Breiman et al. 1984, Classification and
    Regression Trees, section 3.4.3): a weight that only chance or a few more iterations favour is not taken.

    Parameters
    ----------
    key : (2,) uint64
        Of the draw of the held-out patterns.
    """
    fitted, held_out = split_held_out(len(measurement), held_out_fraction, key)
    part, test = measurement.part(fitted), PoissonLikelihood(measurement.part(held_out))
    chosen, obj = 0.0, start
    losses: Real | None = None
    trials = list[Trial]()
    for weight in sorted(weights_photons, reverse=True):
        fit = fit_object(
            part,
            obj,
            weight_photons=weight,
            max_iterations=max_iterations,
            tolerance=tolerance,
            on_iteration=on_iteration,
        )
        before, losses = losses, test.losses(fit.obj)
        gain: float | None = None
        error: float | None = None
        if before is not None:
            gain, error = _sum_and_error(before - losses)
        trials.append(Trial(weight, float(losses.sum()), gain, error, fit.iterations, fit.evaluations))
        if gain is not None and error is not None and gain <= error:
            break
        chosen, obj = weight, fit.obj
    return Choice(chosen, obj, tuple(trials))


def _sum_and_error(values: Real) -> tuple[float, float]:
    """The sum of n independent values and its standard error, which one value alone does not tell: 0."""
    n = len(values)
    error = float(np.sqrt(n) * np.std(values, ddof=1)) if n > 1 else 0.0
    return float(values.sum()), error


def split_held_out(
    n: int, fraction: float, key: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sorted indices of the patterns to fit and of those held out, which are at least one."""
    order = generator(key).permutation(n)
    n_held_out = max(1, round(n * fraction))
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])


def uniform_start(measurement: Measurement) -> Complex:
    """The uniform object (H, W) that passes as many photons as were counted."""
    per_pattern = measurement.counts.sum(dtype=np.float64) / len(measurement)
    transparent = measurement.gain_squared * np.sum(np.abs(measurement.probe) ** 2)
    return np.full(measurement.object_shape, np.sqrt(per_pattern / transparent), dtype=np.complex128)


def stitched_start(stitched: Stitched, measurement: Measurement, origin_yx: tuple[int, int]) -> Complex:
    """A stitched prediction on the frame (H, W) of a measurement, beyond its coverage its mean.

    Parameters
    ----------
    origin_yx : (int, int)
        Object pixel of the frame's index (0, 0).
    """
    covered = stitched.weight > 0
    obj = np.full(measurement.object_shape, stitched.obj[covered].mean(), dtype=np.complex128)
    rows, columns = np.nonzero(covered)
    top, left = (a - b for a, b in zip(stitched.origin_yx, origin_yx, strict=True))
    obj[rows + top, columns + left] = stitched.obj[covered]
    return obj
