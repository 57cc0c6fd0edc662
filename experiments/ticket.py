"""What the fill-mask says of the course's first sentence, for pages that draw it without a model.

python experiments/ticket.py
"""

from runs import ROOT, write_record

from bertfamily import corpora
from bertfamily.checkpoints import load
from bertfamily.masking import fill_mask
from bertfamily.wordpiece import load_tokenizer

FOLDER, TARGET = "data/checkpoints/fill-mask", "data/runs/ticket.json"
SENTENCES = (
    "If you don’t [MASK] at the sign, you will get a ticket",  # as it was first written
    "If you don't [MASK] at the sign, you will get a ticket.",  # as the chapters have it
)


def main() -> None:
    model = load(ROOT / FOLDER, rest=corpora.grammar_tagger()).float()
    tokenizer = load_tokenizer(ROOT / FOLDER)
    told = {text: fill_mask(model, tokenizer, text, 100)[0] for text in SENTENCES}
    record = {
        text: {
            "guesses": [[guess.piece, round(guess.share, 4)] for guess in guesses[:10]],
            "rank of stop": next((i for i, g in enumerate(guesses, 1) if g.piece == "stop"), None),
        }
        for text, guesses in told.items()
    }
    write_record(ROOT / TARGET, {"model": FOLDER, "sentences": record})


if __name__ == "__main__":
    main()
