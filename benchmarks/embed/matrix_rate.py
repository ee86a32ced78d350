"""How fast the machine multiplies matrices in the shapes of a transformer: the limit that an encoder runs against."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from benchmarks.rows import median_seconds
from data.encoders.transformer.cores import single_core_threads

if TYPE_CHECKING:
    import torch


class Shape(Protocol):
    """The numbers of a transformer's config that are needed here."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int


def matrix_rate(config: Shape, dtype: "torch.dtype", rows: int = 2048) -> float:
    """FLOP/s of a layer's matrix products and nothing else, each core busy with its own, as in our encoder.

    Args:
        config: the transformer's.
        dtype: of inputs and weights.
        rows: tokens multiplied at once.
    """
    import torch

    hidden, inner = config.hidden_size, config.intermediate_size
    cores = torch.get_num_threads()
    pool = single_core_threads(cores)
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)]
    pairs = [(torch.randn(rows, k, dtype=dtype), torch.randn(n, k, dtype=dtype)) for k, n in shapes]
    rounds = 40

    def work(_: int) -> None:
        with torch.inference_mode():
            for _ in range(rounds):
                for inputs, weights in pairs:
                    torch.nn.functional.linear(inputs, weights)

    seconds = median_seconds(lambda: list(pool.map(work, range(cores))))
    pool.shutdown()
    return float(cores * rounds * sum(2 * rows * k * n for k, n in shapes) / seconds)


def flop_of(config: Shape, lengths: Iterable[int]) -> float:
    """FLOP of the matrix products that texts take: through the weights of every layer, and of attention.

    Args:
        config: the transformer's.
        lengths: tokens of each text; padding is nobody's work.
    """
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    weights = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    return float(sum(layers * length * (weights + 4 * length * hidden) for length in lengths))
