"""Stage fingerprint-data@dose: fingerprints of the datasets of a dose, up to the network's input."""

from ptychodose.config import Params
from ptychodose.environment import describe_host
from ptychodose.parity.dataset_log import log_dataset
from ptychodose.report.progress import Progress
from ptychodose.stages import layout
from ptychodose.stages.fingerprint_log import write


def run(params: Params, dose: str) -> None:
    """Write data/parity/data/<dose>.json, one entry a split."""
    entries = []
    with Progress(f"fingerprint {dose}", len(params.splits()), "splits") as progress:
        for split in params.splits():
            entries.append(log_dataset(layout.dataset(dose, split), name=f"{dose}/{split}", dose=dose))
            progress.advance()
    write(params, layout.parity_of_datasets(dose), entries, describe_host())
