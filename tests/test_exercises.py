"""The checks of the exercises are tested too: they refuse wrong answers and say why.

That they accept the right ones is seen when a chapter is run: its solutions call them.
"""

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


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_checks_of_the_exercises_refuse_wrong_answers(name):
    code = [cell for cell in CHAPTERS[name].cells if cell.cell_type == "code"]
    namespace = {"renamed": renamed, "softly": softly}
    for cell in code:
        exec("\n".join(re.findall(r"^(?:import|from) .+$", cell.source, re.M)), namespace)
    checks = [cell.source for cell in code if "check" in cell.metadata.get("tags", [])]
    wrong = tomllib.loads((ANSWERS / f"{name[:2]}.toml").read_text("utf-8"))
    assert list(wrong) == [f"exercise_{number}" for number in range(1, len(checks) + 1)]
    for number, source in enumerate(checks, 1):
        exec(source, namespace)
        for answer in wrong[f"exercise_{number}"]:
            with pytest.raises(AssertionError) as refusal:
                namespace[f"check_{number}"](eval(answer, namespace))
            assert str(refusal.value), f"check {number} refuses {answer} without saying why"
