"""Vectors of tools, capabilities and intents, part by part: a job that was killed goes on with the parts that are left.

Shapes: D dimensions of the encoder.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.cache.keys import Hashes, text_hashes
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
    texts: Mapping[str, Sequence[str]],
    encoder: EncoderConfig,
    out: Path,
    runner: Runner = on_ray,
    workers: int = 1,
    known: Path | None = None,
) -> dict[str, Any]:
    """Write ``tools.npy``, ``capabilities.npy`` and ``intents.npy``: float32 (n, D), unit length; and a manifest.

    Intents are encoded as questions, the others as documents. A hash of each text is kept beside its vector.

    Args:
        texts: of each of ``KINDS``.
        encoder: which encoder.
        out: the artifact's folder.
        runner: spreads the work.
        workers: that each hold an encoder.
        known: an earlier output by the same encoder, whose vectors of the same texts are copied; the last bits of one
            that was computed in another batch may differ from those of computing it again.

    Returns:
        ``dim``, and ``fingerprint`` of the encoder; the manifest says the same.

    Raises:
        InputError: if there is no such encoder, or the disk is full.
    """
    hashes = {kind: text_hashes(texts[kind]) for kind in KINDS}
    rows = {kind: _rows_of(known, kind, hashes[kind]) for kind in KINDS}
    new = {kind: [texts[kind][place] for place in np.flatnonzero(rows[kind] < 0).tolist()] for kind in KINDS}
    parts = [
        (kind, number, new[kind][start : start + PART_TEXTS])
        for kind in KINDS
        for number, start in enumerate(range(0, len(new[kind]), PART_TEXTS))
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
    if known is not None and not parts:
        with whole_or_absent(out / MANIFEST) as unfinished:
            unfinished.write_text(json.dumps(manifest_of(known)))
    told = manifest_of(out)
    if known is not None and told != manifest_of(known):  # another encoder after all
        return embed_catalogue(texts, encoder, out, runner, workers)
    for kind in KINDS:
        of_kind = [np.load(_path(folder, part)) for part in parts if part[0] == kind]
        vectors = np.empty((len(rows[kind]), told["dim"]), np.float32)
        vectors[rows[kind] < 0] = np.concatenate([np.zeros((0, told["dim"]), np.float32), *of_kind])
        if known is not None:
            vectors[rows[kind] >= 0] = vectors_of(known, kind)[rows[kind][rows[kind] >= 0]]
        _save(out / f"{kind}.npy", vectors)
        _save(out / f"{kind}.hashes.npy", hashes[kind])
    return told


def hashes_of(folder: Path, kind: str) -> Hashes | None:
    """Hash of each text of one of ``KINDS``, as of ``text_hashes``, uint8 (n, 16); None where none was kept."""
    file = folder / f"{kind}.hashes.npy"
    return np.load(file) if file.exists() else None


def most_of(folders: Sequence[Path], kind: str, texts: Sequence[str]) -> Path | None:
    """The folder that holds vectors of the most of these texts of one of ``KINDS``; None where none holds any."""
    if not folders:
        return None
    wanted = text_hashes(texts)
    held = [int((_rows_of(folder, kind, wanted) >= 0).sum()) for folder in folders]
    return folders[int(np.argmax(held))] if max(held) else None


def manifest_of(folder: Path) -> dict[str, Any]:
    """``dim`` and ``fingerprint`` of the encoder whose vectors a folder holds."""
    told: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return told


def vectors_of(folder: Path, kind: str) -> npt.NDArray[np.float32]:
    """Vectors of one of ``KINDS``, mapped into memory."""
    mapped: npt.NDArray[np.float32] = np.load(folder / f"{kind}.npy", mmap_mode="r")
    return mapped


def _rows_of(known: Path | None, kind: str, hashes: Hashes) -> npt.NDArray[np.int64]:
    """Row of each text in an earlier output, int64 (n,); -1 where it is not there."""
    there = None if known is None else hashes_of(known, kind)
    if there is None or not len(there) or not len(hashes):
        return np.full(len(hashes), -1, np.int64)
    keys, wanted = (np.ascontiguousarray(of[:, :8]).view("<u8").ravel() for of in (there, hashes))
    order = np.argsort(keys, kind="stable")
    rows = order[np.minimum(np.searchsorted(keys[order], wanted), len(order) - 1)]
    return np.where((there[rows] == hashes).all(axis=1), rows, -1)


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with whole_or_absent(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, array)


def _path(folder: Path, part: Part) -> Path:
    """The file of a part, named by its texts: which of them are new depends on what was there before."""
    digest = hashlib.blake2b(text_hashes(part[2]).tobytes(), digest_size=4).hexdigest()
    return folder / f"{part[0]}-{part[1]:05d}-{digest}.npy"
