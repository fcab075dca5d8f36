"""Probes against optics worked out another way: a Hankel integral, an annulus, a half width."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft
from scipy.special import j0

from ptychodose.physics.probes import effective_diameter_px, gaussian, object_pixel_m, zone_plate
from ptychodose.physics.rounding import FIELD_GRID

PIXEL_M = 2.56e-8
WAVELENGTH_M = 1.4089e-10
OUTER_PER_M = 1 / (2 * 6e-8)
INNER_PER_M = 0.4 * OUTER_PER_M


def beam(size_px, defocus_m):
    return zone_plate(
        size_px,
        pixel_m=PIXEL_M,
        wavelength_m=WAVELENGTH_M,
        outer_zone_width_m=6e-8,
        central_stop_fraction=0.4,
        defocus_m=defocus_m,
    )


def hankel_beam(size_px, defocus_m):
    """The same beam as an integral over the radius of the pupil: int q J0(2 pi q r) exp(i phase) dq."""
    steps = np.arange(size_px) - size_px // 2
    radius_m = np.hypot(steps[:, None], steps[None, :]) * PIXEL_M
    q, dq = np.linspace(INNER_PER_M, OUTER_PER_M, 2001, retstep=True)
    weight = np.full(q.size, dq)
    weight[[0, -1]] /= 2
    phase = 2 * np.pi * defocus_m * (np.sqrt(WAVELENGTH_M**-2 - q**2) - 1 / WAVELENGTH_M)
    r = np.linspace(0, radius_m.max(), 1500)
    profile = j0(2 * np.pi * r[:, None] * q) @ (weight * q * np.exp(1j * phase))
    return np.interp(radius_m, r, profile.real) + 1j * np.interp(radius_m, r, profile.imag)


def flat_part(size_px):
    """Where the soft window at the edge of the probe is 1."""
    edge = size_px // 16 + 1
    return np.s_[edge:-edge, edge:-edge]


def test_the_object_pixel_is_wavelength_times_distance_over_the_detector_width():
    pixel_m = object_pixel_m(64, wavelength_m=1.4089e-10, detector_distance_m=2.0, detector_pixel_m=1.72e-4)
    assert pixel_m == pytest.approx(25.597747e-9, rel=1e-7)
    assert object_pixel_m(
        128, wavelength_m=1.4089e-10, detector_distance_m=2.0, detector_pixel_m=1.72e-4
    ) == pytest.approx(pixel_m / 2, rel=1e-15)


@pytest.mark.parametrize("defocus_m", [0.0, 3e-4, -1e-4])
@pytest.mark.parametrize("size_px", [64, 128])
def test_the_zone_plate_beam_is_the_integral_over_its_pupil(size_px, defocus_m):
    probe, integral = beam(size_px, defocus_m), hankel_beam(size_px, defocus_m)
    found, expected = probe[flat_part(size_px)], integral[flat_part(size_px)]
    scale = np.vdot(expected, found) / np.vdot(expected, expected)
    assert np.abs(found / scale - expected).max() < 0.005 * np.abs(expected).max()


@pytest.mark.parametrize("defocus_m", [0.0, 3e-4])
def test_the_spectrum_is_confined_to_the_annulus_of_the_pupil(defocus_m):
    spectrum = np.abs(fft.fft2(beam(64, defocus_m))) ** 2
    q = fft.fftfreq(64, d=PIXEL_M)
    radius = np.hypot(q[:, None], q[None, :])
    step = q[1]
    # Cutting the beam to N pixels widens an edge by about one frequency step.
    inside = (radius > INNER_PER_M - step) & (radius < OUTER_PER_M + step)
    assert spectrum[inside].sum() > 0.998 * spectrum.sum()
    assert inside.mean() < 0.25


def test_propagation_keeps_the_energy_of_the_beam():
    pupil_energy = (OUTER_PER_M**2 - INNER_PER_M**2) / (4 * np.pi)
    for defocus_m in (0.0, 3e-4):
        probe, integral = beam(256, defocus_m), hankel_beam(256, defocus_m)
        scale = np.abs(np.vdot(integral, probe) / np.vdot(integral, integral))
        energy = (np.abs(probe / scale) ** 2).sum() * PIXEL_M**2
        # What diffracts out of the window is missing: about 1 / (pi^2 q r) of an annulus.
        assert 0.97 < energy / pupil_energy < 1.001


def test_without_defocus_the_focus_is_the_middle_of_the_window():
    probe = beam(64, 0.0)
    assert np.unravel_index(np.abs(probe).argmax(), probe.shape) == (32, 32)
    assert probe[32, 32] == 1
    assert np.abs(probe.imag).max() <= FIELD_GRID


def test_before_the_focus_the_beam_is_the_conjugate_of_that_behind_it():
    assert np.abs(beam(64, 2e-4) - beam(64, -2e-4).conj()).max() <= 2 * FIELD_GRID


@pytest.mark.parametrize("probe", [beam(64, 3e-4), beam(128, 0.0), gaussian(64, fwhm_px=20.0)])
def test_the_largest_modulus_is_one(probe):
    assert np.abs(probe).max() == pytest.approx(1.0, abs=FIELD_GRID)


@given(half_width=st.integers(1, 30))
def test_the_intensity_of_a_gaussian_halves_at_half_its_width(half_width):
    intensity = np.abs(gaussian(64, fwhm_px=2.0 * half_width)) ** 2
    assert intensity[32, 32] == 1
    at_half = [intensity[32, 32 + half_width], intensity[32 - half_width, 32]]
    np.testing.assert_allclose(at_half, 0.5, atol=2 * FIELD_GRID)


@settings(deadline=None)
@given(radius=st.floats(8, 30), brightness=st.floats(1e-3, 1e3), phase=st.floats(-3, 3))
def test_the_effective_diameter_of_a_disc_is_its_diameter(radius, brightness, phase):
    steps = np.arange(64) - 32
    disc = (steps[:, None] ** 2 + steps[None, :] ** 2 <= radius**2) * brightness * np.exp(1j * phase)
    diameter = effective_diameter_px(disc)
    assert diameter == pytest.approx(2 * np.sqrt(np.count_nonzero(disc) / np.pi), rel=1e-12)
    assert diameter == pytest.approx(2 * radius, abs=1)
