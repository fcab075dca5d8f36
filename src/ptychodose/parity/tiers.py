"""How alike two logs are at one boundary: exact, close, statistical or different."""

from ptychodose.parity import photon_noise, retraining
from ptychodose.parity.chance import Rule
from ptychodose.parity.pairs import Pair
from ptychodose.parity.strict import strictly
from ptychodose.parity.verdict import Tier, Verdict

RULES: dict[str, Rule] = {
    "dose": photon_noise.measured_photons,
    "raw.diff3d": photon_noise.patterns,
    "raw.photons": photon_noise.photon_sums,
    "grouped.scans": photon_noise.scans,
    "grouped.amplitude": photon_noise.group_amplitudes,
    "normalized": photon_noise.patterns,
    "train.initial_weights": retraining.initial_weights,
    "train.steps": retraining.first_steps,
    "train.weights": retraining.weights,
    "input": photon_noise.patterns,
    "output.amplitude": retraining.patches,
    "output.phase": retraining.patches,
    "rates": retraining.rates,
    "loss": retraining.deviances,
    "stitched": retraining.stitched_objects,
    "metrics": retraining.quality,
}
"""What chance may do, by boundary; all else must be exact or close."""


def judge(pair: Pair, name: str) -> Verdict:
    """The tier of one boundary: exact or close (:mod:`~ptychodose.parity.strict`), else what chance may do.

    statistical: two honest runs may differ so, by the boundary's rule (:data:`RULES`).
    """
    verdict = strictly(pair, name)
    if verdict.tier is not Tier.DIFFERENT or name not in RULES:
        return verdict
    chance = RULES[name](pair, name, judge)
    tier = Tier.STATISTICAL if chance.agree else Tier.DIFFERENT
    return Verdict(tier, chance.note or verdict.note, verdict.relative_error)
