"""Read and write checkpoints in the names of `transformers`, for every member of the family.

A checkpoint is a folder with config.json and model.safetensors. `load` builds our model from the
one and fills it from the other; `save` writes both so that `transformers` loads them back. The
tables below say, for each member, what our modules and settings are called there. Left out: models
with code of their own, which is never run.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bertfamily.encoder import (
    Albert,
    Bert,
    Config,
    Distilbert,
    Electra,
    Encoder,
    Roberta,
    gelu_tanh,
)
from bertfamily.files import sha256_of, write_whole
from bertfamily.heads import (
    MaskedTokenModel,
    PairModel,
    PretrainingModel,
    ReplacedTokenModel,
    SequenceModel,
    SpanModel,
    TokenModel,
)

MODELS = {
    "Model": Encoder,
    "ForMaskedLM": MaskedTokenModel,
    "ForPreTraining": PretrainingModel,
    "ForNextSentencePrediction": PairModel,
    "ForSequenceClassification": SequenceModel,
    "ForTokenClassification": TokenModel,
    "ForQuestionAnswering": SpanModel,
}
ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_python": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}

# --- settings: ours, theirs, and what `transformers` takes where config.json leaves a key out

SETTINGS = {
    "vocab": ("vocab_size", 30_522),
    "hidden": ("hidden_size", 768),
    "layers": ("num_hidden_layers", 12),
    "heads": ("num_attention_heads", 12),
    "inner": ("intermediate_size", 3_072),
    "positions": ("max_position_embeddings", 512),
    "segments": ("type_vocab_size", 2),
    "pad": ("pad_token_id", 0),
    "activation": ("hidden_act", "gelu"),
    "eps": ("layer_norm_eps", 1e-12),
    "dropout": ("hidden_dropout_prob", 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", 0.1),
}
MEMBERS: dict[str, tuple[type[Config], str, dict[str, tuple[str, Any] | None]]] = {
    # model_type: our config, the name in "architectures", what differs in the settings
    "bert": (Bert, "Bert", {}),
    "roberta": (Roberta, "Roberta", {"pad": ("pad_token_id", 1), "vocab": ("vocab_size", 50_265)}),
    "electra": (
        Electra,
        "Electra",
        {
            "embedding": ("embedding_size", 128),
            "hidden": ("hidden_size", 256),
            "heads": ("num_attention_heads", 4),
            "inner": ("intermediate_size", 1_024),
        },
    ),
    "albert": (
        Albert,
        "Albert",
        {
            "vocab": ("vocab_size", 30_000),
            "embedding": ("embedding_size", 128),
            "hidden": ("hidden_size", 4_096),
            "heads": ("num_attention_heads", 64),
            "inner": ("intermediate_size", 16_384),
            "activation": ("hidden_act", "gelu_new"),
            "dropout": ("hidden_dropout_prob", 0.0),
            "attention_dropout": ("attention_probs_dropout_prob", 0.0),
        },
    ),
    "distilbert": (
        Distilbert,
        "DistilBert",
        {
            "hidden": ("dim", 768),
            "layers": ("n_layers", 6),
            "heads": ("n_heads", 12),
            "inner": ("hidden_dim", 3_072),
            "activation": ("activation", "gelu"),
            "dropout": ("dropout", 0.1),
            "attention_dropout": ("attention_dropout", 0.1),
            "segments": None,
            "eps": None,
        },
    ),
}

# --- names: our module, theirs

BODY = {
    "embeddings.token": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.segment": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "embeddings.map": "embeddings_project",
    "pooler": "pooler.dense",
}
LAYER = {
    "": "encoder.layer.{}.",
    "attention.query_key_value": "attention.self.query attention.self.key attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.widen": "intermediate.dense",
    "feed_forward.narrow": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
ALBERT_BODY = BODY | {"embeddings.map": "encoder.embedding_hidden_mapping_in", "pooler": "pooler"}
ALBERT_LAYER = {
    "": "encoder.albert_layer_groups.0.albert_layers.{}.",
    "attention.query_key_value": "attention.query attention.key attention.value",
    "attention.output": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "feed_forward.widen": "ffn",
    "feed_forward.narrow": "ffn_output",
    "feed_forward_norm": "full_layer_layer_norm",
}
DISTILBERT_LAYER = {
    "": "transformer.layer.{}.",
    "attention.query_key_value": "attention.q_lin attention.k_lin attention.v_lin",
    "attention.output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "feed_forward.widen": "ffn.lin1",
    "feed_forward.narrow": "ffn.lin2",
    "feed_forward_norm": "output_layer_norm",
}
BERT_MASKED = {
    "masked_token.transform": "cls.predictions.transform.dense",
    "masked_token.norm": "cls.predictions.transform.LayerNorm",
    "masked_token.bias": "cls.predictions.bias",
}
ALBERT_MASKED = {
    "masked_token.transform": "predictions.dense",
    "masked_token.norm": "predictions.LayerNorm",
    "masked_token.bias": "predictions.bias",
}
PLAIN = {  # heads that most members name alike
    SequenceModel: {"classes": "classifier"},
    TokenModel: {"classes": "classifier"},
    SpanModel: {"ends": "qa_outputs"},
}
DENSE = {SequenceModel: {"dense": "classifier.dense", "classes": "classifier.out_proj"}}
NAMES: dict[str, tuple[dict[str, str], dict[str, str], dict[type, dict[str, str]]]] = {
    "bert": (
        BODY,
        LAYER,
        PLAIN
        | {
            MaskedTokenModel: BERT_MASKED,
            PretrainingModel: BERT_MASKED | {"pair": "cls.seq_relationship"},
            PairModel: {"pair": "cls.seq_relationship"},
        },
    ),
    "roberta": (
        BODY,
        LAYER,
        PLAIN
        | DENSE
        | {
            MaskedTokenModel: {
                "masked_token.transform": "lm_head.dense",
                "masked_token.norm": "lm_head.layer_norm",
                "masked_token.bias": "lm_head.bias",
            }
        },
    ),
    "electra": (
        BODY,
        LAYER,
        PLAIN
        | DENSE
        | {
            MaskedTokenModel: {
                "masked_token.transform": "generator_predictions.dense",
                "masked_token.norm": "generator_predictions.LayerNorm",
                "masked_token.bias": "generator_lm_head.bias",
            },
            ReplacedTokenModel: {
                "dense": "discriminator_predictions.dense",
                "replaced": "discriminator_predictions.dense_prediction",
            },
        },
    ),
    "albert": (
        ALBERT_BODY,
        ALBERT_LAYER,
        PLAIN
        | {
            MaskedTokenModel: ALBERT_MASKED,
            PretrainingModel: ALBERT_MASKED | {"pair": "sop_classifier.classifier"},
        },
    ),
    "distilbert": (
        BODY,
        DISTILBERT_LAYER,
        PLAIN
        | {
            SequenceModel: {"dense": "pre_classifier", "classes": "classifier"},
            MaskedTokenModel: {
                "masked_token.transform": "vocab_transform",
                "masked_token.norm": "vocab_layer_norm",
                "masked_token.bias": "vocab_projector.bias",
            },
        },
    ),
}
# Copies of other tensors: the decoder is the token table, its bias the head's. And counters.
COPIES = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    "lm_head.decoder.weight": "embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
    "predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "predictions.decoder.bias": "predictions.bias",
    "generator_lm_head.weight": "embeddings.word_embeddings.weight",
    "vocab_projector.weight": "embeddings.word_embeddings.weight",
}
STORED = torch.float32, torch.float16, torch.bfloat16, torch.int8
SCALE = ".scale"  # the end of the name under which the scales of the rows of a matrix are stored
COUNTERS = re.compile(r"(^|\.)embeddings\.(position_ids|token_type_ids)$")


# --- load


def load(
    name: str | os.PathLike,
    model: type[nn.Module] | None = None,
    classes: int | None = None,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    allow_pickle: bool = False,
    rest: str | os.PathLike | None = None,
) -> nn.Module:
    """The model of a checkpoint, in eval mode.

    `name` is a folder, or else the name of a repository on the hub, whose `revision` (a commit, a
    tag) is fetched once and then read from the cache. Without `model` it is the one that the
    checkpoint was saved from; an `Encoder`, or a model with another head, may be asked for if the
    checkpoint has the tensors. What a checkpoint saved with `trained_only` lacks is taken from the
    folder `rest`, that of the model which it was trained from. `sha256` is compared with the file
    of weights. A pickled file is refused unless `allow_pickle`, and is then read by PyTorch's
    weights-only loader. Numbers keep the type of the file, but int8 becomes single precision, and
    where there are several types all take the widest.

    Raises `FileNotFoundError`, or `ValueError` that names what does not fit and the remedy.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = _from_hub(str(name), revision)
    settings = _read_json(folder / "config.json")
    member = _member(settings, folder)
    config = read_config(settings)
    kind = _model_of(settings, member) if model is None else model
    tensors = _read_tensors(folder, member, sha256, allow_pickle)
    if rest is not None:
        tensors = _read_tensors(Path(rest), member) | tensors
    if kind is Encoder:
        pooler = NAMES[member][0]["pooler"] + ".weight"
        config = replace(config, pooled=config.pooled and pooler in tensors)
    with torch.device("meta"):
        built = kind(config, *_arguments(kind, settings, member, classes))
    _fill(built, tensors, member, folder, strict=model is None)
    return built.eval()


def read_config(settings: dict[str, Any]) -> Config:
    """Our config from the settings of a config.json; what is missing falls back to its class."""
    member = _member(settings)
    for key, only in (
        ("position_embedding_type", "absolute"),
        ("is_decoder", False),
        ("add_cross_attention", False),
        ("num_hidden_groups", 1),
        ("inner_group_num", 1),
    ):
        if settings.get(key, only) != only:
            raise ValueError(
                f"config.json says {key}={settings[key]!r}; only {only!r} is known here"
            )
    values = {ours: settings.get(*entry) for ours, entry in _keys(member).items()}
    act = values.pop("activation")
    if not isinstance(act, str) or act not in ACTIVATIONS:
        raise ValueError(f"unknown activation {act!r}; known are {', '.join(ACTIVATIONS)}")
    values["pad"] = 0 if values["pad"] is None else values["pad"]
    for ours, value in values.items():
        share = ours in ("eps", "dropout", "attention_dropout")
        if type(value) is not int and not (share and type(value) is float):
            raise ValueError(
                f"config.json says {_keys(member)[ours][0]}={value!r}; it must be "
                f"{'a' if share else 'a whole'} number"
            )
        values[ours] = float(value) if share else value  # a file may say 0
    values["activation"] = ACTIVATIONS[act]
    if member == "electra" and values["embedding"] == values["hidden"]:
        values["embedding"] = None  # ELECTRA has a map only between different sizes, ALBERT always
    return MEMBERS[member][0](**values)


def _keys(member: str) -> dict[str, tuple[str, Any]]:
    """Our settings of a member, each with its key and what stands for a missing one."""
    return {ours: entry for ours, entry in (SETTINGS | MEMBERS[member][2]).items() if entry}


def _models(member: str) -> dict[str, type[nn.Module]]:
    """The models by the ends of their names; ELECTRA is pretrained on replaced tokens."""
    return MODELS | ({"ForPreTraining": ReplacedTokenModel} if member == "electra" else {})


def _member(settings: dict[str, Any], folder: Path | str = "config.json") -> str:
    member = settings.get("model_type", "bert")  # the first BERTs came before there was a key
    if "auto_map" in settings:
        raise ValueError(f"{folder} asks for code of its own (auto_map); it is never run")
    if not isinstance(member, str) or member not in MEMBERS:
        raise ValueError(f"{folder}: unknown model_type {member!r}; known are {', '.join(MEMBERS)}")
    return member


def _model_of(settings: dict[str, Any], member: str) -> type[nn.Module]:
    """The model that `architectures` names, in our classes."""
    names = settings.get("architectures") or [MEMBERS[member][1] + "Model"]
    name = names[0] if isinstance(names, list) else names
    kind = _models(member).get(str(name).removeprefix(MEMBERS[member][1]))
    if kind is None or (kind is not Encoder and kind not in NAMES[member][2]):
        raise ValueError(
            f"architectures={names} has no counterpart here; choose one: load(…, model=Encoder)"
        )
    return kind


def _arguments(kind: type, settings: dict[str, Any], member: str, classes: int | None) -> tuple:
    """The number of classes and the dropout before them, for a head that has them."""
    if kind not in (SequenceModel, TokenModel):
        return ()
    labels, key = settings.get("id2label"), _dropout_key(kind, member)
    if not isinstance(labels, dict | None):
        raise ValueError(f"config.json says id2label={labels!r}; it must give a name to each class")
    classes = classes or (len(labels) if labels else settings.get("num_labels", 2))
    if type(classes) is not int or classes < 1:
        raise ValueError(f"config.json says num_labels={classes!r}; it must be 1 at least")
    if (rate := settings.get(key)) is not None and type(rate) not in (int, float):
        raise ValueError(f"config.json says {key}={rate!r}; it must be a number")
    return classes, rate


def _dropout_key(kind: type, member: str) -> str | None:
    """The setting of the dropout before the classes; DistilBERT's tags have none of their own."""
    if member == "distilbert":
        return "seq_classif_dropout" if kind is SequenceModel else None
    return "classifier_dropout_prob" if member == "albert" else "classifier_dropout"


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; a checkpoint is a folder with config.json")
    try:
        found = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); fetch it again") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds {str(found)[:40]!r} and no settings; fetch it again")
    return found


def _read_tensors(
    folder: Path, member: str, sha256: str | None = None, allow_pickle: bool = False
) -> dict[str, Tensor]:
    """All tensors of a folder, by their names without what only wraps them."""
    path, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    index = folder / "model.safetensors.index.json"
    paths = [path]
    if not path.exists() and index.exists():
        paths = _parts(index)
    elif not path.exists() and pickled.exists():
        if not allow_pickle:
            raise ValueError(
                f"{pickled} is a pickled file, which may run code; look for model.safetensors, or "
                "pass allow_pickle=True to read it by PyTorch's weights-only loader"
            )
        paths = [pickled]
    if sha256 is not None and len(paths) > 1:
        raise ValueError(f"{folder} has {len(paths)} files of weights; sha256 is that of one")
    tensors: dict[str, Tensor] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there; a checkpoint is a folder with that file")
        if sha256 is not None and (have := sha256_of(path)) != sha256:
            raise ValueError(f"{path} has SHA-256 {have}, not {sha256}; fetch it again")
        tensors |= _unpickled(path) if path == pickled else _loaded(path)
    for wrapper in ("_orig_mod.", "module.", "_orig_mod."):  # of torch.compile and of DDP
        if all(key.startswith(wrapper) for key in tensors):
            tensors = {key.removeprefix(wrapper): t for key, t in tensors.items()}
    tensors = {_modern(key).removeprefix(f"{member}."): t for key, t in tensors.items()}
    return _widen(tensors, folder)


def _parts(index: Path) -> list[Path]:
    """The files beside an index that hold the weights in parts; nothing outside its folder."""
    names = _read_json(index).get("weight_map")
    names = list(names.values()) if isinstance(names, dict) else []
    for name in names or [None]:
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name):
            raise ValueError(
                f"{index} names {name!r} for a file of weights; only safetensors beside it are read"
            )
    return [index.with_name(name) for name in sorted(set(names))]


def _loaded(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut off ({error}); fetch it again") from None


def _unpickled(path: Path) -> dict[str, Tensor]:
    """What PyTorch's weights-only loader reads, which runs nothing; its own advice is not ours."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file cut off somewhere raises nearly everything
        raise ValueError(
            f"{path} is damaged, cut off, or holds more than tensors ({type(error).__name__}); "
            "nothing of it was run. Fetch it again, or look for model.safetensors"
        ) from None
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise ValueError(f"{path} holds other things than tensors by name; save a state_dict()")
    return found


def _widen(tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Rows of whole numbers, as `save(…, store=torch.int8)` writes them, times their scales."""
    for key in [key for key, t in tensors.items() if t.dtype == torch.int8]:
        whole, scale = tensors[key], tensors.pop(key + SCALE, None)
        if whole.dim() != 2 or scale is None or scale.shape != whole.shape[:1]:
            raise ValueError(
                f"{folder}: {key} is int8 and needs {key}{SCALE}, a number for each of its rows; "
                "write it by save(…, store=torch.int8)"
            )
        tensors[key] = whole.float() * scale.float()[:, None]
    return tensors


def _from_hub(name: str, revision: str | None) -> Path:
    """The folder of a repository on the hub, out of the cache where it is there."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise FileNotFoundError(
            f"{name} is no folder, and no name of a repository on the hub either"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise FileNotFoundError(
            f"{name} is no folder; to fetch it from the hub: pip install huggingface_hub"
        ) from None
    try:
        wanted = ["config.json", "model*.safetensors", "model.safetensors.index.json"]
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except (OSError, ValueError) as error:  # no network and not in the cache, or no such name
        raise FileNotFoundError(
            f"{name} is no folder, and could not be had from the hub ({type(error).__name__}); "
            "check the name, connect once, or give the folder of a checkpoint"
        ) from error


def _modern(key: str) -> str:
    """Early checkpoints name the two parameters of a layer norm as TensorFlow did."""
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", key))


def names(model: nn.Module, member: str) -> Iterator[tuple[str, list[str]]]:
    """Each parameter of ours with the names of those that it is made of, top to bottom."""
    body, layer, heads = NAMES[member]
    head = heads.get(type(model), {})
    for name in model.state_dict():
        if name in head:  # a parameter, not a module
            yield name, [head[name]]
            continue
        module, _, kind = name.removeprefix("encoder.").rpartition(".")
        if found := re.fullmatch(r"layers\.(\d+)\.(.+)", module):
            parts = layer[found[2]].split()
            yield name, [f"{layer[''].format(found[1])}{part}.{kind}" for part in parts]
        else:
            yield name, [f"{(body | head)[module]}.{kind}"]


def _fill(
    model: nn.Module, tensors: dict[str, Tensor], member: str, folder: Path, strict: bool
) -> None:
    """Put the tensors into the model, or say which are missing, left over or of the wrong shape."""
    state, wanted = model.state_dict(), dict(names(model, member))
    used = {theirs for parts in wanted.values() for theirs in parts}
    for key in (used | COPIES.keys()) & tensors.keys():
        if not tensors[key].is_floating_point():
            raise ValueError(f"{folder}: {key} is of {tensors[key].dtype}; weights are fractions")
        if tensors[key].float().isnan().any():
            raise ValueError(f"{folder}: {key} has nan in it; its training or its copy went wrong")
    for copy, original in COPIES.items():
        if copy in tensors:
            twin = tensors.setdefault(original, tensors[copy])
            if not torch.equal(twin, tensors[copy]):
                raise ValueError(
                    f"{folder}: {copy} differs from {original}; only tied ones are known"
                )
    missing = sorted(used - tensors.keys())
    if missing:
        raise ValueError(
            f"{folder} lacks {len(missing)} tensors of {type(model).__name__}: "
            f"{', '.join(missing[:5])}"
            "; it was saved from another model, or in part. load(…, model=Encoder) takes the body, "
            "load(…, rest=…) the rest from another folder"
        )
    # Published files often hold more heads than their config names; those are left where they are.
    heads = {part for head in NAMES[member][2].values() for part in head.values()}
    spare = tuple({NAMES[member][0]["pooler"], *heads})
    over = sorted(
        key
        for key in tensors.keys() - used - COPIES.keys()
        if not COUNTERS.search(key) and not key.startswith(spare)
    )
    if strict and over:
        raise ValueError(
            f"{folder} has {len(over)} tensors that {type(model).__name__} has no place for: "
            f"{', '.join(over[:5])}; name the model that it was saved from: load(…, model=…)"
        )
    filled = {}
    for ours, parts in wanted.items():
        rows, *others = state[ours].shape
        expected = rows // len(parts), *others
        for part in parts:
            if (shape := tuple(tensors[part].shape)) != expected:
                raise ValueError(
                    f"{folder}: {part} has shape {shape}, but config.json makes it {expected}; "
                    "the two files do not belong together"
                )
        filled[ours] = torch.cat([tensors[part] for part in parts])
    widest = reduce(torch.promote_types, [tensor.dtype for tensor in filled.values()])
    filled = {ours: tensor.to(widest) for ours, tensor in filled.items()}
    model.load_state_dict(filled, assign=True)


# --- save


def save(
    model: nn.Module,
    folder: str | os.PathLike,
    store: torch.dtype = torch.float32,
    trained_only: bool = False,
) -> None:
    """Write config.json and model.safetensors, each whole or not at all, for `transformers`.

    `store` is the type of the numbers in the file. With `torch.int8` a row of a matrix is stored as
    whole numbers from -127 to 127 and one scale, in a quarter of the room; the rest is stored in
    half precision, and only `load` reads it. With `trained_only` parameters that are frozen are
    left out; `load(…, rest=…)` takes them from where they came.
    """
    if store not in STORED:
        known = ", ".join(map(str, STORED))
        raise ValueError(f"store={store} is not written here; choose one of {known}")
    encoder = model if isinstance(model, Encoder) else model.encoder
    config = encoder.config
    member = next((m for m, (kind, *_) in MEMBERS.items() if type(config) is kind), None)
    if member is None:
        known = ", ".join(kind.__name__ for kind, *_ in MEMBERS.values())
        raise ValueError(f"a {type(config).__name__} has no model_type; use one of {known}")
    if type(model) is not Encoder and type(model) not in NAMES[member][2]:
        raise ValueError(f"{member} has no {type(model).__name__} in transformers")
    prefix = "" if type(model) is Encoder else f"{member}."
    state, tensors = model.state_dict(), {}
    frozen = {name for name, p in model.named_parameters() if trained_only and not p.requires_grad}
    for ours, parts in names(model, member):
        if ours in frozen:
            continue
        of_body = ours.startswith("encoder.") or type(model) is Encoder
        for part, tensor in zip(parts, state[ours].chunk(len(parts)), strict=True):
            tensors[prefix * of_body + part] = tensor.detach().cpu().clone()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.dumps(_settings(model, config, member), indent=2) + "\n"
    write = partial(save_file, _narrow(tensors, store), metadata={"format": "pt"})
    write_whole(folder / "model.safetensors", write)
    write_whole(folder / "config.json", lambda path: path.write_text(settings, "utf-8"))


def _narrow(tensors: dict[str, Tensor], store: torch.dtype) -> dict[str, Tensor]:
    """The tensors in the type that they are stored in."""
    if store != torch.int8:
        return {key: tensor.to(store) for key, tensor in tensors.items()}
    narrow = {}
    for key, tensor in tensors.items():
        if tensor.dim() == 2:
            scale = tensor.float().abs().amax(dim=1).clamp(min=1e-12) / 127
            narrow[key] = (tensor.float() / scale[:, None]).round().to(torch.int8)
            narrow[key + SCALE] = scale
        else:
            narrow[key] = tensor.half()
    return narrow


def _settings(model: nn.Module, config: Config, member: str) -> dict[str, Any]:
    """The settings of config.json for a model."""
    keys = _keys(member)
    settings: dict[str, Any] = {"model_type": member}
    settings |= {key: getattr(config, ours) for ours, (key, _) in keys.items()}
    act = next(n for n, f in ACTIVATIONS.items() if f is config.activation)
    settings[keys["activation"][0]] = act
    if "embedding" in keys:
        settings["embedding_size"] = config.embedding or config.hidden
    suffix = next(n for n, kind in _models(member).items() if kind is type(model))
    settings["architectures"] = [MEMBERS[member][1] + suffix]
    if type(model) in (SequenceModel, TokenModel):
        classes = model.classes.out_features
        settings["id2label"] = {str(i): f"LABEL_{i}" for i in range(classes)}
        settings["label2id"] = {f"LABEL_{i}": i for i in range(classes)}
        if key := _dropout_key(type(model), member):
            settings[key] = model.dropout.p
    return settings
