"""Memory that runs out: halves, then the CPU, counted; the one fault here that a test double has to play."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.protocol import Vectors
from data.encoders.transformer.batches import PIECE, TextBatches
from data.encoders.transformer.encoder import SentenceEncoder
from data.encoders.transformer.memory import forward_within_memory, on_cpu
from data.errors import InputError

BATCH = [[number] * 3 for number in range(11)]


def first_numbers(tokens: Sequence[Sequence[int]]) -> Vectors:
    return np.array([[text[0]] for text in tokens], dtype=np.float32)


def with_room_for(texts: int, error: Exception) -> Callable[[Sequence[Sequence[int]]], Vectors]:
    def forward(tokens: Sequence[Sequence[int]]) -> Vectors:
        if len(tokens) > texts:
            raise error
        return first_numbers(tokens)

    return forward


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    ],
)
@pytest.mark.parametrize(("room", "retries"), [(11, 0), (6, 1), (3, 3), (1, 10)])
def test_a_batch_is_halved_until_it_fits(error: Exception, room: int, retries: int) -> None:
    vectors, counted = forward_within_memory(BATCH, with_room_for(room, error), None)
    assert vectors[:, 0].tolist() == list(range(11)) and counted == retries


def test_a_text_that_fits_nowhere_goes_to_the_cpu_or_is_told() -> None:
    never = with_room_for(0, torch.OutOfMemoryError("CUDA out of memory"))
    vectors, counted = forward_within_memory(BATCH[:2], never, first_numbers)
    assert vectors[:, 0].tolist() == [0, 1] and counted == 3
    with pytest.raises(InputError, match="out of memory on a single text of 3 tokens"):
        forward_within_memory(BATCH, never, None)


def test_another_error_is_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        forward_within_memory(BATCH, with_room_for(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied")), None)


def test_an_encoder_counts_and_keeps_its_vectors(tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(TransformerConfig(model=str(tiny()), precision="fp32", device="cpu"))
    texts = ["alpha " * (n % 9) for n in range(PIECE + 50)]  # fewer are divided among the cores there are
    whole = encoder.encode_counted(texts)
    plain = TextBatches.forward

    def tight(self: TextBatches, tokens: Sequence[Sequence[int]], prompt_tokens: int = 0) -> Vectors:
        if len(tokens) > 200:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, tokens, prompt_tokens)

    monkeypatch.setattr(TextBatches, "forward", tight)
    halved = encoder.encode_counted(texts)
    assert (whole.oom_retries, halved.oom_retries) == (0, 2)
    np.testing.assert_allclose(halved.vectors, whole.vectors, atol=1e-5)


def test_the_copy_on_the_cpu_computes_the_same_in_fp32(tiny: Callable[..., Path]) -> None:
    encoder = load_encoder(TransformerConfig(model=str(tiny()), precision="fp32", device="cpu"))
    assert isinstance(encoder, SentenceEncoder)
    tokens = encoder.batches.tokenise(["alpha beta", "moon"]).numbers
    expected = encoder.batches.forward(tokens)
    encoder.model.transformer.to(torch.bfloat16)
    np.testing.assert_allclose(encoder.batches.forward_on_cpu(tokens), expected, atol=0.02)
    twin = on_cpu(encoder.model.transformer)
    assert {parameter.dtype for parameter in twin.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in encoder.model.transformer.parameters()} == {torch.bfloat16}
