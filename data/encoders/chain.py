"""A chain of encoders: which of its alternatives is available, and which one an index or vectors belong to.

Vectors of two encoders are never mixed. So a chain is a choice at the start; once there are vectors, only the encoder
that made them may continue, on any device, and only the encoder that built an index may query it.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from data.encoders import load_encoder
from data.encoders.config import (
    EncoderConfig,
    SingleEncoder,
    alternatives,
)
from data.encoders.protocol import Encoder
from data.errors import EncoderUnavailable, InputError
from data.files import whole_or_absent

logger = logging.getLogger("catena")

_RECORD = "encoder.json"  # in the folder of an embedding: which alternative made it


def load_again(config: EncoderConfig, fingerprint: str, precision: str, made_by: int = 0) -> Encoder:
    """Load the encoder that built an index, and no other.

    Args:
        config: the encoder with its alternatives.
        fingerprint: of the encoder that made the vectors.
        precision: what it computed in, for alternatives that leave the choice.
        made_by: its position among the alternatives when it made them; the others are tried after it, as the run file
            may have been edited.

    Raises:
        InputError: if no alternative made the vectors.
        EncoderUnavailable: if the one that made them is unavailable.
    """
    chain = [computing_as(each, precision) for each in alternatives(config)]
    maker = chain[made_by if made_by < len(chain) else 0]
    alike = sorted((each for each in chain if each.identity() == maker.identity()), key=lambda each: each != maker)
    found: list[str] = []
    for group in (alike, [each for each in chain if each not in alike]):
        down: list[EncoderUnavailable] = []
        for each in group:
            try:
                encoder = load_encoder(each)
            except EncoderUnavailable as error:
                down.append(error)
                continue
            if encoder.fingerprint == fingerprint:
                return encoder
            found.append(f"{each.label} is {encoder.fingerprint}")
        if down and not found:
            raise down[0]
    raise InputError(
        f"the index was built by another encoder: {fingerprint}; {', '.join(found)}",
        "Use the encoder that built it, or embed and index again.",
    )


def encoder_of_vectors(embedded: Path, config: EncoderConfig) -> SingleEncoder:
    """The alternative that made an embedding's vectors, with their precision and the fingerprint that it must have.

    Args:
        embedded: the embedding stage's folder.
        config: the encoder with its alternatives.
    """
    manifest = json.loads((embedded / "manifest.json").read_text())
    chain, made_by = alternatives(config), recorded_alternative(embedded)
    maker = computing_as(chain[made_by if made_by < len(chain) else 0], manifest["precision"])
    return maker.model_copy(update={"fingerprint": manifest["fingerprint"]})


def computing_as(config: SingleEncoder, precision: str) -> SingleEncoder:
    """The encoder with the precision of existing vectors, where its config leaves the precision open.

    It keeps that precision even where fp32 would be faster here.

    Args:
        config: one alternative.
        precision: of the vectors: one word, or one for each member of an ensemble, joined by ``+``.
    """
    bound: SingleEncoder = config.with_precision_of(iter(precision.split("+")))
    return bound


def same_encoder_elsewhere(chain: Sequence[SingleEncoder], failed: Sequence[int], precision: str) -> int | None:
    """Position of an alternative that may continue the vectors of the last of ``failed``; None where there is none.

    It is the same encoder on another device, or another server of the same model.
    """
    begun = computing_as(chain[failed[-1]], precision).identity()
    alike = (n for n, each in enumerate(chain) if n not in failed and computing_as(each, precision).identity() == begun)
    return next(alike, None)


def recorded_alternative(embedded: Path) -> int:
    """Position of the alternative that made the vectors in an embedding's folder; 0 where nothing is recorded."""
    record = embedded / _RECORD
    return int(json.loads(record.read_text())["link"]) if record.is_file() else 0


def copy_record(embedded: Path, out: Path) -> None:
    """Copy the record of one folder to another whose vectors are derived from it."""
    if (embedded / _RECORD).is_file():
        shutil.copyfile(embedded / _RECORD, out / _RECORD)


def record_alternative(embedded: Path, place: int, label: str) -> None:
    """Record which alternative makes the vectors of a folder."""
    with whole_or_absent(embedded / _RECORD) as unfinished:
        unfinished.write_text(json.dumps({"link": place, "encoder": label}))
