"""Which pairs of texts an encoder was fine-tuned on, kept beside it, so that it is not evaluated on them.

A pair is known by the texts at its two ends, not by ids: the same link in another export of the corpus is the same
pair, and another corpus that numbers its documents alike is another.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from data.encoders.chain import encoders_in
from data.encoders.config import EncoderConfig
from data.errors import InputError
from data.files import whole_or_absent

Marks = npt.NDArray[np.uint64]

SEEN = "seen_pairs.npy"  # in the folder of a fine-tuned model; of a file, beside it


def pair_marks(left: Sequence[str], right: Sequence[str]) -> Marks:
    """A 64-bit hash of each pair of texts, the same in either direction.

    Args:
        left: P texts.
        right: P texts.

    Returns:
        uint64 of shape (P,).
    """
    ends = zip(*([xxhash.xxh64_digest(text.encode()) for text in side] for side in (left, right)), strict=True)
    marks = (xxhash.xxh64_intdigest(b"".join(sorted(pair))) for pair in ends)
    return np.fromiter(marks, np.uint64, len(left))


def keep_marks(marks: Marks, model: Path) -> None:
    """Write the marks of the pairs that a model has seen, into its folder or beside its file."""
    with whole_or_absent(_place(model)) as unfinished, unfinished.open("wb") as file:
        np.save(file, np.unique(marks))


def seen_by(config: EncoderConfig) -> dict[str, Marks]:
    """Marks of the pairs that each encoder of a chain, and each member of an ensemble, was fine-tuned on, by its name.

    An encoder that was not fine-tuned by Catena has none, and is left out.
    """
    return {str(model): np.load(_place(model)) for model in _models(config) if _place(model).is_file()}


def refuse_seen(config: EncoderConfig, left: Sequence[str], right: Sequence[str], what: str, remedy: str) -> None:
    """Refuse to judge an encoder on pairs that it has seen.

    Args:
        config: the run's encoder.
        left: texts at one end of the held-out pairs.
        right: texts at the other.
        what: what the pairs are, such as "held-out links".
        remedy: what to do instead.

    Raises:
        InputError: if any encoder has seen any of them.
    """
    seen = seen_by(config)
    if not seen:
        return
    held = pair_marks(left, right)
    for model, marks in seen.items():
        known = int(np.isin(held, marks).sum())
        if known:
            raise InputError(
                f"encoder {model} was fine-tuned on {known:,} of the {len(held):,} {what} of this run, so figures on "
                "them would mean nothing",
                remedy,
            )


def _models(config: EncoderConfig) -> Iterator[Path]:
    for encoder in encoders_in(config):
        yield from (path for path in encoder.files() if path.exists())


def _place(model: Path) -> Path:
    return model / SEEN if model.is_dir() else model.with_name(f"{model.name}.{SEEN}")
