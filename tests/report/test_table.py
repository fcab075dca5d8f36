"""The metrics table: complete where there is room, narrower where not, dashes for what is undefined."""

import io
from typing import Any

import pytest
from rich.console import Console

from ptychodose.report.table import markdown, render

DASH = "–"


def a_row(
    model: str = "pinn", dose: str = "1e5", split: str = "test", **metrics: float | None
) -> dict[str, Any]:
    amplitude = {
        "ms_ssim": metrics.get("ms_ssim", 0.925),
        "psnr": metrics.get("psnr", 24.31),
        "pearson": metrics.get("pearson", 0.946),
        "frc50": metrics.get("frc50", 0.41),
    }
    return {
        "model": model,
        "dose": dose,
        "split": split,
        "metrics": {
            "amplitude": amplitude,
            "phase": {"rms_rad": metrics.get("rms_rad", 0.025)},
            "amplitude_bias": metrics.get("amplitude_bias", -0.012),
            "deviance_ratio": metrics.get("deviance_ratio", 1.057),
        },
    }


def a_sweep() -> list[dict[str, Any]]:
    doses = ("1e9", "1e3", "1e5")
    return [
        a_row(model, dose, split)
        for model in ("pinn", "baseline")
        for dose in doses
        for split in ("test", "unseen")
    ]


def printed(rows: list[dict[str, Any]], width: int) -> str:
    stream = io.StringIO()
    render(rows, Console(file=stream, width=width))
    return stream.getvalue()


def parsed(text: str) -> dict[str, list[dict[str, str]]]:
    """Read Markdown back: model → rows of header → cell."""
    models: dict[str, list[dict[str, str]]] = {}
    header: list[str] = []
    for line in text.splitlines():
        if line.startswith("**"):
            rows = models.setdefault(line.strip("*"), [])
            header = []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not header:
                header = cells
            elif set(cells) != {"---:"}:
                rows.append(dict(zip(header, cells, strict=True)))
    return models


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_console_and_none_is_cut(width: int) -> None:
    text = printed(a_sweep(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text


def test_all_columns_fit_120_and_the_most_important_80() -> None:
    names = ("MS-SSIM", "PSNR", "Pearson", "FRC50", "phase", "bias", "deviance")
    wide = printed(a_sweep(), 120)
    assert "Not shown" not in wide
    assert all(name in wide.splitlines()[1] for name in names)
    narrow = printed(a_sweep(), 80)
    assert "Not shown at this width: Pearson, bias, deviance." in narrow
    assert all(name in narrow.splitlines()[1] for name in ("MS-SSIM", "PSNR", "FRC50", "phase"))


def test_doses_ascend_within_each_model() -> None:
    first_words = [line.split()[0] for line in printed(a_sweep(), 120).splitlines() if line.split()]
    wanted = {"pinn", "baseline", "1e3", "1e5", "1e9"}
    doses = ["1e3", "1e5", "1e9"]
    assert [word for word in first_words if word in wanted] == ["pinn", *doses, "baseline", *doses]


def test_undefined_missing_and_not_finite_values_are_dashes() -> None:
    row = a_row(psnr=None, pearson=float("nan"), deviance_ratio=float("inf"))
    del row["metrics"]["phase"]
    (cells,) = parsed(markdown([row]))["pinn"]
    assert {header for header, cell in cells.items() if cell == DASH} == {
        "PSNR (dB)",
        "Pearson",
        "phase (rms rad)",
        "deviance (ratio)",
    }
    assert printed([row], 120).count(DASH) == 4


def test_a_dose_without_one_split_has_dashes_there() -> None:
    rows = [a_row(dose="1e3"), a_row(dose="1e3", split="unseen"), a_row(dose="1e5")]
    cells = parsed(markdown(rows))["pinn"][1]
    assert cells["PSNR (dB)"] == f"24.3 / {DASH}"


def test_markdown_holds_every_value() -> None:
    models = parsed(markdown(a_sweep()))
    assert list(models) == ["pinn", "baseline"]
    assert [row["dose"] for row in models["pinn"]] == ["1e3", "1e5", "1e9"]
    assert models["pinn"][0] == {
        "dose": "1e3",
        "MS-SSIM": "0.925 / 0.925",
        "PSNR (dB)": "24.3 / 24.3",
        "Pearson": "0.946 / 0.946",
        "FRC50 (Nyquist)": "0.41 / 0.41",
        "phase (rms rad)": "0.025 / 0.025",
        "bias (%)": "−1.2 / −1.2",
        "deviance (ratio)": "1.057 / 1.057",
    }


def test_a_huge_deviance_ratio_stays_narrow() -> None:
    assert "58000" in printed([a_row(deviance_ratio=58000.4)], 120)


def test_no_rows_make_no_table() -> None:
    assert "dose" not in printed([], 120)
    assert "|" not in markdown([])
