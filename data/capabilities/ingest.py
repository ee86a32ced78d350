"""A catalogue to tables: readers run on many workers, then ids are resolved over all of it."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.capabilities.tables import PLACE, Landed, in_cycles
from data.capabilities.traces import normalised
from data.errors import InputError
from data.ids import are_among, codes, first_of_each
from data.partitions import partition_name, write_partition
from data.sources.catalogue_source import CatalogueSource
from data.sources.ingest import check_mapping, first_reject, reject_reasons, warn_of_rejects
from data.sources.landing import CATALOGUE_SCHEMAS, land
from data.sources.resolve import strict_error
from data.sources.rows import ReadTask
from data.spread import Runner, on_ray


def ingest_catalogue(
    source: CatalogueSource, out: Path, runner: Runner = on_ray, further: Sequence[ReadTask] = ()
) -> dict[str, Any]:
    """Read a catalogue into the tables tools, capabilities, traces and rejects.

    A task that finished before an interruption is not run again.

    Args:
        source: where it is.
        out: the artifact's folder, on storage that all workers share.
        runner: spreads the work.
        further: tasks that read more traces, such as those that a service has kept.

    Returns:
        Rows of each table; ``groups``, capabilities that others name as their parent; ``reject_reasons``, their number
        by kind; ``intents``, those that differ in more than case and white space; ``without_propensities`` and
        ``without_outcome``, traces; ``unknown_shown`` and ``unknown_context``, members of lists that the catalogue does
        not have.

    Raises:
        InputError: if the source cannot be read, has no capability, every record of a table lacks a column, or a row is
            rejected while ``strict`` is set.
    """
    tasks = [*source.tasks(), *further]
    landed = out / "landed"
    landed.mkdir(parents=True, exist_ok=True)

    def read(number: int) -> dict[str, Any] | InputError:
        try:
            return land(tasks[number], number, landed, source.strict, CATALOGUE_SCHEMAS)
        except InputError as error:  # returned, as Ray would wrap it in its own with a long traceback
            return error

    done = []
    for counts in runner.run(range(len(tasks)), lambda: read, "read"):
        if isinstance(counts, InputError):
            raise counts
        if "first_reject" in counts:
            raise strict_error(counts["first_reject"], "catalogue.strict")
        done.append(counts)
    check_mapping(done, "catalogue")
    result = _Resolution(Landed(landed, tasks), out, source.strict).run()
    if source.strict and result["rejects"]:  # of tasks that a run that was not strict has finished
        raise strict_error(first_reject(out / "rejects"), "catalogue.strict")
    reasons = reject_reasons(out / "rejects")
    for table, what in (("tools", f"no tool in {', '.join(source.tool_paths())}"), ("capabilities", "no capability")):
        if not result[table]:
            first = first_reject(out / "rejects", table)
            told = f"; the first reject: {first}" if first else ""
            raise InputError(f"catalogue: {what}{told}", "Give at least one tool, or a capability of tools.")
    shutil.rmtree(landed)
    warn_of_rejects("catalogue", reasons, out / "rejects")
    return {**result, "reject_reasons": reasons}


class _Resolution:
    """Writes the final tables: ids that occur twice, and what names things that are not there, are rejected."""

    def __init__(self, landed: Landed, out: Path, strict: bool) -> None:
        self.landed, self.out, self.strict = landed, out, strict
        self.counts: Counter[str] = Counter()

    def run(self) -> dict[str, int]:
        tools = self._keep_first("tools")
        capabilities = self._capabilities(tools)
        self._traces(tools["id"], capabilities["id"])
        rejects = self.landed.rejects()
        _write(rejects, self.out / "rejects")
        self.counts["rejects"] = rejects.num_rows
        return dict(self.counts)

    def _keep_first(self, table: str) -> pa.Table:
        """The rows of a table, the first of each id, written."""
        rows = self.landed.read(table)
        kept = self._without(table, rows, ~first_of_each(codes(rows["id"])), "duplicate id", rows["id"])
        if table == "tools":
            self._write(table, kept)
        return kept

    def _capabilities(self, tools: pa.Table) -> pa.Table:
        """Those of known tools, whose parents are there and end somewhere; each tool by itself, where none is given."""
        rows = self._keep_first("capabilities") if self.landed.has("capabilities") else _each_tool(tools)
        if not self.landed.has("capabilities"):
            rows = rows.append_column(PLACE, pa.array(np.arange(rows.num_rows)))
        unknown = _any_of_each(rows["tools"], ~are_among(pc.list_flatten(rows["tools"]), tools["id"]))
        rows = self._without("capabilities", rows, unknown, "tools that are unknown", rows["tools"])
        looped = in_cycles(rows["id"].to_pylist(), rows["parent"].to_pylist())
        rows = self._without("capabilities", rows, looped, "it contains itself by its parents", rows["id"])
        before = -1
        while before != rows.num_rows:  # a group may be left out, and then those that are part of it
            before = rows.num_rows
            gone = ~are_among(rows["parent"], rows["id"]) & np.asarray(pc.is_valid(rows["parent"]))
            rows = self._without("capabilities", rows, gone, "parent that is unknown", rows["parent"])
            empty = np.asarray(pc.list_value_length(rows["tools"])) == 0
            empty &= ~are_among(rows["id"], rows["parent"])
            rows = self._without("capabilities", rows, empty, "no tools, and it is no group", rows["id"])
        self.counts["groups"] = len(pc.unique(rows["parent"].drop_null()))
        self._write("capabilities", rows)
        return rows

    def _traces(self, tools: pa.ChunkedArray, capabilities: pa.ChunkedArray) -> None:
        rows = self._keep_first("traces")
        unknown = ~are_among(rows["chosen"], capabilities)
        rows = self._without("traces", rows, unknown, "choice that is unknown", rows["chosen"])
        for name, known in (("shown", capabilities), ("context", tools)):
            flat = pc.list_flatten(rows[name])
            self.counts[f"unknown_{name}"] = int((~are_among(flat, known)).sum())
        self.counts["intents"] = len({normalised(intent) for intent in pc.unique(rows["intent"]).to_pylist()})
        self.counts["without_propensities"] = rows["propensities"].null_count
        told = pc.or_(pc.is_valid(rows["outcome"]), pc.is_valid(rows["rating"]))
        self.counts["without_outcome"] = rows.num_rows - (pc.sum(told).as_py() or 0)
        self._write("traces", rows)

    def _without(self, table: str, rows: pa.Table, bad: np.ndarray, reason: str, named: pa.ChunkedArray) -> pa.Table:
        """The rows that are not bad; the others are rejected."""
        if not bad.any():
            return rows
        bad_rows = pa.array(bad)
        reasons = [f"{reason}: {name!r}" for name in named.filter(bad_rows).to_pylist()]
        first = self.landed.reject(table, rows.filter(bad_rows), reasons)
        if self.strict:
            raise strict_error(first, "catalogue.strict")
        return rows.filter(pa.array(~bad))

    def _write(self, table: str, rows: pa.Table) -> None:
        self.counts[table] = rows.num_rows
        _write(rows.select(CATALOGUE_SCHEMAS[table].names), self.out / table)


def _each_tool(tools: pa.Table) -> pa.Table:
    """Each tool as a capability under its own id."""
    offsets = pa.array(np.arange(tools.num_rows + 1, dtype=np.int32))
    ids = tools["id"].combine_chunks()
    schema = CATALOGUE_SCHEMAS["capabilities"]
    none = pa.nulls(tools.num_rows, pa.string())
    empty = pa.array([""] * tools.num_rows, pa.string())
    return pa.Table.from_arrays([ids, empty, pa.ListArray.from_arrays(offsets, ids), none, none], schema=schema)


def _write(rows: pa.Table, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    write_partition(rows, folder / partition_name(0))


def _any_of_each(lists: pa.ChunkedArray, flags: np.ndarray) -> np.ndarray:
    """Bool (n,): whether any member of each list is flagged."""
    found = np.zeros(len(lists), bool)
    lengths = np.asarray(pc.list_value_length(lists), np.int64)
    found[np.repeat(np.arange(len(lists)), lengths)[flags]] = True
    return found
