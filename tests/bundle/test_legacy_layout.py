"""The path of a legacy file says what it is; what is no legacy file stays outside."""

import pytest

from ptychodose.bundle.legacy_layout import classify, find_legacy_files
from ptychodose.errors import UserError
from tests.bundle.legacy_folder import RUN, make_legacy_folder


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data_p1e5.npz", ("dataset", "1e5", None, None, None)),
        ("data_1e5.npz", ("dataset", None, None, None, None)),
        ("DATA_P1E5.NPZ", ("dataset", "1e5", None, None, None)),
        ("results_p1e5/train_1024/trial_3/pinn_run/wts.h5.zip", ("checkpoint", "1e5", "pinn", 1024, 3)),
        (
            "results_p1e5/train_1024/trial_1/baseline_run/08-26-2025_gs1/08-26-2025_gs1/params.dill",
            ("parameters", "1e5", "baseline", 1024, 1),
        ),
        ("results_p1e4/pinn_run/recon.dill", ("reconstruction", "1e4", "pinn", None, None)),
        ("results_p1e4/history.dill", ("record", "1e4", None, None, None)),
        ("results_p1e4/metrics.json", ("metrics", "1e4", None, None, None)),
        ("dose_parity_log.json", ("parity log", None, None, None, None)),
        ("notes.docx", ("other", None, None, None, None)),
    ],
)
def test_a_path_says_role_dose_model_and_trial(path, expected):
    found = classify(path)
    assert (found.role, found.dose, found.model, found.n_train, found.trial) == expected


def test_links_hidden_files_and_files_of_tools_are_left_out(tmp_path):
    root = make_legacy_folder(tmp_path / "run")
    (tmp_path / "secret.txt").write_text("not of this run")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("")
    (root / "dvc.yaml").write_text("stages: {x: {cmd: touch ran}}")
    (root / "new\nline.txt").write_text("")
    layout = find_legacy_files(root)
    assert [file.path for file in layout.files] == [
        "data_p1e3.npz",
        "data_p1e5.npz",
        f"{RUN}/baseline_run/baseline_model.h5",
        f"{RUN}/baseline_run/params.dill",
        f"{RUN}/baseline_run/recon.dill",
        f"{RUN}/pinn_run/history.json",
        f"{RUN}/pinn_run/wts.h5.zip",
    ]
    assert layout.left_out.keys() == {"link.txt", "up", ".git", "dvc.yaml", "new\nline.txt"}


def test_a_folder_without_data_sets_is_no_legacy_run(tmp_path):
    (tmp_path / "photos.npz").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds no data\*\.npz; give the folder"):
        find_legacy_files(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        find_legacy_files(tmp_path / "absent")
