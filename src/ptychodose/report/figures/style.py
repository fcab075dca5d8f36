"""The style that all figures share, whatever a user's matplotlibrc says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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

ROUND_STEPS = (1, 2, 5, 10)


def styled(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a figure under STYLE and lay it out there, once: laid out again, it would move by a pixel."""

    @wraps(make)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with style():
            figure = make(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            return figure

    return styled


@contextmanager
def style() -> Iterator[None]:
    """Make figures under matplotlib's defaults plus STYLE for a while, and leave no setting behind."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def new_figure(width_in: float, height_in: float, title: str) -> Figure:
    """Make an empty figure with a title, laid out by constraints, that needs no display."""
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    return figure
