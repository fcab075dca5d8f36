"""The network of groups: one object per group, the true object's rates, and batches that can be repeated."""

import keras
import numpy as np
import pytest
from keras import ops

from ptychodose.formats.checkpoints import load_model, save_model
from ptychodose.networks.group_batches import ThinnedGroups, predict_group_patches
from ptychodose.networks.losses import PoissonNLL
from ptychodose.networks.overlap import CutObject
from ptychodose.networks.physics_layers import FarField, Rate
from ptychodose.networks.pinn_groups import (
    Grouped,
    PatternsOfGroup,
    Ungrouped,
    build_pinn_groups,
    group_rate_model,
)
from ptychodose.networks.training import train_epoch
from ptychodose.physics.diffraction import cut_patches, diffraction_intensity, exit_waves
from ptychodose.physics.grouping import group_neighbours
from ptychodose.physics.photons import draw_counts
from ptychodose.physics.probes import gaussian
from ptychodose.physics.randomness import philox_key

DOSE, PAD, N_PATTERNS = 1e4, 8, 24
PROBE = gaussian(64, fwhm_px=20.0)


@pytest.fixture(scope="module")
def scan():
    """x, y within the frame's reach of each other."""
    return np.random.default_rng(2).uniform(40, 40 + PAD, (2, N_PATTERNS))


@pytest.fixture(scope="module")
def patterns():
    rates = np.random.default_rng(1).uniform(0, 2 * DOSE / 64**2, (N_PATTERNS, 64, 64))
    return np.sqrt(draw_counts(rates, philox_key("test"), 0) / DOSE).astype(np.float32)


def batches(patterns, scan, **changes):
    return ThinnedGroups(
        patterns,
        *scan,
        **{
            "dose_photons": DOSE,
            "mean_photons": DOSE,
            "gridsize": 2,
            "n_neighbours": 6,
            "pad_px": PAD,
            "batch_size": 2,
            "seed": 3,
        }
        | changes,
    )


@pytest.fixture(scope="module")
def network():
    """Random weights, large enough to make an object that is not uniform."""
    keras.utils.set_random_seed(0)
    network = build_pinn_groups(64, width=2, stages=2, pad_px=PAD)
    network.get_layer("probe").set_probe(PROBE, mean_exit_energy=2.0)
    for layer in network.layers:
        if (
            isinstance(layer, keras.layers.Conv2D)
            and layer.filters == 8
            and layer.activation.__name__ == "linear"
        ):
            layer.kernel.assign(200 * layer.kernel)
    return network


def test_shapes(network, patterns, scan):
    (seen, offsets), target = batches(patterns, scan).batch(0, 0)
    assert seen.shape == (2, 64, 64, 4) and offsets.shape == (2, 4, 2) and target.shape == (8, 64, 64, 1)
    assert network.predict_on_batch([seen, offsets]).shape == (2, 4, 64, 64, 2)
    rates = group_rate_model(network)
    predicted = rates.predict_on_batch([seen, offsets])
    assert predicted.shape == target.shape
    assert np.isfinite(float(PoissonNLL(DOSE)(target, predicted)))


def test_patches_of_a_group_agree_where_they_overlap(network, patterns, scan):
    """At offsets of whole pixels nothing is interpolated: one object, looked at through four windows."""
    (seen, _), _ = batches(patterns, scan).batch(0, 0)
    offsets = np.array([[[0, 0], [8, -8], [-5, 3], [2, 7]]] * 2, np.float32)
    patches = network.predict_on_batch([seen, offsets])
    assert np.ptp(patches[0, 0, ..., 0]) > 0.01  # not uniform
    reference = patches[:, 0]
    for k, (down, right) in enumerate(offsets[0].astype(int)):
        rows, columns = slice(max(down, 0), 64 + min(down, 0)), slice(max(right, 0), 64 + min(right, 0))
        moved = slice(rows.start - down, rows.stop - down), slice(columns.start - right, columns.stop - right)
        np.testing.assert_allclose(patches[:, k][:, *moved], reference[:, rows, columns], atol=1e-5)


def test_untrained_network_predicts_the_whole_dose(patterns, scan):
    network = build_pinn_groups(64, width=2, stages=1, pad_px=PAD)
    network.get_layer("probe").set_probe(PROBE, mean_exit_energy=2.0)
    inputs, _ = batches(patterns, scan).batch(0, 0)
    rates = group_rate_model(network).predict_on_batch(list(inputs))
    assert np.sum(rates, axis=(1, 2, 3)) == pytest.approx(1, rel=0.05)


def test_rates_of_the_true_object_are_those_of_the_simulation(network, scan):
    """Frames on the object's pixels: cut there and propagated, the true object gives the simulated rates."""
    rng = np.random.default_rng(4)
    obj = rng.uniform(0.2, 1, (96, 96)) * np.exp(1j * rng.uniform(-1, 1, (96, 96)))
    groups = group_neighbours(*scan, gridsize=2, key=philox_key("test"), positions=np.arange(3))
    half = 32 + PAD
    frames = [obj[y - half : y + half, x - half : x + half] for y, x in groups.frame_origin_yx.astype(int)]
    frame = np.stack([np.abs(frames), np.angle(frames)], axis=-1).astype(np.float32)
    patches = CutObject(64, PAD)(frame, groups.frame_offsets_yx.astype(np.float32))
    probe = network.get_layer("probe")(None)
    rates = ops.convert_to_numpy(Rate()(FarField()(Ungrouped()(patches), probe)))
    y, x = groups.positions_yx.reshape(-1, 2).T
    simulated = diffraction_intensity(exit_waves(PROBE, cut_patches(obj, x, y, 64, "bilinear"))) / 2.0
    np.testing.assert_allclose(rates[..., 0], simulated, rtol=1e-3, atol=1e-7)


def test_members_keep_their_order():
    patterns = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    single = ops.convert_to_numpy(PatternsOfGroup()(patterns))
    assert single.shape == (8, 8, 8, 1)
    np.testing.assert_array_equal(single[6, ..., 0], patterns[1, ..., 2])
    grouped = Grouped(4)(single)
    np.testing.assert_array_equal(ops.convert_to_numpy(grouped)[1, 2], single[6])
    np.testing.assert_array_equal(ops.convert_to_numpy(Ungrouped()(grouped)), single)


def test_a_network_for_single_patterns_is_the_case_of_gridsize_1(patterns, scan):
    network = build_pinn_groups(64, gridsize=1, width=2, stages=1, pad_px=0)
    (seen, offsets), target = batches(patterns, scan, gridsize=1, pad_px=1).batch(0, 0)
    assert seen.shape == (2, 64, 64, 1) and target.shape == seen.shape
    assert network.predict_on_batch([seen, offsets]).shape == (2, 1, 64, 64, 2)


def test_a_frame_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="pad_px is 10"):
        build_pinn_groups(64, width=2, stages=1, pad_px=10)


def test_a_saved_network_predicts_the_same(network, patterns, scan, tmp_path):
    save_model(network, tmp_path / "model.keras")
    (seen, offsets), _ = batches(patterns, scan).batch(0, 0)
    again = load_model(tmp_path / "model.keras").predict_on_batch([seen, offsets])
    np.testing.assert_array_equal(again, network.predict_on_batch([seen, offsets]))


def test_batches_depend_on_seed_epoch_and_step_alone(patterns, scan):
    first, second = batches(patterns, scan), batches(patterns, scan)
    for epoch, step in ((1, 2), (0, 1)):
        (a, b), c = first.batch(epoch, step)
        (d, e), f = second.batch(epoch, step)
        for left, right in ((a, d), (b, e), (c, f)):
            np.testing.assert_array_equal(left, right)
    assert not np.array_equal(first.batch(0, 0)[1], first.batch(1, 0)[1])
    assert not np.array_equal(first.batch(0, 0)[1], batches(patterns, scan, seed=4).batch(0, 0)[1])
    assert first.steps == 3 and batches(patterns[:7], scan[:, :7]).steps == 1


def test_seen_and_hidden_photons_are_those_of_the_members(patterns, scan):
    dataset = batches(patterns, scan)
    (seen, offsets), hidden = dataset.batch(0, 1)
    groups = dataset.groups(0, 1)
    np.testing.assert_allclose(offsets, groups.frame_offsets_yx, atol=1e-6)
    for g, k in np.ndindex(2, 4):
        dark = patterns[groups.members[g, k]] == 0
        assert (seen[g, ..., k][dark] == 0).all() and (hidden[4 * g + k, ..., 0][dark] == 0).all()
    assert np.mean(np.sum(seen**2, axis=(1, 2))) == pytest.approx(32**2, rel=0.05)
    assert np.mean(np.sum(hidden, axis=(1, 2, 3))) == pytest.approx(1, rel=0.05)


def test_groups_beyond_the_frame_are_refused(patterns, scan):
    with pytest.raises(ValueError, match="room for 1 px"):
        batches(patterns, scan, pad_px=1).batch(0, 0)


def test_it_learns(patterns, scan):
    keras.utils.set_random_seed(0)
    network = build_pinn_groups(64, width=2, stages=1, pad_px=PAD)
    network.get_layer("probe").set_probe(PROBE, mean_exit_energy=2.0)
    rates = group_rate_model(network)
    rates.compile(optimizer=keras.optimizers.Adam(3e-3), loss=PoissonNLL(DOSE))
    losses = [train_epoch(rates, batches(patterns, scan), epoch, lambda _: None) for epoch in range(3)]
    assert losses[-1] < 0.9 * losses[0]


def test_prediction_does_not_depend_on_the_batch(network, patterns, scan):
    groups = group_neighbours(*scan, gridsize=2, key=philox_key("test"), always_include_self=True)[:4]
    counts = np.rint(patterns.astype(np.float64) ** 2 * DOSE).astype(np.int64)[groups.members]
    whole = predict_group_patches(network, counts, groups, mean_photons=DOSE)
    assert whole.shape == (4, 4, 64, 64) and whole.dtype == np.complex128
    parts = [
        predict_group_patches(network, counts[rows], groups[rows], mean_photons=DOSE)
        for rows in (slice(0, 1), slice(1, 4))
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)
