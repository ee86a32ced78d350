"""What an index takes over from the late stage: its projection, and the token vectors of every passage."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.index import IndexedPassage
from data.late.multivectors import read_multivectors
from data.late.projection import PROJECTION, Projection
from data.schema import partitions


def take_projection(late: Path, out: Path, encoder: str) -> int:
    """Copy the projection beside the index, which questions are projected with too; returns its dimension.

    Raises:
        InputError: if another encoder made the token vectors than the passages' vectors.
    """
    manifest = json.loads((late / "manifest.json").read_text())
    if manifest["fingerprint"] != encoder:
        raise InputError(
            f"{late} holds token vectors of the encoder {manifest['fingerprint']}, the vectors are of {encoder}",
            "Delete the late artifact and run again.",
        )
    shutil.copyfile(late / PROJECTION, out / PROJECTION)
    return int(manifest["dim"])


def with_tokens(rows: Iterable[IndexedPassage], late: Path) -> Iterator[IndexedPassage]:
    """Passages with the vectors of their tokens beside them.

    Raises:
        InputError: if the late stage's passages are not these.
    """
    stored = _token_vectors(late)
    for row in rows:
        id_, tokens = next(stored, ("", np.empty((0, 0), np.float32)))
        if id_ != row.id:
            raise InputError(f"{late} is not made from the run's passages", "Delete the late artifact and run again.")
        yield replace(row, tokens=tokens)


def _token_vectors(late: Path) -> Iterator[tuple[str, np.ndarray]]:
    projection = Projection.load(late / PROJECTION)
    for path in partitions(late / "multivectors"):
        for stored in read_multivectors(path):
            tokens = projection.unpack(stored.tokens)
            yield from zip(stored.ids, np.split(tokens, stored.starts[1:-1]), strict=True)
