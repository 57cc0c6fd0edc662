"""The published sizes of every family member, as data: what its name on the hub stands for.

Sources: the papers named in module encoder; for the miniatures Turc et al., 2019
(https://arxiv.org/abs/1908.08962). A size says nothing of weights; module checkpoints loads those.
"""

from dataclasses import replace

import torch
from torch import nn

from bertfamily.encoder import Albert, Bert, Config, Distilbert, Electra, Encoder, Roberta

LARGE = {"hidden": 1024, "layers": 24, "heads": 16, "inner": 4096}
CASED = {"vocab": 28_996}


def miniature(layers: int, hidden: int) -> Bert:
    """A BERT with 64 numbers in a head and 4 · hidden inside the feed-forward part."""
    return Bert(layers=layers, hidden=hidden, heads=hidden // 64, inner=4 * hidden)


FLAVORS: dict[str, Config] = {
    "bert-base-uncased": Bert(),
    "bert-base-cased": Bert(**CASED),
    "bert-base-multilingual-cased": Bert(vocab=119_547),
    "bert-large-uncased": Bert(**LARGE),
    "bert-large-cased": Bert(**LARGE, **CASED),
    "google/bert_uncased_L-2_H-128_A-2": miniature(2, 128),  # tiny
    "google/bert_uncased_L-4_H-256_A-4": miniature(4, 256),  # mini
    "google/bert_uncased_L-4_H-512_A-8": miniature(4, 512),  # small
    "google/bert_uncased_L-8_H-512_A-8": miniature(8, 512),  # medium
    "roberta-base": Roberta(),
    "roberta-large": Roberta(**LARGE),
    "distilroberta-base": Roberta(layers=6),
    "distilbert-base-uncased": Distilbert(),
    "distilbert-base-cased": Distilbert(**CASED),
    "albert-base-v2": Albert(),
    "albert-large-v2": Albert(**LARGE),
    "albert-xlarge-v2": Albert(hidden=2048, layers=24, heads=16, inner=8192),
    "albert-xxlarge-v2": Albert(hidden=4096, layers=12, heads=64, inner=16_384),
    "google/electra-small-discriminator": Electra(hidden=256, embedding=128, heads=4, inner=1024),
    "google/electra-small-generator": Electra(hidden=256, embedding=128, heads=4, inner=1024),
    "google/electra-base-discriminator": Electra(),
    "google/electra-base-generator": Electra(hidden=256, embedding=768, heads=4, inner=1024),
    "google/electra-large-discriminator": Electra(**LARGE),
    "google/electra-large-generator": Electra(
        hidden=256, embedding=1024, layers=24, heads=4, inner=1024
    ),
    "SpanBERT/spanbert-base-cased": Bert(**CASED),
    "SpanBERT/spanbert-large-cased": Bert(**LARGE, **CASED),
    "huawei-noah/TinyBERT_General_4L_312D": Bert(layers=4, hidden=312, inner=1200),
    "huawei-noah/TinyBERT_General_6L_768D": Bert(layers=6),
    "microsoft/MiniLM-L12-H384-uncased": Bert(hidden=384, inner=1536),
    "sentence-transformers/all-MiniLM-L6-v2": Bert(layers=6, hidden=384, inner=1536),
}


def count(config: Config, model: type[nn.Module] = Encoder, *arguments) -> int:
    """The parameters of a model of this size, each once, counted without memory for them."""
    with torch.device("meta"):
        return sum(p.numel() for p in model(config, *arguments).parameters())


def without_pooler(config: Config) -> Config:
    """The same sizes without the map on the first token."""
    return replace(config, pooled=False)
