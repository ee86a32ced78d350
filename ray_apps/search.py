"""Ask the run's index from this process: no cluster, no service."""

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any, get_args

from data.errors import InputError
from ray_apps import remote
from ray_apps.command import Command, Parser, positive
from ray_apps.encoder.check import usable_encoder
from ray_apps.pipelines import named_pipeline, open_pipelines, pipeline_needs
from ray_apps.plan import Plan
from ray_apps.tables import hits
from retrieval.config import Mode
from retrieval.filters import parse_words
from retrieval.steps import DEFAULT, mode_of

if TYPE_CHECKING:
    from retrieval.hits import SearchHit


def search(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """The best documents for a question; the index is built first where it is missing.

    Returns:
        ``run``, ``query``, ``pipeline`` and ``hits``: each with ``document_id``, ``passage_id``, ``title``, ``text``,
        ``start``, ``end``, ``score`` and ``metadata``; with ``--explain`` each has its ``explanation``, and ``trust``
        says why the lists weigh what they do.

    Raises:
        InputError: if the question is blank, there is no such pipeline or it needs what is not there, another encoder
            built the index, or the filter names an unknown key.
    """
    from retrieval.search import open_retriever

    query, name = arguments.query, arguments.pipeline or arguments.mode or DEFAULT
    if not query.strip():
        raise InputError(f"catena search: the query {query!r} is blank", "Give some words to look for.")
    if arguments.pipeline and arguments.mode:
        raise InputError(
            "catena search: --mode and --pipeline are both given", "A mode is a pipeline too: name one of them."
        )
    filter_ = parse_words(arguments.filter)
    steps = named_pipeline(plan.run, name)
    inputs = {what: plan.bring(stage) for what, stage in pipeline_needs(plan, {name: steps}).items()}
    index = plan.bring("index").path
    retriever = open_retriever(index, None if mode_of(steps) == "bm25" else usable_encoder(plan))
    searching = open_pipelines(retriever, {name: steps}, plan.run.cross_encoder, inputs)
    said = {"run": plan.run.name, "query": query, "pipeline": name}
    if not arguments.explain:
        (found,) = searching.search([query], name, arguments.top_k, filter_)
        return {**said, "hits": [_hit(hit) for hit in found]}
    from retrieval.explain import reasons

    trust = retriever.meta.trust
    told = {"trust": None if trust is None else trust.model_dump()}
    hits = [
        {**_hit(one.hit), "explanation": reasons(one.hit, one.words, one.effects)}
        for one in searching.explain(query, name, arguments.top_k, filter_)
    ]
    return {**said, **told, "hits": hits}


def _hit(hit: "SearchHit") -> dict[str, Any]:
    return {name: value for name, value in vars(hit).items() if name != "trail"}


def _words(parser: Parser) -> None:
    parser.add_argument("query", metavar="QUERY", help="what to look for")
    parser.add_argument("--top-k", type=positive, default=10, metavar="N", help="results wanted (default: 10)")
    parser.add_argument("--mode", choices=get_args(Mode), help="the pipeline of that name")
    parser.add_argument(
        "--pipeline", metavar="NAME", help="way to search: a mode, or one of `pipelines` (default: default)"
    )
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
    sections=("source", "encoder", "index", "pipelines", "ranker", "cache"),
    remote=remote.SEARCH,
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["search", *sys.argv[1:]]))
