"""A catalogue in memory: tools, capabilities, and which uses which, as arrays.

Shapes: T tools, C capabilities, M uses of a tool by a capability.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data.graph.graph import Graph
from data.ids import numbers_of
from data.partitions import read_table

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Catalogue:
    """Tools and capabilities by number.

    Attributes:
        tools: ids of the tools.
        tool_texts: name and description of each.
        capabilities: ids of the capabilities.
        texts: description of each, and of its tools where it has none or it has several.
        metadata: JSON of each, None where it has none.
        indptr: int64 (C + 1,), where the tools of each capability begin in ``members``.
        members: int64 (M,), numbers of tools.
        parent: int64 (C,), number of the capability whose part it is; -1 where it is in no group.
    """

    tools: list[str]
    tool_texts: list[str]
    capabilities: list[str]
    texts: list[str]
    metadata: list[str | None]
    indptr: Numbers
    members: Numbers
    parent: Numbers

    @classmethod
    def open(cls, folder: Path) -> "Catalogue":
        """Read what ``ingest_catalogue`` wrote."""
        return cls.of_tables(read_table(folder / "tools"), read_table(folder / "capabilities"))

    @classmethod
    def of_tables(cls, tools: pa.Table, capabilities: pa.Table) -> "Catalogue":
        """Of resolved tables: every tool that a capability names is there, and every parent."""
        ids, own = tools["id"].to_pylist(), capabilities["id"].to_pylist()
        named = zip(tools["name"].to_pylist(), tools["description"].to_pylist(), strict=True)
        texts = [f"{name}\n{description}".strip() for name, description in named]
        lengths = np.asarray(pc.list_value_length(capabilities["tools"]), np.int64)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        members = numbers_of(pc.list_flatten(capabilities["tools"]), tools["id"])
        parent = numbers_of(capabilities["parent"], capabilities["id"])
        descriptions = capabilities["description"].to_pylist()
        full = [_text(own, texts, members[indptr[n] : indptr[n + 1]]) for n, own in enumerate(descriptions)]
        return cls(ids, texts, own, full, capabilities["metadata"].to_pylist(), indptr, members, parent)

    def __len__(self) -> int:
        """Capabilities, groups included."""
        return len(self.capabilities)

    @cached_property
    def can_run(self) -> npt.NDArray[np.bool_]:
        """Bool (C,): which have tools of their own; a group without any is never ranked."""
        return np.diff(self.indptr) > 0

    @cached_property
    def users(self) -> Numbers:
        """int64 (M,): the capability of each of ``members``."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def number_of(self) -> dict[str, int]:
        """Numbers of capabilities by their ids."""
        return {id_: number for number, id_ in enumerate(self.capabilities)}

    def graph(self) -> Graph:
        """Tools, then capabilities, joined where one uses the other or is part of it: nodes 0 to T + C - 1."""
        children = np.flatnonzero(self.parent >= 0)
        first = np.concatenate([self.members, len(self.tools) + self.parent[children]])
        second = len(self.tools) + np.concatenate([self.users, children])
        return Graph.from_pairs(first, second, len(self.tools) + len(self))


def _text(description: str, tool_texts: Sequence[str], members: Numbers) -> str:
    """What a capability is embedded by: its description; and its tools, where it has several or says nothing itself."""
    if description.strip() and len(members) < 2:
        return description
    parts = [description, *(tool_texts[number] for number in members)]
    return "\n\n".join(part for part in parts if part.strip())
