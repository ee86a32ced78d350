"""Float32 products by the faster kernels: as exact, only inside, and only where nobody chose otherwise."""

from collections.abc import Iterator

import pytest
import torch

from training.products import fast_products, rounds_as_float32

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_they_err_as_little_as_float32_does() -> None:
    left, right = torch.randn(300, 500), torch.randn(500, 200)
    with fast_products(CPU):
        product = left @ right
    exact = left.double() @ right.double()
    assert float((product - exact).abs().max()) < 1e-3  # bfloat16: 0.1


def test_they_are_taken_inside_alone_also_after_an_error() -> None:
    inside = "medium" if rounds_as_float32() else "highest"
    with pytest.raises(KeyError), fast_products(CPU):
        assert torch.get_float32_matmul_precision() == inside
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("device", "precision"), [("cuda", "highest"), ("cpu", "high")])
def test_a_gpu_and_what_the_caller_chose_are_left_alone(device: str, precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    with fast_products(torch.device(device)):
        assert torch.get_float32_matmul_precision() == precision
    assert torch.get_float32_matmul_precision() == precision
