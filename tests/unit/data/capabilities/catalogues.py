"""Small catalogues and traces, made by hand."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from data.capabilities.catalogue import Catalogue
from data.capabilities.traces import Traces
from data.schema import CAPABILITIES, TOOLS, TRACES


def catalogue_of(tools_of: Mapping[str, Sequence[str]], parents: Mapping[str, str] | None = None) -> Catalogue:
    """Capabilities of named tools; ``parents`` says which capability each is part of."""
    tools = sorted({tool for tools in tools_of.values() for tool in tools})
    rows = [
        {
            "id": id_,
            "description": f"what {id_} does",
            "tools": list(tools),
            "parent": (parents or {}).get(id_),
            "metadata": None,
        }
        for id_, tools in tools_of.items()
    ]
    named = [{"id": tool, "name": tool, "description": f"a {tool}", "schema": None} for tool in tools]
    return Catalogue.of_tables(pa.Table.from_pylist(named, TOOLS), pa.Table.from_pylist(rows, CAPABILITIES))


def trace(number: int, chosen: str, **given: Any) -> dict[str, Any]:  # noqa: ANN401 - columns of a trace
    """A row of a trace; ``time`` in seconds since 1970."""
    row: dict[str, Any] = {name: None for name in TRACES.names}
    row |= {"id": f"t{number}", "intent": f"intent {number}", "chosen": chosen}
    row |= {"context": [], "shown": [], "steps": []} | given
    if row["time"] is not None:
        row["time"] = datetime.fromtimestamp(row["time"], UTC)
    return row


def traces_of(catalogue: Catalogue, rows: Sequence[Mapping[str, Any]]) -> Traces:
    """Traces of rows as of ``trace``."""
    return Traces.of_table(pa.Table.from_pylist([dict(row) for row in rows], TRACES), catalogue)
