"""The scene of a study: the same at every dose, from files too, and every misfit is one sentence."""

import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.physics.diffraction import cut_patches, exit_wave_energy
from ptychodose.physics.scans import Field
from ptychodose.stages.scene import build_probe, build_scene

SIZE_PX = 64


@pytest.fixture
def put(tmp_path):
    """Write an input file into data/inputs of the working directory of the study."""

    def save(name, **arrays):
        path = tmp_path / "data" / "inputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)

    return save


@pytest.fixture
def positions(put):
    """40 distinct positions inside the field of an 80 x 90 object, in a file."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(32, 57, 40), rng.uniform(32, 47, 40)
    put("scan.npz", xcoords=x, ycoords=y)
    return x, y


def noise(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def refusal(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def object_file(**values):
    return {
        "simulate.object.kind": "file",
        "simulate.object.path": "object.npz",
        "simulate.splits.unseen": 0,
    } | {f"simulate.{key}": value for key, value in values.items()}


SCAN_FILE = {"scan.kind": "file", "scan.path": "scan.npz"}


def test_train_and_test_share_the_object_and_unseen_has_another(tiny_params):
    params = tiny_params()
    train, test, unseen = (build_scene(params, split) for split in ("train", "test", "unseen"))
    assert np.array_equal(train.obj, test.obj)
    assert not np.array_equal(train.obj, unseen.obj)
    assert np.array_equal(train.probe, unseen.probe)
    assert [len(scene.x) for scene in (train, test, unseen)] == [12, 5, 4]


@pytest.mark.parametrize("kind", ["uniform", "raster"])
def test_every_split_of_a_random_scan_has_positions_of_its_own(tiny_params, kind):
    params = tiny_params(
        {"simulate.scan.kind": kind, "simulate.splits": {"train": 12, "test": 12, "unseen": 12}}
    )
    drawn = [build_scene(params, split).x for split in ("train", "test", "unseen")]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert not np.intersect1d(drawn[one], drawn[two]).size


def test_another_seed_is_another_object_at_other_positions(tiny_params):
    one, two = (
        build_scene(tiny_params({"seed": seed, "simulate.scan.kind": "uniform"}), "train") for seed in (1, 2)
    )
    assert not np.array_equal(one.obj, two.obj)
    assert not np.array_equal(one.x, two.x)
    assert np.array_equal(one.probe, two.probe)


def test_object_probe_and_positions_are_taken_from_files(tiny_params, put, positions):
    probe, obj = noise((SIZE_PX, SIZE_PX), 1), noise((80, 90), 2)
    put("object.npz", objectGuess=obj)
    put("probe.npz", probeGuess=probe.astype(np.complex64))
    params = tiny_params(object_file(**SCAN_FILE, **{"probe.kind": "file", "probe.path": "probe.npz"}))
    scene = build_scene(params, "train")
    assert np.array_equal(scene.obj, obj)
    assert np.array_equal(scene.probe, probe.astype(np.complex64))
    assert scene.obj.dtype == scene.probe.dtype == np.complex128
    places = list(zip(*positions, strict=True))
    rows = [places.index(place) for place in zip(scene.x, scene.y, strict=True)]
    assert rows == sorted(rows)


def test_the_unseen_object_is_the_second_file(tiny_params, put):
    put("object.npz", objectGuess=noise((80, 90), 1))
    put("other.npz", objectGuess=noise((70, 75), 2))
    values = object_file(**{"splits.unseen": 3, "object.unseen_path": "other.npz"})
    params = tiny_params(values)
    assert build_scene(params, "test").obj.shape == (80, 90)
    assert build_scene(params, "unseen").obj.shape == (70, 75)


@pytest.mark.parametrize("seed", range(5))
def test_train_and_test_positions_of_a_file_never_overlap(tiny_params, put, positions, seed):
    put("object.npz", objectGuess=noise((80, 90)))
    splits = {"train": 25, "test": 15, "unseen": 0}
    params = tiny_params(object_file(**SCAN_FILE, splits=splits) | {"seed": seed})
    train, test = (build_scene(params, split) for split in ("train", "test"))
    assert (len(train.x), len(test.x)) == (25, 15)
    together = sorted([*zip(train.x, train.y, strict=True), *zip(test.x, test.y, strict=True)])
    assert together == sorted(zip(*positions, strict=True))


def test_the_positions_of_a_file_are_dealt_out_by_the_seed(tiny_params, put, positions):
    put("object.npz", objectGuess=noise((80, 90)))
    one, two = (
        build_scene(tiny_params(object_file(**SCAN_FILE) | {"seed": seed}), "train").x for seed in (1, 2)
    )
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("size_px", [40, 65])
def test_an_object_without_room_for_the_probe_is_refused(tiny_params, size_px):
    message = refusal(build_scene, tiny_params({"simulate.object.size_px": size_px}), "train")
    assert f"the object is {size_px} x {size_px} px, smaller than the 64 px probe" in message


def test_positions_outside_the_object_are_refused_with_the_first_of_them(tiny_params, put):
    put("object.npz", objectGuess=noise((80, 90)))
    put("scan.npz", xcoords=np.full(17, 58.5), ycoords=np.full(17, 40.0))
    message = refusal(build_scene, tiny_params(object_file(**SCAN_FILE)), "train")
    assert "data/inputs/scan.npz: xcoords, ycoords: 12 of 12 positions lie outside" in message
    assert "the first at x = 58.5, y = 40; centres must have x in [32, 58] and y in [32, 48]" in message


def test_a_window_that_ends_with_the_object_is_cut_whole_for_both_interpolations():
    obj = noise((80, 90)) + 1j
    x, y = np.array([58.0, 32.0, 57.75]), np.array([48.0, 32.0, 47.5])
    assert Field.admissible(obj.shape, 64).contains(x, y).all()
    for interpolation in ("bilinear", "nearest"):
        patches = cut_patches(obj, x, y, 64, interpolation)
        np.testing.assert_array_equal(patches[0], obj[16:, 26:])
        np.testing.assert_array_equal(patches[1], obj[:64, :64])
        probe = np.ones((64, 64), complex)
        energy = exit_wave_energy(obj, probe, x, y, interpolation)
        np.testing.assert_allclose(energy, (np.abs(patches) ** 2).sum(axis=(1, 2)), rtol=1e-11)


def test_too_few_positions_in_a_file_are_refused(tiny_params, put, positions):
    put("object.npz", objectGuess=noise((80, 90)))
    splits = {"train": 30, "test": 11, "unseen": 0}
    message = refusal(build_scene, tiny_params(object_file(**SCAN_FILE, splits=splits)), "train")
    assert "data/inputs/scan.npz: holds 40 positions, but simulate.splits asks for 41" in message


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.full(20, 40.0), np.full(19, 40.0)),
        (np.full((20, 1), 40.0), np.full((20, 1), 40.0)),
        (np.append(np.full(19, 40.0), np.nan), np.full(20, 40.0)),
    ],
)
def test_positions_that_are_no_finite_pairs_are_refused(tiny_params, put, x, y):
    put("scan.npz", xcoords=x, ycoords=y)
    message = refusal(
        build_scene, tiny_params({f"simulate.{key}": value for key, value in SCAN_FILE.items()}), "train"
    )
    assert message.startswith("data/inputs/scan.npz: xcoords, ycoords: ")


def test_a_probe_file_of_another_size_is_refused(tiny_params, put):
    put("probe.npz", probeGuess=noise((32, 32)))
    params = tiny_params({"simulate.probe.kind": "file", "simulate.probe.path": "probe.npz"})
    message = refusal(build_probe, params)
    assert message == "data/inputs/probe.npz: probeGuess: its shape is (32, 32), but simulate.size_px is 64"


@pytest.mark.parametrize(
    "array",
    [np.ones((SIZE_PX, SIZE_PX)), noise(SIZE_PX), noise((SIZE_PX, SIZE_PX)) * np.nan, noise((64, 64)) * 0],
)
def test_a_probe_that_is_no_image_or_lets_no_light_through_is_refused(tiny_params, put, array):
    put("probe.npz", probeGuess=array)
    params = tiny_params({"simulate.probe.kind": "file", "simulate.probe.path": "probe.npz"})
    assert refusal(build_probe, params).startswith("data/inputs/probe.npz: probeGuess: ")


@pytest.mark.parametrize("part", ["object", "probe", "scan"])
def test_an_input_file_that_is_not_there_is_named(tiny_params, part):
    values = {
        f"simulate.{part}.kind": "file",
        f"simulate.{part}.path": "absent.npz",
        "simulate.splits.unseen": 0,
    }
    assert refusal(build_scene, tiny_params(values), "train") == "data/inputs/absent.npz: not found"


def test_the_real_probe_object_and_positions_of_an_experiment_make_a_scene(tiny_params, put, lcls):
    with np.load(lcls / "Run1084_recon3_postPC.npz", allow_pickle=False) as archive:
        put("real.npz", **{key: archive[key] for key in ("probeGuess", "objectGuess", "xcoords", "ycoords")})
    files = {
        f"{part}.{key}": value
        for part in ("probe", "scan")
        for key, value in (("kind", "file"), ("path", "real.npz"))
    }
    scene = build_scene(tiny_params(object_file(**files, **{"object.path": "real.npz"})), "train")
    assert scene.obj.shape == (227, 226) and len(scene.x) == 12
