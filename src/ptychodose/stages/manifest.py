"""Stage manifest: every file of the study with its hashes, its origin and its contents, and the hand-over."""

from pathlib import Path

from ptychodose.bundle.handover import handover_readme, read_metrics
from ptychodose.bundle.manifest import build_manifest
from ptychodose.bundle.manifest_documents import documents
from ptychodose.config import Params
from ptychodose.formats.atomic import atomic_directory
from ptychodose.stages import layout


def run(params: Params) -> None:
    """Write data/bundle/: manifest.json, manifest.md, files.csv and README.md."""
    manifest = build_manifest(Path(), params.scenario, params.doses)
    readme = handover_readme(manifest, read_metrics(Path(), params), params)
    with atomic_directory(layout.BUNDLE) as folder:
        for name, text in (documents(manifest) | {"README.md": readme}).items():
            (folder / name).write_text(text, encoding="utf-8", newline="")
