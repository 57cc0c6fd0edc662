"""What must be true of batches: nothing is lost, nothing is added, and padding changes nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from bertfamily.batches import Batch, buckets, encode_by_length, pack, pad, padding_share
from bertfamily.encoder import Bert, Distilbert, Encoder, Roberta
from bertfamily.wordpiece import Encoding

PAD, CLS, SEP = 0, 2, 3
texts = st.lists(st.lists(st.integers(5, 99), max_size=20), max_size=12)


def encoding(*ids, second=()):
    return Encoding([*ids, *second], [0] * len(ids) + [1] * len(second), [], [])


# --- pad


def test_a_batch_by_hand():
    ids, segments, keep = pad([encoding(7, 8, 9), encoding(5, second=[6])], pad_id=1)
    assert ids.tolist() == [[7, 8, 9], [5, 6, 1]]
    assert segments.tolist() == [[0, 0, 0], [0, 1, 0]]
    assert keep.tolist() == [[True, True, True], [True, True, False]]
    assert ids.dtype == segments.dtype == torch.long


def test_a_batch_is_as_wide_as_asked():
    ids, segments, keep = pad([encoding(7)], to=3)
    assert ids.tolist() == [[7, 0, 0]] and keep.tolist() == [[True, False, False]]
    assert segments.shape == (1, 3)


@given(texts.filter(lambda t: any(t)))
def test_the_texts_can_be_read_back(some):
    batch = pad([encoding(*text) for text in some])
    assert [ids[keep].tolist() for ids, keep in zip(batch.ids, batch.keep, strict=True)] == some
    assert batch.ids.shape[1] == max(map(len, some))
    assert (batch.ids[~batch.keep] == 0).all()


def test_padding_changes_nothing_downstream():
    torch.manual_seed(0)
    encoder = Encoder(Bert(vocab=100, hidden=16, layers=2, heads=2, inner=32)).double().eval()
    some = [encoding(2, 7, 8, 3), encoding(2, 9, 3, second=[11, 12, 13, 3])]
    together = encoder(*pad(some, to=20)).output
    for row, one in enumerate(some):
        alone = encoder(*pad([one])).output[0]
        torch.testing.assert_close(together[row, : len(one.ids)], alone)
    wrong = encoder(*pad(some, to=20)._replace(keep=torch.ones(2, 20, dtype=torch.bool))).output
    assert (wrong[0, :4] - together[0, :4]).abs().max() > 1e-3


def test_an_empty_batch_and_a_text_too_long_are_refused():
    with pytest.raises(ValueError, match="no text in this batch"):
        pad([])
    with pytest.raises(ValueError, match="to=2, but text 1 has 3 tokens; cut it"):
        pad([encoding(7), encoding(7, 8, 9)], to=2)


# --- buckets


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 9), st.integers(0, 9))
def test_each_text_is_in_one_bucket(lengths, size, seed):
    for generator in (None, torch.Generator().manual_seed(seed)):
        found = buckets(lengths, size, generator)
        assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
        assert all(len(batch) <= size for batch in found)
        assert sum(len(batch) < size for batch in found) <= 1


def test_buckets_without_a_generator_go_from_short_to_long():
    assert buckets([5, 1, 3, 1], 2) == [[1, 3], [2, 0]]


def test_buckets_are_the_same_for_the_same_seed_and_shuffled():
    lengths = [1 + i % 7 for i in range(60)]
    one, two, other = (buckets(lengths, 4, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one == two != other
    firsts = [lengths[batch[0]] for batch in one]
    assert firsts != sorted(firsts), "the batches come in the order of their length"
    together = [sorted(map(sorted, batches)) for batches in (one, other)]
    assert together[0] != together[1], "texts of equal length always meet the same others"


def test_buckets_leave_less_padding():
    lengths = torch.randint(5, 100, (400,), generator=torch.Generator().manual_seed(0)).tolist()
    as_they_come = [list(range(i, i + 8)) for i in range(0, 400, 8)]
    sorted_ones = buckets(lengths, 8, torch.Generator().manual_seed(0))
    assert padding_share(lengths, sorted_ones) < 0.02
    assert padding_share(lengths, as_they_come) > 0.3


def test_the_share_of_padding_by_hand():
    assert padding_share([1, 3, 2, 2], [[0, 1], [2, 3]]) == pytest.approx(2 / 10)
    assert padding_share([4, 4], [[0, 1]]) == 0


@pytest.mark.parametrize("batches", [[], [[]], [[0, 0]]], ids=str)
def test_no_rows_have_no_share_of_padding(batches):
    with pytest.raises(ValueError, match="1 texts, and no token in these batches"):
        padding_share([0], batches)


def test_a_bucket_of_nothing_is_refused():
    with pytest.raises(ValueError, match="size=0"):
        buckets([1], 0)


# --- pack


def packed(some, length):
    return [row.tolist() for row in pack(some, length, CLS, SEP)]


def test_rows_by_hand():
    # a text that is too long goes on in the next row
    assert packed([[5, 6, 7, 8, 9, 10, 11]], 4) == [[2, 5, 6, 7], [2, 8, 9, 10]]
    # a text that ends with its row needs no [SEP], and what fills no row is dropped
    assert packed([[5, 6, 7], [8, 9, 10], [11]], 4) == [[2, 5, 6, 7], [2, 8, 9, 10]]
    # a [SEP] where a text ends
    assert packed([[5], [6, 7], [8, 9]], 6) == [[2, 5, 3, 6, 7, 3]]


@given(texts, st.integers(2, 12))
def test_nothing_is_lost_but_the_end_and_all_rows_are_full(some, length):
    rows = packed(some, length)
    stream = [i for text in some for i in text]
    back = [i for row in rows for i in row[1:] if i != SEP]
    assert back == stream[: len(back)]
    assert len(stream) - len(back) < length
    assert all(len(row) == length and row[0] == CLS for row in rows)
    assert all(row[1] != SEP for row in rows), "a row begins with a separator"


@given(texts)
def test_texts_are_kept_apart(some):
    some = [text for text in some if text]
    (row,) = packed([*some, [4] * 400], 400)[:1]
    body = row[1:]
    for text in some:
        assert body[: len(text) + 1] == [*text, SEP]
        body = body[len(text) + 1 :]


def test_a_separator_stands_at_no_place_of_the_row_more_often_than_at_another():
    some = [[5] * (1 + n * 7 % 23) for n in range(2_000)]
    often = torch.tensor(packed(some, 16)).eq(SEP).double().mean(dim=0)[2:]
    assert often.max() < 1.5 * often.mean()


def test_packing_is_lazy():
    def endless():
        while True:
            yield [5, 6, 7]

    rows = pack(endless(), 7, CLS, SEP)
    assert next(rows).tolist() == [2, 5, 6, 7, 3, 5, 6]
    assert next(rows).tolist() == [2, 7, 3, 5, 6, 7, 3]


def test_a_row_too_short_is_refused():
    with pytest.raises(ValueError, match="length=1: a row has"):
        next(pack([[5]], 1, CLS, SEP))


def test_a_batch_is_what_an_encoder_takes_in_order():
    assert Batch._fields == ("ids", "segments", "keep")


# --- encode_by_length

SMALL = {"vocab": 50, "hidden": 24, "layers": 2, "heads": 4, "inner": 36, "positions": 20}


def random_encoder(config):
    encoder, generator = Encoder(config).double().eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in encoder.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    return encoder


def some_ids(batch):
    return torch.randint(5, 50, (batch, 11), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("width", [1, 4, 100])
@pytest.mark.parametrize("config", [Bert, Roberta, Distilbert])
def test_reading_by_length_changes_nothing(config, width):
    encoder = random_encoder(config := config(**SMALL))
    ids = some_ids(6)
    keep = torch.arange(11) < torch.tensor([[3], [11], [1], [7], [3], [10]])
    ids = ids.masked_fill(~keep, config.pad)
    segments = (torch.arange(11) > 4).long().expand(6, -1) if config.segments > 1 else None
    plain, fast = (
        encoder(ids, segments, keep),
        encode_by_length(encoder, ids, segments, keep, width),
    )
    assert_close(fast.output[keep], plain.output[keep])
    assert (fast.output[~keep] == 0).all()
    if config.pooled:
        assert_close(fast.pooled, plain.pooled)
    wanted = torch.linspace(-1, 1, plain.output[keep].numel()).view_as(plain.output[keep]).double()
    body = [p for key, p in encoder.named_parameters() if not key.startswith("pooler")]
    gradients = [torch.autograd.grad((o.output[keep] * wanted).sum(), body) for o in (plain, fast)]
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs)


def test_reading_by_length_needs_padding_on_the_right():
    encoder = random_encoder(Bert(**SMALL))
    keep = torch.tensor([[False, True, True]])
    with pytest.raises(ValueError, match="not padding on the right"):
        encode_by_length(encoder, torch.ones(1, 3).long(), None, keep)


def test_reading_by_length_reads_less():
    encoder, seen = random_encoder(Bert(**SMALL)), []
    encoder.embeddings.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].numel()))
    keep = torch.arange(11) < torch.tensor([[2], [11], [3]])
    encode_by_length(encoder, some_ids(3), None, keep, width=4)
    assert sorted(seen) == [2 * 3, 1 * 11]
