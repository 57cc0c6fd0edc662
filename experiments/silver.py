"""Questions made by rule from parsed sentences: silver, for nobody has checked them.

A sentence loses its subject, object, place, time or number, and asks for it, as Lewis et al. (2019,
https://arxiv.org/abs/1906.04980) made questions out of clozes. The parser is spaCy's small English
pipeline, read as data out of a pinned archive (`corpora.PARSER`); spaCy itself is needed for these
runs only: pip install spacy==3.8.18. The texts are read where they are and never kept.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from bertfamily import corpora

PLACES, TIMES = {"GPE", "LOC", "FAC"}, {"DATE", "TIME"}
PRONOUNS = {"PRP", "PRP$", "WP", "WDT", "DT", "EX"}  # heads that tell nothing without the context
LEFT_OUT = {"cc", "conj", "punct", "advcl", "mark", "parataxis", "ccomp", "preconj"}
LONGEST_QUESTION, LONGEST_ANSWER = 16, 6  # words


class Word(NamedTuple):
    """A word of a parsed sentence; `head` is the number of the word that it hangs on."""

    text: str
    lemma: str
    tag: str  # of the Penn treebank
    relation: str  # Stanford-style; ROOT hangs on itself
    head: int
    entity: str  # PERSON, GPE, DATE …, or nothing
    start: int  # its first character in the text


def parser() -> Callable[[Iterable[str]], Iterator[list[list[Word]]]]:
    """What parses texts: for each its sentences."""
    from spacy.util import load_model_from_path

    pipeline = load_model_from_path(corpora.carried(corpora.PARSER, deep=True))

    def parse(texts: Iterable[str]) -> Iterator[list[list[Word]]]:
        for doc in pipeline.pipe(texts):
            yield [
                [
                    Word(t.text, t.lemma_, t.tag_, t.dep_, t.head.i - s.start, t.ent_type_, t.idx)
                    for t in s
                ]
                for s in doc.sents
            ]

    return parse


class Silver(NamedTuple):
    """A question, and the place of its answer in the text."""

    question: str
    start: int
    end: int
    kind: str


def silver_questions(words: Sequence[Word]) -> Iterator[Silver]:
    """What one sentence can be asked; nothing if it has no verb with a noun for its subject."""
    below = children(words)
    root = next(i for i, word in enumerate(words) if word.relation == "ROOT")
    subject = next((i for i in below[root] if words[i].relation in ("nsubj", "nsubjpass")), None)
    if subject is None or words[root].tag[:2] != "VB" or words[subject].tag in PRONOUNS:
        return
    clause = [root]
    for i in below[root]:
        if words[i].relation not in LEFT_OUT and (i >= subject or words[i].relation[:3] == "aux"):
            clause += tree(below, i)  # and not what stands before the subject: "In 1918, …"
    for kind, wh, answer, gone in answers(words, below, root, subject):
        asked = question(words, sorted(clause), root, tree(below, subject), wh, set(gone))
        says_little = asked[-1].lower() in ("said", "say", "told", "tell", "and", "or", "of", "the")
        fits = len(answer) <= LONGEST_ANSWER and 3 <= len(asked) <= LONGEST_QUESTION
        if fits and not says_little:
            last = words[answer[-1]]
            text = " ".join(asked).replace(" 's", "'s") + "?"
            yield Silver(text, words[answer[0]].start, last.start + len(last.text), kind)


def answers(
    words: Sequence[Word], below: list[list[int]], root: int, subject: int
) -> Iterator[tuple[str, str, list[int], list[int]]]:
    """Kind, question word, the words of the answer, and those that leave the sentence."""
    whole = tree(below, subject)
    if no_clause(words, whole):
        yield "subject", who_or_what(words[subject]), whole, whole
    for i in below[root]:
        word, part = words[i], tree(below, i)
        if word.relation == "dobj" and word.tag not in PRONOUNS and no_clause(words, part):
            yield "object", who_or_what(word), part, part
            number = [j for j in below[i] if words[j].relation == "nummod"]
            if number and word.tag == "NNS" and part[0] == number[0] and part[1:]:
                yield (
                    "number",
                    "How many " + " ".join(words[j].text for j in part[1:]),
                    number,
                    part,
                )
        if word.relation == "prep" and len(below[i]) == 1 and words[below[i][0]].relation == "pobj":
            inner = tree(below, below[i][0])
            entity, own = words[below[i][0]].entity, no_clause(words, inner)
            if own and entity in PLACES and word.text.lower() in ("in", "at", "near"):
                yield "place", "Where", inner, part
            if own and entity in TIMES and word.text.lower() in ("in", "on", "at", "during"):
                yield "time", "When", inner, part


def question(
    words: Sequence[Word], clause: list[int], root: int, subject: list[int], wh: str, gone: set[int]
) -> list[str]:
    """The words of the question: the verb comes before the subject, unless that is asked for."""
    rest = [i for i in clause if i not in gone]
    if gone >= set(subject):
        return [wh, *(inside(words[i]) for i in rest)]
    rest = [i for i in rest if i not in subject]
    before = [inside(words[i]) for i in subject]
    helper = next((i for i in rest if words[i].relation in ("aux", "auxpass")), None)
    if helper is None and words[root].lemma == "be":
        helper = root
    if helper is not None:
        return [wh, words[helper].text, *before, *(inside(words[i]) for i in rest if i != helper)]
    does = {"VBD": "did", "VBZ": "does"}.get(words[root].tag, "do")
    return [wh, does, *before, *(words[i].lemma if i == root else inside(words[i]) for i in rest)]


def children(words: Sequence[Word]) -> list[list[int]]:
    """For each word those that hang on it."""
    below: list[list[int]] = [[] for _ in words]
    for i, word in enumerate(words):
        if word.head != i:
            below[word.head].append(i)
    return below


def tree(below: list[list[int]], top: int) -> list[int]:
    """A word and all that hangs on it, in order."""
    return sorted([top, *(i for child in below[top] for i in tree(below, child))])


def no_clause(words: Sequence[Word], part: list[int]) -> bool:
    """Whether a phrase is in one piece, and free of clauses and marks, which make poor answers."""
    poor = {"relcl", "acl", "punct", "conj", "appos", "cc"}
    whole = part == list(range(part[0], part[-1] + 1))
    return whole and not any(words[i].relation in poor for i in part)


def who_or_what(word: Word) -> str:
    return "Who" if word.entity == "PERSON" else "What"


def inside(word: Word) -> str:
    """A word as it stands in the middle of a sentence."""
    return word.text if word.entity or word.tag.startswith("NNP") else word.text.lower()
