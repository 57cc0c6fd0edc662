"""The checks of the exercises are tested too: they refuse wrong answers and say why.

That they accept the right ones is seen when a chapter is run: its solutions call them.
"""

import ast
import math
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

PATHS = sorted((Path(__file__).resolve().parents[1] / "chapters").glob("*.ipynb"))
ANSWERS = Path(__file__).parent / "wrong_answers"
CHAPTERS = {path.stem: nbformat.read(path, 4) for path in PATHS}


def softly(query, keys, values, divisor, top=max):
    """Attention in plain Python, to be spoilt by its arguments."""
    scores = [sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
    scores = [score / divisor(len(query)) for score in scores]
    shares = [math.exp(score - top(scores)) for score in scores]
    return sum(w * v for w, v in zip(shares, values, strict=True)) / sum(shares)


def renamed(state, i, order="query key value", norms=("attention.output", "output")):
    """A layer of ours in the names of transformers, to be spoilt by the arguments."""
    head, result = f"encoder.layer.{i}.", {}
    places = {
        "attention_norm": norms[0] + ".LayerNorm",
        "feed_forward_norm": norms[1] + ".LayerNorm",
    }
    places |= {"attention.output": "attention.output.dense"}
    places |= {"feed_forward.widen": "intermediate.dense", "feed_forward.narrow": "output.dense"}
    for kind in ("weight", "bias"):
        pieces = state[f"attention.query_key_value.{kind}"].chunk(3)
        for name, piece in zip(order.split(), pieces, strict=True):
            result[f"{head}attention.self.{name}.{kind}"] = piece
        result |= {f"{head}{to}.{kind}": state[f"{name}.{kind}"] for name, to in places.items()}
    return result


def messages(source):
    """The strings in a check, those of f-strings with … for what is filled in; no docstring."""
    tree = ast.parse(source)
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
    }
    inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                getattr(part, "value", "") if isinstance(part, ast.Constant) else "…"
                for part in node.values
            )
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            yield node.value


def refuse(check, source, answer, words, namespace):
    """A wrong answer meets an assertion, whose message has these words; no other message has them.

    Only an AssertionError will do: a check explains what it trips over, whatever type it has.
    """
    with pytest.raises(AssertionError) as refusal:
        check(eval(answer, namespace))
    said = str(refusal.value)
    assert said, f"{answer} is refused without saying why"
    assert words in said, f"{answer} is told {said!r}, not {words!r}"
    if words:
        having = [message for message in messages(source) if words in message]
        assert len(having) == 1, f"{words!r} is in {len(having)} messages of the check: {having}"


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_checks_of_the_exercises_refuse_wrong_answers(name):
    """In the file of a chapter each answer has the words that name its slip."""
    code = [cell for cell in CHAPTERS[name].cells if cell.cell_type == "code"]
    namespace = {"renamed": renamed, "softly": softly}
    for cell in code:
        exec("\n".join(re.findall(r"^(?:import|from) .+$", cell.source, re.M)), namespace)
    checks = [cell.source for cell in code if "check" in cell.metadata.get("tags", [])]
    checks = {re.search(r"^def (check_\d+)", source, re.M)[1]: source for source in checks}
    wrong = tomllib.loads((ANSWERS / f"{name[:2]}.toml").read_text("utf-8"))
    assert list(wrong) == [name.replace("check", "exercise") for name in checks]
    for check, source in checks.items():
        exec(source, namespace)
        for entry in wrong[check.replace("check", "exercise")]:
            answer, words = entry
            refuse(namespace[check], source, answer, words, namespace)


CHECK = """
def check_1(double):
    '''not a number'''
    two = double(1)
    assert two is not None, "nothing is returned"
    assert isinstance(two, int), f"{two!r} is not a number"
    assert two != 1, ("x is returned "
        "as it is")
    assert two == 2, f"twice 1 is not {two}"
    assert double(2) == 4, f"twice 2 is not {double(2)}"
"""


@pytest.mark.parametrize(
    "answer, words, complaint",
    [
        ("lambda x: x", "x is returned as it is", None),
        ("lambda x: '2'", "is not a number", None),
        ("lambda x: x", "as it stands", "is told 'x is returned as it is"),
        ("lambda x: 3", "is not", "is in 3 messages"),
        ("lambda x: 2 * x", "twice 1", "DID NOT RAISE"),
        ("lambda x: x.y", "", "has no attribute 'y'"),
    ],
)
def test_wrong_answers_are_bound_to_the_words_that_name_them(answer, words, complaint):
    namespace = {}
    exec(CHECK, namespace)
    if complaint is None:
        refuse(namespace["check_1"], CHECK, answer, words, namespace)
    else:
        with pytest.raises(
            (AssertionError, AttributeError, pytest.fail.Exception), match=complaint
        ):
            refuse(namespace["check_1"], CHECK, answer, words, namespace)
