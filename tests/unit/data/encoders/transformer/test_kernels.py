"""Batches of all sizes leave few compiled kernels in memory."""

import os
import subprocess
import sys

import pytest
import torch

PRODUCTS = """
import psutil, torch
from data.encoders.transformer.kernels import keep_few_kernels

keep_few_kernels()
torch.set_num_threads(1)
weights = torch.randn(256, 384, dtype=torch.bfloat16)
packed = torch.ops.mkldnn._reorder_linear_weight(weights, 256)
def multiply(rows):
    states = torch.randn(rows, 384, dtype=torch.bfloat16)
    torch.ops.mkldnn._linear_pointwise(states, packed, None, "none", [], "")
multiply(1)
before = psutil.Process().memory_info().rss
for rows in range(2, 800):
    multiply(rows)
print(psutil.Process().memory_info().rss - before)
"""


def grown(**kept: str) -> int:
    """Bytes that a process grows by through products of 800 shapes."""
    environment = {**os.environ, **kept}
    done = subprocess.run([sys.executable, "-c", PRODUCTS], env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="has no products in bf16")
def test_memory_stays_small_over_many_shapes() -> None:
    as_torch_has_it = grown(ONEDNN_PRIMITIVE_CACHE_CAPACITY="1024", LRU_CACHE_CAPACITY="1024")
    assert grown() < 0.6 * as_torch_has_it
