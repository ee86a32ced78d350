"""Filling an index, in process or on a server, and putting it in the place of the one before."""

import shutil
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from data.errors import InputError
from data.files import remove_unfinished, whole_folder_or_absent
from data.progress import tracked
from retrieval.index import IndexedPassage, IndexMeta, VectorIndex
from retrieval.open import write_meta

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


_NUMBERS = 1_000_000  # of token vectors in an upload: about 10 MB of JSON, and a server takes 32


def build_edge(rows: Iterable[IndexedPassage], meta: IndexMeta, out: Path) -> None:
    """Fill a new folder in the artifact's, have ``meta.json`` name it, and delete those of earlier builds."""
    from retrieval.engines.edge import EdgeIndex

    remove_unfinished(out)
    name = f"edge-{uuid4().hex[:8]}"
    with whole_folder_or_absent(out / name) as unfinished:
        index = EdgeIndex.create(unfinished, meta.dim, meta.filter_keys, meta.config, meta.late_dim)
        with closing(index):
            fill(index, rows, meta)
    write_meta(meta.model_copy(update={"location": name}), out)
    for replaced in out.glob("edge-*"):
        if replaced.name != name:
            shutil.rmtree(replaced)


def build_on_server(rows: Iterable[IndexedPassage], meta: IndexMeta, out: Path) -> None:
    """As ``build_collection``, with the server that the index's config names."""
    from retrieval.engines.server import connect

    with closing(connect(meta.config)) as client:
        build_collection(client, rows, meta, out)


def build_collection(client: "QdrantClient", rows: Iterable[IndexedPassage], meta: IndexMeta, out: Path) -> None:
    """Fill a new collection, point the artifact's alias at it, and drop what earlier builds of the artifact left."""
    from retrieval.engines.server import ServerIndex, switch_alias

    alias = f"catena-{out.name}"
    collection = f"{alias}-{uuid4().hex[:8]}"
    index = ServerIndex.create(client, collection, meta.dim, meta.filter_keys, meta.config, meta.late_dim)
    fill(index, rows, meta)
    switch_alias(client, alias, collection)
    write_meta(meta.model_copy(update={"location": alias}), out)
    for other in client.get_collections().collections:
        if other.name.startswith(f"{alias}-") and other.name != collection:
            client.delete_collection(other.name)


def fill(index: VectorIndex, rows: Iterable[IndexedPassage], meta: IndexMeta) -> None:
    """Upload all rows in batches and compare what has arrived with what was sent.

    Raises:
        InputError: if the index holds another number of passages than it was given.
    """
    batch: list[IndexedPassage] = []
    numbers = 0
    for row in tracked(rows, "index", meta.points, "passages"):
        batch.append(row)
        numbers += 0 if row.tokens is None else row.tokens.size
        if len(batch) == meta.config.batch_points or numbers >= _NUMBERS:
            index.upsert(batch)
            batch, numbers = [], 0
    if batch:
        index.upsert(batch)
    index.finish()
    held = index.count()
    if held != meta.points:
        raise InputError(
            f"the index holds {held} passages of {meta.points}: uploads were lost, or two passages share an id",
            "Run the stage again; if it happens again, delete the chunk artifact and run again.",
        )
