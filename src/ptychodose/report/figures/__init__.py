"""Figures for reports and talks: arrays in, a matplotlib Figure out, nothing shown and no global state.

Every figure is made under matplotlib's own defaults plus ``STYLE``, whatever a user's matplotlibrc says,
so that equal arrays give equal PNG bytes under one matplotlib version.
"""

from ptychodose.report.figures.curves import dose_curves
from ptychodose.report.figures.losses import loss_curves
from ptychodose.report.figures.png import save_png
from ptychodose.report.figures.reconstruction import reconstruction
from ptychodose.report.figures.refinement import refinement
from ptychodose.report.figures.scene import scene

__all__ = ["dose_curves", "loss_curves", "reconstruction", "refinement", "save_png", "scene"]
