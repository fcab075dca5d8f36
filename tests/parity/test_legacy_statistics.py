"""The legacy logger's statistics: its names, its definitions, its consistency with itself."""

import json
import math

import numpy as np
import pytest

from ptychodose.parity.dataset_log import log_dataset
from ptychodose.parity.legacy_statistics import DEFINITIONS, legacy_boundaries
from ptychodose.parity.schema import Entry
from tests.conftest import reference


def values_of(path):
    parts = legacy_boundaries(path)
    assert all(part["definition"] == DEFINITIONS[part["name"]] for part in parts)
    return {part["name"]: part["values"] for part in parts}


def published():
    log = json.loads((reference("legacy_published") / "dose_parity_log.json").read_text())
    return {dataset["filename"]: dataset for dataset in log["datasets"]}


def test_the_keys_are_those_of_the_published_log(save, members):
    found = values_of(save(members))
    dataset = published()["data_p1e3.npz"]
    for name, statistics in dataset["stats"].items():
        assert found[f"legacy.{name}"].keys() == statistics.keys()
    for name in ("amplitude", "phase"):
        assert found[f"legacy.probe.{name}"].keys() - {"l2_norm"} == dataset["probe"][name].keys()


def assert_consistent(raw, normalized, grouped):
    """What the definitions imply of any data set of one scan."""
    assert normalized["max"] == 1
    for key in ("mean", "std", "median", "p90", "p99"):
        assert normalized[key] == pytest.approx(raw[key] / raw["max"], rel=1e-6)
    assert normalized["nonzero_fraction"] == raw["nonzero_fraction"]
    assert grouped["count"] == grouped["n_unique_scans"] == 1
    for key in ("min", "max", "mean", "median", "p01", "p99"):
        assert grouped[key] == pytest.approx(raw["mean"], rel=1e-6)
    assert grouped["std"] == pytest.approx(0, abs=1e-12)


def test_definitions_hold_in_the_published_log_and_in_what_is_computed_here(legacy_run):
    for dataset in published().values():
        assert_consistent(**dataset["stats"])
    found = values_of(legacy_run / "data_p1e3.npz")
    assert_consistent(*(found[f"legacy.{name}"] for name in ("raw", "normalized", "grouped")))
    assert found["legacy.probe.amplitude"]["l2_norm"] == pytest.approx(1)
    # The smallest amplitudes are those of one and two photons in 1000.
    assert found["legacy.raw"]["p90"] == pytest.approx(math.sqrt(1 / 1000), rel=1e-6)


def test_statistics_are_numpy_s(save, members):
    found = values_of(save(members))
    patterns = members["diff3d"]
    raw = found["legacy.raw"]
    assert raw["p10"] == np.percentile(patterns, 10) and raw["median"] == np.median(patterns)
    assert raw["nonzero_fraction"] == np.count_nonzero(patterns) / patterns.size
    means = [patterns[:12].mean(dtype=float), patterns[12:].mean(dtype=float)]
    assert found["legacy.grouped"]["max"] == pytest.approx(max(means))
    assert found["legacy.grouped"]["n_unique_scans"] == 2
    assert found["legacy.probe.phase"]["p05"] == np.percentile(np.angle(members["probeGuess"]), 5)


def test_they_are_added_to_an_entry_on_demand_only(save, members):
    path = save(members)
    plain, full = (
        Entry.model_validate(log_dataset(path, name="a", dose=None, legacy_statistics=asked))
        for asked in (False, True)
    )
    names = [part.name for part in full.boundaries]
    assert names[: len(plain.boundaries)] == [part.name for part in plain.boundaries]
    assert names[len(plain.boundaries) :] == list(DEFINITIONS)
    for part in full.boundaries[len(plain.boundaries) :]:
        assert part.definition == DEFINITIONS[part.name]
