"""Questions with what answers them, held-out ones apart; never those that search is judged by.

Of a corpus with judgments for training, these; else a seeded share of its own questions; else its training links: the
title of a document, or its first line, asks for the documents that it is linked with.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.partitions import read_batches, read_qrels
from data.passages.semantic import cut_sentences
from data.passages.text import passage_text
from data.sources.beir import BeirSource
from training.cross_encoder.config import RankerConfig
from training.encoders.examples import Corpus, share_of
from training.encoders.seen import Marks, pair_marks

logger = logging.getLogger("catena")

OF_LINKS = "training links"  # where questions are from that titles ask
ASKED_CHARS = 200  # of a document's first line, which asks for those that it is linked with
SENTENCE_CHARS = (40, 300)  # of sentences that ask for their document


@dataclass(frozen=True)
class Question:
    """A question to learn from.

    Attributes:
        text: of it.
        relevant: document id -> grade above 0.
        valid: whether it is held out.
        left_out: documents that search may find and that are neither answers nor others.
        instead: texts in the place of those of some documents, by id.
    """

    text: str
    relevant: Mapping[str, int]
    valid: bool
    left_out: frozenset[str] = frozenset()
    instead: Mapping[str, str] = field(default_factory=dict)


def gather(corpus: Corpus, config: RankerConfig, training: BeirSource | None) -> tuple[list[Question], str]:
    """The questions of a run, in an order that is always the same.

    Args:
        corpus: of the run.
        config: what is learned from, shares, seed.
        training: judgments for training; None where the source has none of its own.

    Returns:
        Questions, training and held-out ones; and in a few words where they are from.

    Raises:
        InputError: if there is nothing to learn from, or too little to hold some out.
    """
    own = {question for question, _ in corpus.answered()}
    if config.learn_from != "links" and training is not None:
        found, source = _of_training(corpus, config, training, own), f"judgments of split {config.split}"
    elif config.learn_from != "links" and own:
        found, source = _of_own(corpus, config), f"{config.learn_share:.0%} of the run's own questions"
    elif config.learn_from != "qrels" and (linked := corpus.linked()):
        found, source = _of_links(corpus, config, linked), OF_LINKS
    else:
        raise InputError(
            f"ranker.learn_from: {config.learn_from}, and the corpus has neither answered questions nor training links"
            if config.learn_from == "auto"
            else f"ranker.learn_from: the corpus has no {config.learn_from} to learn from",
            "Give the source queries and qrels, or links.",
        )
    counts = {part: sum(one.valid == (part == "valid") for one in found) for part in ("train", "valid")}
    if counts["train"] < 2 or not counts["valid"]:
        raise InputError(
            f"ranker: {source} give {counts['train']} questions to train on and {counts['valid']} to validate with",
            "Give the source more of them, or raise ranker.valid_share or ranker.learn_share.",
        )
    return found, source


def answer_marks(corpus: Corpus, questions: Sequence[Question]) -> tuple[Marks, npt.NDArray[np.int64]]:
    """Marks of every question with every answer of it, training and held-out ones: both decide something.

    Returns:
        uint64 (P,), as of ``pair_marks``; and the place of the question that each is of, int64 (P,).
    """
    texts = corpus.texts({id_ for question in questions for id_ in question.relevant})
    pairs = [(n, one.text, texts[id_]) for n, one in enumerate(questions) for id_ in one.relevant if id_ in texts]
    marks = pair_marks([question for _, question, _ in pairs], [text for _, _, text in pairs])
    return marks, np.array([n for n, _, _ in pairs], np.int64)


def made_questions(corpus: Corpus, config: RankerConfig) -> list[Question]:
    """Questions made of the corpus: of some documents one sentence each, which the document itself then lacks.

    The inverse cloze task (Lee et al., "Latent Retrieval for Weakly Supervised Open Domain Question Answering", 2019).
    """
    seed = config.optimizer.seed
    drawn: list[tuple[float, dict[str, str]]] = []
    for batch in read_batches(corpus.documents, ["id", "title", "text"]):
        drawn += [(share_of(row["id"], seed), row) for row in batch.to_pylist()]
        drawn = sorted(drawn, key=lambda one: one[0])[: 2 * config.made_questions]  # of some, no sentence will do
    made: list[Question] = []
    for place, (_, row) in enumerate(drawn):
        low, high = SENTENCE_CHARS
        spans = [(a, b) for a, b in cut_sentences(row["text"], high) if b - a >= low]
        if len(spans) > 1 and len(made) < config.made_questions:
            start, end = spans[int(np.random.default_rng((seed, place)).integers(len(spans)))]
            rest = f"{row['text'][:start]}{row['text'][end:]}"
            instead = {row["id"]: passage_text(row["title"], rest)}
            made.append(Question(row["text"][start:end], {row["id"]: 1}, False, instead=instead))
    return made


def _of_training(corpus: Corpus, config: RankerConfig, training: BeirSource, own: set[str]) -> list[Question]:
    texts, grades = training.questions(training.split)
    asked = {_plain(text) for id_, text in corpus.questions().items() if id_ in own}
    kept = {id_: text for id_, text in texts.items() if id_ not in own and _plain(text) not in asked}
    if len(kept) < len(texts):
        logger.info(
            "ranker: %d questions of split %s are left out: search is judged by them",
            len(texts) - len(kept),
            config.split,
        )
    return _answered(kept, grades, config)


def _of_own(corpus: Corpus, config: RankerConfig) -> list[Question]:
    seed = config.optimizer.seed
    learned = {i: t for i, t in corpus.questions().items() if share_of(f"learn|{i}", seed) < config.learn_share}
    return _answered(learned, read_qrels(corpus.tables / "qrels"), config)


def _answered(
    texts: Mapping[str, str], grades: Mapping[str, Mapping[str, int]], config: RankerConfig
) -> list[Question]:
    found = []
    for id_ in _sampled(texts, config):
        relevant = {document: grade for document, grade in grades.get(id_, {}).items() if grade > 0}
        if relevant and texts[id_].strip():
            found.append(Question(texts[id_], relevant, _held(id_, config)))
    return found


def _of_links(corpus: Corpus, config: RankerConfig, linked: list[tuple[str, str]]) -> list[Question]:
    """A question for each linked document; a link with a held-out one is neither trained on nor pushed apart.

    Links that the run holds out are near documents like others (docs/decisions/008-negatives-and-held-out-links.md).
    """
    others: dict[str, set[str]] = defaultdict(set)
    for a, b in linked:
        others[a].add(b)
        others[b].add(a)
    texts = corpus.texts(others)
    found = []
    for id_ in _sampled(others, config):
        title = texts.get(id_, "").partition("\n")[0]
        asked, held = title[:ASKED_CHARS].strip(), _held(id_, config)
        relevant = {other: 1 for other in others[id_] if held or not _held(other, config)}
        if asked and relevant:
            found.append(Question(asked, relevant, held, frozenset({id_, *others[id_]} - relevant.keys())))
    return found


def _sampled(ids: Iterable[str], config: RankerConfig) -> list[str]:
    """At most so many of some ids: those of the smallest share, sorted by id."""
    seed = config.optimizer.seed
    return sorted(sorted(ids, key=lambda id_: (share_of(f"sample|{id_}", seed), id_))[: config.max_questions])


def _held(id_: str, config: RankerConfig) -> bool:
    return share_of(f"valid|{id_}", config.optimizer.seed) < config.valid_share


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
