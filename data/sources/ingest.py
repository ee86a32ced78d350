"""A corpus to tables: readers run on many workers, then ids and links are resolved over all of it."""

import logging
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.partitions import read_batches
from data.progress import tracked
from data.sources import SourceConfig, read_tasks
from data.sources.features import write_features
from data.sources.landing import counts_path, land
from data.sources.live import read_changes
from data.sources.resolve import Resolution, strict_error
from data.sources.rows import TABLE_OF, ReadTask
from data.spread import Runner, on_ray

logger = logging.getLogger("catena")


def ingest(config: SourceConfig, out: Path, runner: Runner = on_ray) -> dict[str, Any]:
    """Read a corpus into the tables documents, links, queries, qrels and rejects.

    Every task runs on a worker, writes rows as it reads them and returns only counts. A task that finished before an
    interruption is not run again.

    Args:
        config: the corpus.
        out: the artifact's folder, on storage that all workers share.
        runner: spreads the work.

    Returns:
        Rows of each table, ``reject_reasons`` (their number by kind), ``duplicate_links`` and ``self_links`` that were
        removed, ``feature_dim`` (of the vectors of a graph's nodes, 0 where there are none), ``skipped`` (rows that the
        run's settings leave out, by kind), ``unknown_judged`` (judgments of documents that are not there),
        ``without_text`` (documents read that have only a title), ``live_writes`` (number of the last write to the live
        documents that is in the tables), ``notes`` (how files are read, where a user should
        know it).

    Raises:
        InputError: if the source cannot be read, has no documents, every record of a table lacks a column that it
            needs, or a row is rejected while ``strict`` is set.
    """
    tasks = read_tasks(config)
    landed = out / "landed"
    landed.mkdir(parents=True, exist_ok=True)
    skipped: Counter[str] = Counter()
    notes = list(dict.fromkeys(task.note for task in tasks if task.note))
    for note in notes:
        logger.warning("ingest: %s", note)
    done = _run(tasks, landed, config.strict, runner)
    for counts in done:
        if "first_reject" in counts:
            raise strict_error(counts["first_reject"])
        skipped.update(counts["skipped"])
    check_mapping(done)
    live = None if config.live is None else read_changes(config.live)
    result: dict[str, Any] = Resolution(
        landed, out, tasks, config.undirected, config.strict, config.self_links, live
    ).run()
    reasons = reject_reasons(out / "rejects")
    result["feature_dim"] = write_features(config.graph, result["documents"], out) if config.graph else 0
    if not result["documents"]:
        raise InputError(_no_documents(tasks, out / "rejects", result["rejects"]), "Give at least one document.")
    shutil.rmtree(landed)
    warn_of_rejects("ingest", reasons, out / "rejects")
    without_text = sum(counts["without_text"] for counts in done)
    if config.has_text and without_text and without_text == sum(counts["documents"] for counts in done):
        _refuse_empty_mapping(config, without_text)
        logger.warning("ingest: no document has a text, only titles; the run file maps the column of the text")
    elif config.has_text and without_text:
        logger.info("ingest: %s documents have a title and no text", f"{without_text:,}")
    result["live_writes"] = 0 if live is None else live.writes
    more = {"reject_reasons": reasons, "skipped": dict(skipped), "without_text": without_text, "notes": notes}
    return {**result, **more}


def _refuse_empty_mapping(config: SourceConfig, documents: int) -> None:
    """Refuse a text column that the run file names and no record has: titles alone would be indexed for a misspelling.

    Raises:
        InputError: naming the column.
    """
    mapped = config.files.documents if config.files is not None else None
    if mapped is not None and "text" in mapped.model_fields_set:
        raise InputError(
            f"{mapped.path}: none of {documents:,} records has a text in {mapped.text!r}, the column that the run file "
            "names",
            "Correct source.files.documents.text, or leave it out if the corpus has titles only.",
        )


def warn_of_rejects(stage: str, reasons: Mapping[str, int], folder: Path) -> None:
    """A line for each kind of rejected rows, and where they are.

    Args:
        stage: that has rejected them.
        reasons: their number by kind.
        folder: of the table of rejects.
    """
    for reason, count in reasons.items():
        rows = "row" if count == 1 else "rows"
        logger.warning("%s: %s %s rejected: %s", stage, f"{count:,}", rows, reason)
    if reasons:
        logger.warning("%s: they are in %s", stage, folder)


def check_mapping(counts: Sequence[Mapping[str, Any]], section: str = "source") -> None:
    """Check that the columns that the run file names exist.

    Args:
        counts: what ``land`` returned for every task of the corpus.
        section: of the run file that names the columns.

    Raises:
        InputError: if every record of a table lacks a column that it needs: the mapping is wrong, not the data.
    """
    for table in TABLE_OF.values():
        misfits = [of_task["misfits"][table] for of_task in counts if table in of_task["misfits"]]
        if misfits and not sum(of_task[table] for of_task in counts):
            raise InputError(
                f"no {table}: {sum(count for count, _ in misfits):,} records lack a column, the first: {misfits[0][1]}",
                f"Map the fields in the `{section}` section of the run file.",
            )


def _run(tasks: list[ReadTask], landed: Path, strict: bool, runner: Runner) -> list[dict[str, Any]]:
    """Counts of every task, those done before an interruption included."""
    left = [number for number in range(len(tasks)) if not counts_path(landed, number).exists()]
    done = [land(task, n, landed, strict) for n, task in enumerate(tasks) if counts_path(landed, n).exists()]

    def read(number: int) -> dict[str, Any] | InputError:
        try:
            return land(tasks[number], number, landed, strict)
        except InputError as error:  # returned, as Ray would wrap it in its own with a long traceback
            return error

    for counts in tracked(runner.run(left, lambda: read, "read"), "ingest", len(left), "tasks"):
        if isinstance(counts, InputError):
            raise counts
        done.append(counts)
    return done


def reject_reasons(rejects: Path) -> dict[str, int]:
    """How many rows were rejected for each kind of reason, most first; details of single rows are left out."""
    kinds: Counter[str] = Counter()
    for batch in read_batches(rejects, columns=["reason"]):
        kinds.update(
            re.sub(r"( at byte \d+| ['\"].*['\"]$|: .*)", "", reason) for reason in batch["reason"].to_pylist()
        )
    return dict(kinds.most_common())


def first_reject(rejects: Path, table: str | None = None) -> str:
    """The first rejected row, or the first that was meant for a table, as one line of text; empty where none is."""
    for batch in read_batches(rejects):
        for row in batch.to_pylist():
            if table in (None, row["table"]):
                return f"{row['source']}, {row['place']}: {row['reason']}"
    return ""


def _no_documents(tasks: list[ReadTask], rejects: Path, rejected: int) -> str:
    sources = ", ".join(dict.fromkeys(task.source for task in tasks))
    return f"no documents in {sources}" + (
        f"; {rejected} rejected, the first: {first_reject(rejects)}" if rejected else ""
    )
