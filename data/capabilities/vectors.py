"""Vectors of tools, capabilities and intents, part by part: a job that was killed goes on with the parts that are left.

Shapes: D dimensions of the encoder.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.encoders import load_encoder
from data.encoders.config import EncoderConfig
from data.files import whole_or_absent
from data.progress import tracked
from data.spread import Pool, Runner, on_ray

PART_TEXTS = 4096
KINDS = ("tools", "capabilities", "intents")
MANIFEST = "manifest.json"

Part = tuple[str, int, list[str]]  # kind, number, texts


def embed_catalogue(
    texts: Mapping[str, Sequence[str]], encoder: EncoderConfig, out: Path, runner: Runner = on_ray, workers: int = 1
) -> dict[str, Any]:
    """Write ``tools.npy``, ``capabilities.npy`` and ``intents.npy``: float32 (n, D), unit length; and a manifest.

    Intents are encoded as questions, the others as documents.

    Args:
        texts: of each of ``KINDS``.
        encoder: which encoder.
        out: the artifact's folder.
        runner: spreads the work.
        workers: that each hold an encoder.

    Returns:
        ``dim``, and ``fingerprint`` of the encoder; the manifest says the same.

    Raises:
        InputError: if there is no such encoder, or the disk is full.
    """
    parts = [
        (kind, number, list(texts[kind][start : start + PART_TEXTS]))
        for kind in KINDS
        for number, start in enumerate(range(0, len(texts[kind]), PART_TEXTS))
    ]
    folder = out / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    left = [part for part in parts if not _path(folder, part).exists()]

    def make() -> Callable[[Part], int]:
        loaded = load_encoder(encoder)
        told = {"dim": loaded.dim, "fingerprint": loaded.fingerprint}
        with whole_or_absent(out / MANIFEST) as unfinished:
            unfinished.write_text(json.dumps(told))

        def encode(part: Part) -> int:
            vectors = (loaded.encode_queries if part[0] == "intents" else loaded.encode)(part[2])
            with whole_or_absent(_path(folder, part)) as unfinished, unfinished.open("wb") as file:
                np.save(file, vectors)
            return len(vectors)

        return encode

    made = runner.run(left, make, "embed", Pool(1, max(1, min(workers, len(left)))))
    for _ in tracked(made, "embed", len(left), "parts"):
        pass
    told = manifest_of(out)
    for kind in KINDS:
        of_kind = [np.load(_path(folder, part)) for part in parts if part[0] == kind]
        with whole_or_absent(out / f"{kind}.npy") as unfinished, unfinished.open("wb") as file:
            np.save(file, np.concatenate([np.zeros((0, told["dim"]), np.float32), *of_kind]))
    return told


def manifest_of(folder: Path) -> dict[str, Any]:
    """``dim`` and ``fingerprint`` of the encoder whose vectors a folder holds."""
    told: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return told


def vectors_of(folder: Path, kind: str) -> npt.NDArray[np.float32]:
    """Vectors of one of ``KINDS``, mapped into memory."""
    mapped: npt.NDArray[np.float32] = np.load(folder / f"{kind}.npy", mmap_mode="r")
    return mapped


def _path(folder: Path, part: Part) -> Path:
    return folder / f"{part[0]}-{part[1]:05d}.npy"
