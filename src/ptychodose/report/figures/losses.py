"""Loss against epoch."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ptychodose.report.figures.models import dose_label
from ptychodose.report.figures.style import ROUND_STEPS, new_figure, styled


@styled
def loss_curves(
    histories: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]], *, title: str, loss: str
) -> Figure:
    """Training (solid) and validation (dashed) loss against epoch, one colour for each dose.

    A Poisson loss is above that of a model that knows every count: a curve ends at the noise of its dose or
    at what the network can represent, whichever is higher.

    Parameters
    ----------
    histories
        label (the dose; "1e5" is shown as 10⁵ photons) → epochs, training loss, validation loss,
        each (epochs,)
    loss
        What the loss is, with its unit.
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
        handles.append(Line2D([], [], color=colour, linestyle="-", label=f"{dose_label(label)} photons"))
    panel.set_yscale("log")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=ROUND_STEPS))
    panel.set_xlabel("epoch")
    panel.set_ylabel(loss)
    panel.grid(alpha=0.3)
    handles.append(Line2D([], [], color="0.2", linestyle="--", label="validation"))
    figure.legend(handles=handles, loc="outside right center")
    return figure
