"""The command line answers at once, and every mistake and accident is one sentence and an exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from ptychodose.cli import main
from ptychodose.stages import layout

DOSE = "1e9"
STUDY = {"doses": ["1e3", DOSE], "replicates": {"models": ["pinn"], "doses": ["1e3"], "seeds": [1]}}
NETWORK_STAGES = ("train", "infer", "replicate", "import-checkpoint")
MODEL_STAGES = ("train", "import-checkpoint", "infer", "fit", "evaluate", "replicate", "noise-floor")


def command(*arguments):
    return [sys.executable, "-m", "ptychodose.cli", *arguments]


def run(*arguments, **settings):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, **settings
    )


def refused(capfd, *arguments):
    """The one line on stderr of a command that fails with exit code 2."""
    if arguments[0] in NETWORK_STAGES:
        # The first import of TensorFlow says things on stderr that nothing can silence.
        import_module(f"ptychodose.stages.{arguments[0].replace('-', '_')}")
    capfd.readouterr()
    assert main(list(arguments)) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    error = the_error(captured.err)
    assert captured.err.strip() == error
    return error


def of(stage, model="pinn", dose="1e3"):
    """The command line of a stage that is run for a model and a dose."""
    return [stage, "--model", model, "--dose", dose, *(["--seed", "1"] if stage == "replicate" else [])]


def the_error(stderr):
    """The last line, the only one that starts with "error:"; progress and notes of TensorFlow may precede."""
    lines = stderr.strip().splitlines()
    assert "Traceback" not in stderr
    assert [line.startswith("error: ") for line in lines].count(True) == 1
    assert lines[-1].startswith("error: ")
    return lines[-1]


# --- it starts at once ------------------------------------------------------------------------------------

HEAVY = ("tensorflow", "keras", "jax", "torch", "matplotlib", "scipy", "skimage", "dvc")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["verify"], 2),
        (["simulate", "--dose", "7"], 2),
        (["train", "--model", "pinn", "--dose", "7"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_verify_and_refusals_load_nothing_heavy(tmp_path, arguments, code):
    heavy = HEAVY[:5] if arguments[0] == "simulate" else HEAVY
    probe = (
        "import sys\nfrom ptychodose.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        f"loaded = [name for name in {heavy} if name in sys.modules]\n"
        "print('CODE', code, 'LOADED', loaded)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == f"CODE {code} LOADED []", done.stderr


def test_every_command_is_in_the_help(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for name in ("simulate", *MODEL_STAGES, "report", "table", "verify", "check"):
        assert name in text.split()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["simulate"],
        ["simulate", "--dose", "1e3", "--chunk", "0"],
        ["train", "--model", "pinn"],
        ["replicate", "--model", "pinn", "--dose", "1e3"],
        ["replicate", "--model", "pinn", "--dose", "1e3", "--seed", "0"],
    ],
)
def test_a_command_line_that_is_wrong_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: ptychodose" in capsys.readouterr().err


# --- mistakes ---------------------------------------------------------------------------------------------


def test_outside_a_repository_the_missing_file_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert refused(capfd, "simulate", "--dose", "1e3") == (
        "error: params.yaml: not found; run from the top of the repository"
    )
    assert "dvc.lock: not found" in refused(capfd, "verify")


@pytest.mark.parametrize("stage", ["simulate", *MODEL_STAGES, "report", "table"])
def test_an_unknown_parameter_stops_every_stage(write_params, capfd, stage):
    write_params({"train.learning_rat": 1e-3})
    arguments = of(stage) if stage in MODEL_STAGES else [stage]
    dose = ["--dose", "1e3"] if stage == "simulate" else []
    assert "train.learning_rat: unknown parameter" in refused(capfd, *arguments, *dose)


@pytest.mark.parametrize(
    ("stage", "listed"),
    [
        ("train", "pinn at 1e3, pinn at 1e9"),
        ("import-checkpoint", "nothing"),
        ("infer", "pinn at 1e3, pinn at 1e9"),
        (
            "fit",
            "ml at 1e3, ml at 1e9, map at 1e3, map at 1e9, pinn-refine at 1e3, pinn-refine at 1e9",
        ),
        (
            "evaluate",
            "pinn at 1e3, pinn at 1e9, ml at 1e3, ml at 1e9, map at 1e3, map at 1e9, "
            "pinn-refine at 1e3, pinn-refine at 1e9",
        ),
        ("replicate", "pinn at 1e3"),
        ("noise-floor", "pinn at 1e3"),
    ],
)
def test_what_is_not_in_the_study_is_refused_with_what_is(tiny_params, capfd, stage, listed):
    tiny_params(STUDY)
    for model, dose in (("pinn", "1e4"), ("pinn", "1000"), ("pin", "1e3")):
        assert refused(capfd, *of(stage, model, dose)) == (
            f"error: params.yaml: {stage} of {model!r} at {dose!r} is not in the study, which has {listed}"
        )
    assert not Path("data").exists() and not Path("metrics").exists()


@pytest.mark.parametrize("stage", NETWORK_STAGES)
def test_a_backend_that_is_unknown_is_refused(tiny_params, capfd, monkeypatch, stage):
    """Before Keras is imported, which would answer with a traceback."""
    values = {
        "models.legacy": {
            "kind": "legacy",
            "filters_scale": 1,
            "declared_dose": None,
            "epochs": 1,
            "batch_size": 4,
            "learning_rate": 1e-3,
        },
        "imported": {"legacy-1e3": {"model": "legacy", "dose": "1e3", "checkpoint": "wts.h5.zip"}},
    }
    tiny_params(STUDY | values)
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    model = "legacy" if stage == "import-checkpoint" else "pinn"
    error = refused(capfd, *of(stage, model))
    assert error.startswith("error: KERAS_BACKEND: 'theano' is not one of tensorflow, jax, torch")


def test_an_unlisted_dose_is_not_simulated(tiny_params, capfd):
    tiny_params(STUDY)
    assert "'1e4' is not among" in refused(capfd, "simulate", "--dose", "1e4")
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("stage", "model", "missing"),
    [
        ("train", "pinn", "data/datasets/1e3/train.npz"),
        ("infer", "pinn", "data/models/pinn/1e3/model.keras"),
        ("fit", "ml", "data/datasets/1e3/train.npz"),
        ("evaluate", "pinn", "data/datasets/1e3/train.npz"),
        ("replicate", "pinn", "data/datasets/1e3/train.npz"),
        ("noise-floor", "pinn", "metrics/pinn/1e3.json"),
    ],
)
def test_an_input_that_is_missing_is_named(tiny_params, capfd, stage, model, missing):
    tiny_params(STUDY)
    assert f"{missing}: not found" in refused(capfd, *of(stage, model))
    assert not Path("metrics").exists() and not list(Path().rglob("*.partial"))


@pytest.mark.parametrize("stage", ["report", "table"])
def test_metrics_that_are_missing_are_named(tiny_params, capfd, stage):
    tiny_params(STUDY)
    assert "metrics/pinn/1e3.json: not found" in refused(capfd, stage)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "NaN"])
def test_a_metrics_file_that_is_damaged_is_named(tiny_params, capfd, content):
    tiny_params(STUDY)
    path = Path("metrics/pinn/1e3.json")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert "metrics/pinn/1e3.json" in refused(capfd, "table")


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04" + bytes(100)])
def test_a_dataset_that_is_broken_is_named(tiny_params, capfd, content):
    tiny_params(STUDY)
    path = Path("data/datasets/1e3/train.npz")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert "data/datasets/1e3/train.npz: " in refused(capfd, "train", "--model", "pinn", "--dose", "1e3")
    assert str(path) in refused(capfd, "check", str(path))


@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint", b"PK\x03\x04" + bytes(100)], ids=["empty", "text", "zip"]
)
def test_a_checkpoint_that_is_broken_is_named(tiny_params, capfd, content):
    tiny_params(STUDY)
    path = Path("data/models/pinn/1e3/model.keras")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    error = refused(capfd, "infer", "--model", "pinn", "--dose", "1e3")
    assert error.startswith("error: data/models/pinn/1e3/model.keras: not a Keras checkpoint of this project")


@pytest.mark.slow
def test_a_broken_checkpoint_in_a_process_of_its_own_is_one_error_too(tiny_params):
    tiny_params(STUDY)
    path = Path("data/models/pinn/1e3/model.keras")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no checkpoint")
    done = run("infer", "--model", "pinn", "--dose", "1e3")
    assert done.returncode == 2
    assert str(path) in the_error(done.stderr)


def test_check_tells_good_files_from_bad_ones(tiny_params, capfd):
    tiny_params(STUDY)
    assert main(["simulate", "--dose", "1e3"]) == 0
    capfd.readouterr()
    assert main(["check", "data/datasets/1e3/train.npz", "data/datasets/1e3/test.npz"]) == 0
    output = capfd.readouterr().out.splitlines()
    assert output[0].startswith("data/datasets/1e3/train.npz: good: 12 patterns, N = 64")
    assert len(output) == 2
    assert "absent.npz: not found" in refused(capfd, "check", "absent.npz")


# --- accidents --------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tiny_params):
    """A study whose dataset of DOSE lies there, so that an accident has something to spoil."""
    tiny_params(STUDY)
    assert main(["simulate", "--dose", DOSE]) == 0
    return Path("data/datasets") / DOSE


@pytest.fixture
def simulating(tiny_params):
    """Start a simulation that takes seconds and wait until it has begun to write."""
    started = []

    def start(code=""):
        tiny_params(STUDY | {"simulate.splits": {"train": 2000, "test": 4, "unseen": 0}})
        call = [
            sys.executable,
            "-c",
            f"import sys\n{code}\nfrom ptychodose.cli import main\nsys.exit(main())",
        ]
        process = subprocess.Popen(
            [*call, "simulate", "--dose", DOSE, "--chunk", "8"], stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in Path("data").rglob("*train.npz*") if path.is_file()):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def leftovers():
    return [str(path) for path in Path("data").rglob("*.partial")]


def test_a_full_disk_leaves_the_old_dataset_and_one_sentence(dataset, hashes, tiny_params):
    """A limit of the file size stands in for the disk: writing fails just so, in the middle of a member."""
    before = hashes(dataset)
    tiny_params(STUDY | {"seed": 1})
    limit = max(path.stat().st_size for path in dataset.iterdir()) // 2
    script = (
        f"import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from ptychodose.cli import main\nsys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "simulate", "--dose", DOSE], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "File too large" in the_error(done.stderr)
    assert hashes(dataset) == before
    assert leftovers() == []


def test_a_killed_simulation_leaves_nothing_under_the_final_name_and_the_next_one_cleans_up(
    simulating, tiny_params
):
    process = simulating()
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (Path("data/datasets") / DOSE).exists()
    assert leftovers()  # under a name that git and DVC ignore
    tiny_params(STUDY)
    assert main(["simulate", "--dose", DOSE]) == 0
    assert leftovers() == []
    assert json.loads(Path(f"data/datasets/{DOSE}/train.json").read_text())["n_patterns"] == 12


def test_a_killed_simulation_leaves_the_dataset_that_was_there(dataset, simulating, hashes):
    before = hashes(dataset)
    process = simulating()
    process.kill()
    process.wait()
    assert hashes(dataset) == before


def test_ctrl_c_exits_with_130_and_leaves_nothing_half_written(simulating):
    # A test run in the background may have had the signal ignored, which children inherit.
    process = simulating("import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert the_error(errors) == "error: interrupted; nothing half-written was left"
    assert not (Path("data/datasets") / DOSE).exists()
    assert leftovers() == []


def test_a_folder_that_cannot_be_written_is_one_sentence(tiny_params, capfd):
    tiny_params(STUDY)
    Path("data").write_text("a file where the folder should be")
    assert "data" in refused(capfd, "simulate", "--dose", DOSE)


def test_the_reader_of_the_output_may_go_away(tiny_params):
    """``ptychodose table | head``: no traceback when the pipe closes."""
    params = tiny_params({"doses": ["1e3"]})
    for model, dose in params.measured_runs():
        layout.metrics(model, dose).parent.mkdir(parents=True)
        layout.metrics(model, dose).write_text(json.dumps({"test": {}}))
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command("table", "--format", "json"), stdout=write, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(write)
    assert "Traceback" not in done.stderr
