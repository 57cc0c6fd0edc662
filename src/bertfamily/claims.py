"""Statements of the text, checked by code: `claim(text, holds, control)`.

A claim is printed where it is checked, so that it stands in the chapter with its tick, and
`make test` notices when it stops being true. A control is the same check on something for which it
must fail: an untrained network, shuffled labels, the formula without its root. A check that the
control passes too proves nothing.
"""

import math
from typing import Any

TICK = "✓"  # these two strings also tell the claims ledger of the site what a claim looks like
CONTROL = "[the control fails, as it must]"


class ClaimError(AssertionError):
    """A claim that does not hold, or whose control does not fail."""


def claim(text: str, holds: Any, control: Any = None) -> None:
    """Print `text` with a tick if `holds` is true and `control`, where there is one, is false.

    `holds` and `control` are truth values: a `bool`, or a boolean tensor or array of one element.
    Anything else is refused with a `TypeError`: a list that is not empty, or a number other than 0,
    would pass for true by accident. `text` is one line that says something.

    Raises `ClaimError`, with the text, if the claim does not hold or its control holds too.
    """
    if not isinstance(text, str) or not text.strip() or len(text.splitlines()) > 1:
        raise ValueError(f"text={text!r} is not a claim: write one line that says what is true")
    if not _truth("holds", holds):
        raise ClaimError(f"this does not hold: {text}")
    if control is not None and _truth("control", control):
        raise ClaimError(f"the control holds too, so the check proves nothing: {text}")
    print(TICK, text, *([] if control is None else [CONTROL]))


def _truth(name: str, value: Any) -> bool:
    """`value` as a `bool`, if it is a truth value; a boolean array of one element is one."""
    if str(getattr(value, "dtype", "")) in ("bool", "torch.bool") and math.prod(value.shape) == 1:
        value = value.item()
    if not isinstance(value, bool):
        shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
        raise TypeError(
            f"{name}={value!r} is a {type(value).__name__}{shape}, not a truth value; "
            "compare it with something, or reduce it with .all() or .any()"
        )
    return value
