"""Threads that share the cores of a CPU between batches rather than within each."""

import threading
from concurrent.futures import ThreadPoolExecutor


def single_core_threads(count: int) -> ThreadPoolExecutor:
    """Threads that each compute on one core; the number of cores that the rest of the process uses is not changed.

    Torch keeps that number per thread. A thread takes the default when it first reads the number and when it first
    computes, so every thread does both here before the default is restored.
    """
    import torch

    before = torch.get_num_threads()
    everyone = threading.Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()
        torch.ones(2**17).exp()
        everyone.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="encoder")
    for _ in range(count):
        pool.submit(begin)
    everyone.wait()
    torch.set_num_threads(before)
    return pool
