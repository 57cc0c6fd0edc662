"""Statements of the text, checked by code: `claim(text, holds, control, against="the columns")`.

A claim is printed where it is checked, so that it stands in the chapter with its tick, and
`make test` notices when it stops being true. A control is the same check on the nearest rival
explanation, for which it must fail: an untrained network, shuffled labels, the columns in place
of the rows. `against` names it. A check that the control passes too proves nothing.
"""

import math
import re
from typing import Any, NamedTuple

TICK = "✓"
CONTROL = "[the control fails, as it must]"  # the words of a control without a name
_LINE = re.compile(
    rf"{TICK} (?P<text>.+?)(?: (?P<control>{re.escape(CONTROL)}|\[fails for: .+\]))?"
)


class ClaimError(AssertionError):
    """A claim that does not hold, or whose control does not fail."""


class Claim(NamedTuple):
    """A claim as it was printed."""

    text: str
    control: str  # the words in the brackets, or nothing


def claim(text: str, holds: Any, control: Any = None, against: str | None = None) -> None:
    """Print `text` with a tick if `holds` is true and `control`, where there is one, is false.

    `holds` and `control` are truth values: a `bool`, or a boolean tensor or array of one element.
    Anything else is refused with a `TypeError`: a list that is not empty, or a number other than 0,
    would pass for true by accident. `text` is one line that says something. `against` says in a few
    words what `control` was asked of, and is printed as `[fails for: …]`.

    Raises `ClaimError`, with the text, if the claim does not hold or its control holds too.
    """
    if not _is_line(text):
        raise ValueError(f"text={text!r} is not a claim: write one line that says what is true")
    if against is not None and control is None:
        raise ValueError(f"against={against!r} names a control, but there is none: give `control`")
    if against is not None and not (_is_line(against) and not set("[]") & set(against)):
        raise ValueError(f"against={against!r} is no name: write a few words, without brackets")
    if not _truth("holds", holds):
        raise ClaimError(f"this does not hold: {text}")
    if control is not None and _truth("control", control):
        other = f" for {against}" if against else ""
        raise ClaimError(f"the control holds too{other}, so the check proves nothing: {text}")
    named = CONTROL if against is None else f"[fails for: {against}]"
    print(TICK, text, *([] if control is None else [named]))


def read_claim(line: str) -> Claim | None:
    """The claim that a printed line makes, or None; the site and its ledger are made by this."""
    found = _LINE.fullmatch(line.rstrip())
    return found and Claim(found["text"].strip(), (found["control"] or "")[1:-1])


def _is_line(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip()) and len(text.splitlines()) == 1


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
