"""How far to trust each list of hybrid search, without judgements: by questions that the corpus asks of itself.

A passage is asked for by its title or by one of its sentences, and stands in each list as it is without these (the
inverse cloze task of Lee, Chang and Toutanova, ACL 2019, as a test). The mean reciprocal rank at which a list has it
tells how well that list works in this corpus: an encoder that does not know its language is found out. Lists are
weighted by the squares. Q questions.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data.encoders.config import EncoderConfig
from data.encoders.protocol import Encoder
from data.errors import EncoderUnavailable
from data.lexical import SparseVector
from data.passages.sampling import PassageSample, sample_passages
from data.passages.semantic import cut_sentences
from data.passages.text import passage_text
from data.words import words
from retrieval.config import ListName
from retrieval.index import Hit, IndexMeta, IndexQuery, Trust, VectorIndex
from retrieval.open import open_index, read_meta, write_meta
from retrieval.question_encoders import query_encoders
from retrieval.terms import TermStatistics, bm25_of

logger = logging.getLogger("catena")

Values = npt.NDArray[np.float64]

FEWEST_WORDS = 4  # of a question, and of what is left of the passage
LONGEST = 300  # characters of a question
DEPTH = 100  # hits that are looked at; who is not among them has rank infinity
POWER = 2  # of the MRRs: 4 does about as well on eight corpora, 1 worse
PRIOR = 10  # questions that speak for equal trust: few of the corpus's own do not decide
AT_ONCE = 32  # questions


class Question(NamedTuple):
    """A question made of a passage.

    Attributes:
        document: that the passage is of.
        text: of the question.
        rest: the passage without it, as it would be embedded and indexed.
    """

    document: str
    text: str
    rest: str


def weigh(artifact: Path, passages: Path, encoder: EncoderConfig) -> Trust | None:
    """Measure how far to trust an index's lists, and keep it in its description.

    Args:
        artifact: the index stage's folder, finished.
        passages: the passages table.
        encoder: that made its vectors.

    Returns:
        What was measured; None where the corpus has no passage of two sentences or with a title, or there are no
        vectors of questions now.
    """
    meta = read_meta(artifact)
    try:
        loaded = query_encoders(meta, encoder).whole
        index = open_index(artifact)
        try:
            trust = measure(index, meta, TermStatistics(artifact), passages, loaded)
        finally:
            index.close()
    except EncoderUnavailable as error:
        logger.warning("index: both lists of hybrid search weigh the same: %s", error.problem)
        return None
    if trust is None:
        logger.info("index: both lists of hybrid search weigh the same: no passage can be asked for by a part of it")
        return None
    write_meta(meta.model_copy(update={"trust": trust}), artifact)
    told = ", ".join(f"{name} {trust.weights[name]:.2f} (MRR {trust.mrr[name]:.2f})" for name in sorted(trust.mrr))
    logger.info("index: weights of hybrid search, by %d questions made of the corpus: %s", trust.questions, told)
    return trust


def measure(
    index: VectorIndex, meta: IndexMeta, terms: TermStatistics, passages: Path, encoder: Encoder, seed: int = 0
) -> Trust | None:
    """The trust in each list of an index.

    Args:
        index: that is asked for single lists.
        meta: its description.
        terms: how many of its passages hold each.
        passages: the table that it was made of.
        encoder: of questions and passages, as the index has their vectors.
        seed: of the questions.
    """
    most = meta.config.trust_questions
    questions = make_questions(sample_passages(passages, 2 * most, seed), most, seed)
    if not questions:
        return None
    found: dict[ListName, list[Values]] = {"dense": [], "bm25": []}
    for start in range(0, len(questions), AT_ONCE):
        some = questions[start : start + AT_ONCE]
        found["dense"].append(_by_vectors(index, encoder, some))
        found["bm25"].append(_by_words(index, meta, terms, some))
    return trust_of({name: np.concatenate(parts) for name, parts in found.items()})


def trust_of(reciprocal: dict[ListName, Values]) -> Trust:
    """The weights of lists.

    Args:
        reciprocal: ranks of what was asked for, float64 (Q,) of each list; 0 where a list has it not.
    """
    count = len(next(iter(reciprocal.values())))
    mrr = {name: float(values.mean()) for name, values in reciprocal.items()}
    error = {name: 1.96 * float(values.std()) / np.sqrt(count) for name, values in reciprocal.items()}
    middle = sum(mrr.values()) / len(mrr)
    powers = {name: ((count * value + PRIOR * middle) / (count + PRIOR)) ** POWER for name, value in mrr.items()}
    whole = sum(powers.values())
    return Trust(
        questions=count,
        mrr={name: round(value, 4) for name, value in mrr.items()},
        interval={name: (_share(mrr[name] - by), _share(mrr[name] + by)) for name, by in error.items()},
        weights={name: round(value / whole, 4) if whole > 0 else 1 / len(powers) for name, value in powers.items()},
    )


def _share(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 4)


def make_questions(sample: PassageSample, most: int, seed: int = 0) -> list[Question]:
    """Questions made of passages, one of each that can be asked for by a part of it, at most so many.

    Titles and sentences take turns where a passage has both.
    """
    rng = np.random.default_rng(seed)
    made: list[Question] = []
    for row in rng.permutation(len(sample.documents)).tolist():
        if len(made) == most:
            break
        title, body = sample.titles[row], sample.bodies[row]
        by_title = _enough(title, 2) and _enough(body)
        sentences = [span for span in cut_sentences(body, LONGEST) if _enough(body[slice(*span)])]
        if by_title and (len(made) % 2 == 0 or len(sentences) < 2):
            made.append(Question(sample.documents[row], title, body))
        elif len(sentences) > 1:
            start, end = sentences[rng.integers(len(sentences))]
            rest = passage_text(title, f"{body[:start].rstrip()} {body[end:].lstrip()}".strip())
            made.append(Question(sample.documents[row], body[start:end], rest))
    return made


def _enough(text: str, least: int = FEWEST_WORDS) -> bool:
    return len(words(text)) >= least


def _by_vectors(index: VectorIndex, encoder: Encoder, questions: Sequence[Question]) -> Values:
    asked = encoder.encode_queries([question.text for question in questions])
    rest = encoder.encode([question.rest for question in questions])
    hits = index.query_batch([IndexQuery(DEPTH, dense=vector, payload="brief") for vector in asked])
    return reciprocal_ranks(np.einsum("ij,ij->i", asked, rest).astype(np.float64), hits, questions)


def _by_words(index: VectorIndex, meta: IndexMeta, terms: TermStatistics, questions: Sequence[Question]) -> Values:
    bm25 = bm25_of(meta)
    asked = [bm25.query(question.text) for question in questions]
    own = [_score(query, bm25.passage(question.rest), terms) for query, question in zip(asked, questions, strict=True)]
    known = [IndexQuery(DEPTH, sparse=query, payload="brief") for query in asked if len(query.indices)]
    found = iter(index.query_batch(known) if known else [])
    hits = [next(found) if len(query.indices) else [] for query in asked]
    return reciprocal_ranks(np.array(own), hits, questions)


def _score(query: SparseVector, passage: SparseVector, terms: TermStatistics) -> float:
    """BM25 as the index has it."""
    both, of_query, of_passage = np.intersect1d(query.indices, passage.indices, True, True)
    return float(query.values[of_query] * terms.idf(both) @ passage.values[of_passage]) if len(both) else 0.0


def reciprocal_ranks(own: Values, found: Iterable[Sequence[Hit]], questions: Sequence[Question]) -> Values:
    """One over the rank of each question's document among the others, float64 (Q,); 0 below the last hit.

    Args:
        own: score of the document's passage without the question, float64 (Q,).
        found: hits of each question, ``DEPTH`` or fewer.
        questions: that were asked.
    """
    ranks = np.zeros(len(own))
    for row, (score, hits, question) in enumerate(zip(own.tolist(), found, questions, strict=True)):
        others = {hit.payload["document_id"] for hit in hits if hit.score > score} - {question.document}
        cut = len(hits) == DEPTH and score < hits[-1].score
        ranks[row] = 0.0 if cut or score <= 0 else 1 / (1 + len(others))
    return ranks
