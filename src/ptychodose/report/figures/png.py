"""A figure as a PNG file: small, and with equal bytes for equal figures."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from ptychodose.formats.atomic import atomic_file
from ptychodose.report.figures.style import DPI, style

_PALETTE = 256
_RGB_CODE = np.array([1 << 16, 1 << 8, 1])


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure at 120 dpi, without date or software version: equal figures give equal bytes.

    The file has a palette, less than half the size of true colour.
    """
    with style(), io.BytesIO() as stream:
        figure.savefig(stream, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
        image = Image.open(stream).convert("RGB")
    with atomic_file(path) as partial:
        _with_palette(image, _map_colours(figure)).save(partial, format="PNG", dpi=(DPI, DPI), optimize=True)


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
