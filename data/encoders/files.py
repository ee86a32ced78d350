"""What stands in the files that an encoder's config names: models in folders, and what `catena encoder` has written."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from data.encoders.chain import every
from data.encoders.config import PLUGIN_KEY, EncoderConfig
from data.imports import code_digest

BLOCKS, BLOCK = 64, 16_384  # of a file that is read in part: weights of other values differ in all of them


def contents(config: EncoderConfig) -> dict[str, str]:
    """A digest of what an encoder, its members and its fallbacks name: files, folders, code of the user's own.

    An artifact is known by it: other weights under the same path make other vectors. Of a large file 64 blocks spread
    over it are read, and its size, so that a model of gigabytes costs no time.
    """
    files = {str(path): _digest(path) for path in sorted(set(_named(config)))}
    code = {link.model for link in every(config) if link.is_plugin}
    return files | {path: code_digest(PLUGIN_KEY, path) for path in sorted(code)}


def _named(config: EncoderConfig) -> Iterator[Path]:
    for link in every(config):
        files = (
            link.hashed.idf if link.hashed is not None else None,
            link.ensemble.attention if link.ensemble is not None else None,
            link.exported,
        )
        yield from (file for file in files if file is not None and file.exists())
        kinds = (link.hashed, link.ensemble, link.endpoint)
        folder = Path(link.model).expanduser()
        if all(kind is None for kind in kinds) and folder.is_dir():
            yield folder


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
