"""Our tokenizer beside the two of `transformers`, in words a second, and our trainer beside one.

The peers are the tokenizer in Python, whose way of working is that of google-research/bert, and
BertTokenizer, which is the `tokenizers` library in Rust and here has one thread. Ours is measured
as it is after loading and once more as it is when it remembers the words it has met.
"""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread for all

import torch
import transformers
from attention import milliseconds  # the script beside this one
from tokenizers import Tokenizer as Library
from tokenizers import models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizerFast

from bertfamily.corpora import MINILM, basic_english, carried
from bertfamily.wordpiece import SPECIAL, by_count, by_ratio, fast, load_tokenizer, train
from bertfamily.wordpiece import word_counts as counted

RUNS, SIZE = 5, 8_000


def in_python(folder) -> transformers.PreTrainedTokenizer:
    """The reference's tokenizer in Python; version 5 keeps it under another name."""
    if transformers.__version__.startswith("4"):
        return transformers.BertTokenizer.from_pretrained(folder)
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    return BertTokenizerLegacy(str(folder / "vocab.txt"))


def tokenizing(sentences) -> None:
    folder = carried(MINILM)
    ours, legacy = load_tokenizer(folder), in_python(folder)
    quick, rust = fast(ours), BertTokenizerFast.from_pretrained(folder)

    def forgetful():
        ours._known.clear()
        return ours.ids_of(sentences)

    calls = {
        "ours, just loaded": forgetful,
        "ours, again": lambda: ours.ids_of(sentences),
        "ours, fast": lambda: quick.ids_of(sentences),
        "transformers, Rust": lambda: rust(sentences, add_special_tokens=False)["input_ids"],
        "transformers, Python": lambda: [
            legacy.convert_tokens_to_ids(legacy.tokenize(sentence)) for sentence in sentences
        ],
    }
    expected = forgetful()
    assert all(call() == expected for call in calls.values()), "they do not give the same ids"
    words = sum(len(sentence.split()) for sentence in sentences)
    print(f"{len(sentences):,} sentences, {words:,} words; median of {RUNS} runs in turn")
    for name, ms in zip(calls, milliseconds(calls.values(), RUNS), strict=True):
        print(f"{name:>22}{ms:10.0f} ms{1e3 * words / ms:14,.0f} words a second")


def training(sentences) -> None:
    counts = counted(sentences)

    def by_library():
        library = Library(models.WordPiece(unk_token="[UNK]"))
        library.normalizer = normalizers.BertNormalizer()
        library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=SIZE, special_tokens=list(SPECIAL), show_progress=False
        )
        library.train_from_iterator(sentences, trainer)

    calls = {
        "count the words": lambda: counted(sentences),
        "by_ratio": lambda: train(counts, SIZE, by_ratio),
        "by_ratio, least 5": lambda: train(counts, SIZE, by_ratio, least=5),
        "by_count": lambda: train(counts, SIZE, by_count),
        "tokenizers, all of it": by_library,
    }
    print(f"{SIZE:,} pieces from {counts.total():,} words, {len(counts):,} different ones")
    for name, ms in zip(calls, milliseconds(calls.values(), 3), strict=True):
        print(f"{name:>22}{ms:10.0f} ms")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    sentences = [sentence for document in basic_english() for sentence in document.sentences]
    tokenizing(sentences[::4])
    training(sentences)
