"""A manifest as the files of data/bundle: JSON for machines, Markdown for reading, CSV for a spreadsheet."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable

from ptychodose.bundle.manifest_schema import NAME, FileEntry, Manifest

_COLUMNS = ("path", "role", "size_bytes", "sha256", "md5", "stage", "dose", "model", "split")


def documents(manifest: Manifest) -> dict[str, str]:
    """Text by file name; times are in the JSON only, under ``modified``."""
    return {
        NAME: manifest_json(manifest),
        "manifest.md": manifest_markdown(manifest),
        "files.csv": files_csv(manifest),
    }


def manifest_json(manifest: Manifest) -> str:
    """JSON with a line for each file, so that a diff shows which one changed."""
    tree = manifest.model_dump(by_alias=True, exclude={"files", "modified"})
    head = json.dumps(tree, indent=1, allow_nan=False, ensure_ascii=False).removesuffix("\n}")
    files = ",\n  ".join(_line(entry.model_dump(exclude_defaults=True)) for entry in manifest.files)
    times = ",\n  ".join(f"{_line(path)}: {_line(time)}" for path, time in manifest.modified.items())
    return f'{head},\n "files": [\n  {files}\n ],\n "modified": {{\n  {times}\n }}\n}}\n'


def manifest_markdown(manifest: Manifest) -> str:
    """Markdown: what there is, and a row a file."""
    counts = Counter(entry.role for entry in manifest.files)
    total = sum(entry.size_bytes for entry in manifest.files)
    parts = [
        f"# Manifest: {manifest.scenario_id}",
        f"{len(manifest.files)} files, {total / 1e6:.1f} MB; doses {', '.join(manifest.doses)} photons per "
        f"pattern; written by {manifest.emitter}. Keys, shapes, parameters, times: manifest.json.",
        _table(("role", "files"), ((role, str(count)) for role, count in sorted(counts.items()))),
    ]
    if manifest.warnings:
        parts += ["## Warnings", "\n".join(f"- {_text(warning)}" for warning in manifest.warnings)]
    parts += ["## Files", _table(("file", "role", "bytes", "stage", "SHA-256"), map(_row, manifest.files))]
    return "\n\n".join(parts) + "\n"


def files_csv(manifest: Manifest) -> str:
    """CSV, a row a file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in manifest.files:
        writer.writerow(["" if (value := getattr(entry, key)) is None else value for key in _COLUMNS])
    return text.getvalue()


def _line(tree: object) -> str:
    return json.dumps(tree, allow_nan=False, ensure_ascii=False)


def _row(entry: FileEntry) -> tuple[str, ...]:
    stage = entry.stage or "–"
    return f"`{_text(entry.path)}`", entry.role, str(entry.size_bytes), stage, f"`{entry.sha256}`"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
