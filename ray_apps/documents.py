"""Documents of a service that runs: put, deleted, and counted."""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from data.errors import InputError
from ray_apps.command import Command, Parser
from ray_apps.live import FOLDED, live_folder
from ray_apps.plan import Plan
from ray_apps.remote import client_of, url_word


def put(arguments: argparse.Namespace) -> dict[str, Any]:
    """Put the documents of a file: in the place of those that have their ids, or new.

    Returns:
        ``url``, and what was done, as of ``Written``.

    Raises:
        InputError: if the file or a row of it is wrong, or the service refuses; what was sent before stays.
    """
    with client_of(arguments) as client:
        return {"url": arguments.url, **client.put_documents(_documents(arguments.file)).model_dump()}


def delete(arguments: argparse.Namespace) -> dict[str, Any]:
    """Delete documents; ids of the command line, else the lines of standard input.

    Returns:
        ``url``, and what was done, as of ``Written``.
    """
    ids = arguments.id or [line for line in sys.stdin.read().splitlines() if line.strip()]
    if not ids:
        raise InputError("catena documents delete: no id", "Give ids, or pipe lines into it.")
    with client_of(arguments) as client:
        return {"url": arguments.url, **client.delete_documents(ids).model_dump()}


def status(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """What was put and deleted while the run was served, and how much of it is not in its corpus yet.

    Returns:
        ``run``, ``put`` and ``deleted`` (ids), ``last_write``, ``in_corpus`` (the last write that is) and ``waiting``
        (ids that ``catena index`` would bring into it).
    """
    from data.sources.live import writes_of
    from serving.live_store import read_sources

    folder = live_folder(plan.run)
    folded = folder / FOLDED
    in_corpus = writes_of(folded) if folded.is_file() else 0
    counts = {"put": 0, "deleted": 0, "last_write": 0, "in_corpus": in_corpus, "waiting": 0}
    for number, _, document in read_sources(folder):
        counts["deleted" if document is None else "put"] += 1
        counts["waiting"] += number > in_corpus
        counts["last_write"] = number
    return {"run": plan.run.name, **counts}


def _documents(path: str) -> Iterator[dict[str, Any]]:
    """The documents of a file, as a run's ``source.files`` reads it: what is no id, title or text is metadata."""
    from data.sources.files import DocumentFiles, FilesSource
    from data.sources.rows import Document, Reject

    for task in FilesSource(documents=DocumentFiles(path=path)).tasks():
        for position, row in task.read():
            if isinstance(row, Reject):
                raise InputError(f"{task.source}, {task.unit} {position}: {row.reason}", "Correct it; put it again.")
            if isinstance(row, Document):
                yield {"id": row.id, "title": row.title, "text": row.text, "metadata": dict(row.metadata)}


def _put_words(parser: Parser) -> None:
    url_word(parser)
    parser.add_argument("file", metavar="FILE", help="JSON Lines, CSV, TSV or Parquet: id, title, text, and metadata")


def _delete_words(parser: Parser) -> None:
    url_word(parser)
    parser.add_argument("id", nargs="*", metavar="ID", help="of documents; lines of standard input where there is none")


COMMANDS = (
    Command(name="documents put", summary="put documents into a service that runs", unplanned=put, words=_put_words),
    Command(
        name="documents delete",
        summary="delete documents from a service that runs",
        unplanned=delete,
        words=_delete_words,
    ),
    Command(
        name="documents status",
        summary="what was put and deleted while a run was served",
        call=status,
        sections=("serve",),
    ),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["documents", *sys.argv[1:]]))
