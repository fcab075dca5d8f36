"""Figures for reports and talks: arrays in, a matplotlib Figure out, nothing shown and no global state.

Every figure is made under matplotlib's own defaults plus ``STYLE``, whatever a user's matplotlibrc says,
so that equal arrays give equal PNG bytes under one matplotlib version.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from ptychodose.formats.atomic import atomic_file
from ptychodose.physics.probes import effective_diameter_px

Complex = npt.NDArray[np.complexfloating]
Real = npt.NDArray[np.float64]
P = ParamSpec("P")

STYLE: dict[str, object] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "figure.titlesize": 14,
    "axes.linewidth": 0.8,
    "axes.formatter.useoffset": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}
"""What differs from matplotlib's defaults: type that is still read when the figure fills half a page."""

DPI = 120

# Colour maps are drawn in so many steps, too fine to be seen: four of them fit a PNG's palette and leave
# room for lines and text.
_LEVELS = 56
_PALETTE = 256
_RGB_CODE = np.array([1 << 16, 1 << 8, 1])
_ROUND_STEPS = (1, 2, 5, 10)
_AMPLITUDE, _PHASE, _CYCLIC, _DIFFERENCE = "gray", "cividis", "twilight", "RdBu_r"
_PANEL_IN = 2.6
# A colour bar's left edge and width in units of its panel's width.
_BAR_BOX = (1.03, 0.0, 0.05, 1.0)
# Phases that cover more of the circle than this are shown cyclic.
_CYCLIC_FROM_RAD = 1.5 * np.pi
# Below this a phase or amplitude is called constant: the rounding of complex64.
_FLAT = 1e-6
_PROBE_MASK_FRACTION = 0.02


@dataclass(frozen=True)
class _Range:
    """Colour limits, and the colour map that goes with them."""

    low: float
    high: float
    cmap: str


@dataclass(frozen=True)
class _Metric:
    key: str
    label: str


_DOSE_PANELS = (
    _Metric("amplitude.ms_ssim", "amplitude MS-SSIM"),
    _Metric("amplitude.psnr", "amplitude PSNR (dB)"),
    _Metric("amplitude.pearson", "amplitude correlation"),
    _Metric("amplitude.frc50", "FRC50 (fraction of Nyquist)"),
    _Metric("phase.rms_rad", "phase error, rms (rad)"),
    _Metric("deviance_ratio", "deviance / noise limit"),
)
# Okabe and Ito's palette: told apart by readers with any colour vision.
_MODEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_SPLITS = {
    "train": ("^", ":", "train (fitted positions)"),
    "test": ("o", "-", "test (held-out positions)"),
    "unseen": ("s", "--", "unseen (another object)"),
}


def _styled(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a figure under STYLE and lay it out there, once: laid out again, it would move by a pixel."""

    @wraps(make)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
            figure = make(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            return figure

    return styled


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.style.context(["default", STYLE]):
        yield


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure at 120 dpi, without date or software version: equal figures give equal bytes.

    The file has a palette, less than half the size of true colour.
    """
    with _style(), io.BytesIO() as stream:
        figure.savefig(stream, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
        image = Image.open(stream).convert("RGB")
    with atomic_file(path) as partial:
        _with_palette(image, _map_colours(figure)).save(partial, format="PNG", dpi=(DPI, DPI), optimize=True)


@_styled
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
    centre = _phase_centre(reference)
    amplitude = _shared_range(np.abs(reference), np.abs(prediction), _AMPLITUDE)
    phase = _phase_range(_phase(reference, centre), _phase(prediction, centre))
    figure, axes = _panels(title, 2, 1 if truth is None else 3, prediction.shape)
    for column, (name, field) in enumerate(fields.items()):
        angle = _phase(field, centre, cyclic=phase.cmap == _CYCLIC)
        upper = _show(axes[0][column], np.abs(field), amplitude)
        lower = _show(axes[1][column], angle, phase)
        axes[0][column].set_title(name)
        # One bar for both columns, which tells whether the prediction leaves the range they share.
        if name == "prediction":
            _colour_bar(upper, "amplitude", np.abs(field))
            _colour_bar(lower, "phase (rad)", angle)
    if truth is not None:
        _differences(axes, truth, prediction, amplitude)
    for row, name in zip(axes, ("amplitude", "phase"), strict=True):
        for panel in row:
            _pixel_axes(panel, object_pixel_m)
        row[0].set_ylabel(name if object_pixel_m is not None else f"{name}\ny (px)", fontsize=12)
    if object_pixel_m is None:
        for panel in axes[-1]:
            panel.set_xlabel("x (px)")
    else:
        _scale_bar(axes[0][0], object_pixel_m)
    return figure


@_styled
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
    figure, axes = _panels(title, 2, 3, obj.shape)
    amplitude = _shared_range(np.abs(obj), np.abs(obj), _AMPLITUDE)
    offset = _phase_centre(obj)
    phase = _phase_range(_phase(obj, offset), _phase(obj, offset))
    image = _show(axes[0][0], np.abs(obj), amplitude)
    _colour_bar(image, "amplitude", np.abs(obj))
    axes[0][0].set_title("object amplitude")
    shown = _phase(obj, offset, cyclic=phase.cmap == _CYCLIC)
    _colour_bar(_show(axes[0][1], shown, phase), "phase (rad)", shown)
    axes[0][1].set_title("object phase")
    _scan(axes[0][2], np.abs(obj), probe, x, y)
    _probe(axes[1][0], axes[1][1], probe)
    _pattern(axes[1][2], np.asarray(pattern_counts, dtype=np.float64), object_pixel_m)
    for panel in (*axes[0], *axes[1][:2]):
        _pixel_axes(panel, object_pixel_m)
    if object_pixel_m is None:
        for row in axes:
            row[0].set_ylabel("y (px)")
        for panel in axes[1][:2]:
            panel.set_xlabel("x (px)")
    else:
        _scale_bar(axes[0][0], object_pixel_m)
        _scale_bar(axes[1][0], object_pixel_m)
    return figure


@_styled
def dose_curves(rows: Sequence[Mapping[str, str | float | None]], *, title: str) -> Figure:
    """Metrics against dose, one line for each (model, split); a missing value leaves a gap.

    Parameters
    ----------
    rows
        Each has ``model``, ``split``, ``log10_dose`` and any of the metrics ``amplitude.ms_ssim``,
        ``amplitude.psnr``, ``amplitude.pearson``, ``amplitude.frc50``, ``phase.rms_rad``,
        ``deviance_ratio``.
    """
    figure = _figure(11, 6.4, title)
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    lines = list(dict.fromkeys((str(row["model"]), str(row["split"])) for row in rows))
    panels = figure.subplots(2, 3, sharex=True).ravel()
    for panel, metric in zip(panels, _DOSE_PANELS, strict=True):
        for model, split in lines:
            chosen = [row for row in rows if (row["model"], row["split"]) == (model, split)]
            _dose_line(panel, chosen, metric.key, _line_style(models.index(model), split))
        panel.set_title(metric.label)
        if not np.isfinite([_number(row.get(metric.key)) for row in rows]).any():
            panel.text(0.5, 0.5, "no values", ha="center", va="center", transform=panel.transAxes)
        panel.grid(alpha=0.3)
    _dose_axis(panels[0], [_number(row["log10_dose"]) for row in rows])
    _ratio_axis(panels[-1])
    panels[-2].set_ylim(bottom=0)
    for panel in panels[3:]:
        panel.set_xlabel("dose (photons per pattern)")
    if lines:
        handles = [
            Line2D([], [], **_line_style(models.index(m), s), label=f"{m}, {_SPLITS.get(s, ('', '', s))[2]}")
            for m, s in lines
        ]
        # A legend fills column by column: a column for each model, or one row if there is one model.
        columns = len(models) if len(models) > 1 else len(lines)
        figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, 3), handlelength=3.5)
    return figure


@_styled
def loss_curves(
    histories: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]], *, title: str
) -> Figure:
    """Training and validation loss, a panel for each dose, above the dose's smallest loss.

    What is left of the loss at the end is the entropy of the photons, which differs between doses, and
    somewhat between the training and the validation patterns: only the descent and the trend of the gap
    mean something. The scale of each panel is that of its later epochs; the first ones may lie above it.

    Parameters
    ----------
    histories
        label (the dose; "1e5" is shown as 10⁵ photons) → epochs, training loss, validation loss,
        each (epochs,)
    """
    columns = min(max(len(histories), 1), 4)
    n_rows = -(-max(len(histories), 1) // columns)
    figure = _figure(max(2.8 * columns, 5.0), 2.5 * n_rows + 1.3, title)
    panels = figure.subplots(n_rows, columns, squeeze=False).ravel()
    colours = colormaps["viridis"](np.linspace(0, 0.8, len(histories)))
    for panel, colour, (label, history) in zip(panels, colours, histories.items(), strict=False):
        epochs, train, validation = (np.asarray(values, dtype=np.float64) for values in history)
        _losses(panel, epochs, train, validation, tuple(colour))
        panel.set_title(re.sub(r"^1e(\d+)$", r"$10^{\1}$ photons", label))
    for panel in panels[len(histories) :]:
        panel.set_axis_off()
    for panel in panels[max(len(histories) - columns, 0) : len(histories)]:
        panel.set_xlabel("epoch")
    figure.supylabel("loss above its minimum (10⁻³)", fontsize=11)
    handles = [
        Line2D([], [], color="0.2", linestyle="-", label="training"),
        Line2D([], [], color="0.2", linestyle="--", label="validation"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=3)
    return figure


def _map_colours(figure: Figure) -> npt.NDArray[np.int64]:
    """The colours of every colour map of the figure, (n, 3), 0 to 255."""
    maps = {image.get_cmap().name: image.get_cmap() for panel in figure.axes for image in panel.images}
    colours = [np.asarray(m(np.arange(m.N), bytes=True))[:, :3] for m in maps.values()]
    return np.concatenate([np.empty((0, 3)), *colours]).astype(np.int64)


def _with_palette(image: Image.Image, first: npt.NDArray[np.int64]) -> Image.Image:
    """The image in 256 colours, ``first`` and then the most frequent, each pixel in the nearest of them.

    Pillow's own quantisation averages colours, which shows as bands in the colour maps.
    """
    pixels = np.asarray(image).astype(np.int64)
    codes, index, counts = np.unique(pixels @ _RGB_CODE, return_inverse=True, return_counts=True)
    frequent = codes[np.argsort(-counts, kind="stable")]
    frequent = frequent[~np.isin(frequent, first @ _RGB_CODE)]
    palette = np.concatenate([first, _rgb(frequent)])[:_PALETTE]
    nearest = [np.argmin(((palette - colour) ** 2).sum(axis=-1)) for colour in _rgb(codes)]
    small = Image.fromarray(np.array(nearest, dtype=np.uint8)[index].reshape(pixels.shape[:2]))
    small.putpalette(palette.astype(np.uint8).tobytes())
    return small


def _rgb(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)


def _figure(width_in: float, height_in: float, title: str) -> Figure:
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    return figure


def _panels(
    title: str, n_rows: int, n_columns: int, shape: tuple[int, ...]
) -> tuple[Figure, list[list[Axes]]]:
    # Long strips are drawn smaller than their aspect asks for, not as a page of white.
    height = _PANEL_IN * float(np.clip(shape[0] / shape[1], 0.4, 1.8))
    size = (n_columns * (_PANEL_IN + 1.0), n_rows * (height + 0.35) + 0.6)
    figure = _figure(max(size[0], 4.2), size[1], title)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    return figure, [list(row) for row in grid]


def _map(name: str) -> Colormap:
    return colormaps[name].resampled(_LEVELS)


def _show(panel: Axes, image: npt.NDArray[np.floating], limits: _Range) -> AxesImage:
    return panel.imshow(
        image, cmap=_map(limits.cmap), vmin=limits.low, vmax=limits.high, interpolation="nearest"
    )


def _colour_bar(image: AxesImage, label: str, values: npt.NDArray[np.floating]) -> None:
    """Add a bar as high as the panel; it is pointed on the sides where ``values`` leave the limits."""
    low, high = image.get_clim()
    assert low is not None and high is not None
    finite = values[np.isfinite(values)]
    margin = 1e-3 * (high - low)
    below = bool((finite < low - margin).any())
    above = bool((finite > high + margin).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    bar = _bar(image, label, extend[below, above])
    if image.get_cmap().name == _map(_CYCLIC).name:
        bar.set_ticks([-np.pi, 0, np.pi], labels=["−π", "0", "π"])
        return
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, steps=_ROUND_STEPS))
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "−"))


def _bar(image: AxesImage, label: str, extend: str = "neither") -> Colorbar:
    panel = image.axes
    assert isinstance(panel, Axes) and isinstance(panel.figure, Figure)
    bar = panel.figure.colorbar(image, cax=panel.inset_axes(_BAR_BOX), extend=extend)
    bar.set_label(label)
    return bar


def _finite(image: npt.NDArray[np.floating]) -> Real:
    values = np.asarray(image[np.isfinite(image)], dtype=np.float64)
    return values if values.size else np.zeros(1)


def _shared_range(truth: npt.NDArray[np.floating], prediction: npt.NDArray[np.floating], cmap: str) -> _Range:
    """Limits from the truth; from the bulk of the prediction if the truth is constant."""
    values = _finite(truth)
    low, high = float(values.min()), float(values.max())
    if high - low < _FLAT * max(abs(high), 1.0):
        low, high = (float(limit) for limit in np.percentile(_finite(prediction), (1, 99)))
    if high - low < _FLAT * max(abs(high), 1.0):
        low, high = low - 0.1 * max(abs(low), 1.0), high + 0.1 * max(abs(high), 1.0)
    return _Range(low, high, cmap)


def _phase_range(truth: Real, prediction: Real) -> _Range:
    if np.ptp(_finite(truth)) > _CYCLIC_FROM_RAD:
        return _Range(-np.pi, np.pi, _CYCLIC)
    return _shared_range(truth, prediction, _PHASE)


def _phase_centre(field: Complex) -> float:
    """Mean direction, by which phases are unwrapped: a narrow distribution across ±π gets no seam."""
    return float(np.angle(np.sum(field[np.isfinite(field)])))


def _phase(field: Complex, centre: float, *, cyclic: bool = False) -> Real:
    """The phase within π of ``centre``, or within π of zero if it is shown cyclic."""
    if cyclic:
        return np.asarray(np.angle(field), dtype=np.float64)
    return np.asarray(np.angle(field * np.exp(-1j * centre)) + centre, dtype=np.float64)


def _differences(axes: list[list[Axes]], truth: Complex, prediction: Complex, amplitude: _Range) -> None:
    amplitude_difference = np.abs(prediction) - np.abs(truth)
    phase_difference = np.angle(prediction * np.conj(truth))
    rows = (
        (amplitude_difference, 1e-3 * (amplitude.high - amplitude.low), "Δ amplitude"),
        (phase_difference, 1e-3, "Δ phase (rad)"),
    )
    for (panel,), (values, floor, label) in zip((row[2:] for row in axes), rows, strict=True):
        # The floor keeps two equal images from being shown as a field of rounding errors.
        limit = max(float(np.percentile(np.abs(_finite(values)), 99.5)), floor)
        _colour_bar(_show(panel, values, _Range(-limit, limit, _DIFFERENCE)), label, values)
    axes[0][2].set_title("prediction − truth")


def _pixel_axes(panel: Axes, pixel_m: float | None) -> None:
    if pixel_m is not None:
        panel.set_xticks([])
        panel.set_yticks([])
        return
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True, steps=_ROUND_STEPS))


def _scale_bar(panel: Axes, pixel_m: float) -> None:
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


def _scan(panel: Axes, amplitude: npt.NDArray[np.floating], probe: Complex, x: Real, y: Real) -> None:
    """Positions over a pale object, with their bounding box and the probe's effective size."""
    limits = _shared_range(amplitude, amplitude, _AMPLITUDE)
    # Only the bright end of the map, so that the dots stand out.
    _show(panel, amplitude, _Range(limits.low - 2 * (limits.high - limits.low), limits.high, _AMPLITUDE))
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
    limits = _Range(0, float(amplitude.max()), _AMPLITUDE)
    _colour_bar(_show(amplitude_panel, amplitude, limits), "amplitude", amplitude)
    amplitude_panel.set_title("probe amplitude")
    phase = np.where(amplitude >= _PROBE_MASK_FRACTION * amplitude.max(), np.angle(probe), np.nan)
    phase_panel.set_facecolor("0.6")
    _colour_bar(_show(phase_panel, phase, _Range(-np.pi, np.pi, _CYCLIC)), "phase (rad)", phase)
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
        cmap=_map("inferno"),
        norm=LogNorm(zero, top),
        extent=(low, high, high, low),
        interpolation="nearest",
    )
    bar = _bar(image, "photons per pixel")
    bar.ax.yaxis.set_major_locator(FixedLocator([zero, *_photon_ticks(top)]))
    bar.ax.yaxis.set_major_formatter(lambda value, _: _photon_tick(value))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    unit = "px" if pixel_m is None else "µm⁻¹"
    panel.set_xlabel(f"q ({unit})")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=_ROUND_STEPS))
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


def _number(value: str | float | None) -> float:
    return np.nan if value is None else float(value)


def _line_style(model: int, split: str) -> dict[str, Any]:
    marker, linestyle, _ = _SPLITS.get(split, ("D", "-.", split))
    colour = _MODEL_COLOURS[model % len(_MODEL_COLOURS)]
    return {
        "color": colour,
        "marker": marker,
        "linestyle": linestyle,
        # Hollow where the object is another one: the two lines often lie on each other.
        "markerfacecolor": "white" if split == "unseen" else colour,
    }


def _dose_line(
    panel: Axes, rows: Sequence[Mapping[str, str | float | None]], key: str, style: dict[str, Any]
) -> None:
    doses = np.array([_number(row["log10_dose"]) for row in rows])
    values = np.array([_number(row.get(key)) for row in rows])
    order = np.argsort(doses)
    doses, values = doses[order], values[order]
    panel.plot(10**doses, values, **style)


def _dose_axis(panel: Axes, log10_doses: Sequence[float]) -> None:
    panel.set_xscale("log")
    if log10_doses:
        panel.set_xlim(10 ** (min(log10_doses) - 0.3), 10 ** (max(log10_doses) + 0.3))
    panel.xaxis.set_major_locator(LogLocator(numticks=12))
    panel.xaxis.set_minor_locator(NullLocator())


def _ratio_axis(panel: Axes) -> None:
    """Logarithmic, with the noise limit 1 inside; plain numbers where powers of ten are too far apart."""
    panel.axhline(1, color="0.3", linewidth=1.2, zorder=1)
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    low, high = min(low, 0.9), max(high, 1.2)
    panel.set_ylim(low, high)
    panel.yaxis.set_minor_locator(NullLocator())
    if high / low < 20:
        ticks = MaxNLocator(6, steps=_ROUND_STEPS).tick_values(low, high)
        panel.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _losses(panel: Axes, epochs: Real, train: Real, validation: Real, colour: tuple[float, ...]) -> None:
    both = np.concatenate([train, validation])
    floor = float(_finite(both).min())
    for values, style in ((train, "-"), (validation, "--")):
        # A single epoch makes no line.
        marker = "o" if len(epochs) == 1 else ""
        panel.plot(epochs, 1e3 * (values - floor), style, color=colour, marker=marker)
    late = slice(len(epochs) // 5, None)
    top = 1e3 * (float(_finite(np.concatenate([train[late], validation[late]])).max()) - floor)
    panel.set_ylim(-0.05 * max(top, 1e-3), 1.1 * max(top, 1e-3))
    panel.yaxis.set_major_locator(MaxNLocator(5, steps=_ROUND_STEPS))
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=_ROUND_STEPS))
    panel.grid(alpha=0.3)
