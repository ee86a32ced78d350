"""Judge the run's pipelines by the questions of its corpus, but for those that a model has been trained on."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.artifacts import StageConfig
from data.encoders.config import EncoderConfig
from data.encoders.files import contents
from data.errors import StageAbsent
from evaluation.config import SearchJudging
from ray_apps.encoder.check import encoder_needs, encoder_permits, ready_encoder
from ray_apps.ingest import INGEST
from ray_apps.judged import JudgedResult
from ray_apps.pipelines import open_pipelines, pipeline_needs, pipeline_stamps, pipelines_of, ranker_folders
from ray_apps.plan import Inputs, Plan, Stage
from retrieval.steps import DEFAULT, RERANKED, OneStep, Step

logger = logging.getLogger("catena")

REMEMBERED = 200_000  # questions whose vectors are kept from one pipeline to the next: 400 MB of 384 dimensions


class SearchStageConfig(StageConfig):
    """What decides the figures of search."""

    judging: SearchJudging
    encoder: EncoderConfig
    pipelines: dict[str, tuple[OneStep, ...]]
    ranker: str | None = None

    def identity(self) -> dict[str, Any]:
        """Leaves out what there is none of."""
        return {name: value for name, value in super().identity().items() if value is not None}


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
