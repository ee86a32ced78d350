"""Propose the links that are missing, best first."""

import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from data.artifacts import StageConfig, StageResult
from data.errors import InputError
from discovery.config import DiscoverConfig
from ray_apps.command import Command, Parser, positive
from ray_apps.graph import GRAPH, many_documents, no_links
from ray_apps.plan import Inputs, Plan, Stage
from ray_apps.report import report_folder, write_run_report
from ray_apps.tables import proposals


class DiscoverResult(StageResult):
    """Candidates, how many hidden links are among them, how well probabilities hold, and proposals kept."""

    candidates: int
    candidates_by_source: dict[str, int]
    hidden_links_found: dict[str, float | None]
    kept: int
    calibration: dict[str, Any]


class DiscoverStageConfig(StageConfig):
    """What decides the proposals; ``texts``: whether documents have any."""

    discover: DiscoverConfig
    judgements: list[str]
    texts: bool


def _config(plan: Plan) -> DiscoverStageConfig:
    source = plan.run.source
    return DiscoverStageConfig(discover=plan.run.discover, judgements=source.judgements, texts=source.has_text)


def _discover(config: DiscoverStageConfig, inputs: Inputs, out: Path) -> DiscoverResult:
    from data.graph.graph import load_graph
    from data.sources.judgements import judged_not
    from data.spread import here, on_ray
    from discovery.discover import discover as propose
    from discovery.discover import nodes_of
    from discovery.shards import Source
    from training.links.scoring import LinkScorer
    from training.typed.model import is_typed
    from training.typed.scoring import WEIGHTS, TypedScorer

    graph, train = inputs["graph"].path, inputs["train"].path
    scorer = TypedScorer if is_typed(train / WEIGHTS) else LinkScorer
    source = Source(partial(load_graph, graph), partial(scorer.load, train, graph))
    made = propose(
        source,
        config.discover,
        out,
        inputs["documents"].path / "documents" if config.texts else None,
        on_ray if many_documents(inputs["graph"].result) else here,
        nodes_of(load_graph(graph), list(judged_not(config.judgements))),
    )
    return DiscoverResult.model_validate(made)


def discover(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Ranked proposals with probability and reason; the report, where there is one, is written again with them.

    Raises:
        InputError: if the corpus has too few links to learn from, or no document of the id that is asked for.
    """
    from discovery.proposals import read_best

    made = plan.bring("discover")
    if report_folder(plan.run).is_dir():
        write_run_report(plan)
    if arguments.document is None:
        best = read_best(made.path / "links", arguments.top)
    else:
        best = _of_document(plan, made.path / "documents", arguments.document)[: arguments.top]
    return {"run": plan.run.name, "discover": made.result, "artifact": str(made.path), "proposals": best}


def _of_document(plan: Plan, table: Path, document: str) -> list[dict[str, Any]]:
    from data.graph.graph import load_graph
    from discovery.by_document import proposals_of

    if not table.is_dir():
        raise InputError("discover.per_document is 0: nothing is kept for single documents", "Set it to 5.")
    texts = plan.artifact(plan.documents).path / "documents" if plan.run.source.has_text else None
    return proposals_of(load_graph(plan.artifact("graph").path), table, document, texts)


def _words(parser: Parser) -> None:
    parser.add_argument("--top", type=positive, default=20, metavar="N", help="links to print (default: 20)")
    parser.add_argument("--document", metavar="ID", help="print the best links of this document, whatever its rank")


DISCOVER = Stage(
    name="discover",
    result=DiscoverResult,
    config=_config,
    make=_discover,
    needs=lambda plan: {"documents": plan.documents, "graph": "graph", "train": "train"},
    absent=no_links,
    on_ray=lambda plan: many_documents(plan.result(GRAPH)),
    version=2,
)
COMMAND = Command(
    name="discover",
    summary="propose the links that are missing, best first",
    call=discover,
    words=_words,
    show=proposals,
    sections=("source", "encoder", "embed", "graph", "train", "discover"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["discover", *sys.argv[1:]]))
