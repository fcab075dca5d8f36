"""Quality of fits against their cost."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from ptychodose.report.figures.models import Style, dose_label, model_styles
from ptychodose.report.figures.style import ROUND_STEPS, new_figure, styled
from ptychodose.report.names import model_label

Trace = tuple[npt.ArrayLike, npt.ArrayLike]
"""Cumulative passes over all patterns, amplitude PSNR (dB) or NaN; each (iterations,)."""

_PANELS_A_ROW = 4


@styled
def refinement(
    traces: Mapping[str, Mapping[str, Trace]],
    networks: Mapping[str, float | None],
    *,
    network: str,
    title: str,
) -> Figure:
    """Amplitude PSNR against the passes over all patterns that it cost, a panel for each dose.

    Parameters
    ----------
    traces
        dose → fit → its trace
    networks
        dose → the PSNR of the network, a line across; None where it has none
    network
        The network's name.
    """
    columns = min(len(traces) + 1, _PANELS_A_ROW)
    rows = -(-(len(traces) + 1) // columns)
    figure = new_figure(max(3.4 * columns, 8), 3.2 * rows + 0.8, title)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    shown, spare = panels[: len(traces)], panels[len(traces) :]
    fits = list(dict.fromkeys(fit for by_fit in traces.values() for fit in by_fit))
    styles = model_styles([network, *fits])
    handles: dict[str, Line2D] = {}
    for panel, (dose, by_fit) in zip(shown, traces.items(), strict=True):
        level = networks.get(dose)
        if level is not None:
            handles[f"{network}, one pass\n(its training not counted)"] = panel.axhline(
                level, color=styles[network]["color"]
            )
        for fit, trace in by_fit.items():
            handles[model_label(fit).replace(" (", "\n(")] = _trace_line(panel, trace, styles[fit])
        panel.set_title(f"{dose_label(dose)} photons per pattern")
        panel.grid(alpha=0.3)
    _cost_axis(panels[0])
    for index, panel in enumerate(shown):
        panel.yaxis.set_major_locator(MaxNLocator(6, steps=ROUND_STEPS))
        if index % columns == 0:
            panel.set_ylabel("amplitude PSNR (dB)")
        if index + columns >= len(traces):
            panel.set_xlabel("passes over all patterns")
            panel.tick_params(labelbottom=True)
    for panel in spare:
        panel.set_axis_off()
    # One panel more than doses, so that the legend stands where it covers nothing.
    spare[0].legend(handles.values(), handles.keys(), loc="center", handlelength=3.5, labelspacing=1)
    return figure


def _trace_line(panel: Axes, trace: Trace, style: Style) -> Line2D:
    """The course of a fit, and a marker where it ends."""
    passes, psnr = (np.asarray(values, dtype=np.float64) for values in trace)
    # A start costs no step, and zero has no place on a logarithmic axis.
    (line,) = panel.plot(np.maximum(passes, 1), psnr, markevery=[-1] if len(psnr) else [], **style)
    return line


def _cost_axis(panel: Axes) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(numticks=8))
    panel.xaxis.set_minor_locator(NullLocator())
