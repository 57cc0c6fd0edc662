"""Pictures of tensors on a given Axes; layout, caption and alt text are the chapter's."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from torch import Tensor

SHADES = "Blues"  # one colour map throughout the course: white is 0, dark is 1


def draw_weights(
    ax: Axes,
    weights: Float[Tensor, "q k"] | Bool[Tensor, "q k"],
    queries: Sequence[str],
    keys: Sequence[str],
    digits: int | None = 2,
) -> Axes:
    """A map of weights between 0 and 1: a row for each query, a column for each key.

    Each square carries its number to `digits` decimals, so that no colour has to be read; None
    leaves the numbers out. Refuses labels that do not match the shape.
    """
    if tuple(weights.shape) != (len(queries), len(keys)):
        raise ValueError(
            f"weights of shape {tuple(weights.shape)} need as many labels: "
            f"there are {len(queries)} queries and {len(keys)} keys"
        )
    numbers = weights.detach().float().numpy()
    ax.imshow(numbers, cmap=SHADES, vmin=0, vmax=1)
    ax.set_xticks(range(len(keys)), keys, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(queries)), queries)
    ax.set(xlabel="key", ylabel="query")
    if digits is not None:
        for (row, column), number in np.ndenumerate(numbers):
            colour = "white" if number > 0.71 else "black"
            ax.text(column, row, f"{number:.{digits}f}", ha="center", va="center", color=colour)
    return ax


def draw_product(ax: Axes, *matrices: tuple[str, int, int], symbols: Sequence[str] = "×=") -> Axes:
    """A product of matrices as boxes to scale, with `symbols` between them.

    Each matrix is (name, rows, columns); rows and columns are also written beside the box.
    """
    unit = max(rows for _, rows, _ in matrices)
    x = 0.0
    for i, (name, rows, columns) in enumerate(matrices):
        if i:
            ax.text(x + 0.5, 0, symbols[i - 1], ha="center", va="center", fontsize=14)
            x += 1.6
        box = ax.pcolormesh(
            [x + j for j in range(columns + 1)],
            [rows / 2 - j for j in range(rows + 1)],
            np.full((rows, columns), 0.25),
            cmap=SHADES, vmin=0, vmax=1, edgecolors="white", linewidth=1,
        )  # fmt: skip
        box.set_gid(name)
        ax.text(x + columns / 2, unit / 2 + 0.3, name, ha="center", va="bottom")
        ax.text(x + columns / 2, -unit / 2 - 0.3, f"{rows} × {columns}", ha="center", va="top")
        x += columns + 0.6
    ax.set(xlim=(-0.5, x), ylim=(-unit / 2 - 1.5, unit / 2 + 1.5), aspect="equal")
    ax.axis("off")
    return ax
