"""Curves over doses and over epochs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from ptychodose.report.figures.style import ROUND_STEPS, new_figure, styled


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


@styled
def dose_curves(rows: Sequence[Mapping[str, str | float | None]], *, title: str) -> Figure:
    """Metrics against dose, one line for each (model, split); a missing value leaves a gap.

    Parameters
    ----------
    rows
        Each has ``model``, ``split``, ``log10_dose`` and any of the metrics ``amplitude.ms_ssim``,
        ``amplitude.psnr``, ``amplitude.pearson``, ``amplitude.frc50``, ``phase.rms_rad``,
        ``deviance_ratio``.
    """
    figure = new_figure(11, 6.4, title)
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


@styled
def loss_curves(
    histories: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]], *, title: str
) -> Figure:
    """Training (solid) and validation (dashed) loss against epoch, one colour for each dose.

    The loss is per photon and above that of a model that knows every count: a curve ends at the noise of
    its dose or at what the network can represent, whichever is higher.

    Parameters
    ----------
    histories
        label (the dose; "1e5" is shown as 10⁵ photons) → epochs, training loss, validation loss,
        each (epochs,)
    """
    figure = new_figure(8, 5, title)
    panel = figure.subplots()
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(histories)))
    handles = []
    for colour, (label, history) in zip(colours, histories.items(), strict=True):
        epochs, train, validation = (np.asarray(values, dtype=np.float64) for values in history)
        # A single epoch makes no line.
        marker = "o" if len(epochs) == 1 else ""
        panel.plot(epochs, train, "-", color=colour, marker=marker)
        panel.plot(epochs, validation, "--", color=colour, marker=marker)
        shown = re.sub(r"^1e(\d+)$", r"$10^{\1}$ photons", label)
        handles.append(Line2D([], [], color=colour, linestyle="-", label=shown))
    panel.set_yscale("log")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=ROUND_STEPS))
    panel.set_xlabel("epoch")
    panel.set_ylabel("Poisson loss per photon")
    panel.grid(alpha=0.3)
    handles.append(Line2D([], [], color="0.2", linestyle="--", label="validation"))
    figure.legend(handles=handles, loc="outside right center")
    return figure


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
        ticks = MaxNLocator(6, steps=ROUND_STEPS).tick_values(low, high)
        panel.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
