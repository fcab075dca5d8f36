"""The columns of the tables of metrics: where each value stands and how it is written."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
"""``{"model": "pinn", "dose": "1e5", "split": "test", "metrics": {"amplitude": {"psnr": 24.3}, ...}}``."""

UNDEFINED = "–"


@dataclass(frozen=True)
class Column:
    """One metric."""

    name: str
    unit: str
    path: tuple[str, ...]
    text: Callable[[float], str]
    rank: int
    """Where the terminal is narrow, the column of the highest rank goes first."""

    @property
    def headline(self) -> str:
        """Name and unit in one line."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def _percent(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _ratio(value: float) -> str:
    return f"{value:.3f}" if value < 100 else f"{value:.0f}"


MS_SSIM = Column("MS-SSIM", "", ("amplitude", "ms_ssim"), "{:.3f}".format, 1)
PSNR = Column("PSNR", "dB", ("amplitude", "psnr"), "{:.1f}".format, 0)
PEARSON = Column("Pearson", "", ("amplitude", "pearson"), "{:.3f}".format, 6)
FRC50 = Column("FRC50", "Nyquist", ("amplitude", "frc50"), "{:.2f}".format, 3)
PHASE = Column("phase", "rms rad", ("phase", "rms_rad"), "{:.3f}".format, 2)
BIAS = Column("bias", "%", ("amplitude_bias",), _percent, 5)
DEVIANCE = Column("deviance", "ratio", ("deviance_ratio",), _ratio, 4)


def cell(metrics: Row, column: Column) -> str:
    """The value as text; an en dash where it is missing, None or not finite."""
    value: Any = metrics
    for key in column.path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, int | float) or not math.isfinite(value):
        return UNDEFINED
    return column.text(value)
