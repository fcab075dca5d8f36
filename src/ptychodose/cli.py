"""The command line: one subcommand a stage, and what a person asks of a study."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ptychodose.config import FITS, Params, load_params
from ptychodose.environment import require_backend
from ptychodose.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand. Exit codes: 0 good, 1 damaged or different, 2 a mistake that can be mended."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted; nothing half-written was left", file=sys.stderr)
        return 130
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ptychodose", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameter file")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    simulate = commands.add_parser("simulate", help="make the datasets of one dose")
    simulate.add_argument("--dose", required=True)
    simulate.add_argument("--chunk", type=_positive, help="patterns in memory at once (changes no byte)")
    simulate.add_argument(
        "--workers", type=_positive, help="threads, all cores unless given (changes no byte)"
    )
    simulate.set_defaults(run=_simulate)

    for name, help_text in (
        ("train", "train one model at one dose; goes on where a killed training stopped"),
        ("import-checkpoint", "take a legacy wts.h5.zip as a model of the study"),
        ("infer", "predict and stitch"),
        ("fit", "fit the object itself to the photons: ml, map or pinn-refine"),
        ("evaluate", "compare with the truth"),
        ("noise-floor", "spread of the metrics over the seeds"),
        ("fingerprint", "fingerprints of what a network is, is given and predicts"),
        ("fingerprint-fit", "fingerprints of a fitted object"),
    ):
        stage = commands.add_parser(name, help=help_text)
        stage.add_argument("--model", required=True)
        stage.add_argument("--dose", required=True)
        stage.set_defaults(run=_model_stage, stage=name)

    data = commands.add_parser("fingerprint-data", help="fingerprints of the datasets of one dose")
    data.add_argument("--dose", required=True)
    data.set_defaults(run=_fingerprint_data)

    replicate = commands.add_parser("replicate", help="repeat a training with another seed and measure it")
    replicate.add_argument("--model", required=True)
    replicate.add_argument("--dose", required=True)
    replicate.add_argument("--seed", required=True, type=_positive, help="added to the study's seed")
    replicate.set_defaults(run=_replicate)

    commands.add_parser("report", help="curves and pictures over all doses").set_defaults(run=_report)

    table = commands.add_parser("table", help="print the metrics, one row per dose")
    table.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    table.set_defaults(run=_table)

    commands.add_parser("manifest", help="list every file with hashes and origin").set_defaults(run=_manifest)

    verify = commands.add_parser("verify", help="check workspace, cache and store against lock and manifest")
    verify.add_argument("--repair", action="store_true", help="put good copies in the place of damaged files")
    verify.add_argument("--json", action="store_true", help="print the findings as JSON")
    verify.set_defaults(run=_verify)

    compare = commands.add_parser("compare", help="do two studies agree? metrics within their noise floor")
    compare.add_argument("a", metavar="REV_A", help="reference: a git revision, DVC experiment or folder")
    compare.add_argument("b", metavar="REV_B")
    compare.add_argument("--json", action="store_true", help="print the comparison as JSON")
    compare.set_defaults(run=_compare)

    reproduced = commands.add_parser("reproduced", help="does the workspace reproduce the released study?")
    reproduced.add_argument("--reference", metavar="REV", help="git revision of the released study")
    reproduced.add_argument("--json", action="store_true", help="print the answer as JSON")
    reproduced.set_defaults(run=_reproduced)

    _add_bundle(commands.add_parser("bundle", help="hand the study over as a folder or an archive"))
    _add_adoption(commands)
    _add_remote(commands.add_parser("remote", help="DVC remotes"))
    _add_parity(commands.add_parser("parity", help="where do two environments first part?"))

    check = commands.add_parser("check", help="check NPZ files against the RawData contract")
    check.add_argument("files", nargs="+", type=Path)
    check.set_defaults(run=_check)
    return parser


def _add_bundle(bundle: argparse.ArgumentParser) -> None:
    commands = bundle.add_subparsers(required=True, metavar="COMMAND")

    pack = commands.add_parser("pack", help="make a folder, .tar.gz or .tar.zst of the study")
    pack.add_argument("target", type=Path)
    pack.add_argument("--max-size", help="refuse a larger one, or split it: 2GB, 500MiB")
    pack.add_argument("--split", action="store_true", help="into parts of at most --max-size")
    pack.set_defaults(run=_bundle_pack)

    verify = commands.add_parser("verify", help="recompute every hash of a bundle")
    verify.add_argument("bundle", type=Path)
    verify.add_argument("--json", action="store_true", help="print the report as JSON")
    verify.set_defaults(run=_bundle_verify)

    rehydrate = commands.add_parser("rehydrate", help="make a study of a bundle")
    rehydrate.add_argument("bundle", type=Path)
    rehydrate.add_argument("target", type=Path, help="a folder that does not exist yet")
    rehydrate.set_defaults(run=_bundle_rehydrate)

    commands.add_parser("readme", help="print the hand-over page").set_defaults(run=_bundle_readme)


def _add_adoption(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    adopt = commands.add_parser("adopt", help="check, document and track the folder of a legacy run")
    adopt.add_argument("legacy", type=Path)
    adopt.add_argument("target", type=Path, help="a folder that does not exist yet")
    adopt.add_argument("--scenario-id", required=True)
    adopt.set_defaults(run=_adopt)

    published = commands.add_parser("compare-manifest", help="which files of a published manifest are here?")
    published.add_argument("here", type=Path, help="a manifest, or a folder whose files are hashed")
    published.add_argument("published", type=Path, help="a legacy manifest, verification report, files.csv")
    published.set_defaults(run=_compare_manifest)


def _add_remote(remote: argparse.ArgumentParser) -> None:
    commands = remote.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="is a remote there, and may it be read and written?")
    check.add_argument("name", nargs="?", help="the default remote unless named")
    check.set_defaults(run=_remote_check)


def _add_parity(parity: argparse.ArgumentParser) -> None:
    commands = parity.add_subparsers(required=True, metavar="COMMAND")

    log = commands.add_parser("log", help="fingerprint the datasets of any folder")
    log.add_argument("--dataset-root", required=True, type=Path, help="folder with NPZ files")
    log.add_argument("--scenario-id", required=True)
    log.add_argument("--output", required=True, type=Path, help="folder for the JSON, Markdown and CSV")
    log.add_argument("--baseline-params", type=Path, help="params.dill, .json or .yaml of the baseline")
    log.add_argument("--limit-datasets", type=_positive, help="the first so many only")
    log.add_argument("--legacy-statistics", action="store_true", help="also those of the legacy logger")
    log.set_defaults(run=_parity_log)

    take = commands.add_parser("import-legacy", help="a legacy dose_parity_log.json as a parity log")
    take.add_argument("file", type=Path)
    take.add_argument("--output", required=True, type=Path)
    take.set_defaults(run=_parity_import)

    diff = commands.add_parser("diff", help="walk two logs in data-flow order to the first difference")
    diff.add_argument("a", metavar="A", help="reference: a log, folder, git revision or DVC experiment")
    diff.add_argument("b", metavar="B")
    diff.add_argument("--json", action="store_true", help="print the comparison as JSON")
    diff.set_defaults(run=_parity_diff)

    schema = commands.add_parser("schema", help="print the JSON schema of the log")
    schema.set_defaults(run=_parity_schema)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


# Rooms are imported where they are used: the command line must answer at once, and TensorFlow takes seconds.


def _simulate(options: argparse.Namespace) -> None:
    from ptychodose.stages import simulate

    simulate.run(
        load_params(options.params),
        options.dose,
        chunk=options.chunk or simulate.CHUNK_PATTERNS,
        workers=options.workers or simulate.WORKERS,
    )


def _model_stage(options: argparse.Namespace) -> None:
    params = load_params(options.params)
    _require_listed(params, options.stage, options.model, options.dose)
    if options.stage in _NEED_KERAS:
        require_backend()
    stage = importlib.import_module(f"ptychodose.stages.{options.stage.replace('-', '_')}")
    stage.run(params, options.model, options.dose)


_NEED_KERAS = ("train", "import-checkpoint", "infer", "fingerprint")


def _replicate(options: argparse.Namespace) -> None:
    params = load_params(options.params)
    _require_listed(params, "replicate", options.model, options.dose)
    require_backend()
    from ptychodose.stages import replicate

    replicate.run(params, options.model, options.dose, options.seed)


def _require_listed(params: Params, stage: str, model: str, dose: str) -> None:
    """Refuse what the parameter file does not list for a stage."""
    fits = [(fit, dose) for fit in FITS for dose in params.doses]
    runs = {
        "train": params.trained_runs(),
        "import-checkpoint": [(run.model, run.dose) for run in params.imported.values()],
        "infer": params.network_runs(),
        "fit": fits,
        "evaluate": params.measured_runs(),
        "fingerprint": params.network_runs(),
        "fingerprint-fit": fits,
        "noise-floor": params.replicated_runs(),
        "replicate": params.replicated_runs(),
    }[stage]
    if (model, dose) not in runs:
        listed = ", ".join(f"{model} at {dose}" for model, dose in runs) or "nothing"
        raise UserError(
            f"params.yaml: {stage} of {model!r} at {dose!r} is not in the study, which has {listed}"
        )


def _report(options: argparse.Namespace) -> None:
    from ptychodose.stages import report

    report.run(load_params(options.params))


def _table(options: argparse.Namespace) -> None:
    from ptychodose.formats.jsonfile import dump_json
    from ptychodose.stages.report import metric_rows, noise_floors

    params = load_params(options.params)
    rows = metric_rows(params)
    if options.format == "json":
        print(dump_json(rows), end="")
        return
    from rich.console import Console

    from ptychodose.report import table

    if options.format == "markdown":
        print(table.markdown(rows, noise_floors(params)))
    else:
        table.render(rows, Console())


def _manifest(options: argparse.Namespace) -> None:
    from ptychodose.stages import manifest

    manifest.run(load_params(options.params))


def _verify(options: argparse.Namespace) -> int:
    from ptychodose.bundle.repair import run_verify

    return run_verify(Path(), repair=options.repair, as_json=options.json)


def _bundle_pack(options: argparse.Namespace) -> int:
    from ptychodose.bundle.delivery import run_pack

    return run_pack(options.target, max_size=options.max_size, split=options.split)


def _bundle_verify(options: argparse.Namespace) -> int:
    from ptychodose.bundle.bundle_report import run_verify

    return run_verify(options.bundle, as_json=options.json)


def _bundle_rehydrate(options: argparse.Namespace) -> int:
    from ptychodose.bundle.rehydrate import run_rehydrate

    return run_rehydrate(options.bundle, options.target)


def _bundle_readme(_: argparse.Namespace) -> int:
    from ptychodose.bundle.handover import run_readme

    return run_readme()


def _adopt(options: argparse.Namespace) -> int:
    from ptychodose.bundle.adopt import run_adopt

    return run_adopt(options.legacy, options.target, scenario_id=options.scenario_id)


def _compare_manifest(options: argparse.Namespace) -> int:
    from ptychodose.bundle.legacy_compare import run_compare_manifest

    return run_compare_manifest(options.here, options.published)


def _remote_check(options: argparse.Namespace) -> int:
    from ptychodose.bundle.remotes import run_remote_check

    return run_remote_check(options.name)


def _compare(options: argparse.Namespace) -> int:
    from ptychodose.parity.gate import run_compare

    return run_compare(options.a, options.b, as_json=options.json)


def _reproduced(options: argparse.Namespace) -> int:
    from ptychodose.parity.reproduced import run_reproduced

    return run_reproduced(options.reference, as_json=options.json)


def _parity_log(options: argparse.Namespace) -> int:
    from ptychodose.parity.folder_log import log_folder

    good = log_folder(
        options.dataset_root,
        baseline_params=options.baseline_params,
        scenario_id=options.scenario_id,
        output=options.output,
        limit_datasets=options.limit_datasets,
        legacy_statistics=options.legacy_statistics,
    )
    return 0 if good else 1


def _parity_import(options: argparse.Namespace) -> None:
    from ptychodose.formats.jsonfile import read_json, write_json
    from ptychodose.parity.legacy_log import import_legacy_log

    write_json(options.output, import_legacy_log(read_json(options.file), str(options.file)))


def _parity_diff(options: argparse.Namespace) -> int:
    from ptychodose.parity.diff import run_diff

    return run_diff(options.a, options.b, as_json=options.json)


def _parity_schema(_: argparse.Namespace) -> None:
    from ptychodose.formats.jsonfile import dump_json
    from ptychodose.parity.schema import ParityLog

    print(dump_json(ParityLog.model_json_schema()), end="")


def _fingerprint_data(options: argparse.Namespace) -> None:
    params = load_params(options.params)
    if options.dose not in params.doses:
        raise UserError(f"params.yaml: doses: {options.dose!r} is not in the study, which has {params.doses}")
    from ptychodose.stages import fingerprint_data

    fingerprint_data.run(params, options.dose)


def _check(options: argparse.Namespace) -> None:
    from ptychodose.formats.rawdata import RawDataFile

    for path in options.files:
        dataset = RawDataFile(path)
        n = sum(len(chunk) for chunk in dataset.patterns())
        axes = ", diffraction axes (N, N, n)" if dataset.legacy_axes else ""
        print(f"{path}: good: {n} patterns, N = {dataset.scan.size_px}{axes}; keys {', '.join(dataset.keys)}")


if __name__ == "__main__":
    sys.exit(main())
