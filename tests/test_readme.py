"""What the README shows is what the repository holds."""

import re

import pytest

from ptychodose.config import load_params
from ptychodose.report.table import markdown
from ptychodose.stages.report import metric_rows, noise_floors
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_committed_metrics(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    params = load_params()
    after = README.split("<!-- table: ptychodose table --format markdown -->")[1]
    shown = after.split("<!-- end of table -->")[0]
    assert shown.strip() == markdown(metric_rows(params), noise_floors(params)).strip()


def test_every_make_target_it_names_exists():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert named and named <= targets


@pytest.mark.parametrize("page", sorted(REPOSITORY.glob("*.md")) + sorted(REPOSITORY.glob("docs/*.md")))
def test_every_relative_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+?)\)", text):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
