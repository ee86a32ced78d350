"""Batches on a GPU, one after another, with the next one's copy and launch made while it computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch

from data.encoders.protocol import Vectors
from data.encoders.transformer.memory import Tokens, ran_out_of_memory

IN_FLIGHT = 2  # batches whose vectors are still awaited; more only hold memory
Features = Mapping[str, torch.Tensor]


def batches_on_gpu(
    batches: Iterable[Tokens],
    device: torch.device,
    features: Callable[[Tokens], Features],
    vectors: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    again: Callable[[Tokens], tuple[Vectors, int]],
) -> Iterator[tuple[Vectors, int]]:
    """Vectors of each batch, in order, and how many times memory ran out for it.

    Inputs go through pinned memory on a separate stream, vectors come back into pinned memory: the thread waits for
    neither, and has the next batch ready before the GPU has finished this one.

    Args:
        batches: token numbers.
        device: the GPU.
        features: what the model reads of a batch, on the CPU.
        vectors: computes on the GPU; float32 of shape (n, dim), on the GPU.
        again: computes a batch that did not fit, in halves.
    """
    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    waiting: deque[tuple[Tokens, torch.Tensor | None, torch.cuda.Event]] = deque()

    def launch(tokens: Tokens, done: torch.cuda.Event) -> torch.Tensor:
        with torch.cuda.device(device), torch.inference_mode():
            computing = torch.cuda.current_stream(device)
            with torch.cuda.stream(copies):
                there = {
                    name: at_home.pin_memory().to(device, non_blocking=True)
                    for name, at_home in features(tokens).items()
                }
            computing.wait_stream(copies)
            for tensor in there.values():
                tensor.record_stream(computing)  # made on the other stream, free only when this one has read it
            made = vectors(there)
            host = torch.empty(made.shape, dtype=made.dtype, pin_memory=True)
            host.copy_(made, non_blocking=True)
            done.record(computing)
        return host

    def finish() -> tuple[Vectors, int]:
        tokens, host, done = waiting.popleft()
        if host is None:
            return again(tokens)
        done.synchronize()
        made: Vectors = host.numpy()
        return made, 0

    for tokens in batches:
        host, done = None, torch.cuda.Event()  # type: ignore[no-untyped-call]
        try:
            host = launch(tokens, done)
        except RuntimeError as error:
            if not ran_out_of_memory(error):
                raise
        waiting.append((tokens, host, done))
        while len(waiting) > (0 if host is None else IN_FLIGHT):  # one that does not fit waits for the others' memory
            yield finish()
    while waiting:
        yield finish()
