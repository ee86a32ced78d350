"""Judge search and the link model against their baselines, and write the report."""

import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data.artifacts import Artifact, StageConfig, StageResult
from data.encoders.config import EncoderConfig
from data.encoders.files import contents
from data.errors import StageAbsent
from evaluation.config import LinkJudging, SearchJudging
from ray_apps.command import Command
from ray_apps.corpora import evaluation_text, over_corpora
from ray_apps.encoder.check import encoder_needs, encoder_permits, ready_encoder
from ray_apps.graph import GRAPH, many_documents, no_links
from ray_apps.ingest import INGEST
from ray_apps.pipelines import open_pipelines, pipeline_needs, pipeline_stamps, pipelines_of, ranker_folders
from ray_apps.plan import Inputs, Plan, Stage
from ray_apps.report import write_run_report
from ray_apps.summary import summary
from retrieval.steps import DEFAULT, RERANKED, OneStep, Step

if TYPE_CHECKING:
    from data.graph.graph import GraphArtifact
    from evaluation.link_figures import Judged
    from evaluation.link_questions import LinkQuestions
    from evaluation.links import LinkScores

    MakeScores = Callable[[], LinkScores]

logger = logging.getLogger("catena")

WALKED_UP_TO = 200_000  # documents
REMEMBERED = 200_000  # questions whose vectors are kept from one pipeline to the next: 400 MB of 384 dimensions
STAGES = ("evaluate_search", "evaluate_links")


class SearchStageConfig(StageConfig):
    """What decides the figures of search."""

    judging: SearchJudging
    encoder: EncoderConfig
    pipelines: dict[str, tuple[OneStep, ...]]
    ranker: str | None = None

    def identity(self) -> dict[str, Any]:
        """Leaves out what there is none of."""
        return {name: value for name, value in super().identity().items() if value is not None}


class LinkStageConfig(StageConfig):
    """What decides the figures of link prediction."""

    judging: LinkJudging
    ablation: bool
    task: Literal["links", "typed"] = "links"


class JudgedResult(StageResult):
    """Figures by method, and what they were measured on."""

    figures: dict[str, dict[str, float]]
    details: dict[str, Any]


def no_questions(plan: Plan) -> StageAbsent | None:
    """Why search cannot be evaluated on the run's corpus; None where it can, or the corpus has not been read yet."""
    tables = plan.result(INGEST)
    if tables is None:
        return None
    reason = "The corpus has no questions with known answers (queries and qrels), so search was not evaluated."
    if tables.queries and tables.qrels:
        from evaluation.questions import has_answers

        if has_answers(plan.artifact("ingest").path):
            return None
        reason = "None of the corpus's questions has a relevant document, so search was not evaluated."
    return StageAbsent(reason, "Give the source queries and qrels that judge documents relevant; search needs none.")


def _search_config(plan: Plan) -> SearchStageConfig:
    return SearchStageConfig(
        judging=plan.run.evaluate.search,
        encoder=plan.encoder,
        pipelines=_judged(plan),
        ranker=plan.run.cross_encoder,
    )


def _judged(plan: Plan) -> dict[str, tuple[Step, ...]]:
    """Pipelines by name, the default one once."""
    own = plan.run.pipelines
    return {name: steps for name, steps in pipelines_of(plan.run).items() if name in own or name != DEFAULT}


def _search_stamps(config: SearchStageConfig) -> Mapping[str, Any]:
    """Digests of models and of the user's code: what is trained in the run is an input of its own."""
    return {"files": contents(config.encoder), **pipeline_stamps(config.pipelines, config.ranker)}


def _search_needs(plan: Plan) -> Mapping[str, str]:
    needs = {"documents": plan.documents, "tables": "ingest", "index": "index"}
    return {**needs, **encoder_needs(plan), **pipeline_needs(plan, _judged(plan))}


def _judge_search(config: SearchStageConfig, inputs: Inputs, out: Path) -> JudgedResult:
    from data.cache.encoder import remembered
    from data.partitions import read_qrels, read_table
    from evaluation.questions import unknown_documents
    from evaluation.retrieval import evaluate_retrieval
    from retrieval.search import open_retriever

    tables = inputs["tables"].path
    queries, qrels = read_table(tables / "queries", columns=["id", "text"]), read_qrels(tables / "qrels")
    asked = dict(zip(queries["id"].to_pylist(), queries["text"].to_pylist(), strict=True))
    encoder = ready_encoder(config.encoder, inputs)
    unknown = unknown_documents(qrels, inputs["documents"].path / "documents")
    if unknown["documents"]:
        logger.warning(
            "evaluate: %d of the judged documents are not in the corpus (%s; judgements of them: %d): "
            "they count as not found",
            unknown["documents"],
            ", ".join(unknown["examples"]),
            unknown["judgements"],
        )
    rankers = ranker_folders(config.pipelines, config.ranker, inputs)
    seen = _seen_questions(encoder, inputs["documents"].path / "documents", asked, qrels, rankers)
    if seen:
        asked = {q: text for q, text in asked.items() if q not in seen}
        qrels = {q: grades for q, grades in qrels.items() if q not in seen}
        logger.info("evaluate: %d questions are left out: a model was fine-tuned on answers to them", len(seen))
        if not any(grade > 0 for q in asked for grade in qrels.get(q, {}).values()):
            raise StageAbsent(
                "A model was fine-tuned on answers to all of the corpus's questions, so search was not evaluated.",
                "Evaluate it by other questions: a source whose qrels it was not fine-tuned on.",
            )
    retriever = open_retriever(inputs["index"].path, encoder)
    encode = None
    if retriever.encoder is not None and len(asked) <= REMEMBERED:
        retriever.encoder = remembered(retriever.encoder, len(asked))
        encode = retriever.encoder.encode_queries
    try:
        search = open_pipelines(retriever, config.pipelines, config.ranker, inputs).search
        default = DEFAULT if DEFAULT in config.pipelines else "hybrid"
        figures, details = evaluate_retrieval(
            search, asked, qrels, config.judging, tuple(config.pipelines), default, encode
        )
    finally:
        retriever.index.close()
    if RERANKED in config.pipelines:
        logger.info("evaluate: %s", _reranked(details, figures))
    return JudgedResult(figures=figures, details={**details, "seen_questions": len(seen), "unknown_documents": unknown})


def _reranked(details: Mapping[str, Any], figures: Mapping[str, Mapping[str, float]]) -> str:
    """The cross-encoder beside hybrid search in a sentence, by the metric that decides."""
    metric, both = details["metric"], {"hybrid", RERANKED}
    before, after = figures["hybrid"][metric], figures[RERANKED][metric]
    change = f"{after / before - 1:+.1%}" if before else "from nothing"
    rows = (row for row in details["comparisons"] if row["metric"] == metric and {row["a"], row["b"]} == both)
    return f"{metric} {after:.4f} reranked, {before:.4f} hybrid: {change}, p = {next(rows)['p_value']:.4f}"


def _seen_questions(
    encoder: EncoderConfig,
    documents: Path,
    asked: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    rankers: Sequence[Path] = (),
) -> set[str]:
    """Ids of questions with an answer that encoder or a ranker was trained on: figures on them would mean nothing."""
    import numpy as np

    from training.encoders.examples import Corpus
    from training.encoders.seen import NONE, marks_in, pair_marks, seen_by

    seen = np.concatenate([NONE, *seen_by(encoder).values(), *map(marks_in, rankers)])
    if not len(seen):
        return set()
    relevant = [(q, d) for q in asked for d, grade in qrels.get(q, {}).items() if grade > 0]
    texts = Corpus(documents, documents).texts(d for _, d in relevant)
    known = [(q, d) for q, d in relevant if d in texts]
    marks = pair_marks([asked[q] for q, _ in known], [texts[d] for _, d in known])
    return {known[n][0] for n in np.flatnonzero(np.isin(marks, seen))}


def link_methods(graph: "GraphArtifact", folders: Mapping[str, Path], ablation: bool) -> "dict[str, MakeScores]":
    """What makes each method's scores, by its name, in the order of the table.

    Args:
        graph: opened; everything but the trained models looks at its training links alone.
        folders: of the artifacts ``graph`` and ``train``.
        ablation: whether there is a model without states.
    """
    import numpy as np

    from data.matrices import unit_rows
    from evaluation.baselines import similarity, untrained
    from evaluation.links import LinkScores
    from training.links.scoring import LinkScorer
    from training.links.states import NODE_VECTORS
    from training.structure.node2vec import Node2Vec, node2vec

    def trained(name: str) -> "MakeScores":
        def make() -> LinkScores:
            states = np.load(folders["train"] / NODE_VECTORS, mmap_mode="r")
            scorer = LinkScorer.open(folders["train"], graph, name, states)
            return LinkScores(scorer.score, scorer.score_pairs, logits=True)

        return make

    walked: dict[str, MakeScores] = {"node2vec": lambda: similarity(unit_rows(node2vec(graph.seen_graph, Node2Vec())))}
    if len(graph.ids) > WALKED_UP_TO:
        logger.info("evaluate: node2vec is left out above %s documents: it takes hours", f"{WALKED_UP_TO:,}")
        walked = {}
    ablated = {"model_without_states": trained("no_states")} if ablation else {}
    return {
        "model": trained("model"),
        "feature_mlp": trained("mlp"),
        **untrained(graph),
        **walked,
        **ablated,
    }


def _judge_links(config: LinkStageConfig, inputs: Inputs, out: Path) -> JudgedResult:
    """Asks the methods side by side on Ray where there are many documents, else one after another."""
    if config.task == "typed":
        from training.typed.judging import judge_typed

        graph_folder, train_folder = inputs["graph"].path, inputs["train"].path
        typed, about = judge_typed(graph_folder, train_folder, config.judging, out / "ranks.npz")
        return JudgedResult(figures=typed, details=about)
    from data.graph.graph import load_graph
    from data.spread import Pool, here, on_ray
    from evaluation.link_figures import compare, judge, save_ranks
    from evaluation.link_questions import link_questions

    folders = {name: artifact.path for name, artifact in inputs.items()}
    runner = on_ray if many_documents(inputs["graph"].result) else here

    def ask() -> "Callable[[int], tuple[LinkQuestions, list[str], list[str]]]":
        graph = load_graph(folders["graph"])
        names = list(link_methods(graph, folders, config.ablation))
        return lambda _: (link_questions(graph, config.judging), names, list(graph.relation_names))

    # Like the methods, asked where they are judged: this process's memory is not to grow with the graph.
    [(questions, names, relation_names)] = runner.run([0], ask, "questions")

    def worker() -> "Callable[[str], Judged]":
        opened = load_graph(folders["graph"])
        methods = link_methods(opened, folders, config.ablation)
        return lambda name: judge(name, methods[name](), questions, opened.known_graph, config.judging)

    pool = Pool(1, min(len(names), max(1, int(runner.resources().cores))))
    judged = {one.name: one for one in runner.run(names, worker, "judge", pool)}
    ordered = [judged[name] for name in names]
    save_ranks(ordered, questions, out / "ranks.npz")
    figures, details = compare(
        ordered,
        questions,
        inputs["graph"].result["nodes"],
        relation_names,
        config.judging,
        ablations=("model_without_states",),
    )
    return JudgedResult(figures=figures, details=details)


def judge(plan: Plan) -> dict[str, Artifact]:
    """Bring both evaluations, each where the corpus gives occasion, and log why one is left out.

    What is made now also goes to MLflow, where the run tracks its trainings there.
    """
    judged: dict[str, Artifact] = {}
    plan.bring("ingest")
    for stage in STAGES:
        known = plan.artifact(stage).done
        try:
            judged[stage] = plan.bring(stage)
        except StageAbsent as reason:
            logger.info("evaluate: %s", reason.problem)
            continue
        if not known:
            _track(plan, stage, judged[stage])
    return judged


def _track(plan: Plan, stage: str, made: Artifact) -> None:
    """Put the figures into MLflow: into the store that the run names, or that its trainings have begun.

    A run without either, such as one that has no links, does not begin a store for a table of figures.
    """
    from training.tracking import Tracker

    tracking, store = plan.run.train.tracking, plan.run.workspace.resolve() / "mlflow.db"
    if tracking.uri is None and not store.exists():
        return
    config = plan.run.evaluate.search if stage == "evaluate_search" else plan.run.evaluate.links
    name, tags = f"{plan.run.name} {stage}", {"artifact": str(made.path)}
    tracker = Tracker(tracking, store, name, config, tags=tags, what="evaluation")
    figures = made.result["figures"]
    tracker.end({f"{method}/{metric}": value for method, of in figures.items() for metric, value in of.items()})


def evaluate(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Figures of search and of links, each where the corpus gives occasion, and the report.

    Returns:
        The run's summary (``ray_apps.summary``); of several runs, ``ray_apps.corpora.over_corpora`` of theirs.
    """
    summaries = []
    for one in (plan, *arguments.further):
        judge(one)
        write_run_report(one)
        summaries.append(summary(one))
    return over_corpora(summaries) if len(summaries) > 1 else summaries[0]


def _link_config(plan: Plan) -> LinkStageConfig:
    train = plan.run.train
    return LinkStageConfig(judging=plan.run.evaluate.links, ablation=train.ablation, task=train.task)


def _link_needs(plan: Plan) -> Mapping[str, str]:
    return {"graph": "graph", "train": "train"}


EVALUATE_SEARCH = Stage(
    name="evaluate_search",
    result=JudgedResult,
    config=_search_config,
    make=_judge_search,
    needs=_search_needs,
    absent=no_questions,
    permits=encoder_permits,
    stamps=_search_stamps,
    version=3,
)
EVALUATE_LINKS = Stage(
    name="evaluate_links",
    result=JudgedResult,
    config=_link_config,
    make=_judge_links,
    needs=_link_needs,
    absent=no_links,
    on_ray=lambda plan: plan.run.train.task == "links" and many_documents(plan.result(GRAPH)),
    version=2,
)
COMMAND = Command(
    name="evaluate",
    summary="search and link model against their baselines, with a report; of several runs, the mean too",
    call=evaluate,
    show=evaluation_text,
    sections=("source", "encoder", "index", "graph", "train", "ranker", "evaluate"),
    several=True,
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["evaluate", *sys.argv[1:]]))
