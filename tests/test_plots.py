"""What must be true of the pictures: they show the numbers and shapes that were given."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import pytest
import torch

from bertfamily.plots import draw_product, draw_weights


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_weights_stand_in_their_rows_and_columns(ax):
    weights = torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]])
    assert draw_weights(ax, weights, ["a", "b"], ["x", "y", "z"]) is ax
    assert words(ax) == ["0.25", "0.75", "0.00", "1.00", "0.00", "0.00"]
    assert [t.get_position() for t in ax.texts][:3] == [(0, 0), (1, 0), (2, 0)]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["x", "y", "z"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("key", "query")
    assert ax.images[0].get_array().tolist() == weights.tolist()
    assert ax.images[0].get_clim() == (0, 1), "a shade means the same in every picture"


def test_numbers_can_be_read_on_their_shade(ax):
    draw_weights(ax, torch.tensor([[0.0, 0.5, 0.7, 0.75]]), ["q"], list("wxyz"))
    for text, shade in zip(ax.texts, (0.0, 0.5, 0.7, 0.75), strict=True):
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                   for c in matplotlib.colormaps["Blues"](shade)[:3])  # fmt: skip
        luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b
        dark, light = (luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)
        assert (light if text.get_color() == "white" else dark) >= 4.5, f"at {shade}"


def test_booleans_and_gradients_are_drawn_too(ax):
    draw_weights(ax, torch.eye(2, dtype=torch.bool), ["a", "b"], ["x", "y"], digits=None)
    draw_weights(ax, torch.eye(2, requires_grad=True), ["a", "b"], ["x", "y"], digits=None)
    assert words(ax) == []


def test_labels_that_do_not_fit_are_named(ax):
    with pytest.raises(ValueError, match=r"shape \(2, 2\).*1 queries and 3 keys"):
        draw_weights(ax, torch.eye(2), ["a"], ["x", "y", "z"])


def test_a_product_shows_names_and_sizes(ax):
    assert draw_product(ax, ("Q", 3, 4), ("Kᵀ", 4, 5), ("scores", 3, 5)) is ax
    assert words(ax) == ["Q", "3 × 4", "×", "Kᵀ", "4 × 5", "=", "scores", "3 × 5"]
    assert [mesh.get_array().shape for mesh in ax.collections] == [(3, 4), (4, 5), (3, 5)]
