"""Ask the run's index from this process: no cluster, no service."""

import sys
from dataclasses import asdict
from typing import Any

from data.errors import InputError
from ray_apps.config import RunConfig
from ray_apps.encoder.check import usable_encoder
from ray_apps.index import index
from retrieval.config import Mode
from retrieval.filters import Filter
from retrieval.search import open_retriever


def search(
    run: RunConfig, query: str, top_k: int = 10, mode: Mode = "hybrid", filter: Filter | None = None
) -> dict[str, Any]:
    """The best documents for a question; the index is built first where it is missing.

    Returns:
        ``run``, ``query``, ``mode`` and ``hits``: each with ``document_id``, ``passage_id``, ``title``, ``text``,
        ``start``, ``end``, ``score`` and ``metadata``.

    Raises:
        InputError: if the question is blank, another encoder built the index, or the filter names an unknown key.
    """
    if not query.strip():
        raise InputError(f"catena search: the query {query!r} is blank", "Say what to look for.")
    retriever = open_retriever(index(run).path, None if mode == "bm25" else usable_encoder(run))
    (hits,) = retriever.search([query], mode, top_k, filter)
    return {"run": run.name, "query": query, "mode": mode, "hits": [asdict(hit) for hit in hits]}


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["search", *sys.argv[1:]]))
