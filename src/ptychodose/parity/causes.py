"""What typically causes a difference: patterns recognised in fingerprints, in the order of the data flow.

To add one, write a function from a :class:`~ptychodose.parity.scene.Scene` to a sentence (or None) and enter
it in :data:`CAUSES`: the first of a boundary's causes that is recognised is the one that is named.
"""

from ptychodose.parity import causes_any as anything
from ptychodose.parity import causes_data as data
from ptychodose.parity import causes_model as model
from ptychodose.parity.pairs import Pair
from ptychodose.parity.scene import Cause, Scene
from ptychodose.parity.strict import strictly
from ptychodose.parity.verdict import Tier

CAUSES: tuple[tuple[tuple[str, ...], tuple[Cause, ...]], ...] = (
    (("dose",), (data.mislabelled, data.other_intensity_scale)),
    (
        ("raw.diff3d", "raw.photons", "raw.xcoords", "raw.ycoords", "raw.scan_index"),
        (data.fewer_patterns,),
    ),
    (
        ("raw.diff3d", "normalized", "input"),
        (data.whole_numbers, data.wrong_dose, data.copied, data.constant),
    ),
    (
        ("raw.diff3d", "normalized", "input", "rates"),
        (anything.turned, data.reordered, data.squared, data.background),
    ),
    (("raw.xcoords", "raw.ycoords"), (data.swapped, data.moved, data.mirrored, data.to_whole_pixels)),
    (("raw.xcoords", "raw.ycoords", "raw.photons", "raw.scan_index"), (data.reordered,)),
    (("grouped.neighbours", "grouped.offsets_px"), (data.other_groups,)),
    (("train.initial_weights",), (model.other_seed,)),
    (("train.steps",), (model.learning_rate, model.loss_scale, model.batch_order, model.other_loss)),
    (("train.weights",), (model.longer_training,)),
    (("probe",), (model.probe_scale,)),
    (
        ("raw.probeGuess", "raw.objectGuess", "probe", "stitched"),
        (anything.turned, data.conjugated, data.squared),
    ),
    (("output.amplitude", "output.phase"), (model.exchanged, model.weights_differ)),
    (("output.phase",), (model.wrapped, model.other_unit, model.phase_offset)),
    (("output.amplitude",), (data.squared, model.scaled_output, anything.turned)),
    (("rates",), (model.scaled_rates,)),
    (("loss",), (model.scaled_loss, model.constant_loss)),
    (("stitched",), (model.other_canvas, model.shifted_canvas, model.other_coverage)),
    (("metrics",), (model.shifted_canvas, model.other_range, model.other_alignment, model.other_metrics)),
)
"""By boundary, most telling first; those of every boundary (:data:`GENERAL`) are asked before and after."""

FIRST: tuple[Cause, ...] = (anything.not_finite, anything.other_kind)
LAST: tuple[Cause, ...] = (
    anything.half_precision,
    anything.one_factor,
    anything.same_numbers,
    anything.offset,
    anything.lower_mean,
)


def explain(pair: Pair, name: str, before: list[str]) -> str:
    """What typically causes the difference at the first boundary that differs, in a sentence or two.

    Parameters
    ----------
    before
        The boundaries before it that both sides have.
    """
    scene = Scene(pair, name)
    own = (cause for names, causes in CAUSES if name in names for cause in causes)
    found = next((said for cause in (*FIRST, *own, *LAST) if (said := cause(scene))), None)
    return f"{_agreement(pair, before)}{found or f'no known pattern; look at what makes {name}'}"


def _agreement(pair: Pair, before: list[str]) -> str:
    if not before:
        return ""
    tiers = {strictly(pair, name).tier for name in before}
    word = "equal" if tiers <= {Tier.EXACT, Tier.CLOSE} else "the same within its noise"
    names = before[0] if len(before) == 1 else f"everything up to {before[-1]}"
    return f"{names} is {word}; "
