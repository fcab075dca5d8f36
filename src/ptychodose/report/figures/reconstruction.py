"""A reconstruction beside its truth."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptychodose.report.figures.images import (
    AMPLITUDE,
    CYCLIC,
    DIFFERENCE,
    Complex,
    Range,
    colour_bar,
    finite_values,
    image_panels,
    phase_centre,
    phase_near,
    phase_range,
    pixel_axes,
    scale_bar,
    shared_range,
    show,
)
from ptychodose.report.figures.style import styled


@styled
def reconstruction(
    truth: Complex | None, prediction: Complex, *, title: str, object_pixel_m: float | None
) -> Figure:
    """Amplitude (upper row) and phase (lower row) of truth, prediction and their difference.

    Truth and prediction share the truth's range; a colour bar ends in a point where the prediction leaves
    it. The phase difference is angle(prediction conj(truth)), free of wraps; difference ranges are the
    99.5th percentile of the modulus. Without a truth only the prediction is shown.

    Parameters
    ----------
    truth, prediction : (h, w) complex, aligned and on one region
    object_pixel_m
        Gives a scale bar; None gives axes in pixels.
    """
    fields = {"prediction": prediction} if truth is None else {"truth": truth, "prediction": prediction}
    reference = prediction if truth is None else truth
    centre = phase_centre(reference)
    amplitude = shared_range(np.abs(reference), np.abs(prediction), AMPLITUDE)
    phase = phase_range(phase_near(reference, centre), phase_near(prediction, centre))
    figure, axes = image_panels(title, 2, 1 if truth is None else 3, prediction.shape)
    for column, (name, field) in enumerate(fields.items()):
        angle = phase_near(field, centre, cyclic=phase.cmap == CYCLIC)
        upper = show(axes[0][column], np.abs(field), amplitude)
        lower = show(axes[1][column], angle, phase)
        axes[0][column].set_title(name)
        # One bar for both columns, which tells whether the prediction leaves the range they share.
        if name == "prediction":
            colour_bar(upper, "amplitude", np.abs(field))
            colour_bar(lower, "phase (rad)", angle)
    if truth is not None:
        _differences(axes, truth, prediction, amplitude)
    for row, name in zip(axes, ("amplitude", "phase"), strict=True):
        for panel in row:
            pixel_axes(panel, object_pixel_m)
        row[0].set_ylabel(name if object_pixel_m is not None else f"{name}\ny (px)", fontsize=12)
    if object_pixel_m is None:
        for panel in axes[-1]:
            panel.set_xlabel("x (px)")
    else:
        scale_bar(axes[0][0], object_pixel_m)
    return figure


def _differences(axes: list[list[Axes]], truth: Complex, prediction: Complex, amplitude: Range) -> None:
    amplitude_difference = np.abs(prediction) - np.abs(truth)
    phase_difference = np.angle(prediction * np.conj(truth))
    rows = (
        (amplitude_difference, 1e-3 * (amplitude.high - amplitude.low), "Δ amplitude"),
        (phase_difference, 1e-3, "Δ phase (rad)"),
    )
    for (panel,), (values, floor, label) in zip((row[2:] for row in axes), rows, strict=True):
        # The floor keeps two equal images from being shown as a field of rounding errors.
        limit = max(float(np.percentile(np.abs(finite_values(values)), 99.5)), floor)
        colour_bar(show(panel, values, Range(-limit, limit, DIFFERENCE)), label, values)
    axes[0][2].set_title("prediction − truth")
