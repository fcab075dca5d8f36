"""Stage replicate@model-dose-seed: a training of the study repeated with another seed, and measured."""

import shutil

from ptychodose.config import Params
from ptychodose.formats.jsonfile import write_json
from ptychodose.stages import evaluate, infer, layout, train


def run(params: Params, model: str, dose: str, seed: int) -> None:
    """Write metrics/replicates/<model>/<dose>/<seed>.json.

    The data stay the same; initial weights, order and thinning are drawn with the study's seed + ``seed``.
    Network and reconstructions are kept until they are measured, so that a killed replicate goes on.
    """
    again = params.model_copy(update={"seed": params.seed + seed})
    scratch = layout.replicate_scratch(model, dose, seed)
    title = f"{model}, seed + {seed}"
    train.train(again, model, dose, scratch / "model", scratch / "state", title=title)
    infer.infer(again, scratch / "model", dose, scratch / "reconstruction")
    numbers, _, _ = evaluate.measure(again, model, dose, scratch / "reconstruction")
    write_json(layout.replicate(model, dose, seed), numbers)
    shutil.rmtree(scratch)
