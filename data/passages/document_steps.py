"""A run's custom steps applied to its documents: they give a documents table with the changed texts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import InputError, nearest
from data.metadata import BadMetadata, Metadata, metadata_object, read_metadata, write_metadata
from data.partitions import left_to_do, partitions, write_partition
from data.passages.steps import FailedItem, Step, StepConfig
from data.schema import DOCUMENTS
from data.spread import Pool, Runner, on_ray
from data.surrogates import replace_surrogates

Document = dict[str, Any]


class DocumentSteps:
    """A run's steps, applied to documents; a step's class is constructed at its first documents.

    Args:
        steps: in order.
    """

    def __init__(self, steps: Sequence[StepConfig]) -> None:
        self._steps = [(config.path, Step(config)) for config in steps]

    def __call__(self, documents: Sequence[Document], where: str) -> list[Document]:
        """The changed documents, in their order; ``metadata`` is a mapping.

        Args:
            documents: with the columns of ``DOCUMENTS``.
            where: they are, for a message that can name no single one.

        Raises:
            InputError: if a step fails; it names the step and the document.
        """
        changed = list(documents)
        for name, step in self._steps:
            ids = [document["id"] for document in changed]
            try:
                changed = [_checked(position, ids, made) for position, made in enumerate(step(changed))]
            except FailedItem as failed:
                of_one = f"document {ids[failed.position]!r}" if failed.position is not None else f"a batch in {where}"
                raise InputError(
                    f"step {name} failed on {of_one}: {failed.reason}",
                    "Correct the step and run again; partitions of documents that are done are kept.",
                ) from failed
        return changed


class StepPartitions:
    """A worker: applies all steps to partitions of documents; a step's class is constructed at its first partition.

    Args:
        steps: the run's steps, in order.
        out: folder of the new table; a partition is complete or absent there.
    """

    def __init__(self, steps: Sequence[StepConfig], out: Path) -> None:
        self._steps = DocumentSteps(steps)
        self._out = out

    def __call__(self, path: Path) -> InputError | None:
        """Apply the steps to one partition; returns an error of theirs, as Ray would wrap one that is raised."""
        try:
            self.apply(path)
        except InputError as error:
            return error
        return None

    def apply(self, path: Path) -> None:
        """Apply the steps to one partition and write it under its name, unless it exists.

        Raises:
            InputError: if a step fails; it names the step and the document.
        """
        if (self._out / path.name).exists():
            return
        rows = [{**row, "metadata": read_metadata(row["metadata"])} for row in pq.read_table(path).to_pylist()]
        documents = self._steps(rows, str(path))
        rows = [{**document, "metadata": write_metadata(document["metadata"])} for document in documents]
        write_partition(pa.Table.from_pylist(rows, DOCUMENTS), self._out / path.name)


def run_steps(documents: Path, steps: Sequence[StepConfig], out: Path, runner: Runner = on_ray) -> dict[str, Any]:
    """Apply steps to every document.

    Each partition of documents gives a partition of the same name, in the same order. One that exists is not made
    again, so a killed job continues where it stopped.

    Args:
        documents: the table's folder.
        steps: at least one, in the order of their work.
        out: the artifact's folder; the new table goes to ``documents/`` in it.
        runner: spreads the work.

    Returns:
        ``documents``, and ``partitions`` that were made now.

    Raises:
        InputError: if a step cannot be found or fails; it names step and document.
    """
    folder = out / "documents"
    todo = left_to_do(documents, folder)
    make, pool = partial(StepPartitions, steps, folder), _pool(steps, len(todo), runner)
    for error in runner.run(todo, make, StepPartitions.__name__, pool):
        if error is not None:
            raise error
    count = sum(pq.read_metadata(path).num_rows for path in partitions(folder))
    return {"documents": count, "partitions": len(todo)}


def _pool(steps: Sequence[StepConfig], partitions: int, runner: Runner) -> Pool:
    """A worker for each core, if there are as many partitions and no step allows fewer."""
    cores = max(1, int(runner.resources().cores))
    workers = min([cores, partitions, *(step.workers for step in steps if step.workers is not None)])
    return Pool(workers, workers)


def _checked(position: int, ids: Sequence[str], made: object) -> Document:
    """Check what a step returned for a document, and fill in defaults.

    Raises:
        FailedItem: if it is not a document; with the reason.
    """
    if not isinstance(made, Mapping):
        forgot = ": does it end with `return document`?" if made is None else ""
        raise FailedItem(position, f"it returned {type(made).__name__}, not a document{forgot}")
    for key in made:
        if key not in DOCUMENTS.names:
            raise FailedItem(position, f"a document has no {key!r}; {nearest(str(key), DOCUMENTS.names)}")
    document = {"title": "", "metadata": {}, "time": None, **made}
    if document.get("id") != ids[position]:
        raise FailedItem(position, f"it changed the id to {document.get('id')!r}, by which links name it")
    for key in ("title", "text"):
        if not isinstance(document.get(key), str):
            raise FailedItem(position, f"{key!r} is {type(document.get(key)).__name__}, not a string")
        document[key] = replace_surrogates(document[key])
    if not isinstance(document["time"], datetime | None):
        raise FailedItem(position, f"'time' is {type(document['time']).__name__}, not a datetime")
    return {**document, "metadata": _checked_metadata(position, document["metadata"])}


def _checked_metadata(position: int, metadata: object) -> Metadata:
    if not isinstance(metadata, Mapping | None):
        raise FailedItem(position, f"'metadata' is {type(metadata).__name__}, not a mapping")
    try:
        return metadata_object((metadata or {}).items())
    except BadMetadata as error:
        raise FailedItem(position, f"'metadata' cannot be kept: {error}") from None
