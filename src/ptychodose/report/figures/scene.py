"""What is measured: object, scan positions, probe and a diffraction pattern."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from ptychodose.physics.probes import effective_diameter_px
from ptychodose.report.figures.images import (
    AMPLITUDE,
    CYCLIC,
    Complex,
    Range,
    Real,
    add_bar,
    colour_bar,
    colour_map,
    image_panels,
    phase_centre,
    phase_near,
    phase_range,
    pixel_axes,
    scale_bar,
    shared_range,
    show,
)
from ptychodose.report.figures.style import ROUND_STEPS, styled

_PROBE_MASK_FRACTION = 0.02


@styled
def scene(
    obj: Complex,
    probe: Complex,
    x: Real,
    y: Real,
    pattern_counts: npt.NDArray[np.number],
    *,
    title: str,
    object_pixel_m: float | None,
) -> Figure:
    """What is measured: object, scan positions, probe, and one diffraction pattern in photons.

    Parameters
    ----------
    obj : (H, W) complex
    probe : (N, N) complex; its phase is left blank where its amplitude is below 2 % of the largest
    x, y : (n,) positions, object pixels
    pattern_counts : (N, N) photons, zero frequency at (N/2, N/2)
    object_pixel_m
        Gives scale bars and q in µm⁻¹; None gives pixels.
    """
    figure, axes = image_panels(title, 2, 3, obj.shape)
    amplitude = shared_range(np.abs(obj), np.abs(obj), AMPLITUDE)
    offset = phase_centre(obj)
    phase = phase_range(phase_near(obj, offset), phase_near(obj, offset))
    image = show(axes[0][0], np.abs(obj), amplitude)
    colour_bar(image, "amplitude", np.abs(obj))
    axes[0][0].set_title("object amplitude")
    shown = phase_near(obj, offset, cyclic=phase.cmap == CYCLIC)
    colour_bar(show(axes[0][1], shown, phase), "phase (rad)", shown)
    axes[0][1].set_title("object phase")
    _scan(axes[0][2], np.abs(obj), probe, x, y)
    _probe(axes[1][0], axes[1][1], probe)
    _pattern(axes[1][2], np.asarray(pattern_counts, dtype=np.float64), object_pixel_m)
    for panel in (*axes[0], *axes[1][:2]):
        pixel_axes(panel, object_pixel_m)
    if object_pixel_m is None:
        for row in axes:
            row[0].set_ylabel("y (px)")
        for panel in axes[1][:2]:
            panel.set_xlabel("x (px)")
    else:
        scale_bar(axes[0][0], object_pixel_m)
        scale_bar(axes[1][0], object_pixel_m)
    return figure


def _scan(panel: Axes, amplitude: npt.NDArray[np.floating], probe: Complex, x: Real, y: Real) -> None:
    """Positions over a pale object, with their bounding box and the probe's effective size."""
    limits = shared_range(amplitude, amplitude, AMPLITUDE)
    # Only the bright end of the map, so that the dots stand out.
    show(panel, amplitude, Range(limits.low - 2 * (limits.high - limits.low), limits.high, AMPLITUDE))
    # A dense scan needs small dots to be seen as dots.
    size = float(np.clip(60 / np.sqrt(len(x)), 1, 4))
    panel.plot(x, y, "o", color="#0072B2", markersize=size, markeredgewidth=0)
    panel.add_patch(
        Rectangle((x.min(), y.min()), np.ptp(x), np.ptp(y), fill=False, ec="#0072B2", lw=1, linestyle="--")
    )
    middle = int(np.argmin(np.hypot(x - x.mean(), y - y.mean())))
    radius = effective_diameter_px(probe.astype(np.complex128)) / 2
    panel.add_patch(Circle((x[middle], y[middle]), radius, fill=False, ec="#D55E00", lw=2))
    panel.set_title(f"{len(x)} positions, ○ probe")


def _probe(amplitude_panel: Axes, phase_panel: Axes, probe: Complex) -> None:
    amplitude = np.abs(probe)
    limits = Range(0, float(amplitude.max()), AMPLITUDE)
    colour_bar(show(amplitude_panel, amplitude, limits), "amplitude", amplitude)
    amplitude_panel.set_title("probe amplitude")
    phase = np.where(amplitude >= _PROBE_MASK_FRACTION * amplitude.max(), np.angle(probe), np.nan)
    phase_panel.set_facecolor("0.6")
    colour_bar(show(phase_panel, phase, Range(-np.pi, np.pi, CYCLIC)), "phase (rad)", phase)
    phase_panel.set_title("probe phase")


def _pattern(panel: Axes, counts: Real, pixel_m: float | None) -> None:
    """Photon counts on a logarithmic scale that ends in a step for zero."""
    top = max(float(counts.max()), 2.0)
    # Zero is drawn a tenth of the scale below one photon, so that one and none differ at any dose.
    zero = top**-0.1
    n = len(counts)
    step = 1.0 if pixel_m is None else 1e-6 / (n * pixel_m)
    low, high = (-n // 2 - 0.5) * step, (n - n // 2 - 0.5) * step
    image = panel.imshow(
        np.maximum(counts, zero),
        cmap=colour_map("inferno"),
        norm=LogNorm(zero, top),
        extent=(low, high, high, low),
        interpolation="nearest",
    )
    bar = add_bar(image, "photons per pixel")
    bar.ax.yaxis.set_major_locator(FixedLocator([zero, *_photon_ticks(top)]))
    bar.ax.yaxis.set_major_formatter(lambda value, _: _photon_tick(value))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    unit = "px" if pixel_m is None else "µm⁻¹"
    panel.set_xlabel(f"q ({unit})")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    panel.set_title(f"pattern, {counts.sum():,.0f} photons")


def _photon_ticks(top: float) -> list[float]:
    n_decades = int(np.log10(top)) + 1
    steps = (1, 2, 5) if n_decades < 3 else (1,)
    every = -(-n_decades // 5)
    ticks = [step * 10.0**decade for decade in range(0, n_decades, every) for step in steps]
    return [tick for tick in ticks if tick <= top]


def _photon_tick(value: float) -> str:
    if value < 1:
        return "0"
    return f"{value:.0f}" if value < 1000 else rf"$10^{{{np.log10(value):.0f}}}$"
