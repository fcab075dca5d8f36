"""Figures: the same bytes again, no warning on poor data, and what a reader must be able to rely on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from ptychodose.physics import objects, probes, scans
from ptychodose.report import figures

Complex = npt.NDArray[np.complex128]
PIXEL_M = 2.56e-8

pytestmark = pytest.mark.filterwarnings("error")


def lines(size_px: int = 96, max_phase_rad: float = 1.0) -> Complex:
    rng = np.random.default_rng(0)
    return objects.lines_phase(size_px, n_lines=100, max_amplitude=1.0, max_phase_rad=max_phase_rad, rng=rng)


def noisy(field: Complex, noise: float = 0.03) -> Complex:
    rng = np.random.default_rng(1)
    return field + noise * (rng.normal(size=field.shape) + 1j * rng.normal(size=field.shape))


def a_reconstruction() -> Figure:
    return figures.reconstruction(lines(), noisy(lines()), title="PINN, 1e5", object_pixel_m=PIXEL_M)


def a_scene(object_pixel_m: float | None = PIXEL_M, photons: float = 1e4) -> Figure:
    obj = lines()
    probe = probes.zone_plate(
        32,
        pixel_m=PIXEL_M,
        wavelength_m=1.4089e-10,
        outer_zone_width_m=6e-8,
        central_stop_fraction=0.4,
        defocus_m=1e-4,
    )
    rng = np.random.default_rng(2)
    x, y = scans.uniform(64, scans.Field.inside(obj.shape, 32), rng=rng)
    far_field = np.abs(np.fft.fftshift(np.fft.fft2(probe))) ** 2
    counts = rng.poisson(photons * far_field / far_field.sum())
    return figures.scene(obj, probe, x, y, counts, title="scene", object_pixel_m=object_pixel_m)


FITS = ("ml", "map", "pinn-refine")


def a_row(model: str, dose: int, split: str = "test") -> dict[str, str | float | None]:
    return {
        "model": model,
        "dose": f"1e{dose}",
        "split": split,
        "log10_dose": float(dose),
        "amplitude.ms_ssim": 0.5 + 0.05 * dose,
        "amplitude.psnr": 15.0 + dose,
        "phase.rms_rad": 0.1 / dose,
        "deviance_ratio": None if dose == 5 else 1 + 10.0 ** (dose - 6),
    }


def a_sweep() -> list[dict[str, str | float | None]]:
    ladder = [a_row(model, dose) for model in ("pinn", "supervised", *FITS) for dose in (9, 3, 5)]
    return [*ladder, *(a_row("pinn", dose, "unseen") for dose in (9, 3, 5)), a_row("legacy", 5)]


def a_spread() -> dict[str, dict[str, Any]]:
    return {
        "amplitude.psnr": {"values": [17.0, 18.0, 21.0], "median": 18.0, "min": 17.0, "max": 21.0},
        "amplitude.ms_ssim": {"values": [0.6, None, 0.7]},
    }


def dose_curves() -> Figure:
    return figures.dose_curves(
        a_sweep(), title="quality against dose", floors={("pinn", "1e3"): a_spread(), ("absent", "1e3"): {}}
    )


def loss_curves() -> Figure:
    epochs = np.arange(1, 11)
    loss = 7 + np.exp(-epochs)
    return figures.loss_curves(
        {"1e3": (epochs, loss, loss + 0.01), "1e5": (epochs, loss, loss)}, title="loss", loss="error (rad)"
    )


def traces(doses: int) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    trace = ([0.0, 1.0, 3.0, 200.0], [12.0, 15.0, np.nan, 24.0])
    return {f"1e{3 + n}": dict.fromkeys(FITS, trace) for n in range(doses)}


def refinement(doses: int = 7) -> Figure:
    levels = {f"1e{3 + n}": 20.0 + n if n else None for n in range(doses)}
    return figures.refinement(traces(doses), levels, network="pinn", title="quality and cost")


def saved(figure: Figure, path: Path) -> bytes:
    figures.save_png(figure, path)
    return path.read_bytes()


@pytest.mark.parametrize("make", [a_reconstruction, a_scene, dose_curves, loss_curves, refinement])
def test_the_same_figure_gives_the_same_bytes(make: Callable[[], Figure], tmp_path: Path) -> None:
    figure = make()
    first = saved(figure, tmp_path / "a.png")
    assert saved(figure, tmp_path / "b.png") == first
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "savefig.bbox": "tight"}):
        assert saved(make(), tmp_path / "c.png") == first
    assert b"Software" not in first
    assert b"tIME" not in first
    assert len(first) < 250_000


def test_a_figure_leaves_no_setting_behind(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    saved(a_reconstruction(), tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


def test_truth_and_prediction_share_their_ranges_and_differences_are_symmetric() -> None:
    panels = a_reconstruction().axes
    for truth, prediction, difference in (panels[:3], panels[3:6]):
        assert truth.images[0].get_clim() == prediction.images[0].get_clim()
        low, high = difference.images[0].get_clim()
        assert low is not None and low == -(high or 0) < 0


def test_a_phase_difference_does_not_wrap() -> None:
    truth = np.exp(1j * np.full((8, 8), np.pi - 0.01))
    figure = figures.reconstruction(truth, truth * np.exp(0.05j), title="wrap", object_pixel_m=None)
    shown = figure.axes[5].images[0].get_array()
    np.testing.assert_allclose(np.asarray(shown), 0.05, atol=1e-12)
    # Across π the phase of the prediction goes on instead of jumping to -π.
    np.testing.assert_allclose(np.asarray(figure.axes[4].images[0].get_array()), np.pi + 0.04, atol=1e-12)


@pytest.mark.parametrize("object_pixel_m", [None, PIXEL_M])
@pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        pytest.param(np.ones((40, 40), complex), np.ones((40, 40), complex), id="constant"),
        pytest.param(lines(max_phase_rad=0.0), noisy(lines(max_phase_rad=0.0)), id="constant phase"),
        pytest.param(lines(), np.full((96, 96), np.nan + 0j), id="not finite"),
        pytest.param(lines(max_phase_rad=15.0), noisy(lines(max_phase_rad=15.0)), id="wide phase"),
        pytest.param(lines()[:20], noisy(lines())[:20], id="strip"),
        pytest.param(None, noisy(lines()), id="no truth"),
    ],
)
def test_any_reconstruction_is_drawn(
    truth: Complex | None, prediction: Complex, object_pixel_m: float | None, tmp_path: Path
) -> None:
    figure = figures.reconstruction(truth, prediction, title="odd", object_pixel_m=object_pixel_m)
    assert saved(figure, tmp_path / "a.png")


def test_a_wide_phase_is_shown_cyclic_and_a_narrow_one_is_not() -> None:
    wide, narrow = (
        figures.reconstruction(
            lines(max_phase_rad=p), noisy(lines(max_phase_rad=p)), title="", object_pixel_m=None
        )
        for p in (15.0, 1.0)
    )
    assert wide.axes[3].images[0].get_cmap().name.startswith("twilight")
    assert not narrow.axes[3].images[0].get_cmap().name.startswith("twilight")


@pytest.mark.parametrize("photons", [0, 20, 1e3, 1e9])
@pytest.mark.parametrize("object_pixel_m", [None, PIXEL_M])
def test_a_pattern_of_any_dose_is_drawn(photons: float, object_pixel_m: float | None, tmp_path: Path) -> None:
    figure = a_scene(object_pixel_m, photons)
    assert saved(figure, tmp_path / "a.png")
    low, high = figure.axes[5].images[0].get_clim()
    # Zero photons lie below one on the scale.
    assert low is not None and high is not None and low < 1 < high


def test_the_zero_of_q_is_the_centre_of_its_pixel() -> None:
    left, right, bottom, top = a_scene(None).axes[5].images[0].get_extent()
    assert (left, right, bottom, top) == (-16.5, 15.5, 15.5, -16.5)


@pytest.mark.parametrize("rows", [[], a_sweep()[:1], [{"model": "pinn", "split": "test", "log10_dose": 5.0}]])
def test_missing_values_break_no_dose_curve(
    rows: list[dict[str, str | float | None]], tmp_path: Path
) -> None:
    assert saved(figures.dose_curves(rows, title="sparse"), tmp_path / "a.png")


def test_a_dose_curve_is_in_order_of_dose_and_has_a_gap_where_a_value_is_missing() -> None:
    deviance = dose_curves().axes[5].get_lines()[0]
    np.testing.assert_allclose(np.asarray(deviance.get_xdata(), dtype=float), [1e3, 1e5, 1e9])
    assert np.isnan(np.asarray(deviance.get_ydata(), dtype=float)).tolist() == [False, True, False]


def lines_of(figure: Figure, panel: int = 1) -> dict[str, Line2D]:
    """Label → line; panels draw their lines in the order of the legend."""
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    return dict(zip(labels, figure.axes[panel].get_lines(), strict=False))


def test_networks_are_solid_and_coloured_and_fits_dashed_black_to_grey() -> None:
    lines = lines_of(dose_curves())
    for name in ("pinn", "supervised"):
        assert lines[name].get_linestyle() == "-"
        assert np.ptp(to_rgb(lines[name].get_color())) > 0.3
    for name in ("ml (photons alone)", "map (photons and prior)", "pinn-refine (map from pinn)"):
        assert lines[name].get_linestyle() not in ("-", "None")
        assert np.ptp(to_rgb(lines[name].get_color())) == 0
    looks = {(str(line.get_color()), line.get_linestyle(), line.get_marker()) for line in lines.values()}
    assert len(looks) == len(lines)


def test_a_model_of_single_doses_is_a_marker_without_a_line() -> None:
    rows = [*a_sweep(), a_row("gs2", 3), a_row("gs2", 9)]
    lines = lines_of(figures.dose_curves(rows, title="two doses apart"))
    for name in ("legacy", "gs2"):
        assert lines[name].get_linestyle() == "None"
        assert lines[name].get_marker() not in ("None", "")
    assert np.isfinite(np.asarray(lines["gs2"].get_ydata(), dtype=float)).tolist() == [True, False, True]


def test_another_object_is_hollow_in_the_colour_of_its_model() -> None:
    lines = lines_of(dose_curves())
    assert lines["pinn, another object"].get_markerfacecolor() == "white"
    assert lines["pinn, another object"].get_color() == lines["pinn"].get_color()


def test_a_bar_goes_from_the_least_to_the_greatest_of_the_seeds_and_stands_where_it_is_defined() -> None:
    ssim, psnr = dose_curves().axes[:2]
    (bar,) = psnr.collections
    np.testing.assert_allclose(bar.get_paths()[0].vertices, [[1e3, 17.0], [1e3, 21.0]])
    assert len(ssim.collections) == 0


def test_good_similarities_are_told_apart() -> None:
    values = [0.1, 0.9, 0.99, 0.999, 1.0]
    rows = [a_row("pinn", dose) | {"amplitude.ms_ssim": value} for dose, value in enumerate(values, start=3)]
    panel = figures.dose_curves(rows, title="near 1").axes[0]
    heights = panel.transData.transform([(1e3, value) for value in values])[:, 1]
    assert (np.diff(heights) > 0.1 * np.ptp(heights)).all()


@pytest.mark.parametrize("least", [0.05, 0.652, 0.9])
def test_nothing_lies_at_the_edge_of_a_panel(least: float) -> None:
    values = dict(zip((3, 5, 9), (least, 0.97, 0.99988), strict=True))
    rows = [
        a_row("pinn", dose) | {"amplitude.ms_ssim": value, "amplitude.pearson": value, "phase.rms_rad": value}
        for dose, value in values.items()
    ]
    figure = figures.dose_curves(rows, title="margins", floors={("pinn", "1e3"): a_spread()})
    for panel in (figure.axes[n] for n in (0, 2, 4)):
        heights = panel.transData.transform([(1e3, value) for value in values.values()])[:, 1]
        inside = panel.transAxes.inverted().transform(np.column_stack([heights, heights]))[:, 1]
        assert inside.min() == pytest.approx(1 - inside.max(), abs=1e-6)
        assert 0.02 < inside.min() < 0.1


def test_an_axis_always_has_ticks() -> None:
    rows = [a_row("pinn", 3) | {"amplitude.ms_ssim": 0.9512, "phase.rms_rad": 0.0123}]
    for panel in figures.dose_curves(rows, title="one dose").axes:
        low, high = panel.get_ylim()
        if not panel.texts:
            assert sum(low <= tick <= high for tick in panel.get_yticks()) >= 2


@pytest.mark.parametrize("doses", [1, 2, 3, 4, 7, 8])
def test_refinement_has_a_panel_for_each_dose_and_one_for_the_legend(doses: int, tmp_path: Path) -> None:
    figure = refinement(doses)
    assert saved(figure, tmp_path / "a.png")
    shown = [panel for panel in figure.axes if panel.axison]
    assert len(shown) == doses
    (legend,) = (panel.get_legend() for panel in figure.axes if panel.get_legend())
    assert legend is not None
    names = [text.get_text().split("\n")[0] for text in legend.get_texts()]
    assert sorted(names) == sorted([*FITS, "pinn, one pass"][: 3 + (doses > 1)])


def test_a_trace_starts_on_the_logarithmic_axis_and_its_end_is_marked() -> None:
    panel = refinement().axes[1]
    level, line, *_ = panel.get_lines()
    assert np.asarray(level.get_ydata()).tolist() == [21.0, 21.0]
    assert np.asarray(line.get_xdata()).tolist() == [1.0, 1.0, 3.0, 200.0]
    assert line.get_markevery() == [-1]


def test_a_study_with_no_truth_has_traces_with_no_quality(tmp_path: Path) -> None:
    empty = {"1e3": {"ml": ([0.0, 1.0], [np.nan, np.nan]), "map": ([], [])}}
    figure = figures.refinement(empty, {"1e3": None}, network="pinn", title="no truth")
    assert saved(figure, tmp_path / "a.png")


@pytest.mark.parametrize("values", [[7.0], [7.0, 7.0, 7.0], [7.1, np.nan, 7.0], [np.nan, np.nan]])
def test_poor_losses_are_drawn(values: list[float], tmp_path: Path) -> None:
    history = (np.arange(len(values)), values, values)
    assert saved(figures.loss_curves({"1e3": history}, title="poor", loss="loss"), tmp_path / "a.png")


def test_no_losses_are_drawn_too(tmp_path: Path) -> None:
    assert saved(figures.loss_curves({}, title="none", loss="loss"), tmp_path / "a.png")


def test_the_palette_keeps_the_colour_maps(tmp_path: Path) -> None:
    figures.save_png(a_reconstruction(), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        colours = {colour for _, colour in image.convert("RGB").getcolors(256) or []}
    wanted = {
        tuple(int(c) for c in matplotlib.colormaps["gray"].resampled(56)(i, bytes=True)[:3])
        for i in range(56)
    }
    assert wanted <= colours
