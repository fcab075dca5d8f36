"""Stage noise-floor@model-dose: how far metrics spread between trainings that differ in their seed only."""

from ptychodose.config import Params
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.metrics.spread import spread
from ptychodose.stages import layout


def run(params: Params, model: str, dose: str) -> None:
    """Write metrics/noise_floor/<model>/<dose>.json: per split and metric the values, median and range."""
    seeds = params.replicates.seeds
    trainings = [read_json(layout.metrics(model, dose))]
    trainings += [read_json(layout.replicate(model, dose, seed)) for seed in seeds]
    write_json(
        layout.noise_floor(model, dose),
        {
            "schema": "ptychodose/noise-floor/1",
            "scenario": params.scenario,
            "model": model,
            "dose": dose,
            "seeds": [params.seed + seed for seed in (0, *seeds)],
            "rule": "trainings on the same data, one per seed; range = max - min of their values",
            "splits": {split: spread([numbers[split] for numbers in trainings]) for split in params.splits()},
        },
    )
