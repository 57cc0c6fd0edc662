"""Look inside a trained encoder: the vectors of a word in context, and what its heads look at.

Vectors: Ethayarajh, 2019 (https://arxiv.org/abs/1909.00512). Heads: Clark et al., 2019
(https://arxiv.org/abs/1906.04341). What surprises: a cosine means nothing by itself. Two random
words have one that is far from 0 in most layers, so it is compared with that of random words
(`baseline`), or cosines are compared only with each other (`auc`). The same goes for a head that
finds the verb: a fixed step to the left may find it as often (`offset_hits`). Left out: probes,
which are trained, and whatever is drawn.

`depths` counts the states of a token, layers + 1: first the embeddings, then one for each layer.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bertfamily.batches import buckets, pad
from bertfamily.encoder import Encoder
from bertfamily.wordpiece import Encoding, Tokenizer

# --- vectors of words in context


class Reading(NamedTuple):
    """A text, its tokens, and what an encoder made of them."""

    text: str
    encoding: Encoding
    states: Float[Tensor, "depths seq hidden"]
    weights: Float[Tensor, "layers heads seq seq"] | None  # None unless asked for


def read(
    encoder: Encoder,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    with_weights: bool = False,
    size: int = 32,
) -> list[Reading]:
    """The texts as the encoder reads them, each by itself, between [CLS] and [SEP], in their order.

    `size` texts of like length are computed together; their padding is taken away again. Refuses
    an encoder in training mode: its dropout would give a word another vector at each call.
    """
    if encoder.training:
        raise ValueError("the encoder is in training mode, with dropout: call encoder.eval() first")
    if isinstance(texts, str):
        raise ValueError("texts is one string; give a list of texts")
    encodings = [tokenizer.encode(text) for text in texts]
    readings: dict[int, Reading] = {}
    for rows in buckets([len(encoding.ids) for encoding in encodings], size):
        batch = pad([encodings[i] for i in rows], tokenizer.pad)
        with torch.no_grad():
            encoded = encoder(*batch, with_states=True, with_weights=with_weights)
        for n, i in enumerate(rows):
            seq = len(encodings[i].ids)
            states = torch.stack([state[n, :seq] for state in encoded.states])
            weights = [w[n, :, :seq, :seq] for w in encoded.weights]
            weights = torch.stack(weights) if weights else None
            readings[i] = Reading(texts[i], encodings[i], states, weights)
    return [readings[i] for i in range(len(texts))]


def find_word(text: str, word: str) -> tuple[int, int]:
    """Where `word` begins and ends in `text`, whole and in capitals or not; it is there once."""
    found = [m.span() for m in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.I)]
    if len(found) != 1 or not word.strip():
        raise ValueError(f"{word!r} is {len(found)} times in {text!r}, and must be there once")
    return found[0]


def tokens_of(encoding: Encoding, start: int, end: int, segment: int = 0) -> list[int]:
    """The indices of the pieces that make up `text[start:end]`; [CLS] is 0 and counts too.

    `segment` says in which of two texts. Refuses a stretch that no piece belongs to, and one that
    a piece reaches out of, as "board" in "keyboard".
    """
    rows = enumerate(zip(encoding.offsets, encoding.segments, strict=True))
    where = {i: at for i, (at, s) in rows if s == segment and at[0] < end and start < at[1]}
    if not where:
        raise ValueError(f"there is no piece between {start} and {end}: was the text cut?")
    first, last = min(a for a, _ in where.values()), max(b for _, b in where.values())
    if first < start or end < last:
        pieces = [encoding.pieces[i] for i in where]
        raise ValueError(f"{pieces} go from {first} to {last}, beyond {start} and {end}")
    return list(where)


def word_vectors(reading: Reading, start: int, end: int) -> Float[Tensor, "depths hidden"]:
    """The vector of `text[start:end]` at each depth: the mean of the vectors of its pieces.

    The mean is a choice. For tagging, Devlin et al. (2018, section 5.3) take the first piece.
    """
    return reading.states[:, tokens_of(reading.encoding, start, end)].mean(dim=1)


def similarities(
    a: Float[Tensor, "*depths n hidden"], b: Float[Tensor, "*depths m hidden"]
) -> Float[Tensor, "*depths n m"]:
    """The cosine of each vector of `a` with each of `b`."""
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).transpose(-2, -1)


class Neighbours(NamedTuple):
    """The most similar ones, best first."""

    places: Int[Tensor, "n count"]
    similarities: Float[Tensor, "n count"]


def neighbours(
    similar: Float[Tensor, "n m"], count: int, keep: Bool[Tensor, "n m"] | None = None
) -> Neighbours:
    """The `count` most similar of m to each of n; of equal ones the earlier comes first.

    `keep` is True at those that may be chosen: with `~torch.eye(n, dtype=torch.bool)` a vector is
    not its own neighbour.
    """
    keep = torch.ones_like(similar, dtype=torch.bool) if keep is None else keep
    fewest = int(keep.sum(dim=1).min()) if len(keep) else count
    if not 1 <= count <= fewest:
        raise ValueError(f"count={count}, but there are {fewest} to choose from")
    order = similar.masked_fill(~keep, -torch.inf).sort(dim=1, descending=True, stable=True)
    return Neighbours(order.indices[:, :count], order.values[:, :count])


def auc(higher: Float[Tensor, " n"], lower: Float[Tensor, " m"]) -> float:
    """How often one of `higher` is above one of `lower`, over all n · m pairs; a tie counts half.

    This is the area under the ROC curve: ½ is chance, and no threshold is chosen.
    """
    if not (len(higher) and len(lower)):
        raise ValueError(f"{len(higher)} and {len(lower)} numbers: each side needs one at least")
    if higher.isnan().any() or lower.isnan().any():
        raise ValueError("nan is neither above nor below a number")
    difference = higher[:, None] - lower
    return ((difference > 0).double() + (difference == 0).double() / 2).mean().item()


# --- how contextual a layer is: Ethayarajh (2019), sections 3.3 and 3.4


def self_similarity(vectors: Float[Tensor, "*depths n hidden"]) -> Float[Tensor, "*depths"]:
    """SelfSim: the mean cosine of a word with itself in other sentences, over all n(n - 1) pairs.

    `vectors` are those of one word in n sentences. 1: it is the same vector everywhere. Section
    3.3, definition 1, where it is averaged over words, and `baseline` subtracted. The author's code
    (github.com/kawine/contextual) takes pieces of BERT for words; ours may be means of pieces.
    """
    n = vectors.shape[-2]
    if n < 2:
        raise ValueError(f"{n} sentences: a word is compared with itself in another one")
    total = F.normalize(vectors, dim=-1).sum(dim=-2).square().sum(dim=-1)
    lengths = F.normalize(vectors, dim=-1).square().sum(dim=(-2, -1))  # n, if no vector is 0
    return (total - lengths) / (n * (n - 1))


def intra_similarity(vectors: Float[Tensor, "*depths n hidden"]) -> Float[Tensor, "*depths"]:
    """IntraSim: the mean cosine of the n words of a sentence with the mean of their vectors.

    Section 3.3, definition 2; there without [CLS] and [SEP], so leave them out. The mean holds each
    word itself, so even n unrelated words have some: about 1 / √n.
    """
    mean = vectors.mean(dim=-2, keepdim=True)
    return F.cosine_similarity(vectors, mean, dim=-1).mean(dim=-1)


def baseline(
    vectors: Float[Tensor, "*depths n hidden"], texts: Int[Tensor, " n"]
) -> Float[Tensor, "*depths"]:
    """The anisotropy: the mean cosine of two words that are not in one text.

    `vectors` are those of n words, `texts` says which text each of them is from. Section 3.4 takes
    1,000 random words; we take all pairs of those given. A word may meet itself in another text.
    """
    _, group = texts.unique(return_inverse=True)
    sizes = group.bincount()
    pairs = len(texts) ** 2 - int(sizes.square().sum())
    if not pairs:
        raise ValueError(f"{len(texts)} words of {len(sizes)} text: none is in another text")
    units = F.normalize(vectors.double(), dim=-1)
    sums = units.new_zeros(*units.shape[:-2], len(sizes), units.shape[-1])
    sums = sums.index_add(-2, group, units)  # over the words of each text
    of_all, of_one = sums.sum(dim=-2).square().sum(dim=-1), sums.square().sum(dim=(-2, -1))
    return ((of_all - of_one) / pairs).to(vectors.dtype)


# --- what a head looks at: Clark et al. (2019), sections 3 and 4


def join_words(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The words with a space between them, and where each begins and ends in this text."""
    spans, at = [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), spans


def word_weights(
    weights: Float[Tensor, "*heads seq seq"], words: Sequence[Sequence[int]]
) -> Float[Tensor, "*heads words words"]:
    """Attention from word to word: the sum over the pieces looked at, the mean over those looking.

    `words` holds the indices of the pieces of each word (`tokens_of`). Section 4.1. As there,
    [CLS] and [SEP] are left out, so the rows sum to less than 1; they are not scaled up again.
    """
    if not all(len(pieces) for pieces in words):
        raise ValueError("a word has no piece")
    belongs = weights.new_zeros(len(words), weights.shape[-1])  # (words, seq)
    for row, pieces in zip(belongs, words, strict=True):
        row[list(pieces)] = 1
    return belongs / belongs.sum(dim=1, keepdim=True) @ weights @ belongs.T


def most_attended(
    weights: Float[Tensor, "*heads words words"], backwards: bool = False
) -> Int[Tensor, "*heads words"]:
    """For each word the other one that it looks at most; `backwards`, that looks most at it.

    As in the authors' Syntax_Analysis.ipynb (github.com/clarkkev/attention-analysis) a word is
    never its own answer. We keep it out by -∞, they by 0.
    """
    words = weights.shape[-1]
    if words < 2:
        raise ValueError(f"{words} word: there is no other to look at")
    itself = torch.eye(words, dtype=torch.bool)
    weights = weights.transpose(-2, -1) if backwards else weights
    return weights.masked_fill(itself, -torch.inf).argmax(dim=-1)


def relation_hits(
    weights: Float[Tensor, "*heads words words"], pairs: Int[Tensor, "pairs 2"]
) -> Bool[Tensor, "2 *heads pairs"]:
    """Whether a head finds the second word of a pair (dependent, head of the phrase) by the first.

    Row 0: the dependent looks most at its head. Row 1: of all words it is the head that looks most
    at the dependent. Section 4.2, in both directions; without its special case for 's (there the
    possessor's 's answers for it). Averaged over the pairs of a relation this is a head's score.
    """
    dependents, heads = pairs.T
    found = [most_attended(weights, backwards)[..., dependents] for backwards in (False, True)]
    return torch.stack(found) == heads


def offset_hits(
    pairs: Int[Tensor, "pairs 2"], offsets: Sequence[int]
) -> Bool[Tensor, "offsets pairs"]:
    """Whether the head of the phrase is `offset` words to the right of the dependent, for each.

    The baseline of section 4.2: the best fixed offset, there of -3 to 2. A step out of the
    sentence is a miss here; there it ends at the border.
    """
    return pairs[:, 1] - pairs[:, 0] == torch.tensor(offsets)[:, None]


def entropy(weights: Float[Tensor, "*heads q k"]) -> Float[Tensor, "*heads q"]:
    """-Σ w log w of each row, in nats: 0 for one key alone, log k for all k alike. Section 3.3.

    Nothing is added to the weights, as the authors' code does: 0 log 0 is 0.
    """
    return torch.special.entr(weights).sum(dim=-1)


def attention_to(
    weights: Float[Tensor, "*heads q k"], keep: Bool[Tensor, " k"]
) -> Float[Tensor, "*heads q"]:
    """How much of each row goes to the keys where `keep` is True, as [SEP] or [CLS].

    Section 3.2, which then averages over queries; whether [SEP] itself is one of them matters, as
    it looks mostly at itself.
    """
    return weights[..., keep].sum(dim=-1)


def attention_distance(
    weights: Float[Tensor, "*heads q k"], keep: Bool[Tensor, " k"] | None = None
) -> Float[Tensor, "*heads q"]:
    """Σ w abs(q - k) / Σ w: how many tokens away a query looks in the mean, to either side.

    `keep` is True at the keys that count, so that [CLS] and [SEP], a resting place at the ends of
    a text, need not. The attention distance of Vig and Belinkov, 2019
    (https://arxiv.org/abs/1906.04284), of a decoder, where a query looks to the left only, and one
    number for a head; here each query has its own. Clark et al., section 3.1, show steps of 1.
    """
    q, k = weights.shape[-2:]
    steps = (torch.arange(q)[:, None] - torch.arange(k)).abs().to(weights.dtype)
    if keep is not None:
        weights = weights * keep
    return (weights * steps).sum(dim=-1) / weights.sum(dim=-1)


@contextmanager
def heads_off(encoder: Encoder, heads: Iterable[tuple[int, int]]) -> Iterator[None]:
    """Inside the block the output of these heads, (layer, head) from 0, is 0.

    This is ξ = 0 of Michel et al., 2019, section 2.3 (https://arxiv.org/abs/1905.10650). It takes
    away what the head moves, not the bias of the output map. The parameters stay as they are.
    """
    config = encoder.config
    if config.shared:
        raise ValueError("one layer is used at all depths: no head of one depth can be off alone")
    columns: dict[int, list[int]] = {}
    for layer, head in heads:
        if not (0 <= layer < config.layers and 0 <= head < config.heads):
            raise ValueError(
                f"there is no head {head} in layer {layer}: there are {config.layers} layers of "
                f"{config.heads} heads, from 0"
            )
        size = config.hidden // config.heads
        columns.setdefault(layer, []).extend(range(head * size, (head + 1) * size))

    def silence(off: list[int]) -> Callable:
        def before(_, inputs: tuple[Tensor]) -> Tensor:
            return inputs[0].index_fill(-1, torch.tensor(off, device=inputs[0].device), 0.0)

        return before

    with ExitStack() as hooks:
        for layer, off in columns.items():
            output = encoder.layers[layer].attention.output
            hooks.enter_context(output.register_forward_pre_hook(silence(off)))
        yield


def cost_of_heads(
    encoder: Encoder, losses: Callable[[], Float[Tensor, " items"]]
) -> Float[Tensor, "layers heads items"]:
    """What each head is worth: the loss of each item with that head off, less the loss with all on.

    `losses()` is called anew for each head and must ask the same each time: no dropout, no other
    masks. Michel et al., 2019, section 3.2, switch off one head at a time too; they measure BLEU
    and accuracy. Items stay apart, so that the interval of the mean can be taken.
    """
    with torch.no_grad():
        whole, again = losses(), losses()
        if not torch.equal(whole, again):
            raise ValueError("losses() gives other numbers when asked again: is dropout on?")
        costs = whole.new_zeros(encoder.config.layers, encoder.config.heads, len(whole))
        for layer, head in torch.cartesian_prod(*map(torch.arange, costs.shape[:2])).tolist():
            with heads_off(encoder, [(layer, head)]):
                costs[layer, head] = losses() - whole
    return costs
