"""Benchmarks: the rows of the figures tables, measured here and now."""

import importlib
import inspect
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from data.errors import InputError, nearest
from ray_apps.command import Command, Parser, positive
from ray_apps.tables import bench_rows

logger = logging.getLogger("catena")

MODULES = {
    "bundles": "benchmarks.bundles.suite",
    "embed": "benchmarks.embed.suite",
    "rank": "benchmarks.ranking.suite",
    "retrieval": "benchmarks.retrieval.suite",
    "serve": "benchmarks.serving.suite",
}
"""Modules whose name is not ``benchmarks.NAME``."""
CONTAINED = ("discovery", "evaluation", "reranking", "sampler", "typed", "workers")
"""Benchmarks that are parts of ``links`` or ``retrieval``, and not measured a second time where all are."""
BENCHMARKS = (
    "ablation",
    "bundles",
    "chunking",
    "discovery",
    "embed",
    "evaluation",
    "reranking",
    "retrieval",
    "links",
    "million",
    "rank",
    "sampler",
    "serve",
    "typed",
    "workers",
)
ON_REQUEST = ("ablation", "million")
"""Benchmarks that take a quarter of an hour and more, measured where they are named."""

SETTINGS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "corpora": (str, "names of run files, by commas (ablation)"),
    "seeds": (positive, "trainings of each kind (ablation, links)"),
    "parts": (
        str,
        "names of parts, by commas; all of them if left out (bundles, embed, links, rank, retrieval, serve)",
    ),
    "epochs": (positive, "most of a training (ablation)"),
    "documents": (positive, "of the large graph (million)"),
    "queries": (positive, "of the results (evaluation)"),
    "links": (positive, "of the large graph (million)"),
    "choices": (str, "names of choices, by commas (ablation)"),
}
"""Arguments of the benchmarks' own: what each is read as, and its help."""


def bench(name: str | None = None, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Measure one benchmark, or all of them one after another, and write its rows as Markdown.

    Args:
        name: one of ``BENCHMARKS``; all of them if left out.
        settings: arguments of the benchmark's ``measure``.

    Returns:
        ``rows``: each a ``benchmarks.rows.Row`` as JSON values; ``files``: the Markdown pages written;
        ``not_measured``: why a part has no rows, by its name.

    Raises:
        InputError: if there is no benchmark of that name, it does not take a setting, or nothing could be measured.
    """
    from benchmarks.rows import write_markdown

    if name is not None and name not in BENCHMARKS:
        raise InputError(f"unknown benchmark {name!r}; {nearest(name, BENCHMARKS)}", "`catena bench` measures all.")
    rows: list[dict[str, Any]] = []
    files: list[str] = []
    not_measured: dict[str, str] = {}
    every = [benchmark for benchmark in BENCHMARKS if benchmark not in (*CONTAINED, *ON_REQUEST)]
    for chosen in every if name is None else (name,):
        benchmark = importlib.import_module(MODULES.get(chosen, f"benchmarks.{chosen}"))
        _check(chosen, benchmark, settings)
        logger.info("bench %s: measuring", chosen)
        found = benchmark.measure(**settings)
        measured, missing = found if isinstance(found, tuple) else (found, {})
        if not measured:
            raise InputError(f"bench {chosen}: nothing was measured: {missing}", "Correct what the first part names.")
        page = "-".join([chosen, *settings.get("parts", "").split(",")]).strip("-")
        files.append(str(write_markdown(page, measured, missing)))
        not_measured |= missing
        rows += [row.model_dump(mode="json", exclude_none=True) for row in measured]
    return {"rows": rows, "files": files, "not_measured": not_measured}


def _check(name: str, benchmark: ModuleType, settings: Mapping[str, Any]) -> None:
    """Refuse a setting that a benchmark does not take."""
    takes = inspect.signature(benchmark.measure).parameters
    for key in settings:
        if key not in takes:
            listed = ", ".join(f"--{taken}" for taken in takes) or "no settings"
            raise InputError(f"bench {name} does not take --{key}; it takes {listed}", "Leave it out.")


def _given(arguments: Namespace) -> dict[str, Any]:
    """The settings among the words, those that were left out not."""
    return {key: vars(arguments)[key] for key in SETTINGS if vars(arguments)[key] is not None}


def _words(parser: Parser) -> None:
    listed = f"{', '.join(BENCHMARKS[:-1])} or {BENCHMARKS[-1]}; all of them if left out"
    parser.add_argument("name", nargs="?", metavar="NAME", help=listed)
    for key, (kind, what) in SETTINGS.items():
        parser.add_argument(f"--{key}", type=kind, help=what)


COMMAND = Command(
    name="bench",
    summary="measure Catena beside other tools, and write the tables of figures",
    unplanned=lambda arguments: bench(arguments.name, **_given(arguments)),
    words=_words,
    show=bench_rows,
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["bench", *sys.argv[1:]]))
