"""Ask the run's index from this process: no cluster, no service."""

import sys
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

from data.errors import InputError
from ray_apps import remote
from ray_apps.command import Command, Parser, positive
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from ray_apps.tables import hits
from retrieval.config import Mode
from retrieval.filters import parse_words

if TYPE_CHECKING:
    from retrieval.explain import Explained


def search(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """The best documents for a question; the index is built first where it is missing.

    Returns:
        ``run``, ``query``, ``mode`` and ``hits``: each with ``document_id``, ``passage_id``, ``title``, ``text``,
        ``start``, ``end``, ``score`` and ``metadata``; with ``--explain`` each has its ``explanation``, and ``trust``
        says why the lists weigh what they do.

    Raises:
        InputError: if the question is blank, another encoder built the index, or the filter names an unknown key.
    """
    from retrieval.search import open_retriever

    query, mode = arguments.query, arguments.mode
    if not query.strip():
        raise InputError(f"catena search: the query {query!r} is blank", "Give some words to look for.")
    filter_ = parse_words(arguments.filter)
    retriever = open_retriever(plan.bring("index").path, None if mode == "bm25" else usable_encoder(plan))
    said = {"run": plan.run.name, "query": query, "mode": mode}
    if not arguments.explain:
        (found,) = retriever.search([query], mode, arguments.top_k, filter_)
        return {**said, "hits": [asdict(hit) for hit in found]}
    from retrieval.explain import explain
    from retrieval.search import SearchQuery

    vectors, tokens = retriever.encoded([query], mode)
    asked = SearchQuery(query, mode, arguments.top_k, filter_)
    reasons = explain(retriever, asked, vectors[0], None if tokens is None else tokens[0])
    trust = retriever.meta.trust
    told = {"trust": None if trust is None else trust.model_dump()}
    return {**said, **told, "hits": [{**asdict(one.hit), "explanation": _why(one)} for one in reasons]}


def _why(reason: "Explained") -> dict[str, Any]:
    lists = [asdict(place) for place in reason.lists]
    return {"lists": lists, "matched_words": [asdict(word) for word in reason.words], "ranker_score": None}


def _words(parser: Parser) -> None:
    parser.add_argument("query", metavar="QUERY", help="what to look for")
    parser.add_argument("--top-k", type=positive, default=10, metavar="N", help="results wanted (default: 10)")
    parser.add_argument("--mode", choices=get_args(Mode), default="hybrid", help="(default: hybrid)")
    parser.add_argument("--explain", action="store_true", help="say of each result why it was found")
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="CONDITION",
        help="what metadata must be; several must all hold, but a key may be given several values: lang=en, year>=1990 "
        "(also > < <=), author.name=Ann, tags (any value), and with ! before it, that it must not be",
    )


COMMAND = Command(
    name="search",
    summary="search the index, without a service; with --url, by one",
    call=search,
    words=_words,
    show=hits,
    sections=("source", "encoder", "index", "cache"),
    remote=remote.SEARCH,
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["search", *sys.argv[1:]]))
