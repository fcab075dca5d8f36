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

    verify = commands.add_parser("verify", help="check every file against the hashes in dvc.lock")
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

    _add_parity(commands.add_parser("parity", help="where do two environments first part?"))

    check = commands.add_parser("check", help="check NPZ files against the RawData contract")
    check.add_argument("files", nargs="+", type=Path)
    check.set_defaults(run=_check)
    return parser


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


def _verify(options: argparse.Namespace) -> int:
    from ptychodose.bundle.verification import verify_workspace
    from ptychodose.formats.jsonfile import dump_json

    findings = verify_workspace(Path())
    if options.json:
        print(dump_json(findings.as_dict()), end="")
    else:
        print(findings.summary())
    return 0 if findings.good else 1


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
