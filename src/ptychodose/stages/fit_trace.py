"""What a fit does from iteration to iteration: cost, loss and, where the truth is known, quality.

The cost is counted in evaluations of loss and gradient over all patterns, not in seconds: it is the same on
every machine.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptychodose.formats.atomic import atomic_file
from ptychodose.metrics import gauge, images
from ptychodose.metrics.undefined import Undefined
from ptychodose.physics.stitching import Stitched, fully_covered_rectangle

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]


class Recorder:
    """Cost, loss and, where the truth is known, quality of every iteration; the truth goes nowhere else."""

    def __init__(self, shown: Stitched, origin_yx: tuple[int, int], truth: Complex | None) -> None:
        """Compare in the region of the canvas ``shown``; objects to come lie at ``origin_yx``."""
        self._rows: list[tuple[int, float, float | None, float | None]] = []
        self._shown, self._origin = shown, origin_yx
        self._region = fully_covered_rectangle(shown.weight > 0)
        self._truth = None if truth is None else self._amplitude(truth, (0, 0))
        self._evaluations = 0

    def note(self, obj: Complex, loss: float, evaluations: int) -> None:
        """Take down an iteration and the evaluations it took."""
        self._evaluations += evaluations
        amplitude = self._amplitude(obj, self._origin)
        self._rows.append((self._evaluations, loss, *self._quality(amplitude)))

    def _amplitude(self, obj: Complex, origin_yx: tuple[int, int]) -> Real:
        return np.asarray(np.abs(on_canvas(obj, origin_yx, self._shown)[self._region]))

    def _quality(self, amplitude: Real) -> tuple[float | None, float | None]:
        if self._truth is None:
            return None, None
        try:
            scaled, _ = gauge.scale_to_truth(amplitude, self._truth)
            data_range = images.truth_range(self._truth)
            psnr = images.psnr(scaled, self._truth, data_range=data_range)
        except Undefined:
            return None, None
        try:
            return psnr, images.pearson(scaled, self._truth)
        except Undefined:
            return psnr, None

    def write(self, path: Path) -> None:
        """As CSV, blank where there is no truth to compare with."""
        lines = ["iteration,evaluations,loss,amplitude_psnr,amplitude_pearson"]
        for iteration, (evaluations, loss, psnr, pearson) in enumerate(self._rows):
            cells = (f"{loss:.8g}", *("" if q is None else f"{q:.6g}" for q in (psnr, pearson)))
            lines.append(f"{iteration},{evaluations},{','.join(cells)}")
        with atomic_file(path) as partial:
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def on_canvas(obj: Complex, origin_yx: tuple[int, int], canvas: Stitched) -> Complex:
    """The part of an object, whose index (0, 0) is the object pixel ``origin_yx``, that lies on a canvas."""
    top, left = (a - b for a, b in zip(canvas.origin_yx, origin_yx, strict=True))
    height, width = canvas.weight.shape
    return obj[top : top + height, left : left + width]
