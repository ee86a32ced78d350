"""Training of boosted trees on what a pipeline finds for training questions, and the folder that comes out of it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.files import whole_folder_or_absent
from data.sources.beir import BeirSource
from retrieval.boosted import load_lightgbm, write_ranker
from retrieval.config import IndexConfig
from retrieval.facts import DocumentFacts
from retrieval.features import CandidateFeatures
from training.boosted.candidates import find_candidates
from training.boosted.config import TRAINED, BoostedConfig
from training.boosted.facts import find_dates, write_link_facts
from training.boosted.trees import cross_validate, importances, train_trees
from training.cross_encoder.config import RankerConfig
from training.cross_encoder.lists import Search
from training.cross_encoder.questions import OF_LINKS, Question, answer_marks, gather
from training.encoders.examples import Corpus
from training.encoders.seen import Marks, keep_marks

logger = logging.getLogger("catena")

FEWEST = 20  # questions with an answer among their candidates: fewer say nothing


def train_boosted(
    corpus: Corpus,
    search: Search,
    index: IndexConfig,
    config: BoostedConfig,
    questions: RankerConfig,
    training: BeirSource | None,
    out: Path,
    seen: Marks,
    held_out: bool = False,
    follows_links: bool = False,
) -> dict[str, Any]:
    """Train a ranker and compare it with the order that it is given.

    Args:
        corpus: of the run.
        search: the steps of the pipeline before the ranker.
        index: what is asked; its words are those that texts are compared by.
        config: how trees are grown.
        questions: what is learned from, as for a cross-encoder.
        training: judgments for training; None where the source has none of its own.
        out: receives ``trained/``.
        seen: marks of the pairs that models of the pipeline were trained on; questions with one are left out, for the
            models' scores of their documents are better than those of any others.
        held_out: whether the pipeline has a cross-encoder that was trained on these questions: then only those that
            it was not trained on are taken. They chose its best epoch, no more.
        follows_links: whether a step of the pipeline does.

    Returns:
        ``learned_from``, ``questions`` learned from and those ``left_out``, ``candidates``, ``answered`` questions with
        an answer among them, ``trees``, ``rising``, ``ndcg`` (``first`` and ``reranked``), ``compared``, ``beats``,
        ``importances`` and ``model``, the folder.

    Raises:
        InputError: if there is nothing to learn from, or too little.
    """
    lightgbm = load_lightgbm()  # what is missing is told before anything is searched for
    asked, source = gather(corpus, questions, training)
    if source == OF_LINKS and follows_links:
        raise InputError(
            "boosted: the questions are made of links, and the pipeline follows links: these would be the answers",
            "Leave `expand` out of the pipeline, or give the source questions with judgments.",
        )
    marks, _ = answer_marks(corpus, asked)
    kept = unseen(corpus, [one for one in asked if one.valid or not held_out], seen)
    with whole_folder_or_absent(out / TRAINED) as folder:
        folder.mkdir()
        dates = find_dates(corpus.documents, config.date)
        # The answers of questions made of links are documents with links: a degree would give them away.
        if corpus.split is not None and source != OF_LINKS:
            write_link_facts(corpus.split, folder)
        features = CandidateFeatures(index.tokenizer(), DocumentFacts.open(folder), dates)
        candidates = find_candidates(kept, search, features)
        answered = candidates.answered
        if answered < FEWEST:
            raise InputError(
                f"boosted: of {len(asked)} questions ({source}) {len(kept)} can be learned from, and {answered} "
                f"of them have an answer among their candidates; {FEWEST} are needed",
                "Give the source more questions, raise ranker.learn_share or boosted.depth, or leave the ranker out.",
            )
        judged = cross_validate(candidates, config)
        logger.log(logging.INFO if judged.beats else logging.WARNING, "boosted: %s", judged)
        booster = train_trees(candidates, config, judged)
        result = {
            "learned_from": source,
            "questions": len(candidates.size_Q),
            "left_out": len(asked) - len(candidates.size_Q),
            "candidates": len(candidates.grade_N),
            "answered": answered,
            "trees": judged.trees,
            "rising": judged.rising,
            "ndcg": {"first": judged.first, "reranked": judged.reranked},
            "compared": judged.compared,
            "beats": judged.beats,
            "importances": importances(booster),
        }
        about = {**result, "config": config.model_dump(), "lightgbm": lightgbm.__version__}
        write_ranker(booster, index, dates, folder, about)
        keep_marks(marks, folder)
    return {**result, "model": str(out / TRAINED)}


def unseen(corpus: Corpus, questions: Sequence[Question], seen: Marks) -> list[Question]:
    """The questions of which no answer is among some marks.

    Args:
        corpus: of the run.
        questions: to choose from.
        seen: marks of pairs that a model was trained on.
    """
    marks, owner = answer_marks(corpus, questions)
    known = set(owner[np.isin(marks, seen)].tolist())
    if known:
        logger.info("boosted: %d questions are left out: a model of the pipeline was trained on them", len(known))
    return [one for n, one in enumerate(questions) if n not in known]
