"""Weights of hybrid search by questions with known answers that it is not judged by."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from ray_apps.command import Command, Parser
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from ray_apps.tables import table

if TYPE_CHECKING:
    from retrieval.weights import Fusion

FEWEST = 20  # questions: fewer say nothing


def tune_search(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Try ways to fuse on training questions.

    Returns:
        ``run``, ``questions`` and where they are ``from``, ``ways``: nDCG@10 of the default, of the best, and of ways
        chosen on other folds; ``difference`` of these to the default; ``index``: keys of the run file for the best way
        where it is better by more than chance, else None; ``other_half`` where the questions had no split.

    Raises:
        InputError: if there are too few questions.
    """
    from evaluation.fusion_search import search_fusion
    from evaluation.fusions import METRIC, ask_lists
    from retrieval.search import open_retriever

    judging = plan.run.evaluate.search
    questions, qrels, origin, others = training_questions(plan, arguments.split)
    if len(questions) < FEWEST:
        raise InputError(
            f"catena tune-search: {origin} has {len(questions)} questions with known answers; {FEWEST} are needed",
            "Leave the weights to what is measured without any (index.trust_questions).",
        )
    retriever = open_retriever(plan.bring("index").path, usable_encoder(plan))
    try:
        usual = retriever.index.fusion
        asked = ask_lists(retriever, questions, judging.batch_queries)
        tuned = search_fusion(asked, qrels, usual, judging.resamples, judging.seed)
        result = {
            "run": plan.run.name,
            "questions": len(questions),
            "from": origin,
            "ways": tuned.scores,
            "difference": tuned.difference,
            "index": _keys(tuned.best) if tuned.better else None,
        }
        if others:
            held = ask_lists(retriever, others, judging.batch_queries)
            scores = {
                name: held.judged(way, qrels).means[METRIC] for name, way in (("default", usual), ("best", tuned.best))
            }
            result["other_half"] = {"questions": len(others), **scores}
    finally:
        retriever.index.close()
    return result


def training_questions(
    plan: Plan, split: str | None
) -> tuple[dict[str, str], dict[str, dict[str, int]], str, dict[str, str]]:
    """Questions to tune on.

    Args:
        plan: of the run.
        split: of a source of kind beir; its split ``train`` where None and there is one that the run does not use.

    Returns:
        Their texts, and grades of documents by question; what they are; and, where the source has no such split, the
        other half of the run's own questions.

    Raises:
        InputError: if there is no such split.
    """
    from evaluation.fusion_search import halves
    from evaluation.questions import answered_questions

    beir = plan.run.source.beir
    if beir is not None and (split is not None or (beir.split != "train" and beir.has_split("train"))):
        name = split or "train"
        if not beir.has_split(name):
            raise InputError(f"catena tune-search: {beir.folder} has no qrels/{name}.tsv", "Name another split.")
        return *beir.questions(name), f"qrels/{name}.tsv", {}
    if split is not None:
        raise InputError("catena tune-search --split: the source has no splits", "Leave it out: half are taken.")
    answered, qrels = answered_questions(plan.bring("ingest").path)
    ours, others = halves(sorted(answered), plan.run.evaluate.seed)
    texts = {id_: answered[id_] for id_ in ours}
    return texts, qrels, "half of the run's questions", {id_: answered[id_] for id_ in others}


def _keys(fusion: "Fusion") -> dict[str, Any]:
    keys: dict[str, Any] = {"fusion": fusion.method, "weights": {k: round(v, 4) for k, v in fusion.weights.items()}}
    return {**keys, "rrf_k": fusion.k} if fusion.method == "rrf" else keys


def shown(result: Mapping[str, Any]) -> str:
    """The table, and what to write into the run file."""
    names = {"default": "as it is", "best": "best of all ways", "held_out": "chosen on other questions"}
    rows = [(names[name], f"{score:.4f}") for name, score in result["ways"].items()]
    text = table((f"{result['run']}: {result['questions']} questions, {result['from']}", "nDCG@10"), rows)
    change = result["difference"]
    text += (
        f"\nchosen on other questions against as it is: {change['difference']:+.4f} "
        f"({change['difference_low']:+.4f} to {change['difference_high']:+.4f}, p = {change['p_value']:.4f})"
    )
    if "other_half" in result:
        other = result["other_half"]
        text += f"\nthe other {other['questions']} questions: as it is {other['default']:.4f}, best {other['best']:.4f}"
    if result["index"] is None:
        return f"{text}\nnot better by more than chance: leave the run file as it is"
    weights = ", ".join(f"{name}: {weight:g}" for name, weight in result["index"]["weights"].items())
    lines = [f"  fusion: {result['index']['fusion']}", f"  weights: {{{weights}}}"]
    if "rrf_k" in result["index"]:
        lines.append(f"  rrf_k: {result['index']['rrf_k']}")
    return "\n".join([f"{text}\nfor the run file:", "index:", *lines])


def _words(parser: Parser) -> None:
    parser.add_argument(
        "--split", metavar="NAME", help="of a BEIR folder, whose questions are taken (default: train, where there is)"
    )


COMMAND = Command(
    name="tune-search",
    summary="weights of hybrid search by questions with known answers",
    call=tune_search,
    words=_words,
    show=shown,
    sections=("source", "encoder", "index", "evaluate"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["tune-search", *sys.argv[1:]]))
