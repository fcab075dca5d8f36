"""Panels with images: colour limits, colour bars, axes and scale bars."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ptychodose.report.figures.style import ROUND_STEPS, new_figure

Complex = npt.NDArray[np.complexfloating]
Real = npt.NDArray[np.float64]

AMPLITUDE, CYCLIC, DIFFERENCE = "gray", "twilight", "RdBu_r"
_PHASE = "cividis"

# Colour maps are drawn in so many steps, too fine to be seen: four of them fit a PNG's palette and leave
# room for lines and text.
_LEVELS = 56
_PANEL_IN = 2.6
# A colour bar's left edge and width in units of its panel's width.
_BAR_BOX = (1.03, 0.0, 0.05, 1.0)
# Phases that cover more of the circle than this are shown cyclic.
_CYCLIC_FROM_RAD = 1.5 * np.pi
# Below this a phase or amplitude is called constant: the rounding of complex64.
_FLAT = 1e-6


@dataclass(frozen=True)
class Range:
    """Colour limits, and the colour map that goes with them."""

    low: float
    high: float
    cmap: str


def image_panels(
    title: str, n_rows: int, n_columns: int, shape: tuple[int, ...]
) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure with a grid of panels for images of one shape."""
    # Long strips are drawn smaller than their aspect asks for, not as a page of white.
    height = _PANEL_IN * float(np.clip(shape[0] / shape[1], 0.4, 1.8))
    size = (n_columns * (_PANEL_IN + 1.0), n_rows * (height + 0.35) + 0.6)
    figure = new_figure(max(size[0], 4.2), size[1], title)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    return figure, [list(row) for row in grid]


def colour_map(name: str) -> Colormap:
    """Give a colour map in as many steps as fit the palette of the PNG."""
    return colormaps[name].resampled(_LEVELS)


def show(panel: Axes, image: npt.NDArray[np.floating], limits: Range) -> AxesImage:
    """Draw an image with square pixels in its limits."""
    return panel.imshow(
        image, cmap=colour_map(limits.cmap), vmin=limits.low, vmax=limits.high, interpolation="nearest"
    )


def colour_bar(image: AxesImage, label: str, values: npt.NDArray[np.floating]) -> None:
    """Add a bar as high as the panel; it is pointed on the sides where ``values`` leave the limits."""
    low, high = image.get_clim()
    assert low is not None and high is not None
    finite = values[np.isfinite(values)]
    margin = 1e-3 * (high - low)
    below = bool((finite < low - margin).any())
    above = bool((finite > high + margin).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    bar = add_bar(image, label, extend[below, above])
    if image.get_cmap().name == colour_map(CYCLIC).name:
        bar.set_ticks([-np.pi, 0, np.pi], labels=["−π", "0", "π"])
        return
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "−"))


def add_bar(image: AxesImage, label: str, extend: str = "neither") -> Colorbar:
    """Add a plain colour bar as high as the panel."""
    panel = image.axes
    assert isinstance(panel, Axes) and isinstance(panel.figure, Figure)
    bar = panel.figure.colorbar(image, cax=panel.inset_axes(_BAR_BOX), extend=extend)
    bar.set_label(label)
    return bar


def finite_values(image: npt.NDArray[np.floating]) -> Real:
    """Give the finite values of an array, or one zero if it has none."""
    values = np.asarray(image[np.isfinite(image)], dtype=np.float64)
    return values if values.size else np.zeros(1)


def shared_range(truth: npt.NDArray[np.floating], prediction: npt.NDArray[np.floating], cmap: str) -> Range:
    """Limits from the truth; from the bulk of the prediction if the truth is constant."""
    values = finite_values(truth)
    low, high = float(values.min()), float(values.max())
    if high - low < _FLAT * max(abs(high), 1.0):
        low, high = (float(limit) for limit in np.percentile(finite_values(prediction), (1, 99)))
    if high - low < _FLAT * max(abs(high), 1.0):
        low, high = low - 0.1 * max(abs(low), 1.0), high + 0.1 * max(abs(high), 1.0)
    return Range(low, high, cmap)


def phase_range(truth: Real, prediction: Real) -> Range:
    """Limits from the truth, or the whole circle if the truth covers most of it."""
    if np.ptp(finite_values(truth)) > _CYCLIC_FROM_RAD:
        return Range(-np.pi, np.pi, CYCLIC)
    return shared_range(truth, prediction, _PHASE)


def phase_centre(field: Complex) -> float:
    """Mean direction, by which phases are unwrapped: a narrow distribution across ±π gets no seam."""
    return float(np.angle(np.sum(field[np.isfinite(field)])))


def phase_near(field: Complex, centre: float, *, cyclic: bool = False) -> Real:
    """The phase within π of ``centre``, or within π of zero if it is shown cyclic."""
    if cyclic:
        return np.asarray(np.angle(field), dtype=np.float64)
    return np.asarray(np.angle(field * np.exp(-1j * centre)) + centre, dtype=np.float64)


def pixel_axes(panel: Axes, pixel_m: float | None) -> None:
    """Draw few whole ticks in pixels; none where a scale bar gives the size."""
    if pixel_m is not None:
        panel.set_xticks([])
        panel.set_yticks([])
        return
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True, steps=ROUND_STEPS))


def scale_bar(panel: Axes, pixel_m: float) -> None:
    """A bar of 1, 2 or 5 x 10^k µm, at most 35 % of the panel, lower left."""
    width_px = abs(np.subtract(*panel.get_xlim()))
    height_px = abs(np.subtract(*panel.get_ylim()))
    target_um = 0.35 * width_px * pixel_m * 1e6
    decade = 10.0 ** np.floor(np.log10(target_um))
    length_um = max(step * decade for step in (1, 2, 5) if step * decade <= target_um)
    length_px = length_um * 1e-6 / pixel_m
    x, y = panel.get_xlim()[0] + 0.05 * width_px, panel.get_ylim()[0] - 0.05 * height_px
    panel.add_patch(
        Rectangle((x, y - 0.025 * height_px), length_px, 0.025 * height_px, fc="white", ec="black", lw=0.8)
    )
    panel.text(
        x,
        y - 0.04 * height_px,
        f"{length_um:g} µm",
        ha="left",
        va="bottom",
        color="white",
        path_effects=[withStroke(linewidth=2.5, foreground="black")],
    )
