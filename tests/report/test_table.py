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
    """Read Markdown back: title → rows of header → cell."""
    tables: dict[str, list[dict[str, str]]] = {}
    header: list[str] = []
    for line in text.splitlines():
        if line.startswith("**"):
            rows = tables.setdefault(line.strip("*"), [])
            header = []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not header:
                header = cells
            elif set(cells[1:]) != {"---:"}:
                rows.append(dict(zip(header, cells, strict=True)))
    return tables


def a_spread(**changes: Any) -> dict[str, Any]:
    def of(values: list[float]) -> dict[str, Any]:
        return {"values": values, "median": values[1], "min": values[0], "max": values[2]}

    return {
        "amplitude.psnr": of([23.14, 24.31, 24.9]),
        "amplitude.ms_ssim": of([0.9, 0.925, 0.93]),
        "amplitude.pearson": of([0.94, 0.946, 0.95]),
        "deviance_ratio": of([1.05, 1.057, 104.2]),
        "collapsed": {"values": [False, True, False], "count": 1},
    } | changes


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
    shown = {title: rows[0]["1e5"] for title, rows in parsed(markdown([row])).items()}
    assert {title for title, cell in shown.items() if cell == DASH} == {
        "PSNR of the amplitude (dB)",
        "Phase error (rms rad)",
        "Deviance ratio (1 is the noise limit)",
    }
    assert printed([row], 120).count(DASH) == 4


def test_a_dose_without_one_split_has_dashes_there() -> None:
    rows = [a_row(dose="1e3"), a_row(dose="1e3", split="unseen"), a_row(dose="1e5")]
    (line,) = (line for line in printed(rows, 200).splitlines() if line.split()[:1] == ["1e5"])
    assert line.split()[1:3] == ["0.925", DASH]


def test_markdown_has_a_table_for_each_metric_models_as_rows_doses_as_columns() -> None:
    tables = parsed(markdown(a_sweep()))
    everywhere = {
        "MS-SSIM of the amplitude": "0.925",
        "PSNR of the amplitude (dB)": "24.3",
        "Phase error (rms rad)": "0.025",
        "Deviance ratio (1 is the noise limit)": "1.057",
        "Bias of the amplitude, before any rescaling (%)": "−1.2",
    }
    assert list(tables) == list(everywhere)
    for title, cell in everywhere.items():
        assert tables[title] == [
            {"model": model, "1e3": cell, "1e5": cell, "1e9": cell} for model in ("pinn", "baseline")
        ]


def test_markdown_shows_the_test_split_and_a_dash_where_a_model_was_not_run() -> None:
    rows = [
        a_row(dose="1e3", psnr=20.0),
        a_row(dose="1e3", split="unseen", psnr=30.0),
        a_row(dose="1e5", split="train", psnr=40.0),
        a_row("legacy", "1e5", psnr=10.0),
    ]
    assert parsed(markdown(rows))["PSNR of the amplitude (dB)"] == [
        {"model": "pinn", "1e3": "20.0", "1e5": DASH},
        {"model": "legacy", "1e3": DASH, "1e5": "10.0"},
    ]


def test_fits_come_last_and_say_what_they_are() -> None:
    models = ("map", "pinn", "ml", "pinn-refine", "legacy")
    rows = parsed(markdown([a_row(model) for model in models]))["MS-SSIM of the amplitude"]
    assert [row["model"] for row in rows] == [
        "pinn",
        "legacy",
        "map (photons and prior)",
        "ml (photons alone)",
        "pinn-refine (map from pinn)",
    ]


def test_the_seeds_add_a_table_behind_the_others() -> None:
    floors = {
        ("pinn", "1e3"): a_spread(),
        ("pinn", "1e9"): a_spread(**{"amplitude.pearson": {"values": [0.9, None, 0.9]}}),
        ("baseline", "1e3"): {},
    }
    text = markdown(a_sweep(), floors)
    assert text.startswith(markdown(a_sweep()).strip())
    rows = parsed(text)["Seeds: median (min … max) of 3 trainings"]
    assert rows == [
        {
            "model, dose": f"pinn, {dose}",
            "PSNR (dB)": "24.3 (23.1 … 24.9)",
            "MS-SSIM": "0.925 (0.900 … 0.930)",
            "Pearson": pearson,
            "deviance (ratio)": "1.057 (1.050 … 104)",
            "collapsed": "1 of 3",
        }
        for dose, pearson in (("1e3", "0.946 (0.940 … 0.950)"), ("1e9", DASH))
    ]


def test_no_seeds_add_no_table() -> None:
    assert markdown(a_sweep(), {}) == markdown(a_sweep(), {("pinn", "1e3"): {}}) == markdown(a_sweep())


def test_a_huge_deviance_ratio_stays_narrow() -> None:
    assert "58000" in printed([a_row(deviance_ratio=58000.4)], 120)


def test_no_rows_make_no_table() -> None:
    assert "dose" not in printed([], 120)
    assert "|" not in markdown([])
