"""Where the tokens of a text begin: by the encoder's own tokenizer, or its words where that has none."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from data.encoders.config import EncoderConfig, OnnxConfig, TransformerConfig, alternatives
from data.encoders.transformer.models import find_model
from data.errors import InputError
from data.passages.fixed import Starts, word_starts
from data.passages.recursive import cut_recursive
from data.surrogates import replace_surrogates

logger = logging.getLogger("catena")

STRETCH = 2**16  # characters handed to the tokenizer at once: it keeps about 200 bytes for each token of a call
STRETCHES = 16


def token_starts(encoder: EncoderConfig) -> Callable[[Sequence[str]], list[Starts]]:
    """The function that finds where the tokens of texts begin, special tokens left out.

    Words are counted where the encoder is not a model here, is a custom one, or has a tokenizer without offsets.

    Raises:
        InputError: if the model has no tokenizer that can be read.
    """
    tokenizer = tokenizer_of(encoder)
    if tokenizer is None:
        logger.info("chunk: %s has no tokenizer with offsets, so words are counted as tokens", encoder.label)
        return lambda texts: [word_starts(text) for text in texts]
    return lambda texts: _starts(tokenizer, texts)


def tokenizer_of(encoder: EncoderConfig) -> Any:  # noqa: ANN401 - tokenizers.Tokenizer is untyped
    """The fast tokenizer of an encoder, of a chain its first, without truncation and padding; None if it has none here.

    Raises:
        InputError: if the model has no tokenizer that can be read.
    """
    first = alternatives(encoder)[0]
    return _open(first.model) if isinstance(first, TransformerConfig | OnnxConfig) else None


def _starts(tokenizer: Any, texts: Sequence[str]) -> list[Starts]:  # noqa: ANN401 - tokenizers.Tokenizer is untyped
    found: list[list[Starts]] = [[] for _ in texts]
    remaining = _stretches(texts)
    while stretches := list(islice(remaining, STRETCHES)):
        encodings = tokenizer.encode_batch([text for _, _, text in stretches], add_special_tokens=False)
        for (number, begin, _), encoding in zip(stretches, encodings, strict=True):
            offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
            found[number].append(offsets[:, 0] + begin)
    return [np.concatenate(parts) if parts else np.empty(0, np.int64) for parts in found]


def _stretches(texts: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Number of its text, beginning and characters of each stretch; cut where a tokenizer takes no notice of it."""
    for number, text in enumerate(texts):
        readable = replace_surrogates(text)  # one character for one: offsets hold
        for start, end in cut_recursive(readable, STRETCH, 0):
            yield number, start, readable[start:end]


def _open(model: str) -> Any:  # noqa: ANN401 - tokenizers.Tokenizer is untyped
    """The model's fast tokenizer without truncation and padding; None where it has only a slow one.

    The model itself stays closed: a tokenizer is ready in tenths of a second.
    """
    from transformers import AutoTokenizer

    place = Path(find_model(model))
    modules = place / "modules.json"
    folder = place / json.loads(modules.read_text())[0]["path"] if modules.is_file() else place
    try:
        slow_or_fast = AutoTokenizer.from_pretrained(str(folder if folder.is_dir() else model))
        if len(slow_or_fast) <= len(slow_or_fast.all_special_tokens):  # what a folder without its files is opened as
            raise ValueError("its vocabulary is empty")
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"encoder.model: no tokenizer can be read from {folder}: {reason}",
            "chunk.strategy 'fixed' counts the model's tokens: complete the model's folder, or choose 'recursive'.",
        ) from error
    tokenizer = getattr(slow_or_fast, "backend_tokenizer", None)
    if tokenizer is not None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return tokenizer
