"""What must be true of the longer runs: one command makes the model, stopped, shared, streamed."""

import json
import os
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import pytest
import torch

from bertfamily import corpora
from bertfamily.checkpoints import load
from bertfamily.corpora import data_path, sample
from bertfamily.counts import Counts
from bertfamily.training import read_curve
from bertfamily.wordpiece import load_tokenizer

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "experiments" / "pretrain.py"
sys.path.insert(0, str(SCRIPT.parent))
CONFIG = """
folder = "nowhere"
store = "half"
threads = 1

[text]
{text}

[vocabulary]
size = 300
least = 2

[model]
hidden = 32
layers = 1
heads = 2
inner = 64
std = 0.1
dropout = 0.0
attention_dropout = 0.0

[[batches]]
length = 16
size = 8
rate = 0.15
until = 4

[[batches]]
length = 32
size = 4
rate = 0.15

[settings]
steps = 8
rate = 1e-3
seed = 0
every = 2
bfloat16 = false
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The sample as two files, a text a line, and the settings that name them."""
    folder = tmp_path_factory.mktemp("texts")
    lines = [" ".join(document.sentences) for document in sample()]
    (folder / "learn.txt").write_text("\n".join(lines[3:]) + "\n", "utf-8")
    (folder / "held-out.txt").write_text("\n".join(lines[:3]) + "\n", "utf-8")
    for stream in ("true", "false"):
        names = f'files = "{folder}/learn.txt"\nheld_out = "{folder}/held-out.txt"'
        config = CONFIG.format(text=f"{names}\nstream = {stream}\nshuffle = 1")
        (folder / f"{stream}.toml").write_text(config, "utf-8")
    return folder


def pretrain(config, folder, *before):
    command = [sys.executable, *before, str(SCRIPT), str(config), "--folder", str(folder)]
    environment = os.environ | {"HF_HOME": str(folder.parent / "hub")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


def curve_of(folder):
    """The curve without its times."""
    return [point[:-1] for point in read_curve(folder / "curve.csv")]


@pytest.fixture(scope="module")
def made(texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    pretrain(texts / "false.toml", folder)
    return folder, curve_of(folder)


def test_a_run_leaves_a_model_that_loads_its_tokenizer_its_curve_and_a_record(made):
    folder, curve = made
    model, tokenizer = load(folder), load_tokenizer(folder)
    assert next(model.parameters()).dtype == torch.float16
    assert len(tokenizer.vocabulary) == model.encoder.config.vocab == 300
    assert model.encoder.config.positions == 32
    assert [p[:2] for p in curve] == [(2, 256), (4, 512), (6, 768), (8, 1_024)]
    record = json.loads((folder / "record.json").read_text())
    assert record["settings"]["steps"] == 8 and record["tokens"] == 1_024
    assert record["made with"]["processes"] == 1 and record["made with"]["torch"]
    bands, whole = record["by frequency"].values(), record["held out"]["all"]
    assert whole["masks"] == sum(band["masks"] for band in bands) > 50
    assert whole == record["held out"]["held_out"]  # the only corpus
    for what in "loss", "accuracy":
        overall = sum(b["masks"] * b[what] for b in bands if b["masks"]) / whole["masks"]
        assert overall == pytest.approx(whole[what], abs=1e-3)
    beside = record["beside counts"]
    assert len(beside) == 8 and beside["model"] != beside["counts, 0 left, 0 right"]
    assert all(low <= mean <= high for way in beside.values() for mean, low, high in way.values())


def test_a_run_goes_on_from_a_trained_model(made, texts, tmp_path):
    """At a learning rate of 0 it stays what it was, tokenizer and all."""
    folder, _ = made
    config = (texts / "false.toml").read_text("utf-8")
    before, rest = config.split("[vocabulary]")
    batches = rest[rest.index("[[batches]]") :].replace("rate = 1e-3", "rate = 0.0")
    of = f'of = "{folder}"'
    config = f"{before}\n[vocabulary]\n{of}\n\n[model]\n{of}\n\n{batches}"
    (tmp_path / "on.toml").write_text(config, "utf-8")
    pretrain(tmp_path / "on.toml", tmp_path / "run")
    ours, theirs = load(tmp_path / "run").state_dict(), load(folder).state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert load_tokenizer(tmp_path / "run").vocabulary == load_tokenizer(folder).vocabulary
    first, then = (json.loads((f / "record.json").read_text()) for f in (folder, tmp_path / "run"))
    assert first["before"] is None and then["before"] == first


def test_named_corpora_are_read_as_often_as_the_file_says():
    from runs import read_texts

    once, held_out = read_texts({"corpora": {"everyday_sentences": 1}})
    twice, held_twice = read_texts({"corpora": {"everyday_sentences": 2}})
    tenth, _ = read_texts({"corpora": {"everyday_sentences": 0.1}, "typed": 2})
    assert twice == once + once and held_twice == held_out
    assert len(once) == 113_375 and len(held_out["everyday_sentences"]) == 3_684
    assert tenth[1::2] == once[10::20] and tenth[::2] == [
        text.replace("'", "’").removesuffix(".") for text in once[::20]
    ]
    assert (
        corpora.without_near_doubles(held_out["everyday_sentences"][:50], once)
        == (held_out["everyday_sentences"][:50])
    )


def test_reviews_of_critics_and_of_imdb_are_held_out_as_all_reviews_are():
    from runs import learn_and_held_out

    parts = [learn_and_held_out(name) for name in ("critics", "imdb", "film_reviews")]
    for critics, imdb, both in zip(*parts, strict=True):
        assert sorted(critics + imdb) == sorted(both) and critics and imdb


def test_a_list_of_texts_is_tokenised_once_and_a_stream_at_each_pass(made):
    from runs import Rows, Tokenized

    tokenizer, times = load_tokenizer(made[0]), []

    class Watched(list):
        def __iter__(self):
            times.append(1)
            return super().__iter__()

    texts = Watched(["the dog and a man"] * 40)
    kept = Tokenized(texts, tokenizer)
    rows = [torch.stack(list(Rows(kept, length))) for length in (8, 16, 8)]
    assert len(times) == 1 and torch.equal(rows[0], rows[2])
    stream = Tokenized(iter(texts), tokenizer)
    assert torch.equal(torch.stack(list(Rows(stream, 8))), rows[0])
    assert not list(Rows(stream, 8))  # it is over; a stream of files begins anew


def test_the_model_and_the_counts_answer_the_same_blanks(made, monkeypatch):
    """In a text that goes in a circle, one neighbour tells all; a blank is alone in its row."""
    from runs import Rows, Tokenized, beside_counts

    folder, _ = made
    model, tokenizer = load(folder).float(), load_tokenizer(folder)
    circle = [" ".join("the dog and a man".split() * 40)]
    sides, measure = [], Counts.measure
    monkeypatch.setattr(Counts, "measure", lambda *a: sides.append(a[3:]) or measure(*a))
    learnt = Rows(Tokenized(circle * 2, tokenizer), 32)
    asked, told = [], beside_counts(model, circle, learnt, 50)
    assert list(told) == [
        "model",
        *(f"counts, {left} left, {right} right" for left, right in sides),
    ]
    assert told["counts, 1 left, 0 right"]["accuracy"][0] > 0.9  # [CLS] and [SEP] cut the circle
    assert 0.1 < told["counts, 0 left, 0 right"]["accuracy"][0] < 0.3
    model.register_forward_pre_hook(lambda _, args: asked.append(args[0]))
    beside_counts(model, circle, learnt, 50)
    (rows,) = asked
    assert len(rows) == 50 and ((rows == tokenizer.mask).sum(dim=1) == 1).all()


def test_a_run_that_was_stopped_goes_on(made, texts, tmp_path):
    """Stopped between two points: the file of the state is that of the point before."""
    folder, curve = made
    stop = tmp_path / "stop.py"
    stop.write_text(
        "import os, runpy, sys\n"
        "from bertfamily import training\n"
        "step = training._step\n"
        "def mortal(*a):\n"
        "    if a[4] == 5: sys.exit('stopped')\n"
        "    return step(*a)\n"
        "training._step = mortal\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path[0] = os.path.dirname(sys.argv[0])\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    with pytest.raises(AssertionError, match="stopped"):
        pretrain(texts / "false.toml", tmp_path / "run", str(stop))
    assert len(read_curve(tmp_path / "run" / "curve.csv")) == 2
    pretrain(texts / "false.toml", tmp_path / "run")
    assert curve_of(tmp_path / "run") == curve
    ours, theirs = load(tmp_path / "run").state_dict(), load(folder).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_two_processes_have_the_losses_of_one(made, texts, tmp_path):
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
    launch += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
    pretrain(texts / "false.toml", tmp_path / "run", *launch)
    for a, b in zip(made[1], curve_of(tmp_path / "run"), strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["made with"]["processes"] == 2


@pytest.fixture
def script(monkeypatch):
    """The script in this process: `script(config, folder)`; without network it needs none."""
    import pretrain as module

    def run(config, folder):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(config), "--folder", str(folder)])
        module.main()

    run.module = module
    return run


def changed(config, folder, *changes):
    """The settings file with some words replaced, in another file."""
    text = config.read_text("utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "changed.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_store_that_is_not_known_is_refused_before_the_training(texts, tmp_path, script):
    config = changed(texts / "false.toml", tmp_path, ('store = "half"', 'store = "fp16"'))
    with pytest.raises(ValueError, match="store='fp16' is not known; choose one of half, int8, fu"):
        script(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "key, before, after",
    [
        ("text", "shuffle = 1", "shuffle = 2"),
        ("vocabulary", "size = 300", "size = 400"),
        ("model", "dropout = 0.0\natt", "dropout = 0.1\natt"),
        ("batches", "until = 4", "until = 5"),
        ("settings", "steps = 8", "steps = 9"),
        ("store", 'store = "half"', 'store = "int8"'),
    ],
)
def test_a_folder_with_another_run_is_refused(made, texts, tmp_path, script, key, before, after):
    folder, _ = made
    was = {path.name: path.read_bytes() for path in folder.iterdir()}
    config = changed(texts / "false.toml", tmp_path, (before, after))
    with pytest.raises(ValueError, match=f"holds a run with other {key}: .* choose another folder"):
        script(config, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == was


def test_a_folder_with_a_run_of_another_text_is_refused(made, texts, tmp_path, script, monkeypatch):
    read = script.module.read_texts
    monkeypatch.setattr(script.module, "read_texts", lambda c: (read(c)[0][:-1], read(c)[1]))
    with pytest.raises(ValueError, match="holds a run with other texts"):
        script(texts / "false.toml", made[0])


@pytest.mark.parametrize("short", ["learn", "held-out"])
def test_a_text_shorter_than_a_row_says_so(texts, tmp_path, script, short):
    (tmp_path / "short.txt").write_text("a dog\n", "utf-8")
    config = changed(
        texts / "false.toml", tmp_path, (f"{texts}/{short}.txt", f"{tmp_path}/short.txt")
    )
    config = changed(config, tmp_path, ("size = 300", "size = 9"), ("least = 2", "least = 1"))
    with pytest.raises(ValueError, match="fills no row of 16 pieces|size=9 is too small"):
        script(config, tmp_path / "run")


def test_the_record_is_of_the_model_that_was_stored(texts, tmp_path, script, monkeypatch):
    """Not of the one in memory, which is neither rounded nor as a reader will load it."""

    def load_as_stored(folder, **options):
        model = load(folder, **options)
        model.masked_token.bias.data[7] = 99.0
        return model

    monkeypatch.setattr(script.module, "load", load_as_stored)
    script(texts / "false.toml", tmp_path)
    record = json.loads((tmp_path / "record.json").read_text("utf-8"))
    assert record["held out"]["all"]["loss"] > 50 < record["beside counts"]["model"]["loss"][0]


def test_each_phase_begins_at_its_step(made, script):
    from runs import Tokenized

    texts = Tokenized(["the dog and a man go on"] * 99, load_tokenizer(made[0]))
    phases = [{"length": n, "size": 2, "rate": 0.15, "until": 3 * n} for n in (5, 6, 7)]
    for streamed in (False, True):
        feed = script.module.make_feed(phases, texts, 0, streamed)
        widths = [feed(step).ids.shape[1] for step in range(21)]
        assert widths == [5] * 15 + [6] * 3 + [7] * 3


def test_what_is_held_out_is_hidden_wherever_it_is_asked_for(made):
    from runs import all_rows, masked_once

    tokenizer = load_tokenizer(made[0])
    rows = all_rows(["the dog and a man go on"] * 999, tokenizer, 16)
    for batch in masked_once(rows, tokenizer):
        asked = batch.labels != -100
        assert asked.any() and (batch.ids[asked] == tokenizer.mask).all()


def test_frequencies_are_those_of_the_text_that_was_learned_from(made):
    from runs import Rows, Tokenized, masked_once, measured

    model, tokenizer = load(made[0]).float(), load_tokenizer(made[0])
    learnt = Rows(Tokenized(["dog"] * 2_000, tokenizer), 16)
    held_out = {"some": ["man"] * 500, "others": ["dog"] * 500}
    bands = measured(model, held_out, learnt)["by frequency"]
    asked = {
        name: sum(
            (batch.labels != -100).sum().item()
            for batch in masked_once(
                torch.stack(list(Rows(Tokenized(texts, tokenizer), 16))), tokenizer
            )
        )
        for name, texts in held_out.items()
    }
    assert bands["from 0"]["masks"] == asked["some"]
    assert sum(bands[name]["masks"] for name in bands) == sum(asked.values())


def test_a_stream_is_trained_on_like_a_file(texts, tmp_path):
    pretrain(texts / "true.toml", tmp_path / "run")
    curve = curve_of(tmp_path / "run")
    assert [p[0] for p in curve] == [2, 4, 6, 8]
    assert curve[-1][4] < curve[0][4] + 0.5
    pretrain(texts / "true.toml", tmp_path / "run")
    assert curve_of(tmp_path / "run") == curve


@pytest.mark.parametrize("name, limit", [("mini", 20e6), ("fill-mask", 24e6)])
def test_a_committed_model_is_what_its_card_says(name, limit):
    folder = data_path(f"checkpoints/{name}")
    record = json.loads((folder / "record.json").read_text())
    rest = corpora.grammar_tagger() if name == "fill-mask" else None
    model = load(folder, rest=rest).float()
    assert sum(p.numel() for p in model.parameters()) == record["parameters"]
    assert len(load_tokenizer(folder).vocabulary) == model.encoder.config.vocab
    whole, card = record["held out"]["all"], data_path("README.md").read_text("utf-8")
    assert f"loss {whole['loss']:.2f} nats and {whole['accuracy']:.1%}".replace("%", " %") in card
    curve = read_curve(folder / "curve.csv")
    assert curve[-1].step == record["settings"]["steps"] and curve[-1].tokens == record["tokens"]
    assert sum(p.stat().st_size for p in folder.iterdir() if p.suffix != ".pt") < limit


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux")
def test_memory_stays_flat_as_a_streamed_corpus_grows(tmp_path):
    """Eight times the text is read to its end in the memory of the smaller; a list is not."""
    peak = tmp_path / "peak.py"
    peak.write_text(
        "import os, re, runpy, sys\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path[0] = os.path.dirname(sys.argv[0])\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "status = open('/proc/self/status').read()\n"  # of this process alone, in KiB
        "print('peak', re.search(r'VmHWM:\\s+(\\d+)', status)[1])\n"
    )
    sentences = [sentence for document in sample() for sentence in document.sentences]
    (tmp_path / "held-out.txt").write_text("\n".join(sentences[:99]) + "\n", "utf-8")
    peaks = []
    for lines, stream in (10_000, "true"), (80_000, "true"), (80_000, "false"):
        text = "\n".join(islice(cycle(sentences), lines))
        (tmp_path / "learn.txt").write_text(text + "\n", "utf-8")
        files = f'files = "{tmp_path}/learn.txt"\nheld_out = "{tmp_path}/held-out.txt"'
        config = CONFIG.format(text=f"{files}\nstream = {stream}")
        (tmp_path / "config.toml").write_text(config, "utf-8")
        run = tmp_path / f"run-{lines}-{stream}"
        said = pretrain(tmp_path / "config.toml", run, str(peak))
        peaks.append(int(said.split("peak ")[1]) / 1024)  # MiB
    small, large, as_list = peaks
    assert large < small + 20
    assert as_list > small + 40  # the control
