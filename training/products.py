"""Which kernels multiply float32 matrices on a CPU: oneDNN's, where they round as float32 does.

PyTorch takes MKL's, which on AMD's processors reach half the rate of oneDNN's or less: 100 against 250 GFLOP/s on a
core with AVX-512. It takes oneDNN's where ``torch.set_float32_matmul_precision`` allows "medium". That lets them
compute in bfloat16, which they do on some processors, such as those with matrix units for it. Only a result tells: so
one product is compared with the default's before they are taken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

SIDE = 256  # of the product that is compared
AS_EXACT = 4.0  # largest error over that of the default's kernels; bfloat16 has a thousand times their error


@contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """Take the faster kernels for what is multiplied inside, in all threads of the process; nothing changes on a GPU.

    Args:
        device: where it is multiplied.
    """
    before = torch.get_float32_matmul_precision()
    if device.type != "cpu" or before != "highest" or not rounds_as_float32():
        yield
        return
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def rounds_as_float32() -> bool:
    """Whether oneDNN's kernels err about as little as the default's on this processor."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(SIDE, SIDE, generator=generator) for _ in range(2))
    exact = left.double() @ right.double()

    def error(precision: str) -> float:
        torch.set_float32_matmul_precision(precision)
        return float((left @ right - exact).abs().max())

    before = torch.get_float32_matmul_precision()
    try:
        return error("medium") <= AS_EXACT * error("highest")
    finally:
        torch.set_float32_matmul_precision(before)
