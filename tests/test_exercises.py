"""The checks of the exercises are tested too: they refuse wrong answers and say why.

That they accept the right ones is seen when a chapter is run: its solutions call them.
"""

import math
import re
from pathlib import Path

import nbformat
import pytest

PATHS = sorted((Path(__file__).resolve().parents[1] / "chapters").glob("*.ipynb"))
CHAPTERS = {path.stem: nbformat.read(path, 4) for path in PATHS}
WRONG = {
    "02": {
        1: [
            "lambda query, keys, values: None",
            "lambda query, keys, values: sum(values) / len(values)",
            "lambda query, keys, values: values[-1]",
            "lambda query, keys, values: softly(query, keys, values, lambda d: 1)",
            "lambda query, keys, values: softly(query, keys, values, lambda d: d)",
            "lambda query, keys, values: softly(query, keys, values, lambda d: 2)",
            "lambda query, keys, values: softly([1] * len(query), keys, values, math.sqrt)",
            "lambda query, keys, values: softly(query, keys, values, math.sqrt, top=max) + 0.01",
            "lambda query, keys, values: softly(query, keys, values, math.sqrt, top=lambda s: 0)",
        ],
        2: [
            "lambda lengths, seq: None",
            "lambda lengths, seq: torch.arange(seq) < torch.tensor(lengths)[:, None]",
            "lambda lengths, seq: (torch.arange(seq) >= torch.tensor(lengths)[:, None])[:, None]",
            "lambda lengths, seq: (torch.arange(seq) <= torch.tensor(lengths)[:, None])[:, None]",
            "lambda lengths, seq: torch.tensor([[[1, 1, 1, 0]], [[1, 0, 0, 0]]])",
            "lambda lengths, seq: [[[True, True, True, False]], [[True, False, False, False]]]",
            "lambda n, seq: (torch.arange(max(n) + 1) < torch.tensor(n)[:, None])[:, None]",
        ],
        3: [
            "lambda seq, reach: None",
            "lambda seq, reach: torch.ones(seq, seq, dtype=torch.bool)",
            "lambda seq, reach: torch.ones(seq, seq, dtype=torch.bool).tril().triu(-reach)",
            "lambda seq, reach: torch.eye(seq, dtype=torch.bool)",
            "lambda n, r: torch.ones(n, n).bool().tril(max(r, 1)).triu(-max(r, 1))",
        ],
        4: [
            "lambda h: None",
            "lambda h: h",
            "lambda h: 4 * h",
            "lambda h: h // 2",
            "lambda h: 1536",
        ],
        5: [
            "lambda seq: None",
            "lambda seq: (torch.eye(seq), torch.eye(seq))",
            "lambda seq: torch.eye(seq)",
            "lambda seq: (99 * torch.diag(torch.ones(5), -1), torch.eye(6))",
            "lambda seq: (torch.diag(torch.ones(seq - 1), -1), torch.eye(seq))",
            "lambda seq: (99 * torch.diag(torch.ones(seq - 1), 1), torch.eye(seq))",
        ],
    }
}


def softly(query, keys, values, divisor, top=max):
    """Attention in plain Python, to be spoilt by its arguments."""
    scores = [sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
    scores = [score / divisor(len(query)) for score in scores]
    shares = [math.exp(score - top(scores)) for score in scores]
    return sum(w * v for w, v in zip(shares, values, strict=True)) / sum(shares)


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_checks_of_the_exercises_refuse_wrong_answers(name):
    code = [cell for cell in CHAPTERS[name].cells if cell.cell_type == "code"]
    namespace = {"softly": softly}
    for cell in code:
        exec("\n".join(re.findall(r"^(?:import|from) .+$", cell.source, re.M)), namespace)
    checks = [cell.source for cell in code if "check" in cell.metadata.get("tags", [])]
    assert WRONG[name[:2]].keys() == set(range(1, len(checks) + 1))
    for number, source in enumerate(checks, 1):
        exec(source, namespace)
        for answer in WRONG[name[:2]][number]:
            with pytest.raises(AssertionError) as refusal:
                namespace[f"check_{number}"](eval(answer, namespace))
            assert str(refusal.value), f"check {number} refuses {answer} without saying why"
