"""Training on photon halves, from any epoch on.

The loop is written out: what a step sees must depend on (seed, epoch, step) alone, and Keras' own loop lets
the moment of a prefetch decide on the order of batches.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from ptychodose.networks.losses import PoissonNLL
from ptychodose.physics.halving import counts_of, halve, input_scale, network_input
from ptychodose.physics.randomness import generator, philox_key

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class PhotonHalves:
    """Batches (one half's normalised pattern, the other half's fraction of the dose).

    Order and halves of an epoch depend on (seed, dose, epoch) alone, so a training resumed at epoch k sees
    what an unbroken one sees.
    """

    patterns: npt.NDArray[np.float32]
    """diff3d of the patterns to use, (n, N, N)."""
    dose_photons: float
    mean_photons: float
    """Measured mean photons per pattern of the train set."""
    batch_size: int
    seed: int

    @property
    def steps(self) -> int:
        """Whole batches in an epoch, the rest is left out; at least one, which may then be smaller."""
        return max(len(self.patterns) // self.batch_size, 1)

    def batch(self, epoch: int, step: int) -> Batch:
        """Step ``step`` of epoch ``epoch``, both from 0: two arrays (b, N, N, 1)."""
        order = generator(philox_key("order", self.seed, epoch)).permutation(len(self.patterns))
        rows = order[step * self.batch_size : (step + 1) * self.batch_size]
        counts = counts_of(self.patterns[rows], self.dose_photons)
        seen, target = halve(counts, philox_key("halves", self.seed, self.dose_photons, epoch), rows)
        scale = input_scale(self.mean_photons / 2, self.patterns.shape[-1])
        fraction = (target * (2 / self.dose_photons)).astype(np.float32)[..., None]
        return network_input(seen, scale), fraction


def compile_for_training(
    rates: keras.Model,
    *,
    dose_photons: float,
    learning_rate: float,
    warmup_fraction: float,
    clip_norm: float,
    total_steps: int,
) -> None:
    """Adam with linear warm-up and cosine decay to zero; Poisson likelihood per photon."""
    warmup_steps = int(total_steps * warmup_fraction)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / 100 if warmup_steps else learning_rate,
        decay_steps=max(total_steps - warmup_steps, 1),
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    rates.compile(
        optimizer=keras.optimizers.Adam(schedule, clipnorm=clip_norm), loss=PoissonNLL(dose_photons)
    )


def train_epoch(
    model: keras.Model, halves: PhotonHalves, epoch: int, on_step: Callable[[float], None]
) -> float:
    """One epoch; ``on_step`` gets the running mean of the loss, which is returned at the end.

    Raises
    ------
    FloatingPointError
        The loss or a weight is not finite: nothing sensible can follow.
    """
    losses: list[float] = []
    # The next batch is drawn while the model works on this one.
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(halves.batch, epoch, 0)
        for step in range(halves.steps):
            batch = coming.result()
            if step + 1 < halves.steps:
                coming = ahead.submit(halves.batch, epoch, step + 1)
            losses.append(float(model.train_on_batch(*batch)))
            if not np.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss is not finite in epoch {epoch + 1}, step {step + 1}")
            on_step(float(np.mean(losses)))
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise FloatingPointError(f"a weight is not finite after epoch {epoch + 1}")
    return float(np.mean(losses))


def validation_loss(model: keras.Model, halves: PhotonHalves) -> float:
    """Mean loss over the same halves every time, nothing learned.

    Raises
    ------
    FloatingPointError
        It is not finite.
    """
    loss = float(np.mean([model.test_on_batch(*halves.batch(0, step)) for step in range(halves.steps)]))
    if not np.isfinite(loss):
        raise FloatingPointError("the validation loss is not finite")
    return loss
