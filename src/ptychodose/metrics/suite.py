"""All image metrics of one reconstruction against its truth, with how each was taken."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.metrics import gauge, images, rings
from ptychodose.metrics.undefined import Undefined

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]
COLLAPSED_PEARSON = 0.3
"""An amplitude that correlates less than this with the truth has collapsed to a flat one."""


@dataclass
class Suite:
    """Values by quantity and metric (None where undefined), and the record of how they were taken."""

    values: dict[str, dict[str, float | int | None]] = field(default_factory=dict)
    record: dict[str, dict[str, Any]] = field(default_factory=dict)
    amplitude_bias: float | None = None


def compare_objects(prediction: Complex, truth: Complex) -> Suite:
    """Compare two complex objects (H, W) on the same frame, amplitude and phase.

    Amplitude is scaled to the truth's mean; phase is turned to the truth's and freed of its best-fit plane,
    as is the truth's. ``amplitude_bias`` and ``shift_px`` are taken before.
    """
    suite = Suite()
    amplitude, true_amplitude = np.abs(prediction), np.abs(truth)

    group = _Group()
    factor = group.take("scale_factor", lambda: gauge.scale_to_truth(amplitude, true_amplitude)[1])
    scaled = amplitude * (factor if factor is not None else 1.0)
    suite.amplitude_bias = group.attempt(
        "amplitude_bias", lambda: gauge.amplitude_bias(amplitude, true_amplitude)
    )
    shift = group.attempt("shift_px", lambda: gauge.shift_px(amplitude, true_amplitude))
    group.values["shift_y_px"], group.values["shift_x_px"] = shift if shift is not None else (None, None)
    _image_metrics(group, scaled, true_amplitude)
    group.multi_scale(
        "ms_ssim@legacy", lambda: images.ms_ssim_legacy(scaled, true_amplitude, smooth_sigma=1.0)
    )
    group.alignment = "scaled to the mean of the truth"
    suite.values["amplitude"], suite.record["amplitude"] = group.values, group.record()

    group = _Group()
    aligned = group.attempt("alignment", lambda: gauge.align_phase(prediction, truth))
    if aligned is not None:
        phase, true_phase = aligned
        group.take("rms_rad", lambda: images.phase_rms_rad(phase, true_phase))
        _image_metrics(group, phase, true_phase)
        group.multi_scale(
            "ms_ssim@legacy",
            lambda: images.ms_ssim_legacy(
                images.legacy_phase_image(phase), images.legacy_phase_image(true_phase), smooth_sigma=0.0
            ),
        )
    group.alignment = "turned to the mean phase of the truth; best-fit plane removed from both"
    suite.values["phase"], suite.record["phase"] = group.values, group.record()
    return suite


def is_collapsed(amplitude_values: dict[str, float | int | None]) -> bool:
    """Whether the amplitude shows nothing of the truth: Pearson undefined or below 0.3."""
    pearson = amplitude_values.get("pearson")
    return pearson is None or pearson < COLLAPSED_PEARSON


class _Group:
    """The metrics of one quantity while they are taken."""

    def __init__(self) -> None:
        self.values: dict[str, float | int | None] = {}
        self.undefined: dict[str, str] = {}
        self.details: dict[str, Any] = {}
        self.alignment = ""

    def attempt(self, name: str, compute: Callable[[], Any]) -> Any:
        """The result, or None with the reason noted."""
        try:
            return compute()
        except Undefined as reason:
            self.undefined[name] = str(reason)
            return None

    def take(self, name: str, compute: Callable[[], float]) -> float | None:
        """Keep one number."""
        value: float | None = self.attempt(name, compute)
        self.values[name] = value
        return value

    def multi_scale(self, name: str, compute: Callable[[], images.MultiScale]) -> None:
        """Keep a multi-scale similarity with its scales and weights."""
        result = self.attempt(name, compute)
        self.values[name] = None if result is None else result.value
        if result is not None:
            self.details[name] = {"scales": result.scales, "weights": list(result.weights)}

    def crossing(self, name: str, compute: Callable[[], rings.Rings], threshold: float) -> None:
        """Keep a ring correlation's first crossing as fraction of Nyquist and as ring."""
        correlation = self.attempt(name, compute)
        self.values[name] = self.values[f"{name}_ring"] = None
        if correlation is not None:
            crossing = rings.first_crossing(correlation, threshold)
            self.values[name] = crossing.fraction_of_nyquist
            self.values[f"{name}_ring"] = crossing.ring
            self.details[name] = {"nyquist_ring": correlation.nyquist_ring, "reached": crossing.reached}

    def record(self) -> dict[str, Any]:
        """How the numbers were taken and why some are missing."""
        return {"alignment": self.alignment, **self.details, "undefined": self.undefined}


def _image_metrics(group: _Group, prediction: Real, truth: Real) -> None:
    data_range = group.attempt("data_range", lambda: images.truth_range(truth)) or 0.0
    group.details["data_range"] = data_range
    group.take("mae", lambda: images.mae(prediction, truth))
    group.take("mse", lambda: images.mse(prediction, truth))
    group.take("pearson", lambda: images.pearson(prediction, truth))
    group.take("psnr", lambda: images.psnr(prediction, truth, data_range=data_range))
    group.take("psnr@legacy255", lambda: images.psnr_legacy255(prediction, truth))
    group.take("ssim", lambda: images.ssim(prediction, truth, data_range=data_range))
    group.multi_scale("ms_ssim", lambda: images.ms_ssim(prediction, truth, data_range=data_range))
    for name, threshold in (("frc50", 0.5), ("frc1over7", 1 / 7)):
        group.crossing(name, lambda: rings.ring_correlation(prediction, truth), threshold)
