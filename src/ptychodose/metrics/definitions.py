"""The table of metrics: what a reported name means."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """One metric as it is reported.

    name: the key in every report, with `@legacy...` where it differs from the field's definition; version:
    raised whenever a change of this package changes the number; text: the rule; source: paper and DOI.
    """

    name: str
    version: int
    text: str
    source: str


_DEFINITIONS = (
    Definition(
        "ms_ssim",
        1,
        "Multi-scale SSIM: mean contrast-structure at scales 1..J-1 and mean SSIM at scale J, to the powers "
        "0.0448 0.2856 0.3001 0.2363 0.1333, multiplied; 11x11 Gaussian window of sigma 1.5 px, windows "
        "inside the image only; 2x2 mean before decimation by 2; negative means set to 0; data_range = "
        "max - min of the truth; below 176 px J < 5 and the first J weights are divided by their sum, both "
        "recorded.",
        "Wang, Simoncelli, Bovik 2003, doi:10.1109/ACSSC.2003.1292216",
    ),
    Definition(
        "ms_ssim@legacy",
        1,
        "Amplitude smoothed by a Gaussian of sigma 1 px, phase mapped by (φ + π) / 2π; product of the full "
        "SSIM (7x7 uniform window, sample covariance) to the same weights, not renormalised; every second "
        "row and column between scales, no low-pass; stops when a side is below 7 px; data_range = larger of "
        "the two ranges.",
        "the rule of the PtychoPINN dose experiments, restated",
    ),
    Definition(
        "ssim",
        1,
        "Mean SSIM, 11x11 Gaussian window of sigma 1.5 px, population covariance, K1 = 0.01, K2 = 0.03, "
        "windows inside the image only; data_range = max - min of the truth.",
        "Wang, Bovik, Sheikh, Simoncelli 2004, doi:10.1109/TIP.2003.819861",
    ),
    Definition(
        "psnr",
        1,
        "10 log10(range² / mse) in dB, range = max - min of the truth.",
        "Wang, Bovik 2009, doi:10.1109/MSP.2008.930649",
    ),
    Definition(
        "psnr@legacy255",
        1,
        "10 log10(255² / mse) in dB, whatever the range of the data: 48.13 dB above psnr at range 1.",
        "default peak of OpenCV's cv::PSNR, https://docs.opencv.org/4.x/d2/de8/group__core__array.html",
    ),
    Definition(
        "mae",
        1,
        "Mean absolute error, in the unit of the images.",
        "Wang, Bovik 2009, doi:10.1109/MSP.2008.930649",
    ),
    Definition(
        "mse",
        1,
        "Mean squared error, in the unit of the images squared.",
        "Wang, Bovik 2009, doi:10.1109/MSP.2008.930649",
    ),
    Definition(
        "pearson",
        1,
        "Pearson's correlation coefficient over the pixels.",
        "Pearson 1895, doi:10.1098/rspl.1895.0041",
    ),
    Definition(
        "rms_rad",
        1,
        "Root-mean-square difference of the two aligned phases, in radians, not wrapped.",
        "Wang, Bovik 2009 (root of the mse), doi:10.1109/MSP.2008.930649",
    ),
    Definition(
        "frc50",
        1,
        "First ring (index >= 1) where the Fourier ring correlation with the truth is below 0.5, as ring "
        "index k (k / min side cycles per pixel) and as a fraction of Nyquist; mean subtracted, Hann "
        "apodised; the Nyquist ring with reached = false if it never is.",
        "Saxton, Baumeister 1982, doi:10.1111/j.1365-2818.1982.tb00405.x",
    ),
    Definition(
        "frc1over7",
        1,
        "As frc50 with threshold 1/7, the value derived for two half data sets.",
        "Rosenthal, Henderson 2003, doi:10.1016/j.jmb.2003.07.013",
    ),
    Definition(
        "amplitude_bias",
        1,
        "mean(|prediction|) / mean(|truth|) - 1, before any rescaling.",
        "this project",
    ),
    Definition(
        "deviance_ratio",
        1,
        "Poisson deviance 2 Σ [n log(n/λ) - (n - λ)] at the predicted rates over that at the true rates, "
        "summed over all patterns; 1 is the noise limit.",
        "Nelder, Wedderburn 1972, doi:10.2307/2344614",
    ),
)

DEFINITIONS: dict[str, Definition] = {definition.name: definition for definition in _DEFINITIONS}
