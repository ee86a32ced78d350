"""A ranker of boosted trees, trained on what a pipeline of the run finds for training questions."""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import Artifact, StageConfig, StageResult
from data.encoders.config import EncoderConfig
from data.encoders.files import contents
from data.sources import SourceConfig, fingerprint
from data.sources.beir import BeirSource
from ray_apps.command import Command, Parser
from ray_apps.config import RunConfig
from ray_apps.encoder.check import encoder_needs, encoder_permits, ready_encoder
from ray_apps.encoder.corpus import corpus_needs, corpus_of
from ray_apps.ingest import no_texts
from ray_apps.pipelines import BOOSTED, named_pipeline, open_rankers, pipeline_needs, pipeline_stamps
from ray_apps.plan import Inputs, Plan, Stage
from ray_apps.ranker import ranker_folder, training_judgments
from ray_apps.tables import figures, table
from retrieval.steps import OneStep, RankStep, Step, links_in, models_in
from training.boosted.config import BoostedConfig
from training.cross_encoder.config import TRAINED, RankerConfig

if TYPE_CHECKING:
    import numpy as np

    from retrieval.hits import SearchHit
    from retrieval.pipelines import PipelineSearch
    from retrieval.search import Retriever

SHOWN = 12  # features in the table of importances


class BoostedStageConfig(StageConfig):
    """What decides the trees: which steps find the candidates, the last one being the ranker itself."""

    boosted: BoostedConfig
    steps: tuple[OneStep, ...]
    questions: RankerConfig
    training: BeirSource | None
    encoder: EncoderConfig
    ranker: str | None


class BoostedResult(StageResult):
    """What it was trained on, nDCG@10 of held-out questions beside the order given, and what each feature did."""

    learned_from: str
    questions: int
    left_out: int
    candidates: int
    answered: int
    trees: int
    rising: bool
    ndcg: dict[str, float]
    compared: dict[str, float]
    beats: bool
    importances: dict[str, dict[str, float]]
    model: str


class KeptOrder:
    """In the place of the ranker while its candidates are gathered: leaves them as they are."""

    def score(
        self, questions: Sequence[str], found: Sequence[Sequence["SearchHit"]]
    ) -> "list[np.ndarray[Any, Any] | None]":
        """No scores."""
        return [None] * len(questions)


def steps_to_learn(run: RunConfig) -> tuple[Step, ...]:
    """The steps of the pipeline that a ranker is trained for, up to the ranker.

    Raises:
        InputError: if ``boosted.pipeline`` names none.
    """
    having = [name for name, steps in run.pipelines.items() if BOOSTED in models_in({name: steps})]
    steps = named_pipeline(run, run.boosted.pipeline or next(iter(having), "hybrid"))
    for place, step in enumerate(steps):
        if isinstance(step, RankStep) and step.rank == BOOSTED:
            return steps[: place + 1]
    return (*steps, RankStep(rank=BOOSTED, depth=run.boosted.depth))


def _config(plan: Plan) -> BoostedStageConfig:
    steps = steps_to_learn(plan.run)
    return BoostedStageConfig(
        boosted=plan.run.boosted,
        steps=steps,
        questions=plan.run.ranker.questions,
        training=training_judgments(plan),
        encoder=plan.encoder,
        ranker=plan.run.cross_encoder if "cross-encoder" in models_in({"": steps}) else None,
    )


def _needs(plan: Plan) -> dict[str, str]:
    before = {"": steps_to_learn(plan.run)[:-1]}
    return {**corpus_needs(plan), "index": "index", **encoder_needs(plan), **pipeline_needs(plan, before)}


def _stamps(config: BoostedStageConfig) -> Mapping[str, Any]:
    return {
        "files": contents(config.encoder),
        "training": None if config.training is None else fingerprint(SourceConfig(beir=config.training)),
        **pipeline_stamps({"": config.steps[:-1]}, config.ranker),
    }


def _check(config: BoostedStageConfig) -> None:
    from retrieval.boosted import load_lightgbm

    load_lightgbm()


def _train(config: BoostedStageConfig, inputs: Inputs, out: Path) -> BoostedResult:
    from retrieval.search import open_retriever
    from training.boosted.driver import train_boosted

    encoder = ready_encoder(config.encoder, inputs)
    retriever = open_retriever(inputs["index"].path, encoder)
    depth = config.steps[-1].depth
    try:
        search = _before(retriever, config, inputs)
        made = train_boosted(
            corpus_of(inputs),
            lambda texts: search.search(texts, BOOSTED, depth),
            retriever.meta.config,
            config.boosted,
            config.questions,
            config.training,
            out,
            seen=_seen(encoder, config.ranker, inputs),
            held_out=config.ranker == TRAINED,
            follows_links=bool(links_in({"": config.steps})),
        )
    finally:
        retriever.index.close()
    return BoostedResult.model_validate(made)


def _before(retriever: "Retriever", config: BoostedStageConfig, inputs: Mapping[str, Artifact]) -> "PipelineSearch":
    """The pipeline with a ranker that leaves the order as it is, so that candidates have the places of all steps."""
    from retrieval.pipelines import PipelineSearch

    rankers = open_rankers({BOOSTED: config.steps[:-1]}, config.ranker, inputs)
    return PipelineSearch(retriever, {BOOSTED: config.steps}, {**rankers, BOOSTED: KeptOrder()})


def _seen(encoder: EncoderConfig, ranker: str | None, inputs: Mapping[str, Artifact]) -> "np.ndarray[Any, Any]":
    """Marks of the pairs that the encoder and a cross-encoder of other origin were trained on."""
    import numpy as np

    from training.encoders.seen import NONE, marks_in, seen_by

    folder = None if ranker == TRAINED else ranker_folder(ranker, inputs)
    return np.concatenate([NONE, *seen_by(encoder).values(), *([marks_in(Path(folder))] if folder else [])])


STAGE = Stage(
    name=BOOSTED,
    result=BoostedResult,
    config=_config,
    make=_train,
    needs=_needs,
    permits=encoder_permits,
    wanted=lambda plan: BOOSTED in models_in(plan.run.pipelines),
    absent=no_texts,
    stamps=_stamps,
    check=_check,
)


def boost(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Train boosted trees on what a pipeline finds for training questions, and say whether its order becomes better.

    Returns:
        ``run``, ``boosted`` (a ``BoostedResult``) and the ``artifact``.

    Raises:
        InputError: if there is no such pipeline, nothing to learn from, or too little.
    """
    if arguments.pipeline is not None:
        named = plan.run.boosted.model_copy(update={"pipeline": arguments.pipeline})
        plan = Plan(plan.run.model_copy(update={"boosted": named}), plan.stages)
    made = plan.bring(BOOSTED)
    return {"run": plan.run.name, "boosted": made.result, "artifact": str(made.path)}


def shown(result: Mapping[str, Any]) -> str:
    """The figures, then the features that did most."""
    importances = result["boosted"]["importances"]
    rows = [(name, gain, int(importances["split"][name])) for name, gain in list(importances["gain"].items())[:SHOWN]]
    return f"{figures(result)}\n\n{table(('feature', 'share of gain', 'splits'), rows)}"


def _words(parser: Parser) -> None:
    parser.add_argument(
        "--pipeline", metavar="NAME", help="whose candidates are learned from (default: boosted.pipeline)"
    )


COMMAND = Command(
    name="ranker boost",
    summary="train boosted trees that put what a pipeline finds in order, by features of all its steps",
    call=boost,
    words=_words,
    show=shown,
    sections=("source", "steps", "encoder", "index", "graph", "pipelines", "ranker", "boosted"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["ranker", "boost", *sys.argv[1:]]))
