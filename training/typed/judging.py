"""A trained model of typed links beside its baselines, on every held-out triple."""

from pathlib import Path
from typing import Any

from data.graph.graph import load_graph
from evaluation.config import LinkJudging
from evaluation.link_figures import compare, save_ranks
from evaluation.triples import TripleScorer, frequency, judge_triples, nearest_text, triple_questions
from training.typed.scoring import TypedScorer

ALONE = "decoder_alone"  # the model without cases and texts weighed in


def judge_typed(
    graph: Path, train: Path, config: LinkJudging, ranks: Path
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Rank every test triple by the model, by how often documents answer the relation, and by their texts.

    Args:
        graph: output folder of the graph stage.
        train: output folder of the train stage.
        config: cut-offs, batch size, resampling; all test triples are ranked, whatever ``max_test_links`` says.
        ranks: file that receives each triple's ranks.

    Returns:
        The table by method, and the details beside it, as of ``evaluation.link_figures.compare``.
    """
    opened = load_graph(graph)
    questions = triple_questions(opened)
    relations, nodes = questions.relations, len(opened.ids)
    trained = TypedScorer.load(train, graph)
    stacked = {} if trained.stack is None else {ALONE: trained.decoder_alone}
    scorers: dict[str, TripleScorer] = {
        "model": trained.answers,
        **stacked,
        "relation_frequency": frequency(opened.triples("train"), relations, nodes),
    }
    if opened.vectors.shape[1]:
        scorers["cosine"] = nearest_text(opened.vectors)
    judged = [judge_triples(name, score, questions, config) for name, score in scorers.items()]
    links = questions.as_links()
    save_ranks(judged, links, ranks)
    return compare(judged, links, nodes, opened.relation_names, config, ablations=(ALONE,))
