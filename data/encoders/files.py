"""Digests of the files that an encoder's config names: folders of models, and files written by `catena encoder`."""

import hashlib
from pathlib import Path

from data.encoders.config import EncoderConfig, PluginConfig, encoders_in

BLOCKS, BLOCK = 64, 16_384  # of a file that is read in part: weights of other values differ in all of them


def contents(config: EncoderConfig) -> dict[str, str]:
    """A digest of each existing file or folder that an encoder and its parts name, and of the code of custom encoders.

    It is part of an artifact's identity: other weights under the same path make other vectors. Of a large file, 64
    blocks spread over it and its size are read, so that a model of gigabytes costs little time.

    Returns:
        Digests by the place of the encoder in its config and of the file in it, such as ``0.1``: the same on another
        machine, where the paths differ.
    """
    encoders = [*encoders_in(config)]
    found: dict[str, str] = {}
    for place, encoder in enumerate(encoders):
        files = list(encoder.files())
        found |= {f"{place}.{number}": digest(path) for number, path in enumerate(files) if path.exists()}
        if isinstance(encoder, PluginConfig):
            found[f"{place}.code"] = encoder.code()
    return found


def digest(path: Path) -> str:
    """A digest of a file, or of all files in a folder and their names; see ``contents``."""
    hashed = hashlib.blake2b(digest_size=8)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        place = file.relative_to(path)
        if file.suffix == ".md" or any(part.startswith(".") for part in place.parts):
            continue  # a model's description, and what version control keeps
        size = file.stat().st_size
        hashed.update(f"{place} {size} ".encode())
        with file.open("rb") as opened:
            if size <= BLOCKS * BLOCK:
                hashed.update(opened.read())
                continue
            for number in range(BLOCKS):
                opened.seek(number * (size - BLOCK) // (BLOCKS - 1))
                hashed.update(opened.read(BLOCK))
    return hashed.hexdigest()
