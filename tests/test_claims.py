"""What must be true of claims: they bite, and nothing that is not a truth value passes for one."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from bertfamily.claims import Claim, ClaimError, claim, read_claim

TRUE = [True, np.bool_(True), np.array([True]), torch.tensor(True), torch.tensor([[True]])]
FALSE = [False, np.bool_(False), np.array(False), torch.tensor([False])]
NEITHER = [1, 0.0, "yes", [1], [], {"a": 1}, len, float("nan"), np.float64(1.0), np.array(["x"])]
NEITHER += [torch.tensor(1), torch.tensor([1.0]), torch.tensor([True, True]), np.array([], bool)]


@pytest.mark.parametrize("holds", TRUE, ids=repr)
def test_a_true_claim_is_printed_with_its_tick(holds, capsys):
    claim("two is even", holds)
    assert capsys.readouterr().out == "✓ two is even\n"


@pytest.mark.parametrize("holds", FALSE, ids=repr)
def test_a_false_claim_fails_with_its_text(holds, capsys):
    with pytest.raises(ClaimError, match="does not hold: two is odd"):
        claim("two is odd", holds)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("control", FALSE, ids=repr)
def test_a_control_that_fails_is_named(control, capsys):
    claim("two is even", True, control=control)
    assert capsys.readouterr().out == "✓ two is even [the control fails, as it must]\n"


@pytest.mark.parametrize("control", FALSE, ids=repr)
def test_a_control_with_a_name_is_called_by_it(control, capsys):
    claim("two is even", True, control, against="three")
    assert capsys.readouterr().out == "✓ two is even [fails for: three]\n"


def test_a_control_that_holds_is_called_by_its_name():
    with pytest.raises(ClaimError, match="control holds too for four, .*: two is even"):
        claim("two is even", True, True, against="four")


def test_a_name_without_a_control_is_refused(capsys):
    with pytest.raises(ValueError, match="against='three' names a control, but there is none"):
        claim("two is even", True, against="three")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "[brackets]", "a]", 3], ids=repr)
def test_what_is_no_name_of_a_control_is_refused(name, capsys):
    with pytest.raises((ValueError, TypeCheckError), match="no name|parameter 'against'"):
        claim("two is even", True, False, against=name)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("control", TRUE, ids=repr)
def test_a_control_that_holds_fails_the_claim(control, capsys):
    with pytest.raises(ClaimError, match="control holds too.*: two is even"):
        claim("two is even", True, control=control)
    assert capsys.readouterr().out == ""


def test_a_false_claim_is_not_saved_by_its_control():
    with pytest.raises(ClaimError, match="does not hold"):
        claim("two is odd", False, control=False)


@pytest.mark.parametrize("value", [*NEITHER, None], ids=repr)
def test_what_is_no_truth_value_is_refused(value, capsys):
    with pytest.raises(TypeError, match="holds=.*not a truth value"):
        claim("something", value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", NEITHER, ids=repr)
def test_a_control_that_is_no_truth_value_is_refused(value, capsys):
    with pytest.raises(TypeError, match="control=.*not a truth value"):
        claim("something", True, control=value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["", "  ", "two\nlines", "two\rlines", None, True], ids=repr)
def test_a_claim_says_something_on_one_line(text):
    with pytest.raises((ValueError, TypeCheckError), match="not a claim|parameter 'text'"):
        claim(text, True)


def test_a_claim_error_is_an_assertion_error():
    assert issubclass(
        ClaimError, AssertionError
    )  # so that pytest and unittest count it as a failure


@pytest.mark.parametrize("text", ["two is even", "[MASK] is a piece", "a[i] is b [0]"])
@pytest.mark.parametrize("against", [None, "three"])
@pytest.mark.parametrize("control", [None, False])
def test_what_is_printed_is_read_again(text, control, against, capsys):
    """The site shows claims, and its ledger counts them, by what the notebooks have stored."""
    if control is None:
        against, words = None, ""
    else:
        words = "fails for: three" if against else "the control fails, as it must"
    claim(text, True, control, against)
    line = capsys.readouterr().out
    assert read_claim(line) == read_claim(line.rstrip()) == Claim(text, words)


@pytest.mark.parametrize("line", ["two is even", "✓", "✓ ", "exercise 1: passed ✓", " ✓ indented"])
def test_a_line_without_its_tick_is_no_claim(line):
    assert read_claim(line) is None
