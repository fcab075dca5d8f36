"""Training, from any epoch on.

The loop is written out: what a step sees must depend on (seed, epoch, step) alone, and Keras' own loop lets
the moment of a prefetch decide on the order of batches.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import numpy.typing as npt

from ptychodose.physics.randomness import generator, philox_key
from ptychodose.physics.thinning import counts_of, input_scale, network_input, thin

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
GroupBatch = tuple[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]], npt.NDArray[np.float32]]


class Batches(Protocol):
    """What a training sees: a number of steps per epoch, and each step's inputs and targets."""

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        ...

    def batch(self, epoch: int, step: int) -> Batch | GroupBatch:
        """Step ``step`` of epoch ``epoch``, both from 0; the same whenever it is asked for."""
        ...


@dataclass(frozen=True)
class ThinnedPatterns:
    """Batches (the normalised pattern of the photons seen, the other photons' fraction of the dose).

    Order and thinning of an epoch depend on (seed, dose, epoch) alone, so a training resumed at epoch k sees
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
        """Two arrays (b, N, N, 1)."""
        rows = shuffled_rows(len(self.patterns), self.batch_size, self.seed, epoch, step)
        key = philox_key("thinning", self.seed, self.dose_photons, epoch)
        return thinned_batch(self.patterns[rows], rows, key, self.dose_photons, self.mean_photons)


@dataclass(frozen=True)
class FixedPairs:
    """Batches of inputs and targets that stay the same, in a new order every epoch."""

    inputs: npt.NDArray[np.float32]
    """(n, N, N, 1)"""
    targets: npt.NDArray[np.float32]
    """(n, N, N, channels)"""
    batch_size: int
    seed: int

    @property
    def steps(self) -> int:
        """Whole batches in an epoch, the rest is left out; at least one, which may then be smaller."""
        return max(len(self.inputs) // self.batch_size, 1)

    def batch(self, epoch: int, step: int) -> Batch:
        """Inputs and targets of a step."""
        rows = shuffled_rows(len(self.inputs), self.batch_size, self.seed, epoch, step)
        return self.inputs[rows], self.targets[rows]


def shuffled_rows(n: int, batch_size: int, seed: int, epoch: int, step: int) -> npt.NDArray[np.int64]:
    """Which of n patterns a step shows; every pattern at most once an epoch."""
    order = generator(philox_key("order", seed, epoch)).permutation(n)
    return np.asarray(order[step * batch_size : (step + 1) * batch_size])


def thinned_batch(
    patterns: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    key: npt.NDArray[np.uint64],
    dose_photons: float,
    mean_photons: float,
) -> Batch:
    """Normalised seen photons and the hidden ones' fraction of the dose, both (n, N, N, 1) float32."""
    counts = counts_of(patterns, dose_photons)
    seen, share = thin(counts, key, rows)
    share = share[:, None, None]
    scale = input_scale(mean_photons * share, counts.shape[-1])
    hidden = (counts - seen) / ((1 - share) * dose_photons)
    return network_input(seen, scale), hidden.astype(np.float32)[..., None]


def cosine_adam(
    *, learning_rate: float, warmup_fraction: float, clip_norm: float, total_steps: int
) -> keras.optimizers.Optimizer:
    """Adam with linear warm-up and cosine decay to zero."""
    warmup_steps = int(total_steps * warmup_fraction)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / 100 if warmup_steps else learning_rate,
        decay_steps=max(total_steps - warmup_steps, 1),
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    return keras.optimizers.Adam(schedule, clipnorm=clip_norm)


def train_epoch(model: keras.Model, batches: Batches, epoch: int, on_step: Callable[[float], None]) -> float:
    """One epoch; ``on_step`` gets the running mean of the loss, which is returned at the end.

    Raises
    ------
    FloatingPointError
        The loss or a weight is not finite: nothing sensible can follow.
    """
    losses: list[float] = []
    # The next batch is drawn while the model works on this one.
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(batches.batch, epoch, 0)
        for step in range(batches.steps):
            batch = coming.result()
            if step + 1 < batches.steps:
                coming = ahead.submit(batches.batch, epoch, step + 1)
            losses.append(float(model.train_on_batch(*batch)))
            if not np.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss is not finite in epoch {epoch + 1}, step {step + 1}")
            on_step(float(np.mean(losses)))
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise FloatingPointError(f"a weight is not finite after epoch {epoch + 1}")
    return float(np.mean(losses))


def validation_loss(model: keras.Model, batches: Batches) -> float:
    """Mean loss over the same batches every time, nothing learned.

    Raises
    ------
    FloatingPointError
        It is not finite.
    """
    loss = float(np.mean([model.test_on_batch(*batches.batch(0, step)) for step in range(batches.steps)]))
    if not np.isfinite(loss):
        raise FloatingPointError("the validation loss is not finite")
    return loss
