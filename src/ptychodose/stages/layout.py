"""Where everything lies, in one place: paths relative to the top of the repository."""

from pathlib import Path

INPUTS = Path("data/inputs")
CURVES = Path("plots/curves")
REPORT_FIGURES = Path("plots/figures")
BUNDLE = Path("data/bundle")


def dataset(dose: str, split: str) -> Path:
    """The RawData file of a dose and split; its facts lie beside it with the ending .json."""
    return Path("data/datasets") / dose / f"{split}.npz"


def model(model: str, dose: str) -> Path:
    """The folder of a trained model."""
    return Path("data/models") / model / dose


def resume(model: str, dose: str) -> Path:
    """Where an unfinished training keeps its state; not tracked by git or DVC."""
    return Path("data/.resume") / model / dose


def reconstruction(model: str, dose: str, split: str) -> Path:
    """The stitched object of a model, dose and split."""
    return Path("data/reconstructions") / model / dose / f"{split}.npz"


def metrics(model: str, dose: str) -> Path:
    """The numbers DVC compares."""
    return Path("metrics") / model / f"{dose}.json"


def record(model: str, dose: str) -> Path:
    """The same numbers with definition, range, region, alignment, and why one is undefined."""
    return Path("metrics") / model / f"{dose}.record.json"


def loss_curve(model: str, dose: str) -> Path:
    """Loss per epoch."""
    return Path("metrics") / model / f"{dose}.loss.csv"


def figures(model: str, dose: str) -> Path:
    """The folder of pictures of a model and dose."""
    return Path("metrics") / model / dose


def trace(model: str, dose: str) -> Path:
    """Quality and time per iteration of a fit."""
    return Path("metrics") / model / f"{dose}.trace.csv"


def replicate(model: str, dose: str, seed: int) -> Path:
    """The numbers of a training repeated with another seed."""
    return Path("metrics/replicates") / model / dose / f"{seed}.json"


def noise_floor(model: str, dose: str) -> Path:
    """The spread of the numbers over the seeds."""
    return Path("metrics/noise_floor") / model / f"{dose}.json"


def replicate_scratch(model: str, dose: str, seed: int) -> Path:
    """Where a replicate's network and reconstructions lie until they are measured; not tracked."""
    return Path("data/.resume/replicates") / model / f"{dose}-{seed}"


def parity_of_datasets(dose: str) -> Path:
    """The parity log of the datasets of a dose."""
    return Path("data/parity/data") / f"{dose}.json"


def parity(model: str, dose: str) -> Path:
    """The parity log of what a model makes of the datasets of a dose."""
    return Path("data/parity") / model / f"{dose}.json"
