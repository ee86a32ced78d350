"""Search, embed and rerank by a service that runs elsewhere: ``--url``."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, get_args

from data.errors import InputError
from ray_apps.command import Command, Parser, positive
from ray_apps.tables import hits, table
from retrieval.config import Mode
from retrieval.filters import parse_words

if TYPE_CHECKING:
    from serving.client import Client

KEY = "CATENA_KEY"  # of the environment: a key on the command line would be in every list of processes


def search(arguments: argparse.Namespace) -> dict[str, Any]:
    """The best documents for a question.

    Returns:
        ``url``, ``query``, ``mode``, ``pipeline`` and ``hits``, as of ``catena search`` on a run; with ``--explain``
        each has its ``explanation``, and ``timing_ms`` is that of the answer.
    """
    given = {"pipeline": arguments.pipeline, "mode": arguments.mode, "top_k": arguments.top_k}
    asked = {name: value for name, value in given.items() if value is not None}
    filter_ = parse_words(arguments.filter).as_json()
    with client_of(arguments) as client:
        answer = client.search(arguments.query, **asked, filter=filter_, explain=arguments.explain)
    told = {"timing_ms": answer.timing_ms.model_dump()} if answer.timing_ms is not None else {}
    left_out = set() if arguments.explain else {"explanation"}
    found = [hit.model_dump(mode="json", exclude=left_out) for hit in answer.results]
    said = {"url": arguments.url, "query": answer.query, "mode": answer.mode, "pipeline": answer.pipeline}
    return {**said, **told, "hits": found}


def embed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Vectors of texts; those of the command line, else the lines of standard input.

    Returns:
        ``url``, ``dim`` and ``vectors``.
    """
    texts = arguments.text or [line for line in sys.stdin.read().splitlines() if line.strip()]
    if not texts:
        raise InputError("catena embed --url: no text", "Give texts, or pipe lines into it.")
    with client_of(arguments) as client:
        vectors = client.embed(texts, input_type=arguments.input_type, model=arguments.model)
    return {"url": arguments.url, "dim": vectors.shape[1], "vectors": vectors.tolist()}


def rerank(arguments: argparse.Namespace) -> dict[str, Any]:
    """Texts in the order in which they answer a question; those of the command line, else the lines of standard input.

    Returns:
        ``url``, ``model``, ``query`` and ``ranked``: each with ``index``, ``score``, ``truncated`` and ``text``.
    """
    texts = arguments.text or [line for line in sys.stdin.read().splitlines() if line.strip()]
    if not texts:
        raise InputError("catena rerank: no text", "Give texts after the question, or pipe lines into it.")
    with client_of(arguments) as client:
        answer = client.rerank(arguments.query, texts, top_n=arguments.top_n, model=arguments.model)
    ranked = [
        {"index": one.index, "score": one.relevance_score, "truncated": one.truncated, "text": texts[one.index]}
        for one in answer.results
    ]
    return {"url": arguments.url, "model": answer.model, "query": arguments.query, "ranked": ranked}


def client_of(arguments: argparse.Namespace) -> "Client":
    """A client of the service at ``--url``, with the key of the environment.

    Raises:
        InputError: if that is no address of a service.
    """
    from serving.client import Client

    url = str(arguments.url)
    if not url.startswith(("http://", "https://")):
        raise InputError(f"--url {url}: it begins with neither http:// nor https://", f"Write --url http://{url}.")
    if url.rstrip("/").endswith("/v1"):
        raise InputError(
            f"--url {url}: routes are put behind it", f"Write --url {url.rstrip('/').removesuffix('/v1')}."
        )
    return Client(url, os.environ.get(KEY))


def url_word(parser: Parser) -> None:
    """Where the service is."""
    parser.add_argument(
        "--url", required=True, help=f"of the service, such as http://127.0.0.1:8000; {KEY} holds its key"
    )


def _model_word(parser: Parser) -> None:
    parser.add_argument("--model", metavar="NAME", help="of those that the service has (default: the run's)")


def _search_words(parser: Parser) -> None:
    url_word(parser)
    parser.add_argument("query", metavar="QUERY", help="what to look for")
    parser.add_argument("--pipeline", metavar="NAME", help="way to search, as GET /v1/models names it")
    parser.add_argument("--top-k", type=positive, metavar="N", help="results wanted (default: the pipeline's)")
    parser.add_argument("--mode", choices=get_args(Mode), help="(default: the pipeline's)")
    parser.add_argument("--explain", action="store_true", help="say of each result why it was found")
    parser.add_argument("--filter", action="append", default=[], metavar="CONDITION", help="as of catena search")


def _embed_words(parser: Parser) -> None:
    url_word(parser)
    parser.add_argument("text", nargs="*", metavar="TEXT", help="texts; lines of standard input where there is none")
    _model_word(parser)
    parser.add_argument("--input-type", choices=("document", "query"), default="document", help="(default: document)")


def _rerank_words(parser: Parser) -> None:
    url_word(parser)
    parser.add_argument("query", metavar="QUERY", help="the question")
    parser.add_argument("text", nargs="*", metavar="TEXT", help="texts; lines of standard input where there is none")
    _model_word(parser)
    parser.add_argument("--top-n", type=positive, default=None, metavar="N", help="the best so many (default: all)")


def _show_vectors(result: Any) -> str:  # noqa: ANN401 - any JSON mapping
    return "\n".join(" ".join(f"{number:.6g}" for number in vector) for vector in result["vectors"])


def _show_ranked(result: Any) -> str:  # noqa: ANN401 - any JSON mapping
    rows = [[f"{one['score']:.4f}", str(one["index"]), one["text"]] for one in result["ranked"]]
    return table(["score", "place", "text"], rows)


SEARCH = Command(name="search", summary="search by a service", unplanned=search, words=_search_words, show=hits)
EMBED = Command(
    name="embed", summary="vectors of texts by a service", unplanned=embed, words=_embed_words, show=_show_vectors
)
COMMAND = Command(
    name="rerank",
    summary="texts in the order in which they answer a question, by a service (--url)",
    unplanned=rerank,
    words=_rerank_words,
    show=_show_ranked,
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["rerank", *sys.argv[1:]]))
