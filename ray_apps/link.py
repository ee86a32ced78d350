"""Links of a document that is not in the corpus, from its text and the links it brings."""

import sys
from argparse import Namespace
from typing import Any

from data.errors import InputError
from ray_apps.command import Command, Parser, positive
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from ray_apps.tables import proposals

NEW = "new document"


def link(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """The likeliest links of a text; the model is trained first where it is missing.

    Probabilities are calibrated where ``catena discover`` has run.

    Returns:
        ``run`` and ``proposals``, as of ``catena discover``.

    Raises:
        InputError: if there is neither text nor links, a link names an unknown document, or the run's links are typed.
    """
    from data.encoders import load_encoder
    from data.vectors.projection import PROJECTION, Projection, ReducedEncoder
    from discovery.predictor import links_of
    from discovery.unseen import NewDocument

    if plan.run.train.task == "typed":
        raise InputError(
            f"catena link: the model of {plan.run.name} is of typed links, and answers about their entities alone",
            "`catena discover RUN.yaml --document ID` proposes links of an entity.",
        )
    if arguments.text.strip() and not plan.run.source.has_text:
        raise InputError(
            f"catena link: {plan.run.name} is a graph without text, so its model cannot look at one",
            "Give the links that the new document brings, --link ID, and no --text.",
        )
    if not arguments.text.strip() and not arguments.link:
        raise InputError("catena link: the new document has neither text nor links", "Give --text, or --link ID.")
    new = NewDocument(arguments.id, arguments.title, arguments.text, tuple(arguments.link))
    train, graph = plan.bring("train"), plan.bring("graph")
    discovered = plan.artifact("discover")
    text = plan.run.source.has_text

    def encode(texts: list[str]) -> Any:  # noqa: ANN401 - vectors
        encoder, reduced = load_encoder(usable_encoder(plan)), plan.artifact(plan.vectors).path / PROJECTION
        if reduced.exists():  # the graph has smaller vectors
            encoder = ReducedEncoder(encoder, Projection.load(reduced))
        return encoder.encode(texts)

    (found,) = links_of(
        [new],
        graph.path,
        train.path,
        encode if text else None,
        discovered.path / "calibrator.json" if discovered.done else None,
        plan.bring(plan.documents).path / "documents" if text else None,
        arguments.top,
    )
    return {"run": plan.run.name, "proposals": found}


def _words(parser: Parser) -> None:
    parser.add_argument("--text", default="", help="of the new document")
    parser.add_argument("--title", default="", help="of the new document")
    parser.add_argument("--id", default=NEW, help=f"of the new document (default: {NEW!r})")
    parser.add_argument(
        "--link", action="append", default=[], metavar="ID", help="a document that it is linked with; may be repeated"
    )
    parser.add_argument("--top", type=positive, default=10, metavar="N", help="links wanted (default: 10)")


COMMAND = Command(
    name="link",
    summary="links of a document that is not in the corpus",
    call=link,
    words=_words,
    show=proposals,
    sections=("source", "encoder", "graph", "train"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["link", *sys.argv[1:]]))
