"""The table covers every metric the reports name, and says which settings the code has."""

import numpy as np
import pytest

from ptychodose.metrics.definitions import DEFINITIONS
from ptychodose.metrics.images import ms_ssim

REPORTED = (
    "ms_ssim ms_ssim@legacy psnr psnr@legacy255 ssim mae mse pearson frc50 frc1over7 amplitude_bias "
    "deviance_ratio rms_rad"
).split()


def test_every_reported_metric_is_defined_and_no_other():
    assert sorted(DEFINITIONS) == sorted(REPORTED)


@pytest.mark.parametrize("name", REPORTED)
def test_a_definition_is_complete(name):
    definition = DEFINITIONS[name]
    assert definition.name == name
    assert definition.version >= 1
    assert definition.text.endswith(".")
    assert definition.source


def test_the_published_weights_are_those_the_code_uses():
    truth = np.random.default_rng(0).random((176, 176))
    for weight in ms_ssim(truth, truth, data_range=1.0).weights:
        assert str(weight) in DEFINITIONS["ms_ssim"].text
