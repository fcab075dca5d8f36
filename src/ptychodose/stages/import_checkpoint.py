"""Stage import-checkpoint@model-dose: a legacy checkpoint as a model of this study."""

from ptychodose.config import Params
from ptychodose.formats.legacy_checkpoint import load_legacy_weights
from ptychodose.networks.legacy_training import legacy_probe
from ptychodose.stages import layout, train
from ptychodose.stages.recipes import legacy_object_unit


def run(params: Params, model: str, dose: str) -> None:
    """Write data/models/<model>/<dose>/, as a training does, with the checkpoint's weights.

    Nothing of the checkpoint is executed. Probe and units are those of the train set of that dose.
    """
    path = layout.INPUTS / params.imported[f"{model}-{dose}"].checkpoint
    data = train.train_set(dose)
    network = load_legacy_weights(path, data.scan.size_px)
    network.get_layer("probe").set_probe(legacy_probe(data.scan.probe), 1.0)
    train.write_model(
        params, model, dose, layout.model(model, dose), network, legacy_object_unit(data), history=[]
    )
