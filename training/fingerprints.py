"""What a model was made from, as fingerprints that two places can compare."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError

logger = logging.getLogger("catena")

PACKAGES = ("data", "evaluation", "training")  # the code that decides what a trained model is


@dataclass(frozen=True)
class Fingerprints:
    """Of one model.

    Attributes:
        data: documents, links, split and vectors: the key of the graph's artifact.
        split: which links are held out: the key of the split's artifact.
        encoder: whose vectors the model reads; empty where it reads none.
        code: of the packages that train.
    """

    data: str
    split: str
    encoder: str
    code: str


def code_fingerprint() -> str:
    """A digest of the source files of the packages that train."""
    root, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def check_fits(what: str, made: Fingerprints, here: Fingerprints) -> None:
    """Refuse a model that was made from something else than what is here; other code is only logged.

    Raises:
        InputError: naming what differs, both ways.
    """
    names = {"data": "documents, links or vectors", "split": "split of links", "encoder": "encoder"}
    found = {key: (getattr(made, key), getattr(here, key)) for key in names}
    differing = [f"{names[key]} {a or 'none'} there, {b or 'none'} here" for key, (a, b) in found.items() if a != b]
    if differing:
        raise InputError(
            f"{what} was made from something else: {'; '.join(differing)}",
            "Use the run file and the corpus it was trained with, or train a model on this one.",
        )
    if made.code != here.code:
        logger.warning("%s was trained by other code (%s there, %s here)", what, made.code, here.code)
