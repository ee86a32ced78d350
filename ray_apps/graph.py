"""Split the known links for training, validation and test, and turn documents and links into a graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data import words
from data.artifacts import StageConfig, StageResult
from data.encoders.config import EncoderConfig
from data.encoders.files import contents
from data.errors import StageAbsent
from data.graph.split import SplitConfig
from data.lexical import Language
from data.schema import SPLITS
from ray_apps.encoder.finetune import finetuned_encoder, finetuned_needs
from ray_apps.ingest import INGEST
from ray_apps.plan import Inputs, Plan, Stage


class SplitResult(StageResult):
    """Documents, links, and the links in each part: ``data.schema.PARTS``."""

    documents: int
    links: int
    train: int
    valid: int
    test: int
    brought: int = 0
    unused: int = 0


class GraphStageConfig(StageConfig):
    """What decides the graph; the encoder of its texts, because one that has seen held-out links is refused."""

    language: Language
    encoder: EncoderConfig | None


class GraphResult(StageResult):
    """Figures of the graph of all known links."""

    nodes: int
    links: int
    degree_mean: float
    degree_median: float
    degree_max: int
    isolated: int
    components: int
    largest_component: int
    degree_histogram: dict[str, int]


SPREAD_FROM = 20_000  # documents; below, starting workers takes longer than they save


def many_documents(graph: GraphResult | Mapping[str, Any] | None) -> bool:
    """Whether work on all documents is worth being spread over a cluster; by what the graph stage measured."""
    nodes = 0 if graph is None else graph.nodes if isinstance(graph, GraphResult) else graph["nodes"]
    return int(nodes) >= SPREAD_FROM


def no_links(plan: Plan) -> StageAbsent | None:
    """Why no link model can be trained on the run's corpus, as far as it is known yet; None where one can.

    Known once the corpus is read, and once its links are split.
    """
    tables, split = plan.result(INGEST), plan.result(SPLIT)
    reason = None
    if tables is not None and not tables.links:
        reason = "The corpus has no links, so there is nothing to predict and nothing to train a link model on."
    elif split is not None and not (split.train and split.valid and split.test):
        empty = " and ".join(part for part in SPLITS if not getattr(split, part))
        reason = f"The corpus has too few links ({split.links}): none is left for {empty}, so no model is trained."
    if reason is None:
        return None
    return StageAbsent(reason, "Give the source a links table, or more links; search works without any.")


def _split(config: SplitConfig, inputs: Inputs, out: Path) -> SplitResult:
    from data.graph.split import write_split

    documents, links = inputs["documents"].path / "documents", inputs["tables"].path / "links"
    return SplitResult.model_validate(write_split(documents, links, config, out))


def _graph(config: GraphStageConfig, inputs: Inputs, out: Path) -> GraphResult:
    from data.graph.graph import build_bare_graph, build_graph

    documents, split = inputs["documents"].path / "documents", inputs["split"].path
    if config.encoder is None:
        made = build_bare_graph(split, inputs["features"].path, out)
    else:
        _refuse_seen_links(finetuned_encoder(config.encoder, inputs), documents, split)
        made = build_graph(documents, split, inputs["vectors"].path / "vectors", config.language, out)
    return GraphResult.model_validate(made)


def _graph_config(plan: Plan) -> GraphStageConfig:
    encoder = plan.encoder if plan.run.source.has_text else None
    return GraphStageConfig(language=plan.run.graph.language, encoder=encoder)


def _graph_needs(plan: Plan) -> dict[str, str]:
    vectors = {"vectors": plan.vectors} if plan.run.source.has_text else {"features": "ingest"}
    return {"documents": plan.documents, "split": "split", **vectors, **finetuned_needs(plan)}


def _refuse_seen_links(encoder: EncoderConfig, documents: Path, split: Path) -> None:
    """Refuse an encoder that was fine-tuned on links which this run holds out.

    Raises:
        InputError: naming the encoder and how many of the links it has seen.
    """
    from data.graph.split import linked_ids
    from training.encoders.examples import Corpus
    from training.encoders.seen import refuse_seen, seen_by

    if not seen_by(encoder):
        return
    held, trained = [*linked_ids(split, "valid"), *linked_ids(split, "test")], linked_ids(split, "train")
    texts = Corpus(documents, documents).texts(end for pair in (*held, *trained) for end in pair)

    def ends(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
        return [texts[source] for source, _ in pairs], [texts[target] for _, target in pairs]

    refuse_seen(encoder, ends(held), ends(trained))


SPLIT = Stage(
    name="split",
    result=SplitResult,
    config=lambda plan: plan.run.graph.held_out,
    make=_split,
    needs=lambda plan: {"documents": plan.documents, "tables": "ingest"},
)
GRAPH = Stage(
    name="graph",
    result=GraphResult,
    config=_graph_config,
    make=_graph,
    needs=_graph_needs,
    absent=no_links,
    version=3,
    stamps=lambda config: {"files": contents(config.encoder), "words": words.VERSION} if config.encoder else {},
)
