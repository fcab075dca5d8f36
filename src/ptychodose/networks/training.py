"""Training on photon halves, from any epoch on."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ptychodose.networks.losses import PoissonNLL
from ptychodose.physics.halving import counts_of, halve, input_scale, network_input
from ptychodose.physics.randomness import generator, philox_key

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def steps_per_epoch(n_patterns: int, batch_size: int) -> int:
    """Whole batches in an epoch; at least one, which may then be smaller."""
    return max(n_patterns // batch_size, 1)


class PhotonHalves(keras.utils.PyDataset):
    """Batches (one half's normalised pattern, the other half's fraction of the dose).

    The order of an epoch and the halves drawn in it depend on (seed, epoch) alone, so a training resumed at
    epoch k sees what an unbroken one sees.

    Parameters
    ----------
    patterns : (n, N, N) float32
        diff3d of the patterns to use.
    dose_photons : float
    mean_photons : float
        Measured mean photons per pattern of the train set.
    batch_size : int
        The last batch of an epoch is dropped when it is smaller.
    seed : int
    first_epoch : int
        Epoch counter at the start, from 0.
    """

    def __init__(
        self,
        patterns: npt.NDArray[np.float32],
        *,
        dose_photons: float,
        mean_photons: float,
        batch_size: int,
        seed: int,
        first_epoch: int = 0,
    ) -> None:
        super().__init__(workers=1)
        self._patterns = patterns
        self._dose_photons, self._batch_size, self._seed = dose_photons, batch_size, seed
        self._scale = input_scale(mean_photons / 2, patterns.shape[-1])
        self._begin(first_epoch)

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch
        self._order = generator(philox_key("order", self._seed, epoch)).permutation(len(self._patterns))
        self._key = philox_key("halves", self._seed, self._dose_photons, epoch)

    def __len__(self) -> int:
        return steps_per_epoch(len(self._patterns), self._batch_size)

    def __getitem__(self, index: int) -> Batch:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        counts = counts_of(self._patterns[rows], self._dose_photons)
        seen, target = halve(counts, self._key, rows)
        fraction = (target * (2 / self._dose_photons)).astype(np.float32)[..., None]
        return network_input(seen, self._scale), fraction

    def on_epoch_end(self) -> None:
        """Move to the next epoch's order and halves."""
        self._begin(self._epoch + 1)


class FixedHalves(PhotonHalves):
    """The same halves and order at every epoch: for validation."""

    def on_epoch_end(self) -> None:
        """Stay."""


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


class EpochEnd(keras.callbacks.Callback):
    """Call back with (epochs done, loss, validation loss or None) after each epoch."""

    def __init__(self, report: Callable[[int, float, float | None], None]) -> None:
        super().__init__()
        self._report = report

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keras' hook."""
        logs = logs or {}
        self._report(epoch + 1, logs["loss"], logs.get("val_loss"))


class StepEnd(keras.callbacks.Callback):
    """Call back with the running loss after each step."""

    def __init__(self, report: Callable[[float], None]) -> None:
        super().__init__()
        self._report = report

    def on_train_batch_end(self, _: int, logs: dict[str, Any] | None = None) -> None:
        """Keras' hook."""
        self._report((logs or {})["loss"])


class StopAtNonFinite(keras.callbacks.Callback):
    """Raise FloatingPointError when the loss is not finite: nothing sensible can follow."""

    def on_train_batch_end(self, step: int, logs: dict[str, Any] | None = None) -> None:
        """Keras' hook."""
        if not np.isfinite((logs or {})["loss"]):
            raise FloatingPointError(f"the loss is not finite at step {step}")
