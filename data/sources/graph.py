"""Graphs as they are published: lists of edges without text, NumPy files, and features of the nodes."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError
from data.sources.arrays import Matrix, edges_of, features_of, read_arrays
from data.sources.delimited import delimited
from data.sources.fields import id_of, rows, split_of, text_of, time_of, weight_of
from data.sources.lines import Broken, Record, Records, lines
from data.sources.paths import find
from data.sources.remote import SourceFile
from data.sources.rows import Document, Link, Reading, ReadTask

Column = Literal["source", "target", "relation", "weight", "time", "split", "-"]

LINKS_OF_A_TASK = 1_000_000
COMMENTS = ("#", "%")  # as SNAP and KONECT begin theirs


class GraphSource(StageConfig):
    """A graph without text: its nodes are documents whose ids stand as titles."""

    links: list[str] = Field(
        min_length=1,
        description="files of links: .npz (edges, edge_index or a compressed adjacency matrix), .csv, .tsv, or any "
        "other name for columns between spaces",
    )
    columns: tuple[Column, ...] = Field(
        ("source", "target"),
        description="what the columns of text files are, in order: source, target, relation, weight, time, split, or - "
        "for a column that is not read",
    )
    header: bool = Field(False, description="whether text files begin with a line of names, which is skipped")
    relation: str = Field("linked", min_length=1, description="relation of links whose file gives none")
    nodes: str | None = Field(
        None,
        description="file with a node's id on each line, and its title after a tab where it has one; where unset, the "
        "numbers from 0 if an .npz or features say how many, else the ids that links name",
    )
    features: str | None = Field(
        None, description="features of the nodes in their order: .npz (x, dense or compressed) or .npy"
    )

    def files(self) -> list[SourceFile]:
        """Every file it reads."""
        return [file for path in (*self.links, *filter(None, [self.nodes, self.features])) for file in find(path)]

    def tasks(self) -> list[ReadTask]:
        """One for the nodes, and one for each file of links, or a million links of one.

        Raises:
            InputError: if a file cannot be read, or files disagree on how many nodes there are.
        """
        if not {"source", "target"} <= set(self.columns):
            raise InputError("source.graph.columns: source and target are needed", "columns: [source, target]")
        files = [file for path in self.links for file in find(path)]
        tasks: list[ReadTask] = []
        sizes: dict[str, int] = {}
        for file in files:
            if file.name.endswith(".npz"):
                edges, nodes = edges_of(read_arrays(file), file)
                sizes.update({} if nodes is None else {str(file): nodes})
                for first in range(0, max(len(edges), 1), LINKS_OF_A_TASK):
                    tasks.append(ReadTask(str(file), "edge", partial(_edges, file, first, self.relation)))
            else:
                build = partial(_link, relation=self.relation)
                found = partial(_records, file, list(self.columns), self.header)
                tasks.append(ReadTask(str(file), "line", partial(rows, "links", found, build)))
        return [self._nodes(files, sizes), *tasks]

    def _nodes(self, files: list[SourceFile], sizes: dict[str, int]) -> ReadTask:
        if self.nodes is not None:
            listed = find(self.nodes)
            return ReadTask(str(listed[0]), "line", partial(_listed_nodes, listed))
        if self.features is not None:
            sizes[f"features of {self.features}"] = self._feature_count()
        if len(set(sizes.values())) > 1:
            counted = ", ".join(f"{name}: {count:,}" for name, count in sizes.items())
            raise InputError(f"source.graph: files disagree on how many nodes there are ({counted})", "Correct them.")
        if sizes:
            name, count = next(iter(sizes.items()))
            return ReadTask(name, "node", partial(_numbered_nodes, count))
        return ReadTask(str(files[0]), "node", partial(_named_nodes, files, list(self.columns), self.header))

    def feature_rows(self) -> Matrix | None:
        """The features, a row for each node in the order of the nodes; None where there are none.

        Raises:
            InputError: if they cannot be read.
        """
        if self.features is None:
            return None
        file = find(self.features)[0]
        return features_of(read_arrays(file), file)

    def _feature_count(self) -> int:
        rows = self.feature_rows()
        return 0 if rows is None else int(rows.shape[0])


def _numbered_nodes(count: int) -> Reading:
    for number in range(count):
        yield number + 1, Document(str(number), str(number), "")


def _listed_nodes(files: Sequence[SourceFile]) -> Reading:
    for file in files:
        for line in lines(file):
            id_, _, title = line.text.partition("\t")
            if id_:
                yield line.number, Document(id_, title or id_, "")


def _named_nodes(files: Sequence[SourceFile], columns: list[str], header: bool) -> Reading:
    """The ids that links name, in ascending order where all are whole numbers, else as they come first."""
    seen: dict[str, None] = {}
    for file in files:
        for end in _ends(file, columns, header):
            seen.setdefault(end)
    ids = list(seen)
    if all(id_.isascii() and id_.isdecimal() for id_ in ids):
        ids.sort(key=lambda id_: (int(id_), id_))
    for number, id_ in enumerate(ids):
        yield number + 1, Document(id_, id_, "")


def _ends(file: SourceFile, columns: list[str], header: bool) -> Iterator[str]:
    if file.name.endswith(".npz"):
        edges, _ = edges_of(read_arrays(file), file)
        yield from map(str, np.unique(edges[edges >= 0]).tolist())
        return
    for _, record in _records(file, columns, header):
        if not isinstance(record, Broken):
            yield from (record[end] for end in ("source", "target") if record[end])


def _edges(file: SourceFile, first: int, relation: str) -> Reading:
    edges: npt.NDArray[np.int64] = edges_of(read_arrays(file), file)[0][first : first + LINKS_OF_A_TASK]
    ends = edges.astype(str).tolist()
    for number, (source, target) in enumerate(ends, first + 1):
        yield number, Link(source, target, relation)


def _records(file: SourceFile, columns: list[str], header: bool) -> Records:
    """Records of a text file by its name: CSV, TSV, or fields between spaces."""
    plain = file.name.removesuffix(".gz")
    if plain.endswith(".csv"):
        found = delimited(file, "csv", columns)
    elif plain.endswith(".tsv"):
        found = delimited(file, "tsv", columns, quoted=False)
    else:
        found = _spaced(file, columns)
    for number, (position, record) in enumerate(found):
        first = record.content if isinstance(record, Broken) else str(record[columns[0]])
        if not (first.startswith(COMMENTS) or (header and number == 0)):
            yield position, record


def _spaced(file: SourceFile, columns: list[str]) -> Records:
    for line in lines(file):
        fields = line.text.split()
        if line.problem:
            yield line.number, line.broken()
        elif fields and not fields[0].startswith(COMMENTS):
            if len(fields) == len(columns):
                yield line.number, dict(zip(columns, fields, strict=True))
            else:
                yield line.number, Broken(f"{len(fields)} fields, {len(columns)} expected", line.text[:500])


def _link(record: Record, relation: str) -> Link:
    return Link(
        id_of(record, "source"),
        id_of(record, "target"),
        text_of(record, "relation", relation),
        weight_of(record, "weight") if "weight" in record else 1.0,
        time_of(record, "time"),
        split_of(record, "split"),
    )
