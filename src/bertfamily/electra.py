"""ELECTRA: a small model fills blanks, and a larger one tells which tokens are not the original's.

Clark et al., 2020, sections 2 and 3 (https://arxiv.org/abs/2003.10555). The first is the generator,
a masked language model; the second, the discriminator, is asked about every token and is what is
kept. What surprises: a token that the generator guesses right counts as original, and no gradient
goes from the discriminator to the generator, for a drawn token has none. It is not a GAN.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bertfamily.encoder import Electra
from bertfamily.heads import IGNORE_INDEX, MaskedTokenModel, ReplacedTokenModel, replaced_loss
from bertfamily.pretraining import Examples, chosen_loss

WEIGHT = 50.0  # λ of the discriminator's loss (section 3, and appendix A)


class Replaced(NamedTuple):
    """A text in which some tokens were drawn anew."""

    ids: Int[Tensor, "batch seq"]
    replaced: Bool[Tensor, "batch seq"]  # where a token is not the original


class ElectraLosses(NamedTuple):
    """Nats, each a mean: over the chosen tokens, and over those that the discriminator is asked."""

    generator: Float[Tensor, ""]
    discriminator: Float[Tensor, ""]

    def total(self, weight: float = WEIGHT) -> Float[Tensor, ""]:
        """L_MLM + λ · L_Disc, which is minimised (section 2)."""
        return self.generator + weight * self.discriminator


def corrupt(
    ids: Int[Tensor, "batch seq"],
    chosen: Bool[Tensor, "batch seq"],
    logits: Float[Tensor, "n vocab"],
    generator: torch.Generator | None = None,
) -> Replaced:
    """The original text, with each chosen token drawn from the softmax of its logits.

    `logits` has a row for each chosen token, in the order of `ids[chosen]`. Without a generator of
    random numbers, torch's own draws.
    """
    if len(logits) != (many := int(chosen.sum())):
        raise ValueError(
            f"{len(logits)} rows of logits for {many} chosen tokens; give one for each"
        )
    read = ids.clone()
    if many:
        odds = logits.detach().float().softmax(dim=-1)
        read[chosen] = torch.multinomial(odds, 1, generator=generator)[:, 0]
    return Replaced(read, read != ids)


class ElectraModel(nn.Module):
    """Both networks of ELECTRA's pretraining. `discriminator` is what is fine-tuned afterwards.

    With `tied` they share the tables of tokens, positions and segments, which have the size of the
    discriminator's (section 3.2); each keeps a norm, and a map to its own width, if it needs one.
    """

    def __init__(self, generator: Electra, discriminator: Electra, tied: bool = True):
        super().__init__()
        for name in ("vocab", "positions", "segments", "pad"):
            mine, theirs = getattr(generator, name), getattr(discriminator, name)
            if mine != theirs:
                raise ValueError(f"{name}={mine} and {theirs}: both networks read the same text")
        sizes = [c.embedding or c.hidden for c in (generator, discriminator)]
        if tied and sizes[0] != sizes[1]:
            raise ValueError(
                f"tables of {sizes[0]} and {sizes[1]} numbers cannot be one: give the generator "
                f"embedding={sizes[1]}, or choose tied=False"
            )
        self.generator = MaskedTokenModel(generator)
        self.discriminator = ReplacedTokenModel(discriminator)
        if tied:
            ours, theirs = (m.encoder.embeddings for m in (self.generator, self.discriminator))
            for table in ("token", "position", "segment"):
                setattr(ours, table, getattr(theirs, table))

    def losses(
        self,
        examples: Examples,
        ask_all: bool = True,
        generator: torch.Generator | None = None,
    ) -> ElectraLosses:
        """Both losses of a masked batch: generator on the chosen tokens, discriminator on all.

        ask_all=False asks the discriminator of the chosen tokens only, the ablation "ELECTRA 15 %"
        of Table 5.
        """
        chosen = examples.labels != IGNORE_INDEX
        logits = self.generator(examples.ids, examples.segments, examples.keep, chosen=chosen)
        original = torch.where(chosen, examples.labels, examples.ids)
        read = corrupt(original, chosen, logits, generator)
        seems = self.discriminator(read.ids, examples.segments, examples.keep)
        asked = examples.keep if ask_all else chosen
        return ElectraLosses(
            chosen_loss(logits, examples.labels[chosen]), replaced_loss(seems, read.replaced, asked)
        )
