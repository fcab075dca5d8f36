"""Stitched patterns per second at M = 20, against the legacy pipeline's Python loop (92 per second)."""

import time
from pathlib import Path
from statistics import median

from ptychodose.config import load_params
from ptychodose.physics.diffraction import cut_patches
from ptychodose.physics.stitching import Canvas
from ptychodose.stages.scene import build_scene

LEGACY_PER_SECOND = 92
REPEATS = 7
BATCH = 32


def main() -> None:
    """Print the rate and the ratio."""
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    scene = build_scene(params, "train")
    patches = cut_patches(scene.obj, scene.x, scene.y, params.simulate.size_px, "bilinear")
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        canvas = Canvas(scene.x, scene.y, 20)
        for first in range(0, len(patches), BATCH):
            rows = slice(first, first + BATCH)
            canvas.add(patches[rows], scene.x[rows], scene.y[rows])
        canvas.result()
        seconds.append(time.perf_counter() - start)
    rate = len(patches) / median(seconds)
    print(f"stitching, M = 20: {rate:.0f} patterns/s, {rate / LEGACY_PER_SECOND:.0f} x legacy")


if __name__ == "__main__":
    main()
