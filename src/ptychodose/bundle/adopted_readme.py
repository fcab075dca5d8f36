"""The README of an adopted legacy run."""

import shlex
from collections.abc import Sequence

from ptychodose.bundle.adopted_manifest import Adopted
from ptychodose.bundle.legacy_runs import LegacyRun


def adopted_readme(adopted: Adopted, runs: Sequence[LegacyRun], folder: str) -> str:
    """Markdown: what is where, the metrics of each run, what to do next; ``folder`` holds the files."""
    manifest = adopted.manifest
    n_problems = len(adopted.problems)
    sizes = [entry.size_bytes for entry in manifest.files if entry.path.startswith(f"{folder}/")]
    return f"""# {manifest.scenario_id}

A run of the legacy pipeline, adopted by {manifest.emitter}: {len(sizes)} files,
{sum(sizes) / 1e6:.1f} MB; {n_problems} problems and {len(manifest.warnings) - n_problems} warnings, all in
[response.md](response.md) under "Doubts".

| where | what |
| --- | --- |
| [response.md](response.md) | baseline, data sets, probe, configuration, doubts, artefacts |
| [data/bundle](data/bundle/manifest.md) | manifest: every file with hash and arrays |
| [parity/parity_log.md](parity/parity_log.md) | fingerprints and statistics of every data set |
| `runs.json` | parameters and metrics of every run, named by their definitions |
| `{folder}/` | the files themselves by their old paths, as they were |

Never load a `.dill`, `.h5` or `.h5.zip` of unknown origin: it may run code when it is loaded.

{_runs(runs)}

## Next

Where git and DVC were at hand, DVC tracks `{folder}/` and the rest is staged in git:

```sh
git commit -m {shlex.quote(f"adopt {manifest.scenario_id}")}
dvc remote add --default mine /path/on/a/shared/disk
dvc push
ptychodose bundle pack ../{shlex.quote(manifest.scenario_id)}.tar.gz
```
"""


def _runs(runs: Sequence[LegacyRun]) -> str:
    lines = ["| run | metric | amplitude | phase |", "| --- | --- | ---: | ---: |"]
    for run in runs:
        pairs = {name: value for name, value in run.metrics.items() if isinstance(value, dict)}
        lines += [
            f"| {run.folder} | {name} | {_number(pair['amplitude'])} | {_number(pair['phase'])} |"
            for name, pair in pairs.items()
            if "phase" in pair
        ]
    if len(lines) == 2:
        return "No run holds metrics of amplitude and phase."
    return "\n".join(
        ["Pairs of metrics are (amplitude, phase), whatever a legacy table calls them:", "", *lines]
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
