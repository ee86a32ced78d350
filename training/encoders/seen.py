"""Which pairs of texts an encoder was fine-tuned on, kept beside it, so that it is not evaluated on them.

A pair is known by the texts at its two ends, without regard to case and white space, and not by ids: the same link in
another export of the corpus is the same pair, and another corpus that numbers its documents alike is another. Texts
that differ in more, such as by a title, are not recognised; nor is an encoder that runs elsewhere (an endpoint), is
made by the user's own code, or is loaded from the hub.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from data.encoders.config import EncoderConfig, encoders_in
from data.encoders.ensemble.fusion import seen_pairs
from data.errors import InputError
from data.files import whole_or_absent

Marks = npt.NDArray[np.uint64]
Pairs = tuple[Sequence[str], Sequence[str]]

SEEN = "seen_pairs.npy"  # in the folder of a fine-tuned or exported model; an attention file holds its own
NONE = np.empty(0, np.uint64)


def pair_marks(left: Sequence[str], right: Sequence[str]) -> Marks:
    """A 64-bit hash of each pair of texts, the same in either direction.

    Args:
        left: P texts.
        right: P texts.

    Returns:
        uint64 of shape (P,).
    """
    ends = zip(*([_mark(text) for text in side] for side in (left, right)), strict=True)
    marks = (xxhash.xxh64_intdigest(b"".join(sorted(pair))) for pair in ends)
    return np.fromiter(marks, np.uint64, len(left))


def _mark(text: str) -> bytes:
    return xxhash.xxh64_digest(" ".join(text.casefold().split()).encode())


def keep_marks(marks: Marks, model: Path, made_from: Path | None = None) -> None:
    """Write the marks of the pairs that a model has seen into its folder, where there are any.

    Args:
        marks: of the pairs that it was trained on now.
        model: its folder.
        made_from: folder of the model that it was made from, whose marks it inherits.
    """
    marks = np.union1d(marks, NONE if made_from is None else marks_in(made_from))
    if len(marks):
        with whole_or_absent(model / SEEN) as unfinished, unfinished.open("wb") as file:
            np.save(file, marks)


def seen_by(config: EncoderConfig) -> dict[str, Marks]:
    """Marks of the pairs that each encoder of a chain, and each member of an ensemble, was fine-tuned on, by its name.

    An encoder that was not fine-tuned by Catena has none, and is left out.
    """
    kept = {str(path): marks_in(path) for encoder in encoders_in(config) for path in encoder.files()}
    return {name: marks for name, marks in kept.items() if len(marks)}


def refuse_seen(config: EncoderConfig, held: Pairs, trained: Pairs) -> None:
    """Refuse to judge an encoder on held-out links that it has seen.

    Args:
        config: the run's encoder.
        held: texts at the two ends of the links that the run holds out.
        trained: texts at the ends of its training links. Where documents have the same text, a held-out link may be
            the same pair of texts as a training link; an encoder may have seen that.

    Raises:
        InputError: if any encoder has seen any other of them; it names the encoder and how many.
    """
    marks = np.setdiff1d(pair_marks(*held), pair_marks(*trained))
    for model, seen in seen_by(config).items():
        known = int(np.isin(marks, seen).sum())
        if known:
            raise InputError(
                f"encoder {model} was fine-tuned on {known:,} of the {len(marks):,} held-out links of this run, so "
                "figures on them would mean nothing",
                "Fine-tune it on this run's training links (the same source and section graph), or use another "
                "encoder.",
            )


def marks_in(path: Path) -> Marks:
    """The marks in the folder of a model, or in a file of a learned attention; empty where there are none."""
    if path.is_file():
        return seen_pairs(path)
    marks: Marks = np.load(path / SEEN) if (path / SEEN).is_file() else NONE
    return marks
