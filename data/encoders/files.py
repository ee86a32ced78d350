"""Digests of the files that an encoder's config names: folders of models, and files written by `catena encoder`."""

import hashlib
from pathlib import Path

from data.encoders.chain import encoders_in
from data.encoders.config import EncoderConfig, PluginConfig

BLOCKS, BLOCK = 64, 16_384  # of a file that is read in part: weights of other values differ in all of them


def contents(config: EncoderConfig) -> dict[str, str]:
    """A digest of each existing file or folder that an encoder and its parts name, and of the code of custom encoders.

    It is part of an artifact's identity: other weights under the same path make other vectors. Of a large file, 64
    blocks spread over it and its size are read, so that a model of gigabytes costs little time.
    """
    encoders = [*encoders_in(config)]
    named = {path for encoder in encoders for path in encoder.files() if path.exists()}
    code = {encoder.model: encoder.code() for encoder in encoders if isinstance(encoder, PluginConfig)}
    return {str(path): _digest(path) for path in sorted(named)} | code


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        place = file.relative_to(path)
        if file.suffix == ".md" or any(part.startswith(".") for part in place.parts):
            continue  # a model's description, and what version control keeps
        size = file.stat().st_size
        digest.update(f"{place} {size} ".encode())
        with file.open("rb") as opened:
            if size <= BLOCKS * BLOCK:
                digest.update(opened.read())
                continue
            for number in range(BLOCKS):
                opened.seek(number * (size - BLOCK) // (BLOCKS - 1))
                digest.update(opened.read(BLOCK))
    return digest.hexdigest()
