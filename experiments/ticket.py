"""What the fill-mask says of the course's first sentence, for pages that draw it without a model.

python experiments/ticket.py
"""

from runs import ROOT, write_record

from bertfamily import corpora
from bertfamily.checkpoints import load
from bertfamily.masking import fill_mask
from bertfamily.wordpiece import load_tokenizer

FOLDER, TARGET = "data/checkpoints/fill-mask", "data/runs/ticket.json"
SENTENCE = "If you don’t [MASK] at the sign, you will get a ticket."
AS_FIRST_WRITTEN = "If you don’t [MASK] at the sign, you will get a ticket"  # without its full stop


def main() -> None:
    model = load(ROOT / FOLDER, rest=corpora.grammar_tagger()).float()
    tokenizer = load_tokenizer(ROOT / FOLDER)
    told = {
        text: fill_mask(model, tokenizer, text, 100)[0] for text in (SENTENCE, AS_FIRST_WRITTEN)
    }
    pieces = {text: [guess.piece for guess in guesses] for text, guesses in told.items()}
    record = {
        "sentence": SENTENCE,
        "model": FOLDER,
        "guesses": [[guess.piece, round(guess.share, 4)] for guess in told[SENTENCE][:8]],
        "rank of stop": {
            text: said.index("stop") + 1 if "stop" in said else None
            for text, said in pieces.items()
        },
    }
    write_record(ROOT / TARGET, record)


if __name__ == "__main__":
    main()
