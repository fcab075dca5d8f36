"""docs/elsewhere.md, line by line, in another project beside a clone of this repository."""

import re
import shlex
import shutil
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.dvc_repository import call, new_repository, object_path, said

pytestmark = pytest.mark.slow

PAGE = (REPOSITORY / "docs" / "elsewhere.md").read_text(encoding="utf-8")
WITHOUT = "import sys\nfor name in {blocked}:\n    sys.modules[name] = None\n"
DATASET = "data/datasets/1e5/test.npz"


def shell_lines(program):
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(program)]


def example(name):
    return re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", PAGE, re.S).group(1)


def first_example():
    return re.search(r"```python\n(.*?)```", PAGE, re.S).group(1)


def python(code, cwd, blocked=()):
    """What it prints."""
    source = WITHOUT.format(blocked=list(blocked)) + code
    return call(sys.executable, "-c", source, cwd=cwd, KERAS_BACKEND="tensorflow").stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere") / "ptychodose"
    call("git", "clone", "--quiet", REPOSITORY, folder, cwd=REPOSITORY)
    return folder


@pytest.fixture
def stored(clone, tmp_path):
    """Copy a file of the study into the working folder from the workspace, which the README's line pulled."""

    def copy(path):
        if not (REPOSITORY / path).is_file():
            pytest.skip(f"{path} is not pulled")
        shutil.copy(REPOSITORY / path, tmp_path)

    return copy


@pytest.fixture
def beside(clone):
    folder = clone.parent / "mine"
    shutil.rmtree(folder, ignore_errors=True)
    return new_repository(folder)


def test_get_fetches_what_the_store_of_the_clone_holds(clone, beside):
    line, *_ = shell_lines("dvc get")
    call(*line, cwd=beside)
    assert (clone / "data" / "store" / object_path(beside / "test.npz")).is_file()
    numbers = python(example("numpy"), beside, blocked=("ptychodose", "dvc", "keras"))
    assert numbers.startswith("(256, 64, 64) ")


def test_import_remembers_the_revision(clone, beside):
    (line,) = shell_lines("dvc import")
    call(*line, cwd=beside)
    revision = call("git", "rev-parse", "HEAD", cwd=clone).stdout.strip()
    assert f"rev_lock: {revision}" in (beside / "test.npz.dvc").read_text()


def test_the_python_interface_reads_a_revision(beside):
    assert python(first_example(), beside, blocked=("ptychodose",)) == "(256, 64, 64)\n"


def test_dvc_does_not_find_the_store_by_a_url(clone, beside):
    """If this fails, DVC has learned it: simplify docs/elsewhere.md."""
    done = call("dvc", "get", clone.as_uri(), DATASET, cwd=beside, check=False)
    assert done.returncode != 0 and "unexpected error" in said(done)


def test_a_supervised_checkpoint_needs_keras_only(stored, tmp_path):
    stored("data/models/supervised/1e5/model.keras")
    stored(DATASET)
    printed = python(example("keras"), tmp_path, blocked=("ptychodose", "dvc"))
    assert printed.startswith("(8, 64, 64) mean amplitude 0.")


def test_a_pinn_checkpoint_needs_its_layers(stored, tmp_path):
    stored("data/models/pinn/1e5/model.keras")
    assert python(example("pinn"), tmp_path).startswith("pinn ")
    code = example("pinn").replace("import ptychodose.networks.pinn", "")
    with pytest.raises(AssertionError, match="ptychodose>"):
        python(code, tmp_path, blocked=("ptychodose",))
