"""Training and prediction rates of the study's network and of the legacy-equivalent one, in one run.

The legacy network is the one of its default studies (filters x 2, batch 16), here in Keras 3. Beside the
rates: multiply-adds of the convolutions, and which fraction of this machine's measured matrix-multiply rate
a training step reaches (three times the forward operations).
"""

import time
from collections.abc import Callable
from statistics import median

from ptychodose.config import PinnParams, load_params
from ptychodose.environment import require_backend

require_backend()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from ptychodose.networks.flops import conv_multiply_adds  # noqa: E402
from ptychodose.networks.legacy import build_pinn_legacy  # noqa: E402
from ptychodose.networks.legacy_training import LegacyPoissonNLL  # noqa: E402
from ptychodose.networks.losses import PoissonNLL  # noqa: E402
from ptychodose.networks.pinn import build_pinn, rate_model  # noqa: E402

ROUNDS, STEPS = 7, 6
BATCH, PREDICTED_AT_ONCE = 16, 32
LEGACY_PREDICTED_PER_SECOND = 99
"""Of the legacy pipeline itself, TensorFlow 2.15, two cores."""
MATRIX = 2048
DOSE = 1e5


def per_second(work: Callable[[], object], units: int) -> float:
    """Units per second of one call, over the steps of a round."""
    start = time.perf_counter()
    for _ in range(STEPS):
        work()
    return STEPS * units / (time.perf_counter() - start)


def main() -> None:
    """Print rates, ratios and the fraction of the matrix-multiply rate."""
    params = load_params()
    size_px, spec = params.simulate.size_px, params.models["pinn"]
    assert isinstance(spec, PinnParams)
    rng = np.random.default_rng(1)
    patterns = rng.random((PREDICTED_AT_ONCE, size_px, size_px, 1), dtype=np.float32)
    probe = np.exp(-(np.hypot(*np.mgrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j]) ** 2) * 8)
    networks = {
        "pinn": (build_pinn(size_px, width=spec.width, stages=spec.stages), PoissonNLL(DOSE)),
        "legacy": (build_pinn_legacy(size_px, n_filters_scale=2), LegacyPoissonNLL(DOSE, size_px)),
    }
    a = keras.ops.convert_to_tensor(rng.random((MATRIX, MATRIX), dtype=np.float32))
    work: dict[str, tuple[Callable[[], object], int]] = {
        "matmul": (lambda: keras.ops.convert_to_numpy(keras.ops.matmul(a, a)[0, 0]), 2 * MATRIX**3)
    }
    for name, (network, loss) in networks.items():
        network.get_layer("probe").set_probe(probe.astype(complex), 1.0)
        rates = rate_model(network)
        rates.compile(optimizer=keras.optimizers.Adam(1e-4), loss=loss)
        x, y = patterns[:BATCH], patterns[:BATCH] / patterns[:BATCH].sum(axis=(1, 2, 3), keepdims=True)
        work[f"train {name}"] = (lambda r=rates, x=x, y=y: r.train_on_batch(x, y), BATCH)
        work[f"predict {name}"] = (lambda n=network: n.predict_on_batch(patterns), PREDICTED_AT_ONCE)
    for step, _ in work.values():
        step()
    # Round after round, so that a slow moment of the machine meets all of them.
    rounds = [{name: per_second(*job) for name, job in work.items()} for _ in range(ROUNDS)]
    rate = {name: median(one[name] for one in rounds) for name in work}
    for kind in ("train", "predict"):
        ours, legacy = rate[f"{kind} pinn"], rate[f"{kind} legacy"]
        print(f"{kind}: pinn {ours:.0f}, legacy {legacy:.0f} patterns/s, ratio {ours / legacy:.1f}")
    print(f"predict: {rate['predict pinn'] / LEGACY_PREDICTED_PER_SECOND:.1f} x the legacy pipeline's 99/s")
    operations = {name: conv_multiply_adds(network) for name, (network, _) in networks.items()}
    print(
        f"multiply-adds per pattern: pinn {operations['pinn'] / 1e6:.0f} M, "
        f"legacy {operations['legacy'] / 1e6:.0f} M, ratio {operations['legacy'] / operations['pinn']:.1f}"
    )
    used = 3 * 2 * operations["pinn"] * rate["train pinn"] / rate["matmul"]
    print(f"matrix multiply: {rate['matmul'] / 1e9:.0f} GFLOP/s; a training step of pinn reaches {used:.0%}")


if __name__ == "__main__":
    main()
