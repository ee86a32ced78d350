"""Rank capabilities for an intent from this process, without a service; with ``--url``, by one."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from ray_apps.command import Command, Parser, positive
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from ray_apps.remote import client_of, url_word
from ray_apps.served_capabilities import REMEDY, capability_artifacts
from ray_apps.tables import capabilities
from retrieval.filters import parse_words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.encoders.protocol import Encoder
    from serving.schemas.rank import RankRequest, RankResponse

EXPLORE = ("none", "epsilon", "thompson")


def rank(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """The best capabilities for an intent, by what the run learned last or ``serve.capability_model`` names.

    Returns:
        ``run``, ``intent``, and the fields of the answer of ``/v1/rank`` but its request's id.

    Raises:
        InputError: if nothing was learned yet, or the filter is wrong.
    """
    from data.encoders import load_encoder
    from serving.admission import Admission
    from serving.errors import ApiError
    from serving.open_capabilities import FeatureStores, open_capabilities

    artifacts = capability_artifacts(plan)
    if artifacts is None:
        raise InputError(f"{plan.run.name}: no ranker of capabilities was learned", REMEDY)
    run, encoder = plan.run, load_encoder(usable_encoder(plan))
    asked = {} if arguments.explore is None else {"explore": arguments.explore}  # says which features are opened
    config, folder = run.serve.rank.model_copy(update=asked), run.workspace.resolve() / "features" / run.name
    stores = FeatureStores(config, run.cache.in_workspace(run.workspace), folder)
    service = open_capabilities(artifacts, encoder.fingerprint, _Here(encoder), stores, Admission(60.0, 1))
    try:
        answer = asyncio.run(service.rank(_request(arguments)))
    except ApiError as error:
        raise InputError(f"catena rank: {error.message}", "`catena rank --help` shows the words.") from None
    finally:
        service.close()
    return {"run": run.name, **_told(arguments, answer)}


def ask(arguments: argparse.Namespace) -> dict[str, Any]:
    """The same by the service at ``--url``.

    Returns:
        ``url``, ``intent``, and the fields of the answer.
    """
    given = _request(arguments).model_dump(mode="json", exclude={"intent"}, exclude_none=True)
    with client_of(arguments) as client:
        answer = client.rank(arguments.intent, **given)
    return {"url": arguments.url, "request_id": answer.request_id, **_told(arguments, answer)}


class _Here:
    """The run's encoder in this process, as services ask theirs."""

    cache_degraded = False

    def __init__(self, encoder: "Encoder") -> None:
        self._encoder = encoder

    async def encode(self, text: str) -> "npt.NDArray[np.float32]":
        """As of ``IntentEncoder``."""
        vector: npt.NDArray[np.float32] = self._encoder.encode_queries([text])[0]
        return vector


def _request(arguments: argparse.Namespace) -> "RankRequest":
    """What the words ask for.

    Raises:
        InputError: if it is not what ``/v1/rank`` takes.
    """
    from pydantic import ValidationError

    from serving.schemas.rank import RankRequest

    given = {"context": _ids(arguments.context), "candidates": _ids(arguments.candidates) or None}
    named = {name: getattr(arguments, name) for name in ("intent", "top_k", "min_score", "explain", "explore")}
    boosts = dict(_boost(word) for word in arguments.boost)
    try:
        return RankRequest(**named, **given, boosts=boosts, filter=parse_words(arguments.filter).as_json())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"catena rank: {where}: {first['msg']}", "`catena rank --help` shows the words.") from None


def _told(arguments: argparse.Namespace, answer: "RankResponse") -> dict[str, Any]:
    told = answer.model_dump(mode="json", exclude={"request_id"})
    return {"intent": arguments.intent, **told}


def _ids(words: Sequence[str]) -> list[str]:
    """Ids, of which a word may name several with commas between them."""
    return [id_.strip() for word in words for id_ in word.split(",") if id_.strip()]


def _boost(word: str) -> tuple[str, float]:
    id_, _, factor = word.rpartition("=")
    try:
        return id_, float(factor)
    except ValueError:
        raise InputError(f"catena rank: --boost {word}", "Write --boost ID=FACTOR, such as tables=2.") from None


def _share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _words(parser: Parser) -> None:
    parser.add_argument("intent", metavar="INTENT", help="what is wanted, in words")
    parser.add_argument("--top-k", type=positive, default=10, metavar="N", help="capabilities wanted (default: 10)")
    parser.add_argument(
        "--context", action="append", default=[], metavar="A,B", help="ids of tools that are at hand or have just run"
    )
    parser.add_argument(
        "--candidates", action="append", default=[], metavar="A,B", help="ids that may be shown (default: all)"
    )
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="CONDITION",
        help="what the capabilities' metadata must be, as of catena search",
    )
    parser.add_argument(
        "--boost", action="append", default=[], metavar="ID=FACTOR", help="multiply the odds of a capability"
    )
    parser.add_argument("--min-score", type=_share, metavar="P", help="least probability of success, before boosts")
    parser.add_argument("--explain", action="store_true", help="say of each what its score is made of")
    parser.add_argument(
        "--explore", choices=EXPLORE, help="how the order is drawn (default: serve.rank.explore, or the service's)"
    )


def _remote_words(parser: Parser) -> None:
    url_word(parser)
    _words(parser)


COMMAND = Command(
    name="rank",
    summary="capabilities that serve an intent, the best first; with --url, by a service",
    call=rank,
    words=_words,
    show=capabilities,
    sections=("catalogue", "encoder", "serve"),
    remote=Command(
        name="rank",
        summary="capabilities for an intent by a service",
        unplanned=ask,
        words=_remote_words,
        show=capabilities,
    ),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["rank", *sys.argv[1:]]))
