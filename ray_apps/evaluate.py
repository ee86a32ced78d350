"""Judge search and the link model against their baselines, and write the report."""

import logging
import sys
from typing import Any

import numpy as np

from data.artifacts import Artifact, materialise
from data.graph.graph import load_graph
from data.partitions import read_qrels, read_table
from evaluation.baselines import adamic_adar, common_neighbours, cosine, resource_allocation
from evaluation.config import EvaluateConfig
from evaluation.links import evaluate_links, unordered_pairs
from evaluation.retrieval import MODES, evaluate_retrieval
from ray_apps.config import RunConfig
from ray_apps.encoder.check import usable_encoder
from ray_apps.ingest import ingest
from ray_apps.report import write_run_report
from ray_apps.stages import artifact
from retrieval.search import open_retriever

logger = logging.getLogger("catena")

Figures = dict[str, dict[str, float]]


def evaluate(run: RunConfig) -> Artifact:
    """Figures of search and of links, each where the corpus gives occasion, and the report beside them.

    The result holds ``retrieval`` and ``links`` (name -> figures; empty without occasion), ``details`` of both, and
    ``missing``, a sentence for each that is empty.
    """
    judged = artifact(run, "evaluate")
    if judged.done:
        if not (judged.path / "report.html").exists():  # killed between the figures and the report
            write_run_report(run)
        return judged
    tables = ingest(run)
    needed = {"retrieval": _index_if_asked(run, tables), "links": _model_if_linked(run)}

    def work(_: object) -> dict[str, Any]:
        result: dict[str, Any] = {"retrieval": {}, "links": {}, "details": {}, "missing": {}}
        for part, judge in (("retrieval", _judge_search), ("links", _judge_links)):
            source = needed[part]
            found = judge(run, tables, source) if isinstance(source, Artifact) else source
            if isinstance(found, str):
                result["missing"][part] = found
                logger.info("evaluate: %s", found)
            else:
                result[part], result["details"][part] = found
        return result

    materialise(judged, work)
    write_run_report(run)
    return judged


def _index_if_asked(run: RunConfig, tables: Artifact) -> Artifact | str:
    if not tables.result["queries"] or not tables.result["qrels"]:
        return "The corpus brings no questions with known answers (queries and qrels), so search was not judged."
    from ray_apps.index import index

    return index(run)


def _model_if_linked(run: RunConfig) -> Artifact | str:
    from ray_apps.train import train, why_untrainable

    return why_untrainable(run) or train(run)


def _judge_search(run: RunConfig, tables: Artifact, index: Artifact) -> tuple[Figures, dict[str, Any]] | str:
    queries = read_table(tables.path / "queries", columns=["id", "text"])
    qrels = read_qrels(tables.path / "qrels")
    asked = dict(zip(queries["id"].to_pylist(), queries["text"].to_pylist(), strict=True))
    if not any(grade > 0 for query in asked for grade in qrels.get(query, {}).values()):
        return "None of the corpus's questions has a relevant document, so search was not judged."
    retriever = open_retriever(index.path, usable_encoder(run))
    try:
        modes = MODES if retriever.meta.late_dim is None else (*MODES, "late")
        return evaluate_retrieval(retriever.search, asked, qrels, run.evaluate, modes)
    finally:
        retriever.index.close()


def _judge_links(run: RunConfig, _: Artifact, model: Artifact) -> tuple[Figures, dict[str, Any]] | str:
    from training.links.scoring import LinkScorer

    graph_path = artifact(run, "graph").path
    graph = load_graph(graph_path)
    sources, targets = _sample(*unordered_pairs(*graph.links("test")), run.evaluate)
    seen = graph.training_graph
    scorers = {
        "model": LinkScorer.load(model.path, graph_path).score,
        "feature_mlp": LinkScorer.load(model.path, graph_path, "mlp").score,
        "cosine": cosine(graph.vectors),
        "common_neighbours": common_neighbours(seen),
        "adamic_adar": adamic_adar(seen),
        "resource_allocation": resource_allocation(seen),
    }
    if run.train.ablation:
        scorers["model_without_views"] = LinkScorer.load(model.path, graph_path, "no_views").score
    return evaluate_links(
        scorers,
        sources,
        targets,
        graph.known_graph,
        ablations=("model_without_views",),
        cutoffs=run.evaluate.cutoffs,
        batch_size=run.evaluate.batch_sources,
        resamples=run.evaluate.resamples,
        seed=run.evaluate.seed,
    )


def _sample(sources: np.ndarray, targets: np.ndarray, config: EvaluateConfig) -> tuple[np.ndarray, np.ndarray]:
    """At most ``max_test_links`` pairs, drawn with the seed."""
    if len(sources) <= config.max_test_links:
        return sources, targets
    chosen = np.random.default_rng(config.seed).choice(len(sources), config.max_test_links, replace=False)
    return sources[chosen], targets[chosen]


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["evaluate", *sys.argv[1:]]))
