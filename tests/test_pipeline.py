"""dvc.yaml says what depends on what, and DVC does with it what the README promises."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ptychodose.config import FITS, load_params
from tests.conftest import REPOSITORY, stages_of

PIPELINE = YAML(typ="safe").load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}
SOURCE = REPOSITORY / "src" / "ptychodose"

# Where the numbers of a stage come from. What only checks, names, prints or logs is no dependency.
ROOMS = ("ptychodose.physics", "ptychodose.networks", "ptychodose.metrics", "ptychodose.parity")
MODULES = {
    f"ptychodose.formats.{name}"
    for name in ("npz", "rawdata", "checkpoints", "reconstruction", "legacy_checkpoint")
}
NAMES_ONLY = "ptychodose.stages.layout"


def imported(path):
    """Modules of this project that a file imports, functions at any depth included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from ptychodose.physics import objects` names a module, `from ... import Canvas` does not.
            found |= {
                module if module_file(module := f"{node.module}.{name.name}") else node.module
                for name in node.names
            }
    return {module for module in found if module.split(".")[0] == "ptychodose"}


def module_file(module):
    base = REPOSITORY / "src" / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


def stage_file(name):
    """The file behind a stage's command: several stages run the same one."""
    return SOURCE / "stages" / f"{STAGES[name]['cmd'].split()[1].replace('-', '_')}.py"


def computing(path):
    """Modules that compute for a stage: what its file imports, and the files of stages/ that it builds on."""
    found, waiting = set(), {path}
    while waiting:
        modules = {module for module in imported(waiting.pop()) if module != NAMES_ONLY}
        built_on = {module for module in modules if module.startswith("ptychodose.stages.")} - found
        found |= built_on | {module for module in modules if module in MODULES or module.startswith(ROOMS)}
        waiting |= {module_file(module) for module in built_on}
    return found


def covered(path, deps):
    return any(path == REPOSITORY / dep or (REPOSITORY / dep) in path.parents for dep in deps)


@pytest.mark.parametrize("name", sorted(STAGES))
def test_every_source_file_a_stage_depends_on_exists(name):
    deps = [dep for dep in STAGES[name]["deps"] if dep.startswith("src/") or dep == "data/inputs"]
    assert str(stage_file(name).relative_to(REPOSITORY)) in deps
    for dep in deps:
        assert (REPOSITORY / dep).exists(), dep


@pytest.mark.parametrize("name", sorted(STAGES))
def test_every_module_that_computes_for_a_stage_is_among_its_dependencies(name):
    modules = computing(stage_file(name))
    missing = {module for module in modules if not covered(module_file(module), STAGES[name]["deps"])}
    assert missing == set()


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_depends_on_no_module_that_it_does_not_reach(name):
    """A dependency too many retrains for nothing."""
    reached, waiting = set(), {stage_file(name)}
    while waiting:
        path = waiting.pop()
        reached.add(path)
        waiting |= {file for module in imported(path) if (file := module_file(module))} - reached
    for dep in STAGES[name]["deps"]:
        if dep.startswith("src/"):
            assert any(covered(path, [dep]) for path in reached), dep


def test_every_parameter_a_stage_depends_on_exists():
    tree = YAML(typ="safe").load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    for name, stage in STAGES.items():
        for key in stage.get("params", []):
            part = tree
            for word in key.split(".${")[0].split("."):  # what follows depends on the item
                assert word in part, f"{name}: {key}"
                part = part[word]


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_is_called_as_its_command(name):
    program, command = STAGES[name]["cmd"].split()[:2]
    assert program == "ptychodose"
    # train-extra runs train; a refinement is a fit.
    assert command == "fit" if name == "refine" else f"{name}-".startswith(f"{command}-")


def test_only_what_people_read_is_kept_by_git():
    for stage in STAGES.values():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                path, options = (out, {}) if isinstance(out, str) else next(iter(out.items()))
                in_git = ("metrics/", "plots/", "data/parity/")
                assert path.startswith(in_git) != options.get("cache", True), path


def test_every_fit_is_made_and_evaluated():
    made = [*PIPELINE["stages"]["fit"]["matrix"]["model"], STAGES["refine"]["cmd"].split()[3]]
    assert tuple(made) == FITS
    for stage in ("evaluate-fit", "fingerprint-fit"):
        assert tuple(PIPELINE["stages"][stage]["matrix"]["model"]) == FITS


def test_the_loss_plots_show_every_dose_of_the_ladder():
    params = load_params(REPOSITORY / "params.yaml")
    plots = {name: plot for entry in PIPELINE["plots"] for name, plot in entry.items()}
    for model in params.ladder:
        shown = {f"metrics/{model}/{dose}.loss.csv" for dose in params.doses}
        assert set(plots[f"loss_{model}"]["y"]) == shown


def test_the_dose_plots_show_curves_that_the_report_writes():
    params = load_params(REPOSITORY / "params.yaml")
    written = {
        f"plots/curves/{model}-{split}.csv"
        for model, _ in params.measured_runs()
        for split in params.splits()
    }
    plots = {name: plot for entry in PIPELINE["plots"] for name, plot in entry.items()}
    for name, plot in plots.items():
        if name.startswith("dose_"):
            assert set(plot["y"]) <= written, name


# --- a whole study, small ---------------------------------------------------------------------------------


def call(*arguments, cwd, check=True):
    """Run a tool of this environment on the sources of ``cwd``."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(cwd / "src"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "DVC_NO_ANALYTICS": "1",
    }
    done = subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def dvc_json(*arguments, cwd):
    return json.loads(call("dvc", *arguments, "--json", cwd=cwd).stdout)


def commit(root, message):
    call("git", "add", "--all", cwd=root)
    call(
        "git", "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", message,
        cwd=root,
    )  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """This working tree with a small study of its own: reproduced, pushed to its store, committed."""
    root = tmp_path_factory.mktemp("study")
    listed = call("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=REPOSITORY).stdout.split("\0")
    for name in filter(None, listed):
        source, target = REPOSITORY / name, root / name
        if source.is_file() and not name.startswith(("data/store/", "metrics/", "plots/", "dvc.lock")):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    yaml = YAML()
    params = yaml.load(root / "params.yaml")
    params["doses"] = ["1e5"]
    params["simulate"]["splits"] = {"train": 32, "test": 8, "unseen": 8}
    params["models"]["pinn"].update({"epochs": 1, "batch_size": 8, "width": 2, "stages": 1})
    params["models"]["supervised"].update({"epochs": 1, "batch_size": 8, "filters_scale": 0.0625})
    params["ladder"] = ["pinn"]
    params["extra"] = {"supervised-1e5": {"model": "supervised", "dose": "1e5"}}
    params["imported"] = {}
    params["replicates"] = {"models": ["pinn"], "doses": ["1e5"], "seeds": [1]}
    params["fit"].update({"max_iterations": 3, "weights": [1e-4]})
    yaml.dump(params, root / "params.yaml")
    call("git", "init", "--quiet", cwd=root)
    call("dvc", "repro", cwd=root)
    call("dvc", "push", cwd=root)
    commit(root, "A study")
    return root


@pytest.fixture
def clone(study, tmp_path):
    """What a newcomer has: git's part of the study."""
    call("git", "clone", "--quiet", str(study), str(tmp_path / "clone"), cwd=tmp_path)
    return tmp_path / "clone"


@pytest.mark.slow
def test_after_a_repro_nothing_is_left_to_do(study):
    assert dvc_json("status", cwd=study) == {}
    assert "Running stage" not in call("dvc", "repro", cwd=study).stdout
    assert call("git", "status", "--porcelain", cwd=study).stdout == ""


@pytest.mark.slow
def test_the_stages_are_those_of_the_parameters(study):
    lock = YAML(typ="safe").load((study / "dvc.lock").read_text())
    assert set(lock["stages"]) == stages_of(load_params(study / "params.yaml"))


@pytest.mark.slow
def test_metrics_have_one_entry_for_each_dose_and_model(study):
    files = dvc_json("metrics", "show", cwd=study)[""]["data"]
    assert set(files) == {f"metrics/{model}/1e5.json" for model in ("pinn", "supervised", *FITS)}
    for file in files.values():
        assert set(file["data"]) == {"train", "test", "unseen"}


@pytest.mark.slow
def test_plots_are_made_with_no_network(study, tmp_path):
    shown = json.loads(call("dvc", "plots", "show", "--json", cwd=study).stdout)
    for name in (name for entry in PIPELINE["plots"] for name in entry):
        assert any(name in plot for plot in shown["data"]), name
    call("dvc", "plots", "show", "--out", str(tmp_path / "plots"), cwd=study)
    assert (tmp_path / "plots" / "index.html").stat().st_size > 0


@pytest.mark.slow
def test_a_clone_pulls_every_byte_from_its_own_store_with_no_account(clone):
    call("dvc", "pull", cwd=clone)
    assert json.loads(call("ptychodose", "verify", "--json", cwd=clone).stdout)["good"]
    assert dvc_json("status", cwd=clone) == {}
    assert "1e5" in call("ptychodose", "table", cwd=clone).stdout


@pytest.mark.slow
def test_every_command_of_the_hand_over_page_works_as_written(clone):
    """Those of dvc name stages there are, which is tested with the page."""
    call("dvc", "pull", cwd=clone)
    page = (clone / "data" / "bundle" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    # The last ones look at what was pulled: before anything is made anew.
    lines = [line for block in (blocks[-1], *blocks[:-1]) for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("ptychodose ")]
    assert {line.split()[1] for line in commands} >= {"reproduced", "simulate", "train", "infer", "fit"}
    for line in commands:
        call("sh", "-c", line, cwd=clone)


@pytest.mark.slow
def test_a_pull_catches_an_object_that_was_damaged_in_the_store(clone):
    model = next(
        out["md5"]
        for stage in YAML(typ="safe").load((clone / "dvc.lock").read_text())["stages"].values()
        for out in stage["outs"]
        if out["path"] == "data/models/pinn/1e5"
    )
    listing = clone / "data" / "store" / "files" / "md5" / model[:2] / model[2:]
    md5 = next(entry["md5"] for entry in json.loads(listing.read_text()) if entry["relpath"] == "model.keras")
    stored = clone / "data" / "store" / "files" / "md5" / md5[:2] / md5[2:]
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(data)
    assert call("dvc", "pull", cwd=clone, check=False).returncode != 0
    verified = call("ptychodose", "verify", "--json", cwd=clone, check=False)
    assert verified.returncode == 1
    assert "data/models/pinn/1e5/model.keras" in json.loads(verified.stdout)["missing"]
    # Git has the good one.
    call("git", "checkout", "--", "data/store", cwd=clone)
    call("dvc", "pull", cwd=clone)
    assert json.loads(call("ptychodose", "verify", "--json", cwd=clone).stdout)["good"]


@pytest.fixture
def changed(clone):
    """The stages that DVC would run after a change of a file."""
    call("dvc", "pull", cwd=clone)

    def after(path, old, new):
        text = (clone / path).read_text(encoding="utf-8")
        assert text.count(old) >= 1
        (clone / path).write_text(text.replace(old, new, 1), encoding="utf-8")
        found = {name.split("@")[0] for name in dvc_json("status", cwd=clone)}
        (clone / path).write_text(text, encoding="utf-8")
        return found

    return after


@pytest.mark.slow
def test_a_change_reruns_what_it_touches_and_nothing_more(changed):
    """First the stage itself; what hangs on its outputs follows only if they change."""
    train, infer = {"train", "train-extra"}, {"infer", "infer-extra"}
    evaluate, fit = {"evaluate", "evaluate-extra", "evaluate-fit"}, {"fit", "refine"}
    fingerprint = {"fingerprint", "fingerprint-extra"}
    comment = ('"""', '"""Changed. ')
    assert changed("src/ptychodose/report/figures/curves.py", *comment) == evaluate | {"report"}
    # The trace of a fit has the quality of every iteration.
    measure = evaluate | fit | {"replicate"}
    assert changed("src/ptychodose/metrics/images.py", *comment) == measure
    assert changed("src/ptychodose/metrics/spread.py", *comment) == measure | {"noise-floor"}
    assert changed("src/ptychodose/networks/unet.py", *comment) == (
        train | infer | fingerprint | {"replicate"}
    )
    assert changed("src/ptychodose/physics/likelihood.py", *comment) == fit
    assert changed("src/ptychodose/report/table.py", *comment) == set()
    assert changed("src/ptychodose/cli.py", *comment) == set()
    # The settings of one model are no other's.
    assert changed("params.yaml", "stages: 1", "stages: 2") == {
        "train",
        "fingerprint",
        "replicate",
        "manifest",
    }
    assert changed("params.yaml", "filters_scale: 0.0625", "filters_scale: 0.125") == {
        "train-extra",
        "fingerprint-extra",
        "manifest",
    }
    assert changed("params.yaml", "clip_norm: ", "clip_norm: 1") == train | fingerprint | {
        "replicate",
        "manifest",
    }
    assert changed("params.yaml", "max_iterations: 3", "max_iterations: 4") == fit | {"manifest"}
    assert changed("params.yaml", "defocus_m: ", "defocus_m: 1.") == {"simulate", "manifest"}
    assert changed("params.yaml", "kept_px:", "kept_px: 24") == (
        infer | evaluate | fit | fingerprint | {"replicate", "manifest"}
    )


@pytest.mark.slow
def test_simulating_again_gives_the_bytes_of_the_lock(clone):
    call("dvc", "repro", "--force", "--single-item", "simulate@1e5", cwd=clone)
    assert call("git", "diff", "--stat", "dvc.lock", cwd=clone).stdout == ""
