"""How many seeds end in a flat object at N = 128: trainings at 1e5 photons that differ in their seed only.

    python benchmarks/collapse.py [--seeds 5] [--epochs 5] [--patterns 512]

The study's own network and settings, fewer patterns and epochs. A collapsed training has a Pearson
correlation of the held-out amplitude with the truth below 0.3.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

from ptychodose.config import Params, load_params
from ptychodose.environment import require_backend

DOSE = "1e5"


def study(patterns: int, epochs: int) -> Params:
    """The committed study at N = 128, with fewer patterns and epochs."""
    tree = load_params().model_dump()
    tree["doses"], tree["ladder"], tree["extra"], tree["imported"] = [DOSE], ["pinn"], {}, {}
    tree["replicates"] = {"models": [], "doses": [], "seeds": []}
    tree["simulate"]["size_px"] = 128
    tree["simulate"]["splits"] = {"train": patterns, "test": patterns // 4, "unseen": 0}
    tree["simulate"]["object"] |= {"size_px": 360, "n_lines": 800}
    tree["models"]["pinn"]["epochs"] = epochs
    return Params.model_validate(tree)


def main() -> None:
    """Train, measure, count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--patterns", type=int, default=512)
    options = parser.parse_args()
    params = study(options.patterns, options.epochs)
    require_backend()
    from ptychodose.formats.jsonfile import read_json
    from ptychodose.stages import layout, replicate, simulate

    collapsed = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(Path(folder)):
        simulate.run(params, DOSE)
        print(f"N = 128, {DOSE} photons, {options.patterns} patterns, {options.epochs} epochs")
        for seed in range(1, options.seeds + 1):
            replicate.run(params, "pinn", DOSE, seed)
            numbers = read_json(layout.replicate("pinn", DOSE, seed))["test"]
            collapsed += numbers["collapsed"]
            amplitude = numbers["amplitude"]
            print(
                f"seed + {seed}: Pearson {amplitude['pearson']:.3f}, PSNR {amplitude['psnr']:.1f} dB, "
                f"bias {100 * numbers['amplitude_bias']:+.1f} %, collapsed: {numbers['collapsed']}",
                flush=True,
            )
    print(f"collapsed: {collapsed} of {options.seeds}")


if __name__ == "__main__":
    main()
