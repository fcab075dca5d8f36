"""params.yaml as one frozen, typed, validated tree; unknown keys are refused."""

import math
import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ptychodose.errors import UserError
from ptychodose.metrics.definitions import DEFINITIONS

Split = Literal["train", "test", "unseen"]
SPLITS: tuple[Split, ...] = ("train", "test", "unseen")
REFINED = "pinn"
FITS = ("ml", "map", f"{REFINED}-refine")
"""Objects fitted to the photons: maximum likelihood, plain, regularised, and from a network's prediction."""


LARGEST_DOSE_PHOTONS = 1e15
"""Beyond it counts would no longer fit the integers they are drawn in; no experiment comes near."""

DOSE_PATTERN = r"[0-9]+(?:\.[0-9]+)?(?:e\+?[0-9]+)?"
"""How a dose is written, in params.yaml and in names of files."""

TOLERATED = (*DEFINITIONS, "scale_factor", "shift_y_px", "shift_x_px", "control")
"""What may have a tolerance, without ``amplitude.`` or ``phase.``; ``control`` is all of ``control.*``."""


def _check_dose(dose: str) -> str:
    if not re.fullmatch(DOSE_PATTERN, dose):
        raise ValueError('a dose is a positive number of photons written like "1e5"')
    if not 0 < float(dose) <= LARGEST_DOSE_PHOTONS:
        raise ValueError(f"a dose must be above 0 and at most {LARGEST_DOSE_PHOTONS:g} photons")
    return dose


def _check_metric(name: str) -> str:
    bare = name.removeprefix("amplitude.").removeprefix("phase.")
    if bare not in TOLERATED and not bare.startswith("control."):
        raise ValueError(f"no such metric to compare; there are {', '.join(TOLERATED)}")
    return name


def _check_amount(amount: object) -> object:
    number = isinstance(amount, int | float) and not isinstance(amount, bool)
    if number and 0 <= float(amount) < math.inf:  # type: ignore[arg-type]
        return amount
    if isinstance(amount, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?%", amount):
        return amount
    raise ValueError(f'a tolerance is a number from 0 on, or a share of the value like "1%" (got {amount!r})')


def _check_place(place: str) -> str:
    if not re.fullmatch(rf"\*/\*|[A-Za-z0-9][A-Za-z0-9_-]*/(\*|{DOSE_PATTERN})", place):
        raise ValueError('write model/dose, model/* or */*, like "pinn/1e9"')
    return place


Dose = Annotated[str, AfterValidator(_check_dose)]
MetricName = Annotated[str, AfterValidator(_check_metric)]
Amount = Annotated[float | str, BeforeValidator(_check_amount)]
"""A tolerance: a number in the metric's unit, or text like "1%", of the reference's value."""
Place = Annotated[str, AfterValidator(_check_place)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]


# DVC would take a dot for a path into the parameters.
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Section(BaseModel):
    """A part of the parameter tree: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Splits(Section):
    """Patterns per split."""

    train: PositiveInt
    test: PositiveInt
    unseen: Annotated[int, Field(ge=0)]


class Geometry(Section):
    """Far-field geometry; the object pixel is wavelength x distance / (N x detector pixel)."""

    wavelength_m: Positive
    detector_distance_m: Positive
    detector_pixel_m: Positive


class ObjectParams(Section):
    """What is illuminated. A ``file`` object uses path and unseen_path only."""

    kind: Literal["lines", "lines_phase", "file"]
    size_px: PositiveInt
    n_lines: PositiveInt
    max_amplitude: Positive
    max_phase_rad: Annotated[float, Field(ge=-math.pi, le=math.pi)]
    path: str | None
    unseen_path: str | None


class ProbeParams(Section):
    """The illumination. Each kind uses the keys its comment in params.yaml names."""

    kind: Literal["zone_plate", "gaussian", "file"]
    outer_zone_width_m: Positive
    central_stop_fraction: Fraction
    defocus_m: Annotated[float, Field(allow_inf_nan=False)]
    fwhm_px: Positive
    path: str | None


class ScanParams(Section):
    """Where it is illuminated."""

    kind: Literal["uniform", "raster", "fermat", "file"]
    jitter_fraction: Annotated[float, Field(ge=0, le=1)]
    path: str | None


class FilesParams(Section):
    """Patterns from somebody else's files (``source: files``)."""

    path: str | None


class SimulateParams(Section):
    """The datasets: simulated, or read from files."""

    source: Literal["simulate", "files"]
    size_px: Literal[64, 128, 256]
    interpolation: Literal["bilinear", "nearest"]
    splits: Splits
    geometry: Geometry
    object: ObjectParams
    probe: ProbeParams
    scan: ScanParams
    files: FilesParams

    @model_validator(mode="after")
    def _paths_given(self) -> "SimulateParams":
        if self.source == "files":
            if self.files.path is None:
                raise ValueError("source is files, so files.path must name them")
            if self.splits.unseen:
                raise ValueError("source is files, so splits.unseen must be 0: there is no second object")
            return self
        for section, part in (("object", self.object), ("probe", self.probe), ("scan", self.scan)):
            if part.kind == "file" and part.path is None:
                raise ValueError(f"{section}.kind is file, so {section}.path must name one")
        if self.object.kind == "file" and self.splits.unseen and self.object.unseen_path is None:
            raise ValueError("object.kind is file: give object.unseen_path or set splits.unseen to 0")
        return self


class PinnParams(Section):
    """The physics-informed network, for one pattern at a time or for groups of overlapping ones."""

    kind: Literal["pinn"]
    gridsize: Literal[1, 2]
    width: PositiveInt
    stages: PositiveInt
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: Positive


class SupervisedParams(Section):
    """The supervised baseline: sees the true object of the train set."""

    kind: Literal["supervised"]
    filters_scale: Positive
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: Positive


class LegacyParams(Section):
    """The legacy network with the legacy training."""

    kind: Literal["legacy"]
    filters_scale: PositiveInt
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: Positive
    declared_dose: Dose | None


ModelParams = Annotated[PinnParams | SupervisedParams | LegacyParams, Field(discriminator="kind")]


class Run(Section):
    """A model trained at one dose."""

    model: Name
    dose: Dose


class ImportedRun(Run):
    """A legacy checkpoint, below data/inputs/, as a model trained at one dose."""

    checkpoint: str


class ReplicateParams(Section):
    """Trainings repeated with other seeds, for the noise floor of the metrics."""

    models: list[Name]
    doses: list[Dose]
    seeds: list[PositiveInt]


class TrainParams(Section):
    """What all trainings share. The legacy schedule has no warm-up, no decay and no clipping."""

    warmup_fraction: Fraction
    clip_norm: Positive
    validation_fraction: Fraction
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"]
    devices: PositiveInt


class FitParams(Section):
    """Maximum likelihood of the object itself, without a network."""

    max_iterations: PositiveInt
    tolerance: Positive
    held_out_fraction: Fraction
    weights: Annotated[list[Positive], Field(min_length=1)]


class InferParams(Section):
    """Prediction and stitching."""

    batch_size: PositiveInt
    kept_px: PositiveInt | None

    def kept(self, size_px: int) -> int:
        """M, the side of the stitched centre of a patch: 20 at N = 64 unless set."""
        return self.kept_px if self.kept_px is not None else 20 * size_px // 64


class CompareParams(Section):
    """How far apart the numbers of two studies may be; the rule is in ptychodose.parity.tolerances."""

    seed_ranges: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    least: dict[MetricName, Amount]
    overrides: dict[Place, dict[MetricName, Amount]]


_Model = TypeVar("_Model", bound=BaseModel)


class _OtherParams(BaseModel):
    """The one section that is read of another study, whatever the version its params.yaml is of."""

    model_config = ConfigDict(strict=True)

    compare: CompareParams | None = None


class Params(Section):
    """The whole of params.yaml."""

    scenario: Name
    # Random keys are made of float64 values, which tell integers apart up to 2**53.
    seed: Annotated[int, Field(ge=0, le=2**53)]
    doses: Annotated[list[Dose], Field(min_length=1)]
    simulate: SimulateParams
    models: dict[ModelName, ModelParams]
    ladder: Annotated[list[Name], Field(min_length=1)]
    extra: dict[Name, Run]
    imported: dict[Name, ImportedRun]
    replicates: ReplicateParams
    train: TrainParams
    infer: InferParams
    fit: FitParams
    compare: CompareParams

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        if len({float(dose) for dose in self.doses}) < len(self.doses):
            raise ValueError(f"doses holds the same dose twice: {self.doses}")
        for key, dose in self._named_doses():
            if dose not in self.doses:
                raise ValueError(f"{key} asks for dose {dose!r}, which is not among doses {self.doses}")
        for key, model in self._named_models():
            if model not in self.models:
                raise ValueError(f"{key} names {model!r}, which is not among models {list(self.models)}")
        for key, name, run in self._listed_runs():
            if name != f"{run.model}-{run.dose}":
                raise ValueError(f"{key}.{name} must be called <model>-<dose>, here {run.model}-{run.dose}")
        for name, imported in self.imported.items():
            if self.models[imported.model].kind != "legacy":
                raise ValueError(f"imported.{name}: only models of kind legacy can be imported")
        runs = self.network_runs()
        for run_ in runs:
            if runs.count(run_) > 1:
                raise ValueError(f"{run_[0]} at {run_[1]} is listed twice among ladder, extra and imported")
        for run_ in self.replicated_runs():
            if run_ not in self.trained_runs():
                raise ValueError(f"replicates: {run_[0]} is not trained at {run_[1]}")
        if reserved := set(FITS) & set(self.models):
            raise ValueError(
                f"models: {', '.join(sorted(reserved))}: this name belongs to a fit; take another"
            )
        if REFINED not in self.ladder:
            raise ValueError(f"ladder must hold {REFINED!r}, from whose predictions the refinement starts")
        for place in self.compare.overrides:
            if (model := place.split("/")[0]) not in ("*", *self.models, *FITS):
                known = [*self.models, *FITS]
                raise ValueError(f"compare.overrides names {model!r}, which is not among models {known}")
        kept, size = self.infer.kept(self.simulate.size_px), self.simulate.size_px
        if kept > size or kept % 2:
            raise ValueError(f"infer.kept_px must be even and at most size_px = {size}, got {kept}")
        for name, spec in self.models.items():
            if spec.batch_size > self.simulate.splits.train:
                raise ValueError(f"models.{name}.batch_size must not exceed simulate.splits.train")
            share = self.train.devices * (spec.gridsize**2 if isinstance(spec, PinnParams) else 1)
            if self.train.devices > 1 and spec.batch_size % share:
                raise ValueError(f"models.{name}.batch_size must be a multiple of {share}, for train.devices")
        return self

    def _listed_runs(self) -> list[tuple[str, str, Run]]:
        extra: list[tuple[str, str, Run]] = [("extra", name, run) for name, run in self.extra.items()]
        return extra + [("imported", name, run) for name, run in self.imported.items()]

    def _named_doses(self) -> list[tuple[str, str]]:
        listed = [(f"{key}.{name}", run.dose) for key, name, run in self._listed_runs()]
        return listed + [("replicates.doses", dose) for dose in self.replicates.doses]

    def _named_models(self) -> list[tuple[str, str]]:
        listed = [(f"{key}.{name}", run.model) for key, name, run in self._listed_runs()]
        return [
            *(("ladder", model) for model in self.ladder),
            *listed,
            *(("replicates.models", model) for model in self.replicates.models),
        ]

    @property
    def fits(self) -> tuple[str, ...]:
        """The names of all fits, each made at every dose."""
        return FITS

    @property
    def refined(self) -> str:
        """The name of the fit that starts from a network's prediction."""
        return FITS[-1]

    def trained_runs(self) -> list[tuple[str, str]]:
        """(model, dose) of every network that is trained, replicates aside."""
        ladder = [(model, dose) for model in self.ladder for dose in self.doses]
        return ladder + [(run.model, run.dose) for run in self.extra.values()]

    def network_runs(self) -> list[tuple[str, str]]:
        """(model, dose) of every network, trained or imported."""
        return self.trained_runs() + [(run.model, run.dose) for run in self.imported.values()]

    def measured_runs(self) -> list[tuple[str, str]]:
        """(model, dose) of everything that has metrics, replicates aside."""
        return self.network_runs() + [(model, dose) for model in FITS for dose in self.doses]

    def replicated_runs(self) -> list[tuple[str, str]]:
        """(model, dose) of every training that is repeated with other seeds."""
        return [(model, dose) for model in self.replicates.models for dose in self.replicates.doses]

    def splits(self) -> tuple[Split, ...]:
        """The splits this study has, in order."""
        return tuple(split for split in SPLITS if getattr(self.simulate.splits, split))


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and validate the parameters.

    Raises
    ------
    UserError
        One sentence that names the file, the key and the rule.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run from the top of the repository") from None
    return _validated(Params, content, str(path))


def parse_compare(content: bytes, where: str) -> CompareParams | None:
    """The section ``compare`` of a params.yaml, None if it has none; ``where`` names the file in an error.

    Raises
    ------
    UserError
        One sentence that names the file, the key and the rule.
    """
    return _validated(_OtherParams, content, where).compare


def _validated(kind: type[_Model], content: bytes, where: str) -> _Model:
    try:
        # The YAML 1.2 parser DVC uses: what DVC hashes is what is read here (PyYAML reads 1e-3 as text).
        return kind.model_validate(YAML(typ="safe").load(content.decode("utf-8")))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise UserError(f"{where}: {_sentence(error)}") from None


def _sentence(error: ValidationError) -> str:
    """All violations of a parameter file in one line, keys spelled as in the file."""
    parts = []
    for item in error.errors():
        words = [str(word) for word in item["loc"] if word != "[key]"]
        if words[:1] == ["models"]:
            del words[2:3]  # the model's kind, which pydantic puts behind its name
        key = ".".join(words) or "the file"
        if item["type"] == "extra_forbidden":
            parts.append(f"{key}: unknown parameter; remove it or check its spelling")
        elif item["type"] == "missing":
            parts.append(f"{key}: missing; add it (the committed params.yaml shows every key)")
        elif key.startswith("doses") and item["type"] == "string_type":
            parts.append(f'{key}: write the dose in quotes, like "1e5" (got {item["input"]!r})')
        elif item["type"] == "value_error":
            parts.append(f"{key}: {item['ctx']['error']}")
        else:
            rule = item["msg"][0].lower() + item["msg"][1:]
            parts.append(f"{key}: {rule} (got {item['input']!r})")
    return "; ".join(parts)
