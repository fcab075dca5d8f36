"""The one exception of this room."""


class Undefined(ValueError):  # noqa: N818 - it states a fact about the metric, not a fault
    """A metric has no meaning for this input; the message is the reason, in one sentence.

    Raised instead of returning NaN or infinity, so that a caller can report null with a reason. Input
    that is wrong rather than meaningless (shapes that differ, a negative count) is a plain ValueError or
    TypeError.
    """
