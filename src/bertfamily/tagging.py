"""Tags for words that a model reads in pieces: names of persons and places, parts of speech.

Devlin et al., 2018, section 5.3 (https://arxiv.org/abs/1810.04805): the first piece of a word is
asked for its tag, the others are not. BIO tags mark entities of several words: B- begins one, I- is
inside, O is outside of all (module metrics reads them). What surprises: the cut into pieces is the
tokenizer's, so the same tags make other labels for another model.
"""

from collections import Counter
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from bertfamily.finetuning import Example, predict
from bertfamily.heads import IGNORE_INDEX, TokenModel
from bertfamily.inspection import join_words
from bertfamily.metrics import Entity, entities
from bertfamily.wordpiece import Encoding, Tokenizer

MISTAKES = "right", "other kind", "other border", "both", "missed", "invented"


def bio(kinds: Sequence[str]) -> list[str]:
    """The tags of these kinds of entities, O first: the classes of a tagger, in their order."""
    if len(set(kinds)) < len(kinds) or not kinds:
        raise ValueError(f"kinds={list(kinds)}: give each kind once, one at least")
    return ["O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI")]


def read_words(
    tokenizer: Tokenizer, words: Sequence[str], longest: int | None = None
) -> tuple[Encoding, list[list[int]]]:
    """The words as one text, and for each the places of its pieces; none if it was cut off."""
    text, spans = join_words(words)
    encoding = tokenizer.encode(text, longest=longest)
    at = [i for i, (_, end) in enumerate(encoding.offsets) if end]  # not [CLS] and [SEP]
    offsets = encoding.offsets
    return encoding, [
        [i for i in at if offsets[i][0] < end and start < offsets[i][1]] for start, end in spans
    ]


def example_of(
    tokenizer: Tokenizer,
    words: Sequence[str],
    tags: Sequence[str],
    names: Sequence[str],
    longest: int | None = None,
    every_piece: bool = False,
) -> Example:
    """A sentence with a label for the first piece of each word; `names` are the tags by number.

    With `every_piece` the others are asked too: those of a word tagged B- are I-, as if they were
    words.
    """
    if len(words) != len(tags):
        raise ValueError(f"{len(tags)} tags for {len(words)} words: {' '.join(words)!r}")
    if unknown := {*tags} - {*names}:
        raise ValueError(f"tag {min(unknown)!r} is not one of {', '.join(names)}")
    encoding, places = read_words(tokenizer, words, longest)
    labels = [IGNORE_INDEX] * len(encoding.ids)
    for tag, place in zip(tags, places, strict=True):
        for i in place[:1]:  # none if the tokenizer drops the word, or it was cut off
            labels[i] = names.index(tag)
        for i in place[1:] if every_piece else ():
            labels[i] = names.index("I-" + tag[2:] if tag.startswith("B-") else tag)
    return Example(encoding, labels)


def tags_of(
    logits: Float[Tensor, "seq classes"], places: Sequence[Sequence[int]], names: Sequence[str]
) -> list[str]:
    """The tag of each word, by its first piece; of a word that was cut off the first of `names`."""
    best = logits.argmax(dim=-1).tolist()
    return [names[best[place[0]]] if place else names[0] for place in places]


def tag(
    model: TokenModel,
    tokenizer: Tokenizer,
    sentences: Sequence[Sequence[str]],
    names: Sequence[str],
    longest: int | None = None,
) -> list[list[str]]:
    """A tag for each word of each sentence."""
    read = [read_words(tokenizer, words, longest) for words in sentences]
    logits = predict(model, [encoding for encoding, _ in read])
    return [
        tags_of(answer, places, names) for answer, (_, places) in zip(logits, read, strict=True)
    ]


def mistakes(guesses: Sequence[str], truths: Sequence[str]) -> Counter[str]:
    """What became of the entities of a sentence, by MISTAKES.

    Each true entity is right, or has the right words and another kind, or is met by a guess with
    other words of its kind (other border) or of another (both), or is missed. A guess that meets no
    entity is invented. A guess counts once, for the first entity that it meets.
    """
    if len(guesses) != len(truths):
        raise ValueError(f"{len(guesses)} guesses for {len(truths)} tags")
    free, found = entities(guesses), Counter()
    for true in entities(truths):
        met = [g for g in free if g.start < true.end and true.start < g.end]
        same = [g for g in met if (g.start, g.end) == (true.start, true.end)]
        taken = next(iter(same or met), None)
        found[_what(taken, true)] += 1
        free = [g for g in free if g != taken]
    found["invented"] += len(free)
    return +found


def _what(guess: Entity | None, true: Entity) -> str:
    if guess is None:
        return "missed"
    if (guess.start, guess.end) == (true.start, true.end):
        return "right" if guess.kind == true.kind else "other kind"
    return "other border" if guess.kind == true.kind else "both"
