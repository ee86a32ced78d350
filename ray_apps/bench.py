"""Benchmarks: the rows of the figures tables, measured here and now."""

import importlib
import logging
import sys
from typing import Any

from data.errors import InputError, nearest
from ray_apps.command import Command, Parser
from ray_apps.tables import bench_rows

logger = logging.getLogger("catena")

BENCHMARKS = ("chunking", "discovery", "embed", "retrieval", "links", "million", "sampler", "serve", "typed", "workers")
ON_REQUEST = frozenset({"million"})  # takes half an hour


def bench(name: str | None = None) -> dict[str, Any]:
    """Measure one benchmark, or all of them one after another, and write its rows as Markdown.

    Args:
        name: one of ``BENCHMARKS``; all of them if left out.

    Returns:
        ``rows``: each a ``benchmarks.rows.Row`` as JSON values; ``files``: the Markdown pages written;
        ``not_measured``: why a part of ``embed`` has no rows, by its name.

    Raises:
        InputError: if there is no benchmark of that name, or nothing of one could be measured.
    """
    from benchmarks.rows import write_markdown

    if name is not None and name not in BENCHMARKS:
        raise InputError(f"unknown benchmark {name!r}; {nearest(name, BENCHMARKS)}", "`catena bench` measures all.")
    rows: list[dict[str, Any]] = []
    files: list[str] = []
    not_measured: dict[str, str] = {}
    for chosen in [one for one in BENCHMARKS if one not in ON_REQUEST] if name is None else [name]:
        logger.info("bench %s: measuring", chosen)
        benchmark = importlib.import_module("benchmarks.embed.suite" if chosen == "embed" else f"benchmarks.{chosen}")
        measured, missing = benchmark.measure_parts() if chosen == "embed" else (benchmark.measure(), {})
        if not measured:
            raise InputError(f"bench {chosen}: nothing was measured: {missing}", "Correct what the first part names.")
        files.append(str(write_markdown(chosen, measured, missing)))
        not_measured |= missing
        rows += [row.model_dump(mode="json", exclude_none=True) for row in measured]
    return {"rows": rows, "files": files, "not_measured": not_measured}


def _words(parser: Parser) -> None:
    listed = f"{', '.join(BENCHMARKS[:-1])} or {BENCHMARKS[-1]}; all of them if left out"
    parser.add_argument("name", nargs="?", metavar="NAME", help=listed)


COMMAND = Command(
    name="bench",
    summary="measure Catena beside other tools, and write the tables of figures",
    unplanned=lambda arguments: bench(arguments.name),
    words=_words,
    show=bench_rows,
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["bench", *sys.argv[1:]]))
