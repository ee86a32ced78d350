"""Judge the link model and its baselines by links that were held out."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data.artifacts import StageConfig
from evaluation.config import LinkJudging
from ray_apps.graph import GRAPH, many_documents, no_links
from ray_apps.judged import JudgedResult
from ray_apps.plan import Inputs, Plan, Stage

if TYPE_CHECKING:
    from data.graph.graph import GraphArtifact
    from evaluation.link_figures import Judged
    from evaluation.link_questions import LinkQuestions
    from evaluation.links import LinkScores

    MakeScores = Callable[[], LinkScores]

logger = logging.getLogger("catena")

WALKED_UP_TO = 200_000  # documents


class LinkStageConfig(StageConfig):
    """What decides the figures of link prediction."""

    judging: LinkJudging
    ablation: bool
    task: Literal["links", "typed"] = "links"


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


def _link_config(plan: Plan) -> LinkStageConfig:
    train = plan.run.train
    return LinkStageConfig(judging=plan.run.evaluate.links, ablation=train.ablation, task=train.task)


def _link_needs(plan: Plan) -> Mapping[str, str]:
    return {"graph": "graph", "train": "train"}


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
