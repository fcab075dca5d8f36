"""docs/parity.md is enough to write a log elsewhere: its schema, table and example are the real ones."""

import json
import re
import subprocess
import sys

import numpy as np

from ptychodose.parity.boundaries import BOUNDARIES
from ptychodose.parity.emitter import BUCKETS, PERCENTILES, PERIOD, TILES, fingerprint
from ptychodose.parity.schema import ParityLog, read_log
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
TEXT = (DOCS / "parity.md").read_text(encoding="utf-8")


def test_the_published_schema_is_that_of_the_reader():
    published = json.loads((DOCS / "parity.schema.json").read_text(encoding="utf-8"))
    assert published == ParityLog.model_json_schema()


def test_every_boundary_is_documented_in_data_flow_order():
    rows = re.findall(r"^\| `([a-zA-Z_.0-9]+)` \| (\w+) \| (.+) \|$", TEXT, re.MULTILINE)
    listed = [(name, stage, meaning) for name, stage, meaning in rows if name in BOUNDARIES]
    assert listed == [(kind.name, kind.stage, kind.meaning) for kind in BOUNDARIES.values()]


def test_the_constants_in_the_definitions_are_the_emitters():
    assert (BUCKETS, TILES, PERIOD, PERCENTILES) == (61, 16, 2**20, (1, 10, 50, 90, 99))
    for said in ("61 numbers", "16 × 16 means", "2²⁰", "1, 10, 50 (the median), 90, 99"):
        assert said in TEXT


def test_the_example_runs_with_the_emitter_alone(tmp_path):
    example = re.search(r"```python\n(from emitter import.*?)```", TEXT, re.DOTALL)[1]
    source = REPOSITORY / "src" / "ptychodose" / "parity" / "emitter.py"
    (tmp_path / "emitter.py").write_bytes(source.read_bytes())
    arrays = "patterns = amplitude = np.ones((3, 32, 32))\nprobe = np.ones((32, 32), complex)\n"
    example = f"import numpy as np\n{arrays}{example}"
    (tmp_path / "port.py").write_text(example, encoding="utf-8")
    subprocess.run([sys.executable, "port.py"], cwd=tmp_path, check=True)
    (found,) = read_log(tmp_path / "my_log.json").datasets
    assert [part.name for part in found.boundaries] == ["raw.diff3d", "probe", "output.amplitude", "metrics"]


def test_the_projection_is_what_the_page_says():
    """Number by number from the page's formula, without the emitter's vectors."""

    x = np.random.default_rng(1).standard_normal((7, 5, 9)) * (1 + 2j)
    m, signs = 1, []
    for _ in range(2 * x.size):
        signs.append(1 if m < 2**30 else -1)
        m = 16807 * m % (2**31 - 1)
    reals = [part for value in x.ravel() for part in (value.real, value.imag)]
    expected = np.zeros(61)
    for i, value in enumerate(reals):
        expected[i % 61] += signs[i] * value
    np.testing.assert_allclose(fingerprint(x)["projection"], expected, rtol=1e-12)
