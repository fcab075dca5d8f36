"""Quality against dose."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from ptychodose.report.figures.axes import error_axis, linear_axis, ratio_axis, similarity_axis
from ptychodose.report.figures.models import Style, model_styles
from ptychodose.report.figures.style import new_figure, styled
from ptychodose.report.names import model_label

Row = Mapping[str, str | float | None]
Spread = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class _Metric:
    key: str
    label: str
    axis: Callable[[Axes], None]


_PANELS = (
    _Metric("amplitude.ms_ssim", "amplitude MS-SSIM", similarity_axis),
    _Metric("amplitude.psnr", "amplitude PSNR (dB)", linear_axis),
    _Metric("amplitude.pearson", "amplitude correlation", similarity_axis),
    _Metric("amplitude.frc50", "FRC50 (fraction of Nyquist)", linear_axis),
    _Metric("phase.rms_rad", "phase error, rms (rad)", error_axis),
    _Metric("deviance_ratio", "deviance / noise limit", ratio_axis),
)
_MAIN_SPLIT = "test"
_SPLIT_NAMES = {"train": "fitted positions", "unseen": "another object"}


@styled
def dose_curves(
    rows: Sequence[Row], *, title: str, floors: Mapping[tuple[str, str], Spread] | None = None
) -> Figure:
    """Metrics against dose, one line for each (model, split); a missing value or dose leaves a gap.

    Parameters
    ----------
    rows
        Each has ``model``, ``dose``, ``split``, ``log10_dose`` and any of the metrics ``amplitude.ms_ssim``,
        ``amplitude.psnr``, ``amplitude.pearson``, ``amplitude.frc50``, ``phase.rms_rad``,
        ``deviance_ratio``. A split other than test has hollow markers and thin dotted lines.
    floors
        (model, dose) → metric → {"min", "max"} of repeated trainings on the test split: a bar.
    """
    figure = new_figure(13, 8.4, title)
    doses = sorted({_number(row["log10_dose"]) for row in rows})
    lines = list(dict.fromkeys((str(row["model"]), str(row["split"])) for row in rows))
    styles = model_styles(list(dict.fromkeys(model for model, _ in lines)))
    panels = figure.subplots(2, 3, sharex=True).ravel()
    handles = []
    for model, split in lines:
        chosen = {_number(row["log10_dose"]): row for row in rows if _line_of(row) == (model, split)}
        style = _line_style(styles[model], split, joined=_has_neighbours(doses, chosen))
        handles.append(Line2D([], [], **style, label=_label(model, split)))
        for panel, metric in zip(panels, _PANELS, strict=True):
            values = [_number(chosen.get(dose, {}).get(metric.key)) for dose in doses]
            panel.plot(10 ** np.array(doses), values, **style)
    for (model, dose), spread in (floors or {}).items():
        if (model, _MAIN_SPLIT) in lines:
            for panel, metric in zip(panels, _PANELS, strict=True):
                _bar(panel, float(dose), spread.get(metric.key, {}), styles[model]["color"])
    for panel, metric in zip(panels, _PANELS, strict=True):
        panel.set_title(metric.label)
        if not np.isfinite([_number(row.get(metric.key)) for row in rows]).any():
            panel.text(0.5, 0.6, "no values", ha="center", va="center", transform=panel.transAxes)
        panel.grid(alpha=0.3)
        metric.axis(panel)
    _dose_axis(panels[0], doses)
    for panel in panels[3:]:
        panel.set_xlabel("dose (photons per pattern)")
    if floors:
        bar: Style = {
            "color": "0.2",
            "linestyle": "",
            "marker": "|",
            "markersize": 14,
            "markeredgewidth": 1.5,
        }
        handles.append(Line2D([], [], **bar, label="min … max over seeds"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), handlelength=4)
    return figure


def _line_of(row: Row) -> tuple[str, str]:
    return str(row["model"]), str(row["split"])


def _has_neighbours(doses: Sequence[float], present: Container[float]) -> bool:
    return any(low in present and high in present for low, high in pairwise(doses))


def _label(model: str, split: str) -> str:
    name = model_label(model)
    return name if split == _MAIN_SPLIT else f"{name}, {_SPLIT_NAMES.get(split, split)}"


def _line_style(style: Style, split: str, *, joined: bool) -> Style:
    if split != _MAIN_SPLIT:
        # Hollow where the positions or the object are others: the two lines often lie on each other.
        style = style | {"linestyle": ":", "linewidth": 1.2, "markerfacecolor": "white"}
    # Single doses lie on top of the lines.
    return style if joined else style | {"linestyle": "none", "markersize": 8, "zorder": style["zorder"] + 1}


def _number(value: str | float | None) -> float:
    return np.nan if value is None else float(value)


def _bar(panel: Axes, dose: float, spread: Mapping[str, Any], colour: str) -> None:
    if "min" in spread:
        middle, reach = (spread["max"] + spread["min"]) / 2, (spread["max"] - spread["min"]) / 2
        panel.errorbar(
            dose, middle, reach, color=colour, linestyle="none", capsize=6, capthick=1.5, elinewidth=1.5
        )


def _dose_axis(panel: Axes, log10_doses: Sequence[float]) -> None:
    panel.set_xscale("log")
    if log10_doses:
        panel.set_xlim(10 ** (min(log10_doses) - 0.3), 10 ** (max(log10_doses) + 0.3))
    panel.xaxis.set_major_locator(LogLocator(numticks=12))
    panel.xaxis.set_minor_locator(NullLocator())
