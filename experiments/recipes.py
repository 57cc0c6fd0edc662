"""Four recipes of masks, and four proportions that are asked, in a language of 20 words.

python experiments/recipes.py

Chapter 9 draws the record, and trains some of the models again. Some minutes on one core.
"""

from collections.abc import Callable

import torch
from runs import ROOT, write_record
from torch import nn

from bertfamily.encoder import Bert
from bertfamily.heads import IGNORE_INDEX, MaskedTokenModel, token_loss
from bertfamily.masking import mask_tokens
from bertfamily.wordpiece import SPECIAL, Tokenizer

TARGET = "data/runs/recipes.json"
RECIPES = {  # hidden, swapped, left
    "all hidden": (1.0, 0.0, 0.0),
    "20 swapped": (0.8, 0.2, 0.0),
    "20 left": (0.8, 0.0, 0.2),
    "10 and 10": (0.8, 0.1, 0.1),
}
RATES = 0.03, 0.15, 0.4, 0.8
SEEDS = range(8)
STEPS, EVERY, ROWS, PLACES = 240, 30, 64, 1000
FEW = len(SPECIAL)
WORDS = Tokenizer([*SPECIAL, *(c + v for c in "bdgk" for v in "aeiou")])
SIZES = {"vocab": 25, "hidden": 64, "layers": 1, "heads": 2, "inner": 64, "positions": 16}
CONFIG = Bert(**SIZES, dropout=0.0, attention_dropout=0.0, pooled=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


FOLLOWS = torch.stack([torch.randperm(20, generator=seeded(i))[:3] for i in range(20)])


def speak(count: int, generator: torch.Generator) -> torch.Tensor:
    """Rows of 16 words, each one of the three that may follow the last."""
    said = [torch.randint(20, (count,), generator=generator)]
    for _ in range(15):
        pick = torch.randint(3, (count,), generator=generator)
        said.append(FOLLOWS[said[-1], pick])
    return torch.stack(said, dim=1) + FEW  # (count, 16)


def train(
    shares: tuple, seed: int, rate: float = 0.15, watch: Callable | None = None
) -> MaskedTokenModel | list[float]:
    """A trained model, or what `watch` saw of it every 30 steps."""
    generator, seen = seeded(seed), []
    torch.manual_seed(seed)  # a new model draws its biases from the global state
    model = MaskedTokenModel(CONFIG)
    for p in model.parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=0.1, generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    rise = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 50, 1 - step / STEPS)
    )
    for step in range(1, STEPS + 1):
        ids = speak(ROWS, generator)
        pieces = WORDS.mask, WORDS.ordinary
        read, labels = mask_tokens(ids, *pieces, generator, rate=rate, shares=shares)
        chosen = labels != IGNORE_INDEX
        loss = token_loss(model(read, chosen=chosen), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rise.step()
        if watch and step % EVERY == 0:
            seen.append(watch(model))
    return seen if watch else model.eval()


class Quiz:
    """The same places for every model, one in each of a thousand rows."""

    def __init__(self):
        generator = seeded(90)
        self.rows = speak(PLACES, generator)
        place = torch.randint(1, 15, (PLACES,), generator=generator)
        self.here = nn.functional.one_hot(place, 16).bool()
        self.truth = self.rows[self.here]
        after = torch.zeros(20, 20).scatter(1, FOLLOWS, 1 / 3)  # P(next | word)
        row = torch.arange(PLACES)
        before, behind = (self.rows[row, place + side] - FEW for side in (-1, 1))
        joint = after[before] * after[:, behind].T  # (1000, 20)
        self.possible = (joint.amax(dim=1) / joint.sum(dim=1)).mean().item()
        shift = torch.randint(1, 20, (PLACES,), generator=generator)
        self.wrong = (self.truth - FEW + shift) % 20 + FEW  # never the true word

    @torch.no_grad()
    def answers(self, model: MaskedTokenModel, there: torch.Tensor) -> torch.Tensor:
        """The model's first guess where `there` is read."""
        read = self.rows.masked_scatter(self.here, there)
        return model(read, chosen=self.here).argmax(dim=-1)

    def at_blanks(self, model: MaskedTokenModel) -> float:
        blanks = torch.full_like(self.truth, WORDS.mask)
        return share(self.answers(model, blanks) == self.truth)

    def look(self, model: MaskedTokenModel) -> dict[str, float]:
        at_wrong = self.answers(model, self.wrong)
        return {
            "[MASK]: right": self.at_blanks(model),
            "true word: named": share(self.answers(model, self.truth) == self.truth),
            "wrong word: repeated": share(at_wrong == self.wrong),
            "wrong word: mended": share(at_wrong == self.truth),
        }


def share(hits: torch.Tensor) -> float:
    return round(hits.double().mean().item(), 4)


def main() -> None:
    torch.set_num_threads(1)
    quiz = Quiz()
    looked = {
        name: [quiz.look(train(shares, seed)) for seed in SEEDS] for name, shares in RECIPES.items()
    }
    hidden = RECIPES["all hidden"]
    curves = {
        str(rate): [train(hidden, seed, rate, quiz.at_blanks) for seed in SEEDS] for rate in RATES
    }
    config = {"recipes": RECIPES, "rates": RATES, "seeds": len(SEEDS), "steps": STEPS}
    config |= {"rows": ROWS, "every": EVERY, "places": PLACES}
    record = {"config": config, "possible": round(quiz.possible, 4)}
    record |= {"recipes": looked, "curves": curves}
    record["made with"] = {"torch": torch.__version__, "threads": 1}
    write_record(ROOT / TARGET, record)


if __name__ == "__main__":
    main()
