"""Opening a finished index with the engine that built it."""

import json
from pathlib import Path

from data.errors import InputError
from data.files import whole_or_absent
from retrieval.index import IndexMeta, VectorIndex


def read_meta(artifact: Path) -> IndexMeta:
    """The description of an index artifact.

    Raises:
        InputError: if there is no finished index.
    """
    path = artifact / "meta.json"
    if not path.is_file():
        raise InputError(f"no index in {artifact}", "Build it with `catena index RUN.yaml`.")
    described = json.loads(path.read_text())
    if "keys" not in described:
        raise InputError(
            f"the index in {artifact} was made by an earlier version", "`catena index RUN.yaml` makes it again."
        )
    meta = IndexMeta.model_validate(described)
    beside = {
        name: kept if kept is None else artifact.resolve() / kept.name
        for name, kept in (("projection", meta.projection), ("token_projection", meta.token_projection))
    }
    return meta.model_copy(update=beside)


def write_meta(meta: IndexMeta, artifact: Path) -> None:
    """Write the description of an index artifact in one step; files beside it are named, wherever the folder goes."""
    names = {
        name: kept if kept is None else Path(kept.name)
        for name, kept in (("projection", meta.projection), ("token_projection", meta.token_projection))
    }
    with whole_or_absent(artifact / "meta.json") as unfinished:
        unfinished.write_text(meta.model_copy(update=names).model_dump_json(indent=2))


def open_index(artifact: Path) -> VectorIndex:
    """Open an index artifact with the engine that built it, and with its full vectors where hits are rescored.

    Raises:
        InputError: if there is no finished index, its folder is gone or its server does not answer.
    """
    meta = read_meta(artifact)
    index = _open_engine(artifact, meta)
    if meta.full_dim is None:
        return index
    from retrieval.rescoring import RescoredIndex

    return RescoredIndex.open(index, artifact, meta)


def _open_engine(artifact: Path, meta: IndexMeta) -> VectorIndex:
    if meta.config.engine == "edge":
        from retrieval.engines.edge import EdgeIndex

        if not (artifact / meta.location).is_dir():
            raise InputError(
                f"the index in {artifact} has lost its folder {meta.location}", f"Delete {artifact} and run again."
            )
        return EdgeIndex.open(artifact / meta.location, meta.config)
    from retrieval.engines.server import ServerIndex

    return ServerIndex.open(meta.location, meta.config)
