"""The commands that make a study again, every one as it is typed."""

from collections.abc import Iterable

from ptychodose.config import Params


def commands_of_simulation(params: Params) -> str:
    """Section on datasets."""
    return _section(
        "The datasets of a dose, byte by byte the same on every machine with the locked dependencies. With "
        "DVC, which runs what is not up to date (`--force`: in any case):",
        [f"dvc repro simulate@{dose}" for dose in params.doses],
        "Without it, from params.yaml alone:",
        [f"ptychodose simulate --dose {dose}" for dose in params.doses],
    )


def commands_of_networks(params: Params) -> str:
    """Section on checkpoints."""
    trained, imported = params.trained_runs(), [(run.model, run.dose) for run in params.imported.values()]
    return _section(
        "One network for each model and dose. A training that was killed goes on after the last finished "
        "epoch. With DVC, which makes the datasets first where they are missing:",
        [f"dvc repro {_stage(params, 'train', *run)}" for run in trained]
        + [f"dvc repro import-checkpoint@{model}-{dose}" for model, dose in imported],
        "Without it, the datasets being there:",
        [_direct("train", *run) for run in trained]
        + [_direct("import-checkpoint", *run) for run in imported],
    )


def commands_of_fits(params: Params) -> str:
    """Section on reconstructions and their metrics."""
    networks = params.network_runs()
    fits = [run for run in params.measured_runs() if run not in networks]
    runs = [
        f"dvc repro {_stage(params, 'infer', *run)} {_stage(params, 'evaluate', *run)}" for run in networks
    ]
    for model, dose in fits:
        fit = f"refine@{dose}" if model == params.refined else f"fit@{model}-{dose}"
        runs.append(f"dvc repro {fit} evaluate-fit@{model}-{dose}")
    direct = []
    for run in params.measured_runs():
        direct += [_direct("infer" if run in networks else "fit", *run), _direct("evaluate", *run)]
    text = _section(
        "Networks predict every split (`infer`), fits find the object from the photons (`fit`, `refine`), "
        "and both are compared with the truth (`evaluate`). With DVC:",
        runs,
        "Without it, the datasets and checkpoints being there:",
        direct,
    )
    after = ["ptychodose table", "ptychodose verify", "ptychodose reproduced"]
    return (
        f"{text}\n\nThe numbers, every hash, and whether a study made again is this one:\n\n{_block(after)}"
    )


def _stage(params: Params, stage: str, model: str, dose: str) -> str:
    """The name DVC gives a stage of a network."""
    name = f"{model}-{dose}"
    ending = "-extra" if name in params.extra else "-imported" if name in params.imported else ""
    return f"{stage}{ending}@{name}"


def _direct(stage: str, model: str, dose: str) -> str:
    return f"ptychodose {stage} --model {model} --dose {dose}"


def _section(first: str, with_dvc: Iterable[str], second: str, direct: Iterable[str]) -> str:
    return f"{first}\n\n{_block(with_dvc)}\n\n{second}\n\n{_block(direct)}"


def _block(lines: Iterable[str]) -> str:
    return "\n".join(("```sh", *lines, "```"))
