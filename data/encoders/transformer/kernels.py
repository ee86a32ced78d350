"""How many compiled kernels stay in memory on a CPU."""

import os

KEPT = 256  # in each cache: with 128 a short text, whose length is rarely that of the one before, takes a tenth longer

# oneDNN compiles a kernel for each shape of a matrix product. It keeps 1,024 for the process, and torch as many again
# for each thread that multiplies: batches of all sizes fill two gigabytes in half a minute. Read at the first product.
_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def keep_few_kernels() -> None:
    """Bound the caches of compiled kernels of this process, unless the environment says how many they hold.

    Has no effect after the first product in reduced precision.
    """
    for name in _CACHES:
        os.environ.setdefault(name, str(KEPT))
